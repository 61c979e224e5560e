"""A signal is never lost, wherever in a run it comes: it ends the run, or the process once the run is complete."""

import os
import signal
import threading

import pytest

from nestgraph.cli.app import app
from nestgraph.loop import synthesis, training
from nestgraph.loop.resuming import resume
from nestgraph.loop.synthesis import synthesize
from nestgraph.loop.trainer import Trainer
from nestgraph.runs import interruption, run_folder
from nestgraph.runs.interruption import Interrupted, signals_noted
from nestgraph.runs.run_folder import RunFolder
from tests.loop.test_resuming import contents
from tests.runs.plain import plain  # noqa: F401  (a fixture of all tests here)
from tests.runs.test_run_folders import SHORT

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return contents(synthesize(SHORT, tmp_path_factory.mktemp("whole") / "run", seed=3).folder)


MOMENTS = {
    "as the folder opens": (RunFolder, "__enter__", 1),
    "in a batch": (training, "step", 3),
    "in a measurement": (Trainer, "measure", 2),
    "as a network is kept": (RunFolder, "keep", 2),
    "as a stage is measured": (synthesis, "_stage", 2),
    "as the result is written": (RunFolder, "finish", 1),
    "as what is left is dropped": (run_folder, "drop_state", 2),
    "as the folder closes": (RunFolder, "__exit__", 1),
}
"""What is going on, and at which call of it a signal comes."""


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_signal_ends_the_process_wherever_it_comes(whole, tmp_path, monkeypatch, moment):
    owner, name, call = MOMENTS[moment]
    known, calls, number = getattr(owner, name), [], SIGNALS[len(moment) % 3]

    def told(*arguments, **options):
        calls.append(name)
        if len(calls) == call:
            signal.raise_signal(number)
        return known(*arguments, **options)

    monkeypatch.setattr(owner, name, told)
    with pytest.raises(Interrupted) as caught:
        synthesize(SHORT, tmp_path / "run", seed=3)
    assert caught.value.signal == number
    assert not interruption.wished()
    complete = (tmp_path / "run" / "result.json").exists()
    assert ("complete" if complete else "goes on") in str(caught.value)
    resume(tmp_path / "run")
    assert contents(tmp_path / "run") == whole


def test_a_signal_at_the_end_of_one_run_keeps_the_next_from_beginning(tmp_path, monkeypatch, capsys):
    finish = RunFolder.finish

    def told(*arguments):
        finish(*arguments)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(RunFolder, "finish", told)
    (tmp_path / "short.json").write_text(SHORT.text)
    with pytest.raises(SystemExit) as ended:
        app(["synthesize", str(tmp_path / "short.json"), "--seeds", "2", "--out", str(tmp_path / "runs")])
    assert ended.value.code == 128 + signal.SIGTERM
    assert f"the run in {tmp_path / 'runs' / 'seed-0'} is complete" in capsys.readouterr().err.replace("\n", "")
    assert sorted(os.listdir(tmp_path / "runs")) == ["seed-0"]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_wish_that_no_point_granted_is_granted_at_the_end(number):
    with pytest.raises(Interrupted) as caught, signals_noted():
        signal.raise_signal(number)
    assert caught.value.exit_code == 128 + number
    assert not interruption.wished()


def test_a_run_within_a_run_leaves_the_wish_to_the_outer_one():
    def inner():
        with signals_noted():
            assert interruption.wished()

    def outer():
        with signals_noted():
            signal.raise_signal(signal.SIGTERM)
            with pytest.raises(Interrupted):
                inner()
            assert interruption.wished()

    with pytest.raises(Interrupted):
        outer()
    assert not interruption.wished()


def test_a_run_in_another_thread_leaves_the_wish_to_that_which_noted_it():
    ended = []

    def other():
        try:
            with signals_noted():
                interruption.end_if_wished()
        except Interrupted as error:
            ended.append(error.signal)

    def main():
        with signals_noted():
            signal.raise_signal(signal.SIGHUP)
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            assert interruption.wished()

    with pytest.raises(Interrupted):
        main()
    assert ended == [signal.SIGHUP]
    assert not interruption.wished()


def test_an_error_of_the_run_is_told_and_not_hidden_by_a_signal():
    def failing():
        with signals_noted():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("of the run")

    with pytest.raises(ValueError, match="of the run"):
        failing()
    assert not interruption.wished()
