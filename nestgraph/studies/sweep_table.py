"""The table of a sweep, sweep.json: for each variation the medians over its seeds, and the numbers of each seed."""

from collections.abc import Sequence
from statistics import median

from pydantic import JsonValue, NonNegativeInt

from nestgraph.recipes.recipe import Slug
from nestgraph.runs.run import Run
from nestgraph.spec.record import Record, Text

Settings = dict[str, JsonValue]
"""New values by the dotted place of a recipe's field."""
Number = int | float
"""A count, or the median of counts, which may lie between two."""


class RunFigures(Record):
    """What is compared between runs: of the final network where nothing else is said.

    `flops` are static, `active_flops` those whose source output is not zero; accuracies are shares of 1; `edits` are
    those that were kept; `growth_seconds` lie between the trained seed and the last measurement of growth.
    """

    grown_connections: Number
    connections: Number
    flops: Number
    active_flops: float
    validation_accuracy: float
    test_accuracy: float
    edits: Number
    growth_seconds: float
    seconds: float


class SeedFigures(RunFigures):
    """The figures of one run."""

    seed: NonNegativeInt

    @classmethod
    def of(cls, run: Run) -> "SeedFigures":
        """Read them from a finished run."""
        stages = {stage.stage: stage for stage in run.result.stages}
        final = stages["final"]
        ends = {row.phase: row.seconds for row in run.metrics}
        return cls(
            seed=run.result.seed,
            grown_connections=stages["grown"].connections,
            connections=final.connections,
            flops=final.flops,
            active_flops=final.active_flops,
            validation_accuracy=final.validation_accuracy,
            test_accuracy=final.test_accuracy,
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


SWEEP_MARK = b'{\n  "sweep": '
"""What the file of a table begins with, which tells it from other files."""


class SweepTable(Record):
    """What came of a sweep: sweep.json. `recipe` names the recipe that was varied, and `set` is what all runs set."""

    sweep: Slug
    description: Text
    recipe: Slug
    set: Settings
    rows: tuple[SweepRow, ...]
