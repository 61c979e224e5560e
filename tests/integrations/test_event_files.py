"""Event files hold what the metrics do, also of a run that broke off and was resumed."""

import importlib.util
import json
from collections.abc import Mapping

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from nestgraph.errors import TrainingError
from nestgraph.integrations.event_files import EventFiles
from nestgraph.loop.resuming import resume
from nestgraph.loop.synthesis import synthesize
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


@pytest.fixture
def told(plain):  # noqa: ARG001
    """The rows that the last observer was told."""
    return []


def read(folder) -> Mapping[str, list[tuple[int, float]]]:
    """What TensorBoard makes of the event files: by tag, steps and values."""
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    numbers = {tag: [(each.step, each.value) for each in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    words = [(each.step, each.tensor_proto.string_val[0].decode()) for each in events.Tensors("phase/text_summary")]
    return {**numbers, "phase": words}


def test_scalars_are_those_of_the_metrics(tmp_path, told):
    place = tmp_path / "run"
    events = EventFiles(place, then=lambda row, _left: told.append(row))

    def break_off(row, left):
        events(row, left)
        if row.step == 3:
            raise BrokenOffError

    with pytest.raises(BrokenOffError):
        synthesize(SHORT, place, seed=3, progress=break_off, save_every=1e9)
    assert [step for step, _ in read(place)["accepted"]] == [0, 1, 2, 3]  # all is there, though nothing was closed
    again = EventFiles(place, then=lambda row, _left: told.append(row))
    stages = resume(place, progress=again, save_every=1e9).result.stages
    again.close()

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


def test_nothing_is_written_before_the_first_step(tmp_path):
    EventFiles(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_written_are_said_once_and_end_no_run(tmp_path, told):
    (tmp_path / "tensorboard").write_text("in the way")
    events = EventFiles(tmp_path, then=lambda row, _left: told.append(row))
    with pytest.warns(UserWarning, match="tensorboard: cannot be written") as warned:
        list(map(events, map(row, range(3))))
    events.close()
    assert (len(warned), len(told)) == (1, 3)


def test_a_missing_package_is_named_with_its_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(TrainingError, match=r"pip install 'nestgraph\[tensorboard\]'"):
        EventFiles(tmp_path)
