"""Trackers are told what the metrics hold, also of a run that broke off and was resumed, and never end a run."""

import importlib.util
import json
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from accelerate.tracking import GeneralTracker
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nestgraph.errors import RecipeError, SnapshotError, TrainingError
from nestgraph.loop import tracking
from nestgraph.loop.resuming import resume
from nestgraph.loop.synthesis import synthesize
from nestgraph.loop.tracking import check_trackers, choices, tracked
from nestgraph.policies import MagnitudePruning
from nestgraph.runs.run import Measurement
from tests.loop.test_synthesis import varied

SHORT = varied(growth={"max_edits": 3}, pruning={"max_edits": 3}, finish_epochs=1)
TAGS = {
    "size/connections": "connections",
    "size/units": "units",
    "size/flops": "flops",
    "validation/accuracy": "accuracy",
    "validation/loss": "loss",
    "accepted": "accepted",
}


class BrokenOffError(Exception):
    """What stands for a crash."""


class Own(GeneralTracker):
    """A tracker of the user's, which remembers, and fails where it is told to."""

    name, requires_logging_directory, main_process_only = "own", False, True

    def __init__(self, fails=()):
        super().__init__()
        self.calls, self.fails = [], fails

    @property
    def tracker(self):
        return self

    def _note(self, call, *values):
        self.calls.append((call, *values))
        if call in self.fails:
            raise RuntimeError(f"no luck\nwith {call}")

    def start(self):
        self._note("start")

    def store_init_configuration(self, values):
        self._note("store", values)

    def log(self, values, step=None, **_):
        self._note("log", step, values)

    def finish(self):
        self._note("finish")


def missing(words):
    """Skip, and say so in the summary whatever its verbosity."""
    warnings.warn(f"NOT TESTED: {words}", stacklevel=2)
    pytest.skip(words)


