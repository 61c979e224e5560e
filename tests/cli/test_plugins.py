"""Policies in a file that the command line names: run, gone on with, and told where the file is wrong."""

import json
import sys

import pytest

from nestgraph.policies.registry import POLICIES
from tests.cli.running import TINY, run

MINE = """
from __future__ import annotations

from typing import ClassVar, Literal

from nestgraph.edits import Batch
from nestgraph.policies import MagnitudePruning, Policy

class Plain(Policy):
    '''No policy by itself.'''

class Mine(MagnitudePruning):
    kind: Literal["mine"] = "mine"
    places: Places = ()

Places = tuple[str, ...]
"""


pytestmark = pytest.mark.usefixtures("plain")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.setattr(POLICIES, "registered", {})
    monkeypatch.chdir(tmp_path)
    recipe = TINY.format(edits=1).replace('"magnitude_pruning"', '"mine"')
    (tmp_path / "tiny.toml").write_text(recipe)
    (tmp_path / "mine.py").write_text(MINE)
    yield
    for name in [name for name in sys.modules if name.startswith("nestgraph_plugin_")]:
        del sys.modules[name]


def test_a_run_with_a_policy_of_ones_own(tmp_path):
    refused = run("synthesize", "tiny.toml", "--out", "run")
    assert (refused.exit_code, "got 'mine'" in refused.stderr) == (2, True)
    done = run("synthesize", "tiny.toml", "--out", "run", "--plugin", "mine.py")
    assert done.exit_code == 0, done.stderr
    policies = json.loads((tmp_path / "run" / "recipe.json").read_text())["pruning"]["policies"]
    assert [policy["kind"] for policy in policies] == ["mine"]
    POLICIES.registered.clear()
    for words in (("resume", "run"), ("report", "run"), ("resume", "run", "--plugin", "mine.py")):
        assert run(*words).exit_code == 0, "a finished run is read with and without the file"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1", "expected classes of policies or tasks"),
        ("from nestgraph.policies import MagnitudePruning", "expected classes of policies or tasks"),
        ("raise SystemExit(3)", "expected a Python file that runs, got SystemExit: 3"),
        ("def f(:", "got SyntaxError"),
        (MINE.replace('"mine"', '"rigl"'), "register: expected a kind of its own, got 'rigl', which is built in"),
    ],
)
def test_files_that_do_not_serve(tmp_path, text, words):
    (tmp_path / "mine.py").write_text(text)
    told = run("synthesize", "tiny.toml", "--out", "run", "--plugin", "mine.py")
    assert told.exit_code == 2
    assert words in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_no_python(tmp_path):
    (tmp_path / "mine.txt").write_text(MINE)
    told = run("resume", "run", "--plugin", "mine.txt")
    assert "mine.txt: expected a file of Python, .py, got another" in told.stderr
