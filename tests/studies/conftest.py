import pytest

from nestgraph.runs import run_folder
from tests.cli.running import TINY

TEXT = """
name = "study"
recipe = "tiny.toml"
seeds = [4, 2]
set = { "growth.max_edits" = 1, "pruning.max_edits" = 1 }

[[variations]]
name = "plain"

[[variations]]
name = "random"
set = { "pruning.max_edits" = 2, "pruning.policies.0" = { kind = "random_pruning", fraction = 0.2 } }
"""


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The file of a small sweep, beside the recipe that it varies; its runs draw no pictures."""
    for picture in ("draw_stage", "draw_run"):
        monkeypatch.setattr(run_folder, picture, lambda *_: None)
    (tmp_path / "tiny.toml").write_text(TINY.format(edits=3))
    (tmp_path / "study.toml").write_text(TEXT)
    return tmp_path / "study.toml"
