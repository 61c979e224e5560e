"""The package of docs/own-policies.md, built and installed: its policy by name, killed and gone on with, and gone."""

import json
import re

import pytest

from tests.integrations.installed import MAIN, check_refused_without, killed_and_gone_on, python
from tests.integrations.package import PAGE, install

KILLED = """
import os, signal
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


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_policy_of_an_installed_package_from_beginning_to_end(world):
    assert list((world / "site").glob("nestgraph_activity-1.0.dist-info"))
    expected = "pruning.policies[0]: expected a policy whose code is known, got one of kind 'activity_pruning'"
    environment = killed_and_gone_on(world, KILLED, expected, "nestgraph-activity 1.0")
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
    check_refused_without(world)