def read(folder) -> Mapping[str, list[tuple[int, float]]]:
    """What TensorBoard makes of the event files: by tag, steps and values."""
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    numbers = {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    words = [(each.step, each.tensor_proto.string_val[0].decode()) for each in events.Tensors("phase/text_summary")]
    return {**numbers, "phase": words}


def test_scalars_are_those_of_the_metrics(tmp_path, plain):  # noqa: ARG001
    place, told = tmp_path / "run", []

    def note(row, _left):
        told.append(row)

    def break_off(row, left):
        note(row, left)
        if row.step == 4:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        synthesize(SHORT, place, seed=3, progress=break_off, save_every=1e9, trackers=["tensorboard"])
    assert [step for step, _ in read(place)["accepted"]] == [0, 1, 2, 3]
    stages = resume(place, progress=note, save_every=1e9, trackers=("tensorboard",)).result.stages

    rows = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
    found = read(place)
    assert len(told) > len(rows) > 5  # steps were done again
    for tag, field in TAGS.items():
        assert found[tag] == [(row["step"], float(np.float32(row[field]))) for row in rows], tag
    assert dict(found["phase"]) == {row["step"]: row["phase"] for row in rows}  # of text it keeps what was done again
    assert all("parameters" not in row for row in rows)

    kept = [row for row in told[-len(rows) :] if row.accepted]
    grown = [row for row in kept if row.phase in ("seed", "grow")]
    parameters = dict(found["size/parameters"])
    ends = [parameters[row.step] for row in (kept[0], grown[-1], kept[-1])]
    assert ends == [stage.parameters for stage in stages]
    assert len(set(ends)) == 3


def row(step):
    values = {"units": 9, "connections": 50, "flops": 100, "loss": 0.5, "accuracy": 0.75}
    return Measurement(step=step, phase="grow", edit="wake 3", accepted=True, **values)


def tell(trackers, folder, rows=3):
    """Tell trackers of rows; what another observer was told."""
    told = []
    with tracked(trackers, folder, SHORT, 5, lambda row, left: told.append((row, left))) as observer:
        for step in range(rows):
            observer(row(step), None)
    return told


def test_nothing_is_begun_before_the_first_step(tmp_path):
    own = Own()
    assert tell(["tensorboard", own], tmp_path, rows=0) == []
    assert (list(tmp_path.iterdir()), own.calls) == ([], [])
    with tracked((), tmp_path, SHORT, 0) as observer:
        assert observer is None


def test_objects_of_the_user_are_told_like_ours(tmp_path):
    own = Own()
    assert len(tell([own], tmp_path)) == 3
    assert [call[0] for call in own.calls] == ["start", "store", "log", "log", "log", "finish"]
    stored = own.calls[1][1]
    assert stored == choices(SHORT, 5)
    assert (stored["seed"], stored["growth.policies.1.limit"], stored["training.learning_rate"]) == (5, 12, 0.05)
    assert all(isinstance(value, str | int | float | bool) for value in stored.values())
    assert own.calls[2][1:] == (0, tracking.scalars(row(0)))
    assert all(isinstance(value, int | float) for value in own.calls[2][2].values())


@pytest.mark.parametrize("fails", ["start", "store", "log", "finish"])
def test_one_that_fails_is_said_once_and_stops_nothing(tmp_path, fails):
    bad, good = Own(fails=(fails, "finish")), Own()
    with pytest.warns(UserWarning, match=rf"tracker own failed \(no luck with {fails}\): the run goes on") as warned:
        assert len(tell([bad, good], tmp_path)) == 3
    assert len(warned) == 1
    assert [call[0] for call in bad.calls].count(fails) == 1
    assert [call[0] for call in good.calls] == ["start", "store", "log", "log", "log", "finish"]


def test_event_files_that_cannot_be_written_end_no_run(tmp_path):
    (tmp_path / "tensorboard").write_text("in the way")
    with pytest.warns(UserWarning, match="the tracker tensorboard failed") as warned:
        assert len(tell(["tensorboard"], tmp_path)) == 3
    assert len(warned) == 1


def test_another_process_than_the_first_tells_nobody(tmp_path, monkeypatch):
    class Second:
        is_main_process = False

    monkeypatch.setattr(tracking, "PartialState", Second)
    own = Own()
    assert len(tell([own, "tensorboard"], tmp_path)) == 3
    assert (own.calls, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.parametrize(("name", "remedy"), [("wandb", "'nestgraph[wandb]'"), ("comet_ml", "comet-ml")])
def test_a_missing_package_is_named_with_its_remedy_before_anything_is_done(tmp_path, monkeypatch, name, remedy):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(TrainingError, match=re.escape(f"pip install {remedy}")):
        synthesize(SHORT, tmp_path / "run", trackers=[name])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_its_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "swanlab").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert importlib.util.find_spec("swanlab")
    with pytest.raises(TrainingError, match="expected the package swanlab"):
        check_trackers(["swanlab"])


@pytest.mark.parametrize("given", ["wandbb", None, 3, Own])
def test_what_is_no_tracker_is_refused(tmp_path, given):
    with pytest.raises(TrainingError, match=r"trackers expected names among aim, .*wandb, or objects"):
        resume(tmp_path, trackers=[given])
    with pytest.raises(SnapshotError, match="resume expected trackers: a sequence, got 'wandb'"):
        resume(tmp_path, trackers="wandb")


class Named:
    """What W&B and MLflow have in common: a run has a name that it can be gone on with by."""

    made: ClassVar = []

    def __init__(self, project, name=None, run_name=None, **options):
        self.given = {**options, "project": project, "name": name or run_name}
        self.tracker = self
        self.info, self.steps = SimpleNamespace(run_id=options.get("run_id") or f"new-{len(self.made)}"), []
        self.made.append(self)

    def start(self):
        pass

    def store_init_configuration(self, values):
        assert values["seed"] == 3

    def log(self, _, step):
        self.steps.append(step)

    finish = start


def broken_off(place, name):
    """A run that ends like a crash after some steps, and what goes on with it."""

    def break_off(row, _left):
        if row.step == 2:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        synthesize(SHORT, place, seed=3, progress=break_off, save_every=0, trackers=[name], overwrite=True)
    return resume(place, save_every=1e9, trackers=[name])


@pytest.mark.parametrize(("name", "word"), [("wandb", "id"), ("mlflow", "run_id")])
def test_a_resumed_run_is_the_same_one_for_its_tracker(tmp_path, plain, monkeypatch, name, word):  # noqa: ARG001
    monkeypatch.setattr(Named, "made", [])
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, name, Named)
    for _ in range(2):  # and a new run in its place is another one
        run = broken_off(tmp_path / "run", name)
    told = [one.given[word] or one.info.run_id for one in Named.made]
    assert told[0] == told[1] != told[2] == told[3]
    assert all(one.given["name"] == "run" and one.given["project"] == SHORT.name for one in Named.made)
    steps = [row.step for row in run.metrics]
    assert Named.made[2].steps + Named.made[3].steps == steps
    assert not (tmp_path / "run" / "state").exists()


def test_a_name_that_is_none_is_given_to_no_tracker(tmp_path, plain, monkeypatch):  # noqa: ARG001
    monkeypatch.setitem(tracking.LOGGER_TYPE_TO_CLASS, "wandb", Named)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "trackers.json").write_text('{"wandb": "../../elsewhere"}')
    with pytest.warns(UserWarning, match=r"the tracker wandb failed .*trackers\.json: wandb: "):
        assert len(tell(["wandb"], tmp_path)) == 3


