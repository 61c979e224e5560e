"""Run folders: everything a run writes, and how to read it again.

recipe.json and environment.json say what was run; journal.jsonl and metrics.jsonl grow while it runs; seed.json,
grown.json and final.json are snapshots, drawn as SVG beside them; curves.svg and result.json close it.
"""

import json
import platform
import shutil
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pydantic import NonNegativeInt

from nestgraph.edits.batch import AnyEdit
from nestgraph.edits.editor import Editor
from nestgraph.errors import SnapshotError
from nestgraph.graph.network import Network
from nestgraph.render import curves, draw
from nestgraph.snapshot import JournalWriter, load, read_journal, replay, save, write_atomically
from nestgraph.spec.record import Name, Record, Text
from nestgraph.train.recipe import Recipe, parse_recipe

STAGES = ("seed", "grown", "final")
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
    """One network of the result table. Accuracies are shares of 1; the test split is read once, when the run ends."""

    stage: Text
    units: NonNegativeInt
    connections: NonNegativeInt
    parameters: NonNegativeInt
    flops: NonNegativeInt
    validation_accuracy: float
    test_accuracy: float
    digest: Text


class BaselineResult(Record):
    """A plain model on the same split."""

    name: Text
    weights: NonNegativeInt
    test_accuracy: float


class Result(Record):
    """The outcome of a run: result.json."""

    recipe: Text
    seed: NonNegativeInt
    seconds: float
    edits: NonNegativeInt
    refused: NonNegativeInt
    stages: tuple[StageResult, ...]
    baseline: BaselineResult | None = None


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
            result = Result.model_validate_json((folder / "result.json").read_bytes())
            recipe = parse_recipe((folder / "recipe.json").read_text("utf-8"), "recipe.json")
        except (OSError, ValueError) as error:
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
        """The rows of metrics.jsonl."""
        lines = (self.folder / "metrics.jsonl").read_text("utf-8").splitlines()
        return tuple(Measurement.model_validate_json(line) for line in lines)

    def editor(self) -> Editor:
        """An editor that replayed the journal on the seed: it can undo the whole run."""
        return replay(self.stage("seed"), read_journal(self.folder / "journal.jsonl"))


class RunFolder:
    """Writes a run as it goes."""

    def __init__(self, folder: Path, recipe: Recipe, overwrite: bool = False) -> None:
        """Prepare an empty folder.

        Raises:
            SnapshotError: the folder holds something and `overwrite` is not given, or it holds no run.
        """
        self.folder = folder
        if folder.exists() and any(folder.iterdir()):
            if not overwrite:
                raise SnapshotError(f"{folder}: expected a new or empty folder, got one with files: choose another")
            if not (folder / "recipe.json").exists():
                raise SnapshotError(f"{folder}: expected the folder of a run, got other files: it is not overwritten")
            shutil.rmtree(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "recipe.json", recipe.model_dump_json(indent=2).encode() + b"\n")
        self._write_json("environment.json", environment())
        self._journal = JournalWriter(folder / "journal.jsonl")

    def log(self, action: str, phase: str, digest: str, edit: AnyEdit | None = None, note: str = "") -> None:
        """Append one line to the journal."""
        self._journal.append(action, edit=edit, phase=phase, note=note, digest=digest)

    def measured(self, row: Measurement) -> None:
        """Append one line to the metrics."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(row.model_dump_json() + "\n")

    def keep(self, stage: str, network: Network) -> None:
        """Save and draw a stage's network."""
        save(network, self.folder / f"{stage}.json")
        draw(network, self.folder / f"{stage}-layers.svg", view="layers")
        draw(network, self.folder / f"{stage}-neurons.svg", view="neurons")

    def close(self, result: Result, rows: list[Measurement]) -> None:
        """Write the curves and the result."""
        curves([row.model_dump() for row in rows if row.accepted], self.folder / "curves.svg")
        self._write_json("result.json", result.model_dump(mode="json"))

    def _write_json(self, name: str, content: Any) -> None:
        write_atomically(self.folder / name, json.dumps(content, indent=2).encode() + b"\n")


def environment() -> dict[str, Any]:
    """What bit-identity depends on: versions, threads, machine."""
    import torch

    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "libraries": {name: version(name) for name in LIBRARIES},
    }
