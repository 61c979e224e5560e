"""Runs that go on: what they refuse, what they drop, and what they do when training fails."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch
from PIL import Image

from nestgraph.data.datasets import load_image_folder
from nestgraph.data.image_folder import FolderOptions
from nestgraph.errors import SnapshotError, TrainingError
from nestgraph.loop import checkpoint, decisions, training
from nestgraph.loop.checkpoint import Pace
from nestgraph.loop.decide import fold
from nestgraph.loop.engine import Engine
from nestgraph.loop.environment import differences, fingerprints
from nestgraph.loop.resuming import begin_or_resume, resume
from nestgraph.loop.synthesis import synthesize
from nestgraph.loop.trainer import Score, Trainer
from nestgraph.lowering import lower, proportion
from nestgraph.lowering.sparse import EXECUTION
from nestgraph.runs import interruption, state_files
from nestgraph.runs.growing import GrowingFile
from nestgraph.runs.interruption import Interrupted, signals_noted
from nestgraph.runs.locks import Lock
from nestgraph.runs.run import Run, read_metrics
from nestgraph.snapshot import JournalEntry, read_entry, read_journal
from nestgraph.snapshot.journal_entry import JournalStep
from tests.loop.test_synthesis import of_journal, phases, varied

SHORT = varied(growth={"max_edits": 2}, pruning={"max_edits": 2}, finish_epochs=1)
pytestmark = pytest.mark.usefixtures("plain")


def interrupt_in(phase, number=signal.SIGINT):
    """What asks a run to end at its first measurement in a phase."""

    def stop(row, _left):
        if row.phase == phase:
            os.kill(os.getpid(), number)

    return stop


@pytest.fixture
def stopped(tmp_path):
    """The folder of a run that was interrupted in growth."""
    with pytest.raises(Interrupted) as caught:
        synthesize(SHORT, tmp_path / "run", seed=3, progress=interrupt_in("grow"))
    assert (caught.value.signal, caught.value.exit_code) == (signal.SIGINT, 130)
    return tmp_path / "run"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "timing.jsonl"}


def everything(folder):
    """What lies in a folder, at any depth: a folder as None, a link as where it leads, a file by its content."""
    return {
        path.relative_to(folder): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(folder.rglob("*"))
    }


# -- the same bits ---------------------------------------------------------------------------------------


def test_a_run_that_is_interrupted_in_each_phase_ends_with_the_same_bytes(tmp_path):
    recipe = varied(SHORT, training={"recalibration_batches": 2})
    whole = synthesize(recipe, tmp_path / "whole", seed=3)
    numbers = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
    for phase, number in zip(("seed", "grow", "shift", "prune", "finish"), numbers, strict=True):
        place = tmp_path / phase
        with pytest.raises(Interrupted, match=r"interrupted; resume\(.*\) goes on") as caught:
            synthesize(recipe, place, seed=3, progress=interrupt_in(phase, number))
        assert caught.value.exit_code == 128 + number
        done = resume(place)
        assert contents(place) == contents(whole.folder)
        assert done.result.model_copy(update={"seconds": 0.0}) == whole.result.model_copy(update={"seconds": 0.0})
        assert [row.seconds for row in done.metrics] == sorted(row.seconds for row in done.metrics)
        assert done.result.seconds >= done.metrics[-1].seconds >= 0


def test_a_run_whose_weights_are_vectors_is_as_long_and_resumes_to_the_same_bytes(tmp_path, monkeypatch):
    """Whether a layer trains as a vector is a matter of its size alone; here all do."""
    masked = synthesize(SHORT, tmp_path / "masked", seed=3)
    monkeypatch.setattr(proportion, "WORTH", np.inf)
    whole = synthesize(SHORT, tmp_path / "whole", seed=3)
    assert all(choice.sparse for choice in lower(whole.network).meta[EXECUTION].values())
    assert [row.phase for row in whole.metrics] == [row.phase for row in masked.metrics]
    for phase in ("grow", "finish"):
        with pytest.raises(Interrupted):
            synthesize(SHORT, tmp_path / phase, seed=3, progress=interrupt_in(phase))
        resume(tmp_path / phase)
        assert contents(tmp_path / phase) == contents(whole.folder)


def test_the_journal_up_to_each_point_folds_to_the_state_that_the_run_had_there(tmp_path, monkeypatch):
    taken, engines, point = [], [], Engine._point

    def noted(self):
        journal = read_journal(self._folder.folder / "journal.jsonl")
        taken.append((self.state, self.network.digest, len(journal)))
        engines.append(self)
        return point(self)

    monkeypatch.setattr(Engine, "_point", noted)
    run = synthesize(SHORT, tmp_path / "run", seed=3, save_every=0)
    entries, floor = read_journal(run.folder / "journal.jsonl"), engines[0]._trainer.floor
    assert len(taken) == len(run.metrics)
    for state, digest, count in taken:
        assert fold(SHORT, floor, [entry.outcome for entry in entries[:count] if entry.outcome]) == state
        assert entries[count - 1].digest == digest


def forged(place, change):
    """Exchange the lines of the journal up to the last point, and make the point believe that they are its own."""
    state, journal = checkpoint.RunState(place, Pace()), place / "journal.jsonl"
    point = state.latest()
    kept = point.progress.kept
    lines = journal.read_bytes()[: kept.files["journal.jsonl"].bytes].splitlines(keepends=True)
    entries = [read_entry(line, number, "journal.jsonl") for number, line in enumerate(lines, 1)]
    fields = [{name: getattr(entry, name) for name in JournalStep.model_fields} for entry in change(entries)]
    steps = [JournalStep(**each | {"sequence": number}) for number, each in enumerate(fields, 1)]
    journal.write_bytes(b"".join(JournalEntry.of(step).model_dump_json().encode() + b"\n" for step in steps))
    part = GrowingFile(journal, lambda *_: None, b"{").part()
    kept = kept.model_copy(update={"files": {**kept.files, "journal.jsonl": part}})
    state.keep(checkpoint.Point(point.network, point.bench, point.progress.model_copy(update={"kept": kept})))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda entries: entries[:-1], "a run that awaits 'training'|the end of a step"),
        (lambda entries: [*entries, entries[-1]], "another run"),
        (lambda entries: [one for one in entries if not one.outcome or one.outcome.kind != "proposed"], "another run"),
        (
            lambda entries: [*entries[:-1], entries[-1].model_copy(update={"digest": "0" * 64})],
            "got network 000000000000",
        ),
    ],
)
def test_a_journal_that_does_not_lead_to_the_point_is_refused(stopped, change, words):
    forged(stopped, lambda entries: entries)
    forged(stopped, change)
    before = everything(stopped)
    with pytest.raises(SnapshotError, match=words):
        resume(stopped)
    assert everything(stopped) == before


def test_a_training_goes_on_between_any_two_groups_of_batches(tmp_path, monkeypatch):
    recipe = varied(SHORT, data={"distortion": {"degrees": 10.0}}, training={"batch_size": 40})
    calls, deadly, step = [0], set[int](), training.step

    def counted(*arguments):
        calls[0] += 1
        if calls[0] in deadly:
            os.kill(os.getpid(), signal.SIGINT)
        return step(*arguments)

    monkeypatch.setattr(training, "step", counted)
    whole = synthesize(recipe, tmp_path / "whole", seed=3)
    steps, calls[0], place = calls[0], 0, tmp_path / "run"
    deadly |= {9, 30, 100, steps - 40}
    with pytest.raises(Interrupted):
        synthesize(recipe, place, seed=3, save_every=0)
    assert (place / "state" / "training-0.safetensors").exists()
    for _ in range(len(deadly) - 1):
        with pytest.raises(Interrupted):
            resume(place, save_every=0)
    resume(place)
    assert calls[0] == steps  # none was done twice
    assert contents(place) == contents(whole.folder)


def test_a_lost_training_point_only_costs_time(stopped):
    kept = stopped / "state"
    for file in kept.glob("training-*"):
        file.write_bytes(b"damaged")
    assert resume(stopped).result.stages


def test_a_damaged_point_is_passed_over_for_the_one_before(tmp_path, stopped):
    whole = synthesize(SHORT, tmp_path / "whole", seed=3)
    with pytest.raises(Interrupted):
        resume(stopped, progress=interrupt_in("prune"), save_every=0)
    newest, before = json.loads((stopped / "state" / "current.json").read_text())["steps"]
    assert before < newest
    damaged = stopped / "state" / f"step-{newest}" / "progress.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    with pytest.warns(UserWarning, match="resuming from the point before it"):
        resume(stopped)
    assert contents(stopped) == contents(whole.folder)


def test_without_any_point_that_is_whole_there_is_a_sentence(stopped):
    for file in (stopped / "state").glob("step-*/network.json"):
        file.write_text("{}")
    with pytest.warns(UserWarning, match="before it"), pytest.raises(SnapshotError, match=r"network\.json: "):
        resume(stopped)


def test_a_torn_last_line_is_dropped_and_a_broken_one_in_the_middle_is_an_error(tmp_path, stopped):
    whole = synthesize(SHORT, tmp_path / "whole", seed=3)
    journal = stopped / "journal.jsonl"
    with journal.open("ab") as file:
        file.write(b'{"sequence": 99')
    broken = journal.read_bytes().replace(b'"phase":"seed"', b'"phase":"sown"', 1)
    with pytest.warns(UserWarning, match="dropped the last line"):
        resume(stopped)
    assert contents(stopped) == contents(whole.folder)
    with pytest.raises(Interrupted):
        synthesize(SHORT, stopped, seed=3, progress=interrupt_in("grow"), overwrite=True)
    journal.write_bytes(broken)
    before = everything(stopped)
    with pytest.raises(SnapshotError, match=r"line 1: checksum"):
        resume(stopped)
    assert everything(stopped) == before
    journal.write_bytes(b"")
    with pytest.raises(SnapshotError, match="the file was cut"):
        resume(stopped)


# -- refusals --------------------------------------------------------------------------------------------


def test_a_changed_recipe_is_refused_with_the_difference(stopped):
    changed = varied(SHORT, growth={"size_limit": 301}, seed_epochs=4)
    (stopped / "recipe.json").write_text(changed.model_dump_json())
    with pytest.raises(SnapshotError) as caught:
        resume(stopped, allow_changes=True)
    assert "seed_epochs (expected 3, got 4); growth.size_limit (expected 300, got 301)" in str(caught.value)


def test_a_changed_dataset_is_refused_with_the_difference(stopped):
    facts = checkpoint.RunState(stopped, Pace()).begun()
    document = facts.model_dump(mode="json")
    document["environment"]["data"]["validation"]["samples"] = 358
    (stopped / "state" / "begun.json").write_text(json.dumps(document))
    with pytest.raises(SnapshotError, match=r"data\.validation\.samples \(expected 358, got 359\)"):
        resume(stopped, allow_changes=True)


def test_a_changed_number_of_threads_is_noticed(tmp_path):
    recipe, before = varied(SHORT, training={"threads": None}), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with pytest.raises(Interrupted):
            synthesize(recipe, tmp_path / "run", progress=interrupt_in("grow"))
        torch.set_num_threads(2)
        with pytest.raises(SnapshotError, match=r"threads \(expected 1, got 2\)"):
            resume(tmp_path / "run")
    finally:
        torch.set_num_threads(before)


def test_two_writers_of_one_run_are_refused(stopped):
    program = "import sys\nfrom pathlib import Path\nfrom nestgraph.runs.locks import Lock\n"
    program += f"with Lock(Path({str(stopped)!r})):\n    print('mine', flush=True)\n    sys.stdin.read()\n"
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with other:
        assert other.stdout.readline() == "mine\n"
        for attempt in (lambda: resume(stopped), lambda: synthesize(SHORT, stopped, overwrite=True)):
            with pytest.raises(SnapshotError, match=f"expected no other writer here, got process {other.pid}"):
                attempt()
        other.kill()  # the lock file stays, and is nobody's
    assert (stopped / ".lock").exists()
    assert resume(stopped).result.stages
    assert not (stopped / ".lock").exists()


def test_what_a_killed_writer_forked_holds_no_lock(tmp_path):
    program = f"""