@pytest.mark.slow
def test_nothing_of_a_tracker_is_imported_until_it_is_asked_for():
    code = "import sys; from nestgraph.loop.synthesis import synthesize; from nestgraph.loop.tracking import *; "
    code += "check_trackers(['tensorboard']); print({'tensorboard', 'wandb', 'mlflow'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "set()\n"


def without(folder):
    kept = [path for path in folder.iterdir() if path.is_file() and path.name not in ("timing.jsonl", ".lock")]
    return {path.name: path.read_bytes() for path in kept}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_run_is_the_same_bytes_whoever_is_told(tmp_path, plain, monkeypatch, name):  # noqa: ARG001
    """With the packages themselves, in files: they hold what the metrics do, and a second run begins anew."""
    if not tracking._present(name):
        missing(f"the tracker {name}: there is no {name}: pip install 'nestgraph[{name}]'")
    monkeypatch.chdir(tmp_path)
    for variable, value in SETTINGS.items():
        monkeypatch.setenv(variable, value)
    synthesize(SHORT, tmp_path / "plain", seed=3)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for number in (0, 1):
            synthesize(SHORT, tmp_path / f"told{number}", seed=3, trackers=[name])
    assert [str(one.message) for one in said if "tracker" in str(one.message)] == []
    assert without(tmp_path / "plain") == without(tmp_path / "told0") == without(tmp_path / "told1")
    rows = [json.loads(line) for line in (tmp_path / "plain/metrics.jsonl").read_text().splitlines()]
    wanted = [(row["step"], row["accuracy"], row["connections"]) for row in rows]
    for _ in range(100):  # W&B's own process writes, and may be at it still
        if (found := READ[name](tmp_path)) == {"told0": wanted, "told1": wanted}:
            break
        time.sleep(0.5)
    assert found == {"told0": wanted, "told1": wanted}


SETTINGS = {
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_DIR": ".",
    "MLFLOW_TRACKING_URI": "file:mlruns",
    "MLFLOW_ALLOW_FILE_STORE": "true",
}


def from_mlflow(folder):  # noqa: ARG001  (set by SETTINGS)
    import mlflow

    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("tiny")
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        assert run.data.params["growth.size_limit"] == "300"
        told = [client.get_metric_history(run.info.run_id, tag) for tag in ("validation/accuracy", "size/connections")]
        found[run.info.run_name] = [(one.step, one.value, two.value) for one, two in zip(*told, strict=True)]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_packages_take_a_resumed_run_for_the_same_one(tmp_path, plain, monkeypatch, name):  # noqa: ARG001
    if not tracking._present(name):
        missing(f"the tracker {name}: there is no {name}: pip install 'nestgraph[{name}]'")
    monkeypatch.chdir(tmp_path)
    for variable, value in SETTINGS.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file:{tmp_path}/mlruns")  # a relative one is where it was first
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        rows = broken_off(tmp_path / "run", name).metrics
    assert [str(one.message) for one in said if "tracker" in str(one.message)] == []
    if name == "mlflow":
        found = from_mlflow(tmp_path)["run"]
        assert [step for step, *_ in found] == [row.step for row in rows]
    else:  # offline each beginning has files of its own, of one name
        names = [path.name for path in tmp_path.glob("wandb/offline-run-*/run-*.wandb")]
        assert (len(names), len(set(names))) == (2, 1)


def parts_of(log):
    """The records of a log of LevelDB's form, which W&B writes: blocks of 32 KiB, parts with a head of 7 bytes each."""
    place, held = 7, b""
    while place + 7 <= len(log):
        if 2**15 - place % 2**15 < 7:
            place += 2**15 - place % 2**15
            continue
        length, kind = int.from_bytes(log[place + 4 : place + 6], "little"), log[place + 6]
        held += log[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or its last part
            yield held
            held = b""


def from_wandb(folder):
    from wandb.proto import wandb_internal_pb2

    found = {}
    for path in folder.glob("wandb/offline-run-*/run-*.wandb"):
        name, rows = "", []
        for data in parts_of(path.read_bytes()):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(data)
            name = record.run.display_name or name
            if record.HasField("history"):
                items = {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
                rows.append((record.history.step.num, items["validation/accuracy"], items["size/connections"]))
        found[name] = rows
    return found


READ = {"wandb": from_wandb, "mlflow": from_mlflow}


@pytest.mark.parametrize("given", [len, lambda row: row, MagnitudePruning], ids=["len", "of one", "a record"])
def test_an_observer_of_other_arguments_is_refused_before_anything_is_done(tmp_path, given):
    with pytest.raises(RecipeError, match="synthesize expected progress: a function of 2 arguments"):
        synthesize(SHORT, tmp_path / "run", progress=given)
    assert not (tmp_path / "run").exists()
