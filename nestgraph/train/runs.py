"""Run folders: everything a run writes, and how to read it again.

recipe.json and environment.json say what was run; journal.jsonl and metrics.jsonl grow while it runs; seed.json,
grown.json and final.json are snapshots, drawn as SVG beside them. curves.svg, inputs.svg (what each stage reads of the
image), areas.svg (where convolutions compute, if not everywhere) and result.json close it.
"""

import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from pydantic import NonNegativeInt, TypeAdapter

from nestgraph.edits.batch import AnyEdit
from nestgraph.edits.editor import Editor
from nestgraph.errors import NestgraphError, RecipeError, SnapshotError
from nestgraph.graph.network import Network
from nestgraph.snapshot import (
    MAX_BYTES,
    JournalWriter,
    load,
    read_bounded,
    read_journal,
    read_record,
    replay,
    save,
    write_atomically,
)
from nestgraph.snapshot.disk import reported
from nestgraph.snapshot.journal import Action
from nestgraph.spec.record import Name, Record, Text
from nestgraph.train.pictures import draw_run, draw_stage
from nestgraph.train.recipe import Recipe, parse_recipe

STAGES = ("seed", "grown", "final")
GROWING = ("journal.jsonl", "metrics.jsonl")
CLOSING = ("curves.svg", "inputs.svg", "areas.svg", "result.json")
LIBRARIES = ("nestgraph", "torch", "numpy", "networkx", "pydantic")


class Measurement(Record):
    """One row of metrics.jsonl: the network after an edit and its training, and whether it was kept.

    `loss` and `accuracy` are of the validation split; `seconds` since the run began.
    """

    step: NonNegativeInt
    phase: Name
    edit: Text
    accepted: bool
    units: NonNegativeInt
    connections: NonNegativeInt
    flops: NonNegativeInt
    loss: float
    accuracy: float
    seconds: float


class StageResult(Record):
    """One network of the result table. Accuracies are shares of 1; the test split is read once, when the run ends.

    `flops` are static; `active_flops` those whose source output is not zero, the mean over the test split.
    """

    stage: Text
    units: NonNegativeInt
    connections: NonNegativeInt
    parameters: NonNegativeInt
    flops: NonNegativeInt
    active_flops: float
    validation_accuracy: float
    test_accuracy: float
    digest: Text


class BaselineResult(Record):
    """A plain model on the same split."""

    name: Text
    weights: NonNegativeInt
    test_accuracy: float


class Result(Record):
    """The outcome of a run: result.json.

    Attributes:
        recipe: the recipe's name.
        seed: of the run.
        seconds: that it took.
        edits: how many edits were kept, training apart.
        refused: how many were tried and undone.
        stages: the seed (trained, where seed.json is not), the grown and the final network.
        baseline: what the recipe asks to compare with.
    """

    recipe: Text
    seed: NonNegativeInt
    seconds: float
    edits: NonNegativeInt
    refused: NonNegativeInt
    stages: tuple[StageResult, ...]
    baseline: BaselineResult | None = None


_RESULT: TypeAdapter[Result] = TypeAdapter(Result)
_ROW: TypeAdapter[Measurement] = TypeAdapter(Measurement)


