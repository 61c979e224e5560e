"""Runs that are killed at any instant end as runs that nothing disturbed; what is broken on purpose does not."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nestgraph.loop.decisions import PHASES

pytestmark = pytest.mark.timeout(0)  # the harness ends children that hang; how many there are is what takes hours
ROOT = Path(__file__).parent.parent.parent
FEW = 15
SOON = 20
"""Events (training steps and calls that write) by which a run must have ended after a signal."""

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}  # forks outlive no threads


def reports(*words: object) -> dict:
    command = [sys.executable, "-m", "tests.soak.harness", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_kills(found: dict, kills: int) -> None:
    assert found["failures"] == 0, found["shown"]
    assert found["killed"] >= kills
    assert set(found["phases"]) == set(PHASES)
    assert found["saving"] >= kills / 10
    assert found["chained"] > 0


def test_a_few_kills_and_signals_change_nothing_and_what_is_broken_on_purpose_is_found():
    # one test: two processes that shared it would each do all of its forked runs
    few = reports("--seed", 6, "--kills", FEW, "--signals", 1, "--controls", "none", "optimizer")
    check_kills(few["none"], FEW)
    assert few["none"]["signalled"] == 3  # SIGINT, SIGTERM, SIGHUP
    assert few["none"]["latest"] < SOON
    assert few["optimizer"]["failures"] > 0
    assert "other bytes in" in few["optimizer"]["shown"][0]


CONTROLS = {
    "adamw": {"naive": "exit code 99", "random": "other bytes in", "optimizer": "other bytes in"},
    "muon": {"optimizer": "other bytes in"},
    "half": {"steps": "other bytes in"},
    "average": {"steps": "other bytes in", "outcomes": "other bytes in"},
    "loader": {"place": "other bytes in", "optimizer": "other bytes in"},
    "table": {"rows": "other bytes in", "optimizer": "other bytes in"},
    "joined": {"optimizer": "other bytes in"},
    "package": {"package": "expected a policy whose code is known", "random": "other bytes in"},
}
"""By variant what may not be forgotten, and how each control fails: a file that cannot be read, or other weights."""


@pytest.mark.slow
@pytest.mark.parametrize("variant", CONTROLS)
def test_kills_change_nothing_whatever_a_run_is_of(variant):
    controls = CONTROLS[variant]
    kills = FEW if variant == "loader" else 30  # workers are processes of their own, which take their time
    few = ("--seed", 3, "--kills", kills, "--signals", 1)
    found = reports(*few, "--variant", variant, "--controls", "none", *controls)
    check_kills(found["none"], kills)
    assert found["none"]["signalled"] == 3
    for control, words in controls.items():
        assert any(words in failure for failure in found[control]["shown"]), found[control]


@pytest.mark.slow
def test_a_hundred_kills_change_nothing():
    check_kills(reports("--kills", 100, "--seed", 2)["none"], 100)


@pytest.mark.slow
@pytest.mark.nightly
def test_a_thousand_kills_change_nothing():
    found = reports("--kills", 1000, "--seed", 1)["none"]
    check_kills(found, 1000)
    assert {trap.split()[0] for trap in found["traps"]} == {"link", "truncation", "deletion"}
