"""Runs as people start them: by `torchrun`, with Ctrl-C and SIGTERM, and gone on with by as many processes or more."""

import signal
import time
from pathlib import Path

import pytest

from tests.parallel.launching import ended, torchrun
from tests.parallel.test_ranks import assert_same_run

RECIPE = Path(__file__).parent / "digits.toml"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def verb(count, *words):
    ((code, out, err),) = ended(torchrun(count, "nestgraph", *words))
    return code, out, err


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return folder, *verb(2, "synthesize", RECIPE, "--out", folder)


def test_the_first_process_alone_tells_of_it(undisturbed):
    _, code, out, err = undisturbed
    assert code == 0, err
    assert out.count("final ") == 1
    assert err.count("next: nestgraph evaluate") == 1
    assert "process 1" not in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_at_one_point_from_which_they_go_on_to_the_bit(tmp_path, undisturbed, number):
    folder = tmp_path / "run"
    process = torchrun(2, "nestgraph", "synthesize", RECIPE, "--out", folder)
    rows = folder / "metrics.jsonl"
    while process.poll() is None and not (rows.exists() and rows.read_text().count("\n") >= 2):
        time.sleep(0.05)
    process.send_signal(number)
    ((code, _, err),) = ended(process)
    assert code != 0
    assert (folder / "state" / "begun.json").exists(), err
    assert "interrupted: go on with: nestgraph resume" in err
    code, _, err = verb(1, "resume", folder)
    assert code != 0
    assert "processes (expected 2, got 1)" in err
    code, _, err = verb(2, "resume", folder)
    assert code == 0, err
    assert_same_run(folder, undisturbed[0])


def test_other_processes_may_go_on_where_that_is_allowed(tmp_path, undisturbed):
    folder = tmp_path / "run"
    process = torchrun(2, "nestgraph", "synthesize", RECIPE, "--out", folder)
    rows = folder / "metrics.jsonl"
    while process.poll() is None and not (rows.exists() and rows.read_text().count("\n") >= 2):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    ended(process)
    code, _, err = verb(3, "resume", folder, "--allow-changes")
    assert code == 0, err
    before, after = ((place / "metrics.jsonl").read_text().splitlines() for place in (undisturbed[0], folder))
    assert before[:2] == after[:2]


def test_an_error_of_all_is_said_once(tmp_path):
    (tmp_path / "thesis.txt").touch()
    code, _, err = verb(2, "synthesize", RECIPE, "--out", tmp_path)
    assert code != 0
    assert err.count("expected a new or empty folder, got one with files") == 1
