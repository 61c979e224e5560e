"""The folder of a run while it is written: new, overwritten, or gone on with."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self, cast

from pydantic import Field

from nestgraph.data.tables.preparation import Preparation
from nestgraph.edits.batch import AnyEdit
from nestgraph.errors import RecipeError, SnapshotError
from nestgraph.graph.network import Network
from nestgraph.recipes.recipe import Recipe, recorded_recipe
from nestgraph.runs.columns import save_columns
from nestgraph.runs.growing import GrowingFile, Part
from nestgraph.runs.locks import check_held
from nestgraph.runs.pictures import draw_run, draw_stage
from nestgraph.runs.run import (
    FAULT_START,
    ROW_START,
    Fault,
    Measurement,
    Result,
    Timing,
    read_fault,
    read_measurement,
    read_metrics,
    read_time,
    read_timing,
)
from nestgraph.runs.run_files import (
    COLUMNS,
    JOURNAL,
    MANIFEST,
    RESULT,
    STAGES,
    TIMING,
    check_plain_files,
    drop_state,
    is_run,
    manifest_of,
    remove_run,
    resumable,
    strangers,
)
from nestgraph.snapshot import (
    UNLIMITED,
    JournalEntry,
    JournalWriter,
    Proposal,
    load,
    read_entry,
    save,
    write_atomically,
)
from nestgraph.snapshot.disk import shown, sweep
from nestgraph.snapshot.document import Digest
from nestgraph.snapshot.journal_entry import START, Action
from nestgraph.snapshot.outcomes import Outcome
from nestgraph.spec.record import Record


class Kept(Record):
    """What the folder of a run held when a point was kept, so that it is known again when the run goes on.

    Attributes:
        files: the growing files, by name.
        networks: digests of the snapshots, by their path in the folder.
    """

    files: dict[str, Part] = Field(default_factory=dict[str, Part])
    networks: dict[str, Digest] = Field(default_factory=dict[str, str])


class RunFolder:
    """Writes a run as it goes, so that what is there is whole whenever the run ends. A context manager."""

    def __init__(
        self,
        folder: Path,
        recipe: Recipe,
        facts: Mapping[str, Any],
        overwrite: bool = False,
        kept: Kept | None = None,
        columns: Preparation | None = None,
    ) -> None:
        """Nothing is written yet.

        Args:
            folder: new or empty, or the folder of an earlier run with `overwrite`.
            recipe: of the run.
            facts: what environment.json holds.
            overwrite: replace what an earlier run wrote; other files stay.
            kept: what it held where an unfinished run goes on; None for a new run.
            columns: what is done to the rows of a table before the run's networks read them.
        """
        self.folder = folder
        self._recipe, self._facts, self._overwrite, self._kept = recipe, facts, overwrite, kept
        self._columns = columns
        self._networks = dict(kept.networks) if kept else {}
        readers: dict[str, tuple[Callable[..., object], bytes]] = {
            JOURNAL: (read_entry, START),
            "metrics.jsonl": (read_measurement, ROW_START),
            "faults.jsonl": (read_fault, FAULT_START),
        }
        self._growing = {
            name: GrowingFile(folder / name, partial(read, path=folder / name), start)
            for name, (read, start) in readers.items()
        }
        self._timing = GrowingFile(folder / TIMING, partial(read_time, path=folder / TIMING), ROW_START)

    # -- before anything is written ------------------------------------------------------------------

    def prepare(self) -> None:
        """Make room for a new run.

        Raises:
            SnapshotError: the folder holds something and is not to be overwritten or holds no run, or a file of a run's
                name that no run wrote, or cannot be written.
        """
        check_plain_files(self.folder)
        if strangers(self.folder):
            self._clear()
        sweep(self.folder, alone=True)
        drop_state(self.folder)

    def _clear(self) -> None:
        if not self._overwrite:
            more = f" (nestgraph resume {shown(self.folder)} goes on with it)" if resumable(self.folder) else ""
            got = f"expected a new or empty folder, got one with files{more}"
            remedy = "choose another, or replace the run in it with --overwrite (overwrite=True)"
            raise SnapshotError(f"{shown(self.folder)}: {got}: {remedy}")
        try:
            recorded_recipe((self.folder / "recipe.json").read_text("utf-8"), "recipe.json")
            known = is_run(self.folder)
        except (OSError, ValueError, RecipeError):
            known = False
        if not known:
            got = "expected the folder of a run, got other files"
            raise SnapshotError(f"{shown(self.folder)}: {got}: it is not overwritten; choose another")
        remove_run(self.folder)

    def check(self) -> None:
        """Whether all is as it was when the run that goes on was last kept. Nothing is written.

        Raises:
            SnapshotError: a file is missing, was cut or altered, or is a link; the message names it, and the line.
        """
        kept = self._kept or Kept()
        for name, file in self._growing.items():
            file.check(kept.files.get(name, Part()))
        read_timing(self.folder)
        for name, digest in kept.networks.items():
            if (found := load(self.folder / name, UNLIMITED).digest) != digest:
                problem = f"expected the network {digest:.12} of the run, got {found:.12}"
                raise SnapshotError(f"{shown(self.folder / name)}: {problem}: bring it back")

    def entries(self) -> Iterator[JournalEntry]:
        """The lines that the journal had when the run that goes on was last kept; see `check`.

        Raises:
            SnapshotError: one is damaged.
        """
        kept = self._kept.files.get(JOURNAL) if self._kept else None
        return cast("Iterator[JournalEntry]", self._growing[JOURNAL].kept_lines(kept or Part()))

    # -- while the run goes on -----------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Open the folder to write on; one that goes on was checked before.

        Raises:
            SnapshotError: it cannot be written.
        """
        sweep(self.folder, alone=True)  # of writers that were killed
        self._write("recipe.json", self._recipe.text)
        self._write("environment.json", json.dumps(self._facts, indent=2))
        if self._columns is not None:
            save_columns(self._columns, self.folder / COLUMNS)
        if self._kept is not None:
            self._shorten(self._kept)
        self._journal = JournalWriter(self.folder / JOURNAL)
        return self

    def __exit__(self, *_: object) -> None:
        """Close the journal."""
        self._journal.close()

    @property
    def kept(self) -> Kept:
        """What the folder holds now, for a point to go on from."""
        check_held(self.folder)
        return Kept(files={name: file.part() for name, file in self._growing.items()}, networks=self._networks)

    def _shorten(self, kept: Kept) -> None:
        """Drop what was written after the point, to be written again."""
        for name, file in self._growing.items():
            file.cut(kept.files.get(name, Part()))
        steps = len(read_metrics(self.folder)) if (self.folder / "metrics.jsonl").exists() else 0
        rows = [row for row in read_timing(self.folder) if row.step < steps]
        write_atomically(self.folder / TIMING, b"".join(row.model_dump_json().encode() + b"\n" for row in rows))

    def log(
        self,
        action: Action,
        step: int,
        phase: str,
        digest: str,
        edit: AnyEdit | None = None,
        proposals: Sequence[Proposal] = (),
        outcome: Outcome | None = None,
        note: str = "",
    ) -> None:
        """Append one line to the journal."""
        check_held(self.folder)
        self._journal.append(action, digest, edit, phase, note, step, proposals, outcome)

    def measured(self, row: Measurement) -> None:
        """Append one line to the metrics."""
        check_held(self.folder)
        self._growing["metrics.jsonl"].append(row.model_dump_json(exclude={"seconds"}))
        self._timing.append(Timing(step=row.step, seconds=row.seconds).model_dump_json(), durable=False)

    def fault(self, fault: Fault) -> None:
        """Append one line to the faults."""
        check_held(self.folder)
        self._growing["faults.jsonl"].append(fault.model_dump_json())

    def keep(self, stage: str, network: Network) -> None:
        """Save and draw a stage's network."""
        check_held(self.folder)
        save(network, self.folder / f"{stage}.json", overwrite=True)
        self.noted(f"{stage}.json", network)
        draw_stage(network, self.folder, stage)

    def stage(self, name: str) -> Network:
        """The network of a stage that was kept.

        Raises:
            SnapshotError: it cannot be read.
        """
        return load(self.folder / f"{name}.json")

    def rows(self) -> list[Measurement]:
        """What was measured so far.

        Raises:
            SnapshotError: the metrics cannot be read.
        """
        return read_metrics(self.folder)

    def noted(self, name: str, network: Network) -> None:
        """Remember which network a snapshot in the folder holds."""
        self._networks[name] = network.digest

    def finish(self, result: Result, rows: list[Measurement]) -> None:
        """Write the closing pictures, the manifest and the result; what the run would go on from is dropped."""
        stages = {stage: self.stage(stage) for stage in STAGES}
        kept = [row.model_dump() for row in rows if row.accepted]
        check_held(self.folder)
        draw_run(stages, kept, self.folder, "", True, result.aim.name)
        self._timing.append(Timing(step=len(rows), seconds=result.seconds).model_dump_json(), durable=False)
        told = result.model_dump_json(indent=2, exclude={"seconds"}).encode() + b"\n"
        check_held(self.folder)
        self._write(MANIFEST, manifest_of(self.folder, told).model_dump_json(indent=2))
        write_atomically(self.folder / RESULT, told)
        drop_state(self.folder)

    def _write(self, name: str, text: str) -> None:
        write_atomically(self.folder / name, text.encode() + b"\n")
