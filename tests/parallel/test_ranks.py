"""Several processes that train one network do what one does, and find out when they do not hold the same."""

import json
import re
import signal

import pytest

import nestgraph as ng
from nestgraph.errors import ProcessError
from nestgraph.parallel.ranks import TIMEOUT, joined
from nestgraph.runs.records import Records
from tests.parallel.launching import ended, found, killed, together

WRONG = {
    "a_buffer": "ProcessError: expected after training grow 3 all processes to hold one network with one state, got "
    "another in process 1 than in process 0: layer 'fc1' .*",
    "a_plan": "ProcessError: expected after prune 2 connections .* process 1 than in process 0: layer 'fc1' .*",
    "a_moment": "ProcessError: expected after training grow 4 .* 1 than in process 0: the optimizer's .*exp_avg: .*",
    "a_dataset": r"ProcessError: expected process 1 to begin as process 0, got other facts: data\..*sha256 .*",
    "a_recipe": r"ProcessError: expected process 1 .* recipe.training.learning_rate \(expected 0.01, got 0.02\): .*",
    "a_training": "ProcessError: expected after .* all processes .* process 1 than in process 0: layer 'fc1' .*",
    "a_folder": "SnapshotError: .*taken: expected a new or empty folder, got one with files.*",
    "a_batch": "DataError: expected batches of 2 samples or more, one for each process, got one of 1: .*",
    "an_error": "TrainingError: a policy: expected one thing, got another",
    "a_bug": "ZeroDivisionError: division by zero|ProcessError: the first process ended with ZeroDivisionError: .*",
}
"""What both processes say of each fault of `tests/parallel/cases.py`."""


@pytest.mark.timeout(200)  # two processes load torch
def test_two_processes_do_what_one_does_and_find_out_when_they_part(tmp_path):
    """All in one, as starting the processes is most of it; networks in shards are held to one process there, too."""
    answers = found("quick", tmp_path)
    for answer in answers:
        assert_as_one(answer["one_and_several"])
        for fault, words in WRONG.items():
            assert re.fullmatch(words, answer["faults"][fault], re.DOTALL), answer["faults"][fault]
    assert answers[0]["one_and_several"] == answers[1]["one_and_several"]
    assert answers[0]["run"] == answers[1]["run"]
    assert_written(tmp_path / "run", answers[0]["run"]["stages"])


def assert_as_one(told):
    """Gradients, statistics, evidence and plans are those of one process that has every batch."""
    for name, value in told.items():
        if name.endswith("plans"):
            assert value[0] == value[1], name
        else:
            assert value < 1e-10, (name, value)


def assert_written(folder, stages):
    """The first process has written the run."""
    records = Records.read(folder)
    assert records.environment["processes"] == 2
    assert [(stage.stage, stage.digest, stage.test) for stage in records.result.stages] == [*map(tuple, stages)]
    assert records.entries[-1].digest == ng.load(folder / "final.json").digest == stages[-1][1]


def test_a_process_that_nobody_started_with_others_is_alone():
    ranks = joined()
    assert (ranks.count, ranks.leads, ranks.launched) == (1, True, False)
    assert ranks.led(lambda: 5) == 5
    assert ranks.gathered(5) == [5]


@pytest.mark.parametrize("given", ["soon", "0", "-1", "nan"])
def test_a_timeout_that_is_none_is_refused(monkeypatch, given):
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", TIMEOUT: given}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ProcessError, match=f"{TIMEOUT} expected seconds above 0, got {given}"):
        joined()


def test_others_that_are_not_there_are_said(monkeypatch):
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(TIMEOUT, "1")
    with pytest.raises(ProcessError, match=r"process 1: expected 2 processes to meet at MASTER_ADDR 127.0.0.1, got "):
        joined()
    monkeypatch.setenv("WORLD_SIZE", "many")
    assert joined().count == 1


KINDS = {
    "run": {"connection_growth", "neuron_growth", "magnitude_pruning", "unit_pruning"},
    "images": {"connection_growth", "map_growth", "magnitude_pruning", "unit_pruning", "area_pruning"},
}
"""What the runs of a case do, beside shifts."""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("case", ["run", "images"])
def test_every_digest_is_equal_on_all_processes_however_many(tmp_path, case, count):
    everyone = found(case, tmp_path, count)
    assert all(each == everyone[0] for each in everyone)
    entries = Records.read(tmp_path / "run").entries
    done = {one.policy for entry in entries for one in entry.proposals if not one.idle}
    assert done >= KINDS[case], done
    assert any("relu" in entry.edit.words for entry in entries if entry.edit is not None)


def lose(folder, **plan):
    """What the processes of a run say of which one is lost; the one that is says nothing."""
    (folder / "lost.json").write_text(json.dumps(plan))
    processes = together(2, "tests.parallel.cases", "lost", folder, **{TIMEOUT: "10"})
    lost = processes[plan["process"]] if plan["process"] in (0, 1) else None
    try:
        told = ended(*(each for each in processes if each is not lost))
    finally:
        if lost:
            killed(lost)
    assert not any(code for code, *_ in told), told
    return [json.loads((folder / f"{n}.json").read_text()) for n, each in enumerate(processes) if each is not lost]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_is_lost_in_a_collective_leaves_no_other_waiting(tmp_path, number):
    (words,) = lose(tmp_path, process=1, at=40, signal=number)
    assert words.startswith("process 0 of 2: expected the others to answer, got "), words


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_goes_on_to_the_bit_after_one_process_was_killed_at_any_of_20_instants(tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    undisturbed, _ = lose(whole, process=None, at=0, signal=0)
    for place in range(20):
        folder = tmp_path / str(place)
        folder.mkdir()
        lose(folder, process=place % 2, at=1 + place * undisturbed["words"] // 20, signal=signal.SIGKILL)
        for answer in found("run", folder):
            assert answer["stages"] == undisturbed["stages"], place
        assert_same_run(folder / "run", whole / "run")


def assert_same_run(one, other):
    """The same files but for times, and for what says that it was resumed."""
    names, known = ({path.name for path in folder.iterdir() if path.is_file()} for folder in (one, other))
    assert names == known
    for name in names - {"timing.jsonl", "environment.json"}:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name
