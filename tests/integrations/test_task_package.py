"""A package that offers a task, built and installed: its task by name, killed and gone on with, and gone."""

import json

import pytest

from tests.integrations.installed import MAIN, check_refused_without, install, killed_and_gone_on, python
from tests.tasks.test_registry import MODULE

PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "nestgraph-cautious"
version = "1.0"
requires-python = ">=3.11"

[project.entry-points."nestgraph.tasks"]
cautious = "nestgraph_cautious:Cautious"
"""
RECIPE = """
name = "cautious"
data = { kind = "csv", path = "rows.csv", target = "y" }
task = { kind = "cautious", factor = 2.0 }
seed_network = { kind = "mlp", neurons = [6], density = 0.6, batch_norm = false }
training = { optimizer = "adam", learning_rate = 0.01, threads = 1, batch_size = 16 }
seed_epochs = 3
pruning = { max_edits = 3, tolerance = 0.5, policies = [{ kind = "magnitude_pruning" }] }
"""
KILLED = """
import os, signal
import nestgraph as ng

def end(row, left):
    if row.phase == "prune":
        os.kill(os.getpid(), signal.SIGKILL)

ng.synthesize(ng.load_recipe("mine.toml"), "cut", progress=end, save_every=0)
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    source = folder / "nestgraph-cautious"
    source.mkdir()
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "nestgraph_cautious.py").write_text(MODULE)
    (folder / "mine.toml").write_text(RECIPE)
    rows = [f"{a},{b},{a - 2 * b + 0.01 * a * b}" for a in range(9) for b in range(9)]
    (folder / "rows.csv").write_text("\n".join(["a,b,y", *rows]) + "\n")
    install(source)
    return folder


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_task_of_an_installed_package_from_beginning_to_end(world):
    expected = "task: expected a task whose code is known, got one of kind 'cautious'"
    environment = killed_and_gone_on(world, KILLED, expected, "nestgraph-cautious 1.0")
    assert environment["tasks"] == {"cautious": {"name": "nestgraph-cautious", "version": "1.0"}}
    evaluated = python(world, MAIN, "evaluate", "whole/final.json", "--data", "whole/recipe.json", "--json")
    assert "worst" in json.loads(evaluated.stdout), evaluated.stderr
    for installed in (True, False):
        out = world / f"docs-{installed}"
        told = python(world, MAIN, "results", "whole", "--docs", out, installed=installed)
        assert told.returncode == 0, told.stderr
        assert "cautious" in (out / "results.md").read_text()
        assert python(world, MAIN, "report", "whole", "--out", out / "r.html", installed=installed).returncode == 0
    check_refused_without(world)
