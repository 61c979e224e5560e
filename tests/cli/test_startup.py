"""Verbs load no more than they need: counted in fresh processes."""

import json
import subprocess
import sys

import pytest

from nestgraph.cli.app import app
from tests.cli.golden import VERBS

HEAVY = "torch", "numpy", "networkx", "matplotlib", "sklearn", "rich.console"
FEW = 500
"""Modules that help may load, Python's own included; torch alone is more than a thousand."""

PROGRAM = """
import json, sys
names, verbs = json.loads(sys.argv[1])
from nestgraph.cli.app import app
codes = []
for words in verbs:
    try:
        app(words)
    except SystemExit as end:
        codes.append(end.code or 0)
with open("loaded", "w") as file:
    json.dump([codes, [name for name in names if name in sys.modules], len(sys.modules)], file)
"""


def loaded(folder, names, *verbs):
    """The exit codes of verbs, which of some modules their process loads, and how many it loads in all."""
    command = [sys.executable, "-c", PROGRAM, json.dumps([names, [words.split() for words in verbs]])]
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return json.loads((folder / "loaded").read_text())


def test_all_verbs_are_tested():
    assert set(VERBS) == {command.name or command.callback.__name__ for command in app.registered_commands}


def test_importing_the_command_line_loads_nothing_heavy(tmp_path):
    assert loaded(tmp_path, [*HEAVY, "pydantic", "nestgraph.graph"])[1] == []


@pytest.mark.parametrize("words", ["--help", "synthesize --help"])
def test_help_loads_little_and_nothing_heavy(words, tmp_path):
    codes, names, modules = loaded(tmp_path, [*HEAVY, "nestgraph.graph"], words)
    assert (codes, names) == ([0], [])
    assert modules < FEW


def test_no_help_loads_anything_heavy(tmp_path):
    codes, names, _ = loaded(tmp_path, [*HEAVY, "nestgraph.graph"], *(f"{verb} --help" for verb in VERBS))
    assert (codes, names) == ([0] * len(VERBS), [])


def test_plain_verbs_do_not_load_torch(snapshots):
    (snapshots / "edges.csv").write_text("x,y,1")
    (snapshots / "journal.jsonl").touch()
    verbs = {
        "summary before.json": 0,
        "verify before.json": 0,
        "diff before.json after.json": 1,
        "edit before.json edit.json --out new.json": 0,
        "edit before.json edit.json --preview": 0,
        "edit before.json journal.jsonl --out new.json": 0,
        "draw before.json picture.svg": 0,
        "draw before.json picture.png --view layers": 0,
        "schema recipe": 0,
        "data": 0,
        "evaluate before.json --data mnist": 1,  # does not fit, which is known without torch
        "import edges.csv --out edges.json": 0,
    }
    codes, names, _ = loaded(snapshots, ["torch", "sklearn", "nestgraph.spec"], *verbs)
    assert (codes, names) == (list(verbs.values()), ["nestgraph.spec"])


def test_pictures_as_svg_do_not_load_matplotlib(snapshots):
    verbs = [f"draw before.json {view}.svg --view {view}" for view in ("layers", "neurons", "matrix")]
    codes, names, _ = loaded(snapshots, ["matplotlib"], *verbs, "diff before.json after.json --draw diff.svg")
    assert (codes, names) == ([0, 0, 0, 1], [])
