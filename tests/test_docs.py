"""Every Python block in the README and docs runs, in the order of its page, in an empty folder."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


LONG = {"method.md", "trackers.md", "lightning.md", "transformers.md", "scikit-learn.md"}
"""Pages that train for longer than the quick suite has."""

RUN = [
    pytest.param(page, id=page.name, marks=[pytest.mark.slow] if page.name in LONG else [])
    for page in PAGES
    if BLOCK.search(page.read_text())
]


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("page", RUN)
def test_python_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in BLOCK.findall(page.read_text()):
        exec(compile(block, str(page), "exec"), scope)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_curves_of_the_character_page_are_drawn(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "docs" / "grow_characters.py"))
    picture = script["draw"].__globals__["PICTURE"] = tmp_path / "curves.svg"
    run = [(step, step * 10**6, 2.0 - step / 2000) for step in (0, *script["GROWS"], script["STEPS"])]
    script["draw"]({"grown": [run, run], "final size": [run, run]})
    assert picture.read_text().count("<path") > 20


def test_ten_lines_lead_from_a_csv_file_to_a_pruned_saved_network() -> None:
    (block,) = [each for each in BLOCK.findall((ROOT / "docs" / "tables.md").read_text()) if '"flats"' in each]
    assert len([line for line in block.splitlines() if line]) <= 10
    assert all(word in block for word in ('"kind": "csv"', "magnitude_pruning", "ng.save(", "ng.predict("))


def test_readme_names_every_verb_that_exists() -> None:
    from nestgraph.cli.app import app

    verbs = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    used = set(re.findall(r"^\$ nestgraph (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert used <= verbs