import os, sys, time
from pathlib import Path
from nestgraph.runs.locks import Lock
with Lock(Path({str(tmp_path)!r})):
    if not os.fork():
        print(os.getpid(), flush=True)
    time.sleep(60)
"""
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with writer:
        worker = int(writer.stdout.readline())
        with pytest.raises(SnapshotError, match=f"got process {writer.pid}"), Lock(tmp_path):
            pass
        writer.kill()
        writer.wait()
        try:
            with Lock(tmp_path):
                os.kill(worker, 0)  # which is still there
        finally:
            os.kill(worker, signal.SIGKILL)


def test_a_lock_is_of_one_writer_at_a_time(tmp_path):
    inside, most = [0], [0]

    def write():
        for _ in range(30):
            try:
                with Lock(tmp_path / "run"):
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    time.sleep(0.0005)
                    inside[0] -= 1
            except SnapshotError:
                time.sleep(0.0002)

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert most == [1]
    assert not list((tmp_path / "run").iterdir())


def test_an_unfinished_run_is_told_to_be_resumed_and_a_sweep_goes_on_with_it(stopped):
    with pytest.raises(SnapshotError, match="nestgraph resume"):
        synthesize(SHORT, stopped, seed=3)
    rows = len(read_metrics(stopped))
    told = []
    run = begin_or_resume(SHORT, stopped, 3, "cpu", lambda row, _left: told.append(row))
    assert [row.step for row in told] == list(range(rows, len(run.metrics)))
    told.clear()
    with pytest.raises(Interrupted):
        synthesize(SHORT, stopped, seed=3, progress=interrupt_in("grow"), overwrite=True)
    run = begin_or_resume(SHORT, stopped, 4, "cpu", lambda row, _left: told.append(row))
    assert (run.result.seed, told[0].step) == (4, 0)


def test_differences_are_named_by_their_place():
    before, after = {"a": {"b": 1, "c": [1]}, "d": 2}, {"a": {"b": 1, "c": [2]}, "e": "x" * 100}
    assert list(differences(before, after)) == [
        "a.c (expected [1], got [2])",
        "d (expected 2, got nothing)",
        f"e (expected nothing, got {'x' * 77}...)",
    ]
    assert list(differences(before, before)) == []


# -- files and signals -----------------------------------------------------------------------------------


def test_state_files_know_whether_they_are_whole(tmp_path):
    path = tmp_path / "state.safetensors"
    arrays = {"a": np.arange(6.0).reshape(2, 3).T, "scalar": np.float32(2), "none": np.empty((0, 3), np.uint8)}
    record = decisions.State(phase="grow", number=3)
    state_files.write_state(path, record, arrays)
    found, read = state_files.read_state(path, checkpoint.TypeAdapter(decisions.State))
    assert found == record
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, strict=True)
    data = path.read_bytes()
    for place in range(0, len(data), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(SnapshotError):
            state_files.read_state(path, checkpoint.TypeAdapter(decisions.State))
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(SnapshotError):
            state_files.read_state(path, checkpoint.TypeAdapter(decisions.State))


def test_the_first_signal_is_noted_and_the_second_does_what_it_always_did():
    def noted():
        with signals_noted():
            os.kill(os.getpid(), signal.SIGINT)
            assert interruption.wished()
            with pytest.raises(Interrupted):
                interruption.end_if_wished()
            with pytest.raises(KeyboardInterrupt) as caught:
                signal.raise_signal(signal.SIGINT)
            assert not isinstance(caught.value, Interrupted)

    with pytest.raises(Interrupted):
        noted()
    assert not interruption.wished()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_signals_that_others_handle_stay_theirs():
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with signals_noted():
            os.kill(os.getpid(), signal.SIGTERM)
            assert not interruption.wished()
    finally:
        signal.signal(signal.SIGTERM, before)
    thread = threading.Thread(target=lambda: signals_noted().__enter__())
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_keeping_points_takes_a_small_share_of_the_time(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "perf_counter", lambda: now[0])
    pace, spent = Pace(), 0.0
    while now[0] < 1000:
        if pace.due:
            with pace:
                now[0] += 0.5
                spent += 0.5
        now[0] += 0.1
    assert checkpoint.SHARE / 2 < spent / now[0] <= 1.05 * checkpoint.SHARE


# -- faults ----------------------------------------------------------------------------------------------


def test_a_training_that_breaks_down_is_tried_again_at_a_lower_rate(tmp_path):
    recipe = varied(
        SHORT, seed_network={"batch_norm": False}, training={"learning_rate": 1e4, "retries": 3, "retry_rate": 1e-3}
    )
    run = synthesize(recipe, tmp_path / "run")
    assert run.result.faults.retried == run.result.faults.diverged == len(run.faults) > 0
    first = run.faults[0]
    assert (first.training, first.phase, first.rate, first.remedy) == (0, "seed", 1.0, "tried again")
    assert "expected finite numbers" in first.problem
    assert run.editor().network == run.network
    with pytest.raises(TrainingError, match=r"lower training\.learning_rate"):
        synthesize(varied(recipe, training={"retries": 0, "retry_rate": 0.1}), tmp_path / "given up")
    last = Run(tmp_path / "given up", recipe, run.result).faults[-1]
    assert last.remedy == "ended the run"


def test_a_run_with_faults_resumes_to_the_same_bytes(tmp_path):
    growth = {"policies": [{"kind": "neuron_growth", "alpha": 1e20}], "patience": 2}
    recipe = varied(SHORT, seed_network={"batch_norm": False, "widths": [64, 9, 8, 10]}, growth=growth)
    recipe = varied(recipe, training={"retries": 1})
    whole = synthesize(recipe, tmp_path / "whole")
    assert whole.result.faults.model_dump() == {"diverged": 4, "collapsed": 0, "retried": 2, "files": 0}
    assert [fault.remedy for fault in whole.faults] == ["tried again", "taken back"] * 2
    assert [entry.note for entry in of_journal(whole) if entry.action == "undo"] != []
    with pytest.raises(Interrupted):
        synthesize(recipe, tmp_path / "run", progress=interrupt_in("shift"))
    resume(tmp_path / "run")
    assert contents(tmp_path / "run") == contents(whole.folder)


def test_a_loss_beyond_the_limit_breaks_a_training_down(tmp_path):
    recipe = varied(SHORT, training={"loss_limit": 0.01})
    with pytest.raises(TrainingError, match="a loss of"):
        synthesize(recipe, tmp_path / "run")


def test_a_shift_that_kills_the_accuracy_is_taken_back(tmp_path, monkeypatch):
    measure, log = Trainer.measure, Engine._log
    now = [""]

    def noted(self, action, **said):
        now[0] = self.state.phase
        return log(self, action, **said)

    def guessing(self, network, split, module=None):
        score = measure(self, network, split, module)
        return Score(score.loss, {"accuracy": 0.1}, 0.1) if now[0] == "shift" and module is not None else score

    monkeypatch.setattr(Engine, "_log", noted)
    monkeypatch.setattr(Trainer, "measure", guessing)
    run = synthesize(SHORT, tmp_path / "run")
    assert [row.accepted for row in phases(run, "shift")] == [False]
    assert run.result.faults.collapsed == 1
    assert run.faults[0].remedy == "taken back"
    functions = {run.network.layer(name).activation.function for name in ("fc1",)}
    assert functions == {"leaky_relu"}


def test_files_that_cannot_be_read_are_counted(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / label).mkdir()
        for number in range(12):
            Image.fromarray(rng.integers(0, 255, (9, 9, 3), np.uint8)).save(tmp_path / label / f"{number}.png")
    (tmp_path / "cat" / "0.png").write_bytes(b"no image")
    options = FolderOptions(size=8, holdout=0.2, skip_files=1)
    with pytest.warns(UserWarning, match="are left out"):
        dataset = load_image_folder(tmp_path, options)
    assert dataset.left_out == 1
    before = fingerprints(dataset)
    (tmp_path / "cat" / "0.png").unlink()
    assert fingerprints(load_image_folder(tmp_path, options)) == before
    image = tmp_path / "dog" / "1.png"
    data, status = image.read_bytes(), image.stat()
    image.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))  # another file of the same size and time
    os.utime(image, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprints(load_image_folder(tmp_path, options)) != before
    image.write_bytes(data)
    assert fingerprints(load_image_folder(tmp_path, options)) == before
    (tmp_path / "dog" / "1.png").rename(tmp_path / "dog" / "x.png")
    assert fingerprints(load_image_folder(tmp_path, options)) != before


def test_a_state_file_with_a_damaged_header_is_one_short_sentence(tmp_path):
    path = tmp_path / "state.safetensors"
    state_files.write_state(path, decisions.State(title="x" * 200), {"a": np.zeros(3)})
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"sha256"', b'\n"sha25\x00"', 1))
    with pytest.raises(SnapshotError) as caught:
        state_files.read_state(path, checkpoint.TypeAdapter(decisions.State))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("past", [1, 2])
def test_a_run_that_an_earlier_version_began_is_refused_and_the_version_named(stopped, past):
    begun = stopped / "state" / "begun.json"
    document = json.loads(begun.read_text())
    version = document["environment"]["libraries"]["nestgraph"]
    begun.write_text(json.dumps(document | {"version": past}))
    before = everything(stopped)
    for attempt in (lambda: resume(stopped), lambda: begin_or_resume(SHORT, stopped, 3, "cpu", None)):
        with pytest.raises(
            SnapshotError, match=rf"format {past}, kept by an earlier one \(nestgraph {version}\): it goes on"
        ):
            attempt()
        assert everything(stopped) == before
    assert synthesize(SHORT, stopped, seed=3, overwrite=True).result.stages
