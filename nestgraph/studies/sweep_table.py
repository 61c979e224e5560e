"""The table of a sweep, sweep.json: for each variation the medians over its seeds, and the numbers of each seed."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, cast

from pydantic import Field, JsonValue, NonNegativeInt, model_validator

from nestgraph.recipes.recipe import Slug
from nestgraph.runs.run import Run
from nestgraph.spec.metrics import Goal
from nestgraph.spec.record import Record, Text

Settings = dict[str, JsonValue]
"""New values by the dotted place of a recipe's field."""
Number = int | float
"""A count, or the median of counts, which may lie between two."""


class RunFigures(Record):
    """What is compared between runs: of the final network where nothing else is said.

    `flops` are static, `active_flops` those whose source output is not zero; `validation` and `test` are what the
    goal's metric is on these splits; `edits` are those that were kept; `growth_seconds` lie between the trained seed
    and the last measurement of growth.
    """

    grown_connections: Number
    connections: Number
    flops: Number
    active_flops: float
    validation: float
    test: float
    edits: Number
    growth_seconds: float
    seconds: float

    @model_validator(mode="before")
    @classmethod
    def _read_accuracy(cls, fields: Any) -> Any:
        """Of tables of a time when all goals were accuracies."""
        if not isinstance(fields, Mapping):
            return fields
        given = cast("Mapping[str, Any]", fields)
        return {name.removesuffix("_accuracy"): value for name, value in given.items()}


class SeedFigures(RunFigures):
    """The figures of one run."""

    seed: NonNegativeInt

    @classmethod
    def of(cls, run: Run) -> "SeedFigures":
        """Read them from a finished run."""
        stages = {stage.stage: stage for stage in run.result.stages}
        final, aim = stages["final"], run.result.aim.name
        ends = {row.phase: row.seconds for row in run.metrics}
        return cls(
            seed=run.result.seed,
            grown_connections=stages["grown"].connections,
            connections=final.connections,
            flops=final.flops,
            active_flops=final.active_flops,
            validation=final.validation[aim],
            test=final.test[aim],
            edits=run.result.edits,
            growth_seconds=round(ends.get("grow", ends["seed"]) - ends["seed"], 3),
            seconds=run.result.seconds,
        )


class SweepRow(Record):
    """One variation: its own settings, the medians over its seeds, and the figures of each."""

    variation: Slug
    set: Settings
    medians: RunFigures
    seeds: tuple[SeedFigures, ...]

    @classmethod
    def of(cls, variation: str, settings: Settings, runs: Sequence[Run]) -> "SweepRow":
        """The row of one variation's finished runs."""
        seeds = tuple(SeedFigures.of(run) for run in runs)
        medians = {name: median(getattr(each, name) for each in seeds) for name in RunFigures.model_fields}
        return cls(variation=variation, set=settings, medians=RunFigures(**medians), seeds=seeds)


def _usual(goal: object) -> bool:
    return goal == "accuracy"


SWEEP_MARK = b'{\n  "sweep": '
"""What the file of a table begins with, which tells it from other files."""


class MissingRun(Record):
    """A run that is not finished, and why, as far as whoever wrote the table knows."""

    variation: Slug
    seed: NonNegativeInt
    why: Text


def _none(missing: object) -> bool:
    return not missing


class SweepTable(Record):
    """What came of a sweep: sweep.json.

    `recipe` names the recipe that was varied, `set` is what all runs set, and `goal` that of the task. Medians are over
    the seeds that are finished; a variation without one has no row.
    """

    sweep: Slug
    description: Text
    recipe: Slug
    goal: Text = Field(default="accuracy", exclude_if=_usual)
    set: Settings
    rows: tuple[SweepRow, ...]
    missing: tuple[MissingRun, ...] = Field(default=(), exclude_if=_none)

    @property
    def aim(self) -> Goal:
        """The goal."""
        return Goal.of(self.goal)
