"""Run folders: everything a run writes, and how to read it again.

recipe.json and environment.json say what was run; journal.jsonl, metrics.jsonl and, if trainings broke down,
faults.jsonl grow while it runs; seed.json, grown.json and final.json are snapshots, drawn as SVG beside them.
curves.svg, inputs.svg (what each stage reads of the image), areas.svg (where convolutions compute, if not everywhere)
and result.json close it. All of these are the same bytes whenever the run is done again; what the clock said is in
timing.jsonl alone. The folder state holds what an unfinished run goes on from (`loop/checkpoint.py`), the folder
tensorboard event files, where they are asked for (`loop/tracking.py`).
"""

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from pydantic import (
    Field,
    NonNegativeInt,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
    model_validator,
)

from nestgraph.edits.editor import Editor
from nestgraph.errors import NestgraphError, SnapshotError
from nestgraph.graph.network import Network
from nestgraph.policies import Policy
from nestgraph.recipes.recipe import Recipe, recorded_recipe
from nestgraph.render import bundle, curves_svg
from nestgraph.runs.run_files import RESULT, TIMING
from nestgraph.snapshot import MAX_BYTES, Proposal, is_torn, load, read_bounded, read_journal, read_record, replay
from nestgraph.snapshot.disk import PathLike, shown
from nestgraph.spec.arguments import checked
from nestgraph.spec.metrics import Goal, Scores
from nestgraph.spec.record import Name, Record, Text, absent

Remedy = Literal["tried again", "taken back", "ended the run"]
"""What is done about a training that broke down."""

RowType = TypeVar("RowType", bound=Record)
ROW_START, FAULT_START = b'{"step":', b'{"training":'
"""What lines of metrics.jsonl and timing.jsonl, and of faults.jsonl, begin with."""


Amounts = dict[Name, NonNegativeInt]
"""What a network takes, by what a budget limits."""