@dataclass(frozen=True)
class Run:
    """A finished run in its folder."""

    folder: Path
    recipe: Recipe
    result: Result

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Read a run folder.

        Raises:
            SnapshotError: it is not the folder of a finished run.
        """
        try:
            result = read_record(_RESULT, read_bounded(folder / "result.json", MAX_BYTES), "result.json")
            recipe = parse_recipe((folder / "recipe.json").read_text("utf-8"), "recipe.json")
        except (OSError, ValueError, NestgraphError) as error:
            raise SnapshotError(f"{folder}: expected the folder of a finished run, got: {error}") from None
        return cls(folder, recipe, result)

    def stage(self, name: str) -> Network:
        """The network of a stage: seed, grown or final."""
        return load(self.folder / f"{name}.json")

    @property
    def network(self) -> Network:
        """The final network."""
        return self.stage("final")

    @cached_property
    def metrics(self) -> tuple[Measurement, ...]:
        """The rows of metrics.jsonl.

        Raises:
            SnapshotError: they cannot be read.
        """
        path = self.folder / "metrics.jsonl"
        lines = read_bounded(path, MAX_BYTES).splitlines()
        return tuple(read_record(_ROW, line, f"{path}: line {number}") for number, line in enumerate(lines, 1))

    def editor(self) -> Editor:
        """An editor that replayed the journal on the seed: it can undo the whole run."""
        return replay(self.stage("seed"), read_journal(self.folder / "journal.jsonl"))


class RunFolder:
    """Writes a run as it goes, so that what is there is whole whenever the run ends. A context manager."""

    def __init__(self, folder: Path, recipe: Recipe, facts: Mapping[str, Any], overwrite: bool = False) -> None:
        """Nothing is written yet.

        Args:
            folder: new or empty, or the folder of an earlier run with `overwrite`.
            recipe: of the run.
            facts: what environment.json holds beside the versions: seed and device.
            overwrite: replace what an earlier run wrote; other files stay.
        """
        self.folder = folder
        self._recipe, self._facts, self._overwrite = recipe, facts, overwrite

    def __enter__(self) -> Self:
        """Prepare the folder.

        Raises:
            SnapshotError: it holds something and is not to be overwritten or holds no run, or cannot be written.
        """
        with reported(self.folder, "written"):
            if self.folder.exists() and any(self.folder.iterdir()):
                self._clear()
            self.folder.mkdir(parents=True, exist_ok=True)
        self._write("recipe.json", self._recipe.model_dump_json(indent=2))
        self._write("environment.json", json.dumps({**self._facts, **environment()}, indent=2))
        self._journal = JournalWriter(self.folder / "journal.jsonl")
        return self

    def __exit__(self, *_: object) -> None:
        """Close the journal."""
        self._journal.close()

    def _clear(self) -> None:
        if not self._overwrite:
            raise SnapshotError(f"{self.folder}: expected a new or empty folder, got one with files: choose another")
        try:
            parse_recipe((self.folder / "recipe.json").read_text("utf-8"), "recipe.json")
        except (OSError, ValueError, RecipeError):
            got = "expected the folder of a run, got other files"
            raise SnapshotError(f"{self.folder}: {got}: it is not overwritten") from None
        snapshots = [f"{stage}{end}" for stage in STAGES for end in (".json", "-layers.svg", "-neurons.svg")]
        for name in (*GROWING, *snapshots, *CLOSING):
            (self.folder / name).unlink(missing_ok=True)

    def log(self, action: Action, phase: str, digest: str, edit: AnyEdit | None = None, note: str = "") -> None:
        """Append one line to the journal."""
        self._journal.append(action, edit=edit, phase=phase, note=note, digest=digest)

    def measured(self, row: Measurement) -> None:
        """Append one line to the metrics."""
        path = self.folder / "metrics.jsonl"
        with reported(path, "written"), path.open("a", encoding="utf-8") as file:
            file.write(row.model_dump_json() + "\n")
            file.flush()
            os.fsync(file.fileno())

    def keep(self, stage: str, network: Network) -> None:
        """Save and draw a stage's network."""
        save(network, self.folder / f"{stage}.json")
        draw_stage(network, self.folder, stage)

    def finish(self, result: Result, rows: list[Measurement]) -> None:
        """Write the closing pictures and the result."""
        stages = {stage: load(self.folder / f"{stage}.json") for stage in STAGES}
        draw_run(stages, [row.model_dump() for row in rows if row.accepted], self.folder)
        self._write("result.json", result.model_dump_json(indent=2))

    def _write(self, name: str, text: str) -> None:
        write_atomically(self.folder / name, text.encode() + b"\n")


def environment() -> dict[str, Any]:
    """What bit-identity depends on: versions, threads, machine."""
    import torch

    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }
