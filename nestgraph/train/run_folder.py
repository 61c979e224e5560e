"""The folder of a run while it is written: new, overwritten, or gone on with."""

import json
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from nestgraph.edits.batch import AnyEdit
from nestgraph.errors import RecipeError, SnapshotError
from nestgraph.graph.network import Network
from nestgraph.snapshot import JournalWriter, load, save, write_atomically
from nestgraph.snapshot.disk import reported, shown
from nestgraph.snapshot.journal import Action
from nestgraph.train.event_files import EVENT_FILES
from nestgraph.train.pictures import draw_run, draw_stage
from nestgraph.train.recipe import Recipe, parse_recipe
from nestgraph.train.runs import STAGES, TIMING, Fault, Measurement, Result, Timing, read_metrics, read_timing

GROWING = ("journal.jsonl", "metrics.jsonl", "faults.jsonl")
CLOSING = ("curves.svg", "inputs.svg", "areas.svg", "report.html", "result.json")
STATE, LOCK = "state", ".lock"


class RunFolder:
    """Writes a run as it goes, so that what is there is whole whenever the run ends. A context manager."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        facts: Mapping[str, Any],
        overwrite: bool = False,
        lengths: Mapping[str, int] | None = None,
    ) -> None:
        """Nothing is written yet.

        Args:
            folder: new or empty, or the folder of an earlier run with `overwrite`.
            recipe: of the run.
            facts: what environment.json holds.
            overwrite: replace what an earlier run wrote; other files stay.
            lengths: bytes of the growing files up to where an unfinished run goes on; None for a new run.
        """
        self.folder = folder
        self._recipe, self._facts, self._overwrite, self._lengths = recipe, facts, overwrite, lengths

    def prepare(self) -> None:
        """Make room for a new run.

        Raises:
            SnapshotError: the folder holds something and is not to be overwritten or holds no run, or cannot be
                written.
        """
        with reported(self.folder, "written"):
            if any(path.name != LOCK and not _leftover(path) for path in self.folder.iterdir()):
                self._clear()
        drop_state(self.folder)

    def __enter__(self) -> Self:
        """Open the folder to write on.

        Raises:
            SnapshotError: it cannot be written, or lacks something of what the run wrote.
        """
        for part in self.folder.glob(".nestgraph-*.part"):
            part.unlink(missing_ok=True)  # of writers that were killed
        self._write("recipe.json", self._recipe.model_dump_json(indent=2))
        self._write("environment.json", json.dumps(self._facts, indent=2))
        if self._lengths is not None:
            with reported(self.folder, "written"):
                self._shorten(self._lengths)
        self._journal = JournalWriter(self.folder / "journal.jsonl")
        return self

    def __exit__(self, *_: object) -> None:
        """Close the journal."""
        self._journal.close()

    def _clear(self) -> None:
        if not self._overwrite:
            more = f" (nestgraph resume {shown(self.folder)} goes on with it)" if resumable(self.folder) else ""
            got = f"expected a new or empty folder, got one with files{more}: choose another"
            raise SnapshotError(f"{self.folder}: {got}")
        try:
            parse_recipe((self.folder / "recipe.json").read_text("utf-8"), "recipe.json")
        except (OSError, ValueError, RecipeError):
            got = "expected the folder of a run, got other files"
            raise SnapshotError(f"{self.folder}: {got}: it is not overwritten") from None
        drop_state(self.folder)  # first: what is half removed is not resumed
        snapshots = [f"{stage}{end}" for stage in STAGES for end in (".json", "-layers.svg", "-neurons.svg")]
        for name in (*GROWING, TIMING, *snapshots, *CLOSING):
            (self.folder / name).unlink(missing_ok=True)
        for path in self.folder.glob(EVENT_FILES):
            path.unlink()

    @property
    def lengths(self) -> dict[str, int]:
        """Bytes of each growing file, for a point to go on from."""
        paths = {name: self.folder / name for name in GROWING}
        return {name: path.stat().st_size if path.exists() else 0 for name, path in paths.items()}

    def _shorten(self, lengths: Mapping[str, int]) -> None:
        """Drop what was written after the point, to be written again."""
        for name in GROWING:
            path, length = self.folder / name, lengths.get(name, 0)
            size = path.stat().st_size if path.exists() else 0
            if size < length:
                got = f"expected at least {length} bytes, which were there when the run was last kept, got {size}"
                raise SnapshotError(f"{path}: {got}: the file was cut, so the run cannot go on")
            if size > length:
                _warn_if_torn(path)
                with path.open("rb+") as file:
                    file.truncate(length)
                    os.fsync(file.fileno())
        steps = len(read_metrics(self.folder)) if lengths.get("metrics.jsonl") else 0
        kept = [row for row in read_timing(self.folder) if row.step < steps]
        write_atomically(self.folder / TIMING, b"".join(row.model_dump_json().encode() + b"\n" for row in kept))

    def log(self, action: Action, phase: str, digest: str, edit: AnyEdit | None = None, note: str = "") -> None:
        """Append one line to the journal."""
        self._journal.append(action, edit=edit, phase=phase, note=note, digest=digest)

    def measured(self, row: Measurement) -> None:
        """Append one line to the metrics."""
        self._append("metrics.jsonl", row.model_dump_json(exclude={"seconds"}))
        self._append(TIMING, Timing(step=row.step, seconds=row.seconds).model_dump_json(), durable=False)

    def fault(self, fault: Fault) -> None:
        """Append one line to the faults."""
        self._append("faults.jsonl", fault.model_dump_json())

    def _append(self, name: str, line: str, durable: bool = True) -> None:
        path = self.folder / name
        with reported(path, "written"), path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            if durable:
                os.fsync(file.fileno())

    def keep(self, stage: str, network: Network) -> None:
        """Save and draw a stage's network."""
        save(network, self.folder / f"{stage}.json")
        draw_stage(network, self.folder, stage)

    def finish(self, result: Result, rows: list[Measurement]) -> None:
        """Write the closing pictures and the result; what the run would go on from is dropped."""
        stages = {stage: load(self.folder / f"{stage}.json") for stage in STAGES}
        draw_run(stages, [row.model_dump() for row in rows if row.accepted], self.folder)
        self._append(TIMING, Timing(step=len(rows), seconds=result.seconds).model_dump_json(), durable=False)
        self._write("result.json", result.model_dump_json(indent=2, exclude={"seconds"}))
        drop_state(self.folder)

    def _write(self, name: str, text: str) -> None:
        write_atomically(self.folder / name, text.encode() + b"\n")


def resumable(folder: Path) -> bool:
    """Whether a folder has an unfinished run."""
    return (folder / STATE / "begun.json").exists() and not (folder / "result.json").exists()


def drop_state(folder: Path) -> None:
    """Remove what a run goes on from, if there is any. What tells that it can goes first.

    Raises:
        SnapshotError: it cannot be removed.
    """
    state = folder / STATE
    with reported(state, "removed"):
        (state / "begun.json").unlink(missing_ok=True)
        if state.exists():
            shutil.rmtree(state)


def _leftover(path: Path) -> bool:
    """Whether a process that was killed left this before its run began."""
    return (path.name == STATE and not (path / "begun.json").exists()) or path.suffix == ".part"


def _warn_if_torn(path: Path) -> None:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        if file.read(1) != b"\n":
            warnings.warn(f"{path}: dropped the last line, which was cut short while written", stacklevel=2)
