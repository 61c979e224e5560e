"""The package of docs/own-policies.md, built and installed: its policy by name, killed and gone on with, and gone."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integrations.package import PAGE, install

ROOT = Path(__file__).parents[2]
PLAIN = """
import os, signal
from nestgraph.runs import run_folder
run_folder.draw_stage = run_folder.draw_run = lambda *_: None
"""
MAIN = PLAIN + "from nestgraph.cli import main\nmain()"
KILLED = """
import nestgraph as ng

def end(row, left):
    if row.phase == "prune" and row.step >= 3:
        os.kill(os.getpid(), signal.SIGKILL)

ng.synthesize(ng.load_recipe("mine.toml"), "cut", progress=end, save_every=0)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A working folder, and the folder that the package is installed in."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "mine.toml").write_text(re.search(r'RECIPE = """\n(.*?)"""', PAGE, re.DOTALL)[1])
    install(folder)
    return folder


def python(folder, code, *words, installed=True):
    paths = [str(ROOT), *([str(folder / "site")] if installed else [])]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def contents(folder):
    names = {path.name for path in folder.iterdir() if path.is_file()} - {"timing.jsonl", "manifest.json"}
    return {name: (folder / name).read_bytes() for name in names}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_policy_of_an_installed_package_from_beginning_to_end(world):
    assert list((world / "site").glob("nestgraph_activity-1.0.dist-info"))
    whole = python(world, MAIN, "synthesize", "mine.toml", "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    cut = python(world, PLAIN + KILLED)
    assert cut.returncode == -signal.SIGKILL, cut.stderr

    gone = python(world, MAIN, "resume", "cut", installed=False)
    assert (gone.returncode, len(gone.stderr.splitlines())) == (2, 1)
    assert (
        "pruning.policies[0]: expected a policy whose code is known, got one of kind 'activity_pruning'" in gone.stderr
    )
    assert "nestgraph-activity 1.0" in gone.stderr
    on = python(world, MAIN, "resume", "cut")
    assert on.returncode == 0, on.stderr
    assert contents(world / "cut") == contents(world / "whole")
    environment = json.loads((world / "whole" / "environment.json").read_text())
    assert environment["policies"] == {"activity_pruning": {"name": "nestgraph-activity", "version": "1.0"}}

    schema = json.loads(python(world, MAIN, "schema", "recipe").stdout)
    policies = schema["$defs"]["PruningOptions"]["properties"]["policies"]["items"]["oneOf"]
    assert "floor" in policies[-1]["properties"]
    for installed in (True, False):
        evaluated = python(
            world, MAIN, "evaluate", "whole/final.json", "--data", "digits", "--json", installed=installed
        )
        assert evaluated.returncode == 0, evaluated.stderr
        out = world / f"docs-{installed}"
        told = python(world, MAIN, "results", "whole", "--docs", out, installed=installed)
        assert told.returncode == 0, told.stderr
        assert "by-activity" in (out / "results.md").read_text()
        assert python(world, MAIN, "report", "whole", "--out", out / "r.html", installed=installed).returncode == 0
    refused = python(world, MAIN, "synthesize", "mine.toml", "--out", "again", installed=False)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert not (world / "again").exists()