class Measurement(Record):
    """One row of metrics.jsonl: the network after an edit and its training, and whether it was kept.

    `loss` and `scores`, by name the metrics of the task, are of the validation split; `seconds` since the run began,
    which are in timing.jsonl; `parameters`, and the policies that found nothing to do since the row before, only
    observers of the run are told: no metrics hold them.

    `spent` is what the network takes of what its recipe's budget limits, by name: flash, ram, macs, connections.

    Where accuracy is the only metric, a line has `accuracy` in the place of `scores`, as all had before there were
    others.
    """

    step: NonNegativeInt
    phase: Name
    edit: Text
    accepted: bool
    units: NonNegativeInt
    connections: NonNegativeInt
    flops: NonNegativeInt
    loss: float
    scores: Scores
    spent: Amounts | None = Field(default=None, exclude_if=absent)
    seconds: float = 0.0
    parameters: NonNegativeInt | None = Field(default=None, exclude=True)
    idle: tuple[Proposal, ...] = Field(default=(), exclude=True)

    @model_validator(mode="before")
    @classmethod
    def _read_accuracy(cls, fields: Any) -> Any:
        return _renamed(fields, {"accuracy": ("scores", "accuracy")})

    @model_serializer(mode="wrap")
    def _write_accuracy(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = write(self)
        if list(self.scores) != ["accuracy"]:
            return fields
        return {("accuracy" if k == "scores" else k): v["accuracy"] if k == "scores" else v for k, v in fields.items()}


class Timing(Record):
    """One row of timing.jsonl: the seconds since the run began, at a step of metrics.jsonl; the last is the end."""

    step: NonNegativeInt
    seconds: float


class Fault(Record):
    """One row of faults.jsonl: a training that broke down, or that ended no better than a constant answer.

    Attributes:
        training: its number.
        phase: of the run.
        problem: what was wrong.
        rate: share of the recipe's learning rate that it was done at.
        remedy: what was done about it.
    """

    training: NonNegativeInt
    phase: Name
    problem: Text
    rate: float
    remedy: Remedy


class Faults(Record):
    """What went wrong in a run and was set right: counts.

    Attributes:
        diverged: trainings that broke down: a number that is not finite, or a loss beyond the recipe's limit.
        collapsed: trainings after which the network was no better than a constant answer, where it had been before.
        retried: trainings done again at a lower learning rate.
        files: of the dataset that could not be read and were left out.
    """

    diverged: NonNegativeInt = 0
    collapsed: NonNegativeInt = 0
    retried: NonNegativeInt = 0
    files: NonNegativeInt = 0


class StageResult(Record):
    """One network of the result table.

    `validation` and `test` are what the task's metrics and its loss are on these splits, by name; the test split is
    read once, when the run ends. `flops` are static; `active_flops` those whose source output is not zero, the mean
    over the test split. `spent` is what it takes of what the recipe's budget limits.
    """

    stage: Text
    units: NonNegativeInt
    connections: NonNegativeInt
    parameters: NonNegativeInt
    flops: NonNegativeInt
    active_flops: float
    validation: Scores
    test: Scores
    digest: Text
    spent: Amounts | None = Field(default=None, exclude_if=absent)

    @model_validator(mode="before")
    @classmethod
    def _read_accuracy(cls, fields: Any) -> Any:
        return _renamed(fields, {f"{split}_accuracy": (split, "accuracy") for split in ("validation", "test")})


class BaselineResult(Record):
    """A plain model on the same split, and what the task's metrics are for it, by name."""

    name: Text
    weights: NonNegativeInt
    test: Scores

    @model_validator(mode="before")
    @classmethod
    def _read_accuracy(cls, fields: Any) -> Any:
        return _renamed(fields, {"test_accuracy": ("test", "accuracy")})


class Result(Record):
    """The outcome of a run: result.json. Without a version it is of a time when all goals were accuracies.

    Attributes:
        goal: of the task, larger is better: the name of a metric, or `-` and that of one of which less is better.
        recipe: the recipe's name.
        seed: of the run.
        seconds: that it took, which are in timing.jsonl.
        edits: how many edits were kept, training apart.
        refused: how many were tried and undone.
        stages: the seed (trained, where seed.json is not), the grown and the final network.
        baseline: what the recipe asks to compare with.
        faults: what went wrong and was set right.
    """

    version: Literal[2] = 2
    recipe: Text
    seed: NonNegativeInt
    goal: Text = "accuracy"
    seconds: float = 0.0
    edits: NonNegativeInt
    refused: NonNegativeInt
    stages: tuple[StageResult, ...]
    baseline: BaselineResult | None = None
    faults: Faults = Faults()

    @property
    def aim(self) -> Goal:
        """The goal."""
        return Goal.of(self.goal)


_RESULT: TypeAdapter[Result] = TypeAdapter(Result)
_ROW: TypeAdapter[Measurement] = TypeAdapter(Measurement)
_TIMING: TypeAdapter[Timing] = TypeAdapter(Timing)
_FAULT: TypeAdapter[Fault] = TypeAdapter(Fault)


@dataclass(frozen=True)
class Run:
    """A finished run in its folder."""

    folder: Path
    recipe: Recipe
    result: Result

    @classmethod
    @checked(SnapshotError)
    def read(cls, folder: PathLike, policies: Iterable[type[Policy]] = ()) -> "Run":
        """Read a run folder.

        Args:
            folder: of the run.
            policies: classes of its policies that are not of this package; without, they are records of their fields.

        Raises:
            SnapshotError: it is not the folder of a finished run.
        """
        folder = Path(folder)
        try:
            result = read_result(folder)
            text = read_bounded(folder / "recipe.json", MAX_BYTES).decode("utf-8")
            recipe = recorded_recipe(text, "recipe.json", policies)
        except (OSError, ValueError, NestgraphError) as error:
            raise SnapshotError(f"{shown(folder)}: expected the folder of a finished run, got: {error}") from None
        return cls(folder, recipe, result)

    @checked(SnapshotError)
    def stage(self, name: str) -> Network:
        """The network of a stage: seed, grown or final."""
        return load(self.folder / f"{name}.json")

    @property
    def network(self) -> Network:
        """The final network."""
        return self.stage("final")

    @cached_property
    def metrics(self) -> tuple[Measurement, ...]:
        """The rows of metrics.jsonl, each with its time.

        Raises:
            SnapshotError: they cannot be read.
        """
        return tuple(read_metrics(self.folder))

    @cached_property
    def faults(self) -> tuple[Fault, ...]:
        """The rows of faults.jsonl, which is there if any training failed.

        Raises:
            SnapshotError: they cannot be read.
        """
        return tuple(read_faults(self.folder))

    def _repr_mimebundle_(self, **chosen: Any) -> dict[str, str]:  # noqa: ARG002  (notebooks pass include and exclude)
        rows = [row.model_dump() for row in self.metrics if row.accepted]
        aim = self.result.aim.metric
        told = [(s.stage, f"{s.connections:,}", aim.shown(s.test.get(aim.name))) for s in self.result.stages]
        lines = [f"{stage}: {connections} connections, test {shown}" for stage, connections, shown in told]
        title = f"<Run {self.result.recipe}, seed {self.result.seed}, in {self.folder}>"
        return bundle("\n".join((title, *lines)), lambda: curves_svg(rows, aim.name))

    def editor(self) -> Editor:
        """An editor that replayed the journal on the seed: it can undo the whole run."""
        return replay(self.stage("seed"), read_journal(self.folder / "journal.jsonl"))


def _renamed(fields: Any, old: Mapping[str, tuple[str, str]]) -> Any:
    """Fields of a time when all metrics were accuracies: old names, and which score of which field they are."""
    if not isinstance(fields, Mapping):
        return fields
    found = dict(cast("Mapping[str, Any]", fields))
    for name, (field, score) in old.items():
        if name in found and field not in found:
            found[field] = {score: found.pop(name)}
    return found


def read_result(folder: PathLike) -> Result:
    """The result of a finished run, with its time.

    Raises:
        SnapshotError: it cannot be read.
    """
    path = Path(folder) / RESULT
    result = read_record(_RESULT, read_bounded(path, MAX_BYTES), shown(path))
    last = max(_clock(Path(folder)).values(), default=0.0)
    return result.model_copy(update={"seconds": result.seconds or last})


def read_metrics(folder: PathLike) -> list[Measurement]:
    """The rows of metrics.jsonl in the folder of a run, finished or not, each with its time.

    Raises:
        SnapshotError: they cannot be read.
    """
    clock = _clock(Path(folder))
    rows = _rows(Path(folder) / "metrics.jsonl", read_measurement, ROW_START)
    return [row.model_copy(update={"seconds": row.seconds or clock.get(row.step, 0.0)}) for row in rows]


def read_faults(folder: PathLike) -> list[Fault]:
    """The rows of faults.jsonl; none where it is missing.

    Raises:
        SnapshotError: they cannot be read.
    """
    path = Path(folder) / "faults.jsonl"
    return _rows(path, read_fault, FAULT_START) if os.path.lexists(path) else []


def read_timing(folder: PathLike) -> list[Timing]:
    """The rows of timing.jsonl; none where it is missing, as from a run of an earlier version.

    Raises:
        SnapshotError: they cannot be read.
    """
    path = Path(folder) / TIMING
    return _rows(path, read_time, ROW_START) if os.path.lexists(path) else []


def read_measurement(line: bytes, number: int, path: PathLike) -> Measurement:
    """One line of metrics.jsonl, `number` from 1.

    Raises:
        SnapshotError: it is damaged, or of another step.
    """
    row = read_record(_ROW, line, f"{shown(path)}: line {number}")
    if row.step != number - 1:
        got = f"(expected step {number - 1}, got {row.step})"
        raise SnapshotError(f"{shown(path)}: line {number}: a line is missing or moved {got}")
    return row


def read_fault(line: bytes, number: int, path: PathLike) -> Fault:
    """One line of faults.jsonl, `number` from 1.

    Raises:
        SnapshotError: it is damaged.
    """
    return read_record(_FAULT, line, f"{shown(path)}: line {number}")


def read_time(line: bytes, number: int, path: PathLike) -> Timing:
    """One line of timing.jsonl, `number` from 1.

    Raises:
        SnapshotError: it is damaged.
    """
    return read_record(_TIMING, line, f"{shown(path)}: line {number}")


def _rows(path: Path, read: Callable[[bytes, int, PathLike], RowType], start: bytes) -> list[RowType]:
    """The rows of a file of JSON lines. A last line that was cut short never counted."""
    lines = read_bounded(path, MAX_BYTES).split(b"\n")
    last = lines.pop()
    if last and not is_torn(last, start):
        read(last, len(lines) + 1, path)
        raise SnapshotError(f"{shown(path)}: line {len(lines) + 1}: expected a line that ends, got the end of the file")
    if last:
        torn = f"dropped line {len(lines) + 1}, the last, which was cut short while written"
        warnings.warn(f"{shown(path)}: {torn}", stacklevel=3)
    return [read(line, number, path) for number, line in enumerate(lines, 1)]


def _clock(folder: Path) -> dict[int, float]:
    """The seconds since the run began, by step."""
    return {row.step: row.seconds for row in read_timing(folder)}
