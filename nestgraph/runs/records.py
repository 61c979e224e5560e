"""All that a run folder says in words and numbers, read and held against itself: for reports, results and resuming."""

import os
import warnings
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from nestgraph.errors import NestgraphError, SnapshotError
from nestgraph.runs.run import Fault, Measurement, Result, read_faults, read_metrics, read_result
from nestgraph.runs.run_files import JOURNAL, RESULT, check_manifest, check_present
from nestgraph.runs.steps import kept_steps
from nestgraph.snapshot import MAX_BYTES, JournalEntry, Proposal, check_json, load, read_bounded, read_journal
from nestgraph.snapshot.disk import PathLike, shown

READINGS = 5
"""How often a folder is read that another process writes meanwhile."""


@dataclass(frozen=True)
class Records:
    """What a run folder holds in words and numbers; its parts belong together.

    Attributes:
        folder: of the run.
        recipe: as it was resolved.
        environment: what it ran on.
        rows: of the metrics, each with its time.
        faults: of its trainings.
        entries: of the journal.
        result: of the run, once it is finished.
    """

    folder: Path
    recipe: dict[str, Any]
    environment: dict[str, Any]
    rows: tuple[Measurement, ...]
    faults: tuple[Fault, ...]
    entries: tuple[JournalEntry, ...]
    result: Result | None

    @classmethod
    def read(cls, folder: PathLike) -> "Records":
        """Read the folder of a run, finished or not.

        Raises:
            SnapshotError: it is no such folder, a file is missing or damaged, or its parts do not belong together.
        """
        place = Path(folder)
        check_present(place)
        recipe, environment = (_document(place / name) for name in ("recipe.json", "environment.json"))
        result = read_result(place) if (place / RESULT).exists() else None
        with warnings.catch_warnings():  # a run that still writes has a last line in the making
            warnings.simplefilter("ignore")
            rows, entries = _grown(place)
            faults = tuple(read_faults(place))
        if result:
            check_manifest(place)
        records = cls(place, recipe, environment, rows, faults, entries, result)
        records._check_steps()
        records._check_stages()
        return records

    @property
    def accepted(self) -> tuple[Measurement, ...]:
        """The rows of the steps that were kept."""
        return tuple(row for row in self.rows if row.accepted)

    @property
    def idle(self) -> tuple[tuple[JournalEntry, Proposal], ...]:
        """What policies proposed that was nothing or was left out, each with its entry."""
        return tuple((entry, one) for entry in self.entries for one in entry.proposals if one.idle)

    @cached_property
    def steps(self) -> tuple[tuple[JournalEntry, ...], ...]:
        """Of each step that was kept, and of one that is tried, the entries that changed the network."""
        return tuple(map(tuple, kept_steps(self.entries)))

    def _check_steps(self) -> None:
        """Whether journal and metrics tell of the same steps; of an unfinished run the journal may be one ahead."""
        steps, kept = len(self.steps), len(self.accepted)
        if not kept <= steps <= kept + (self.result is None):
            got = f"{kept} kept steps in metrics.jsonl, {steps} in journal.jsonl"
            raise SnapshotError(f"{shown(self.folder)}: expected a journal of all that was measured, got {got}")
        for row, (entry, *_) in zip(self.accepted, self.steps, strict=False):
            if entry.version > 1 and entry.step != row.step:
                got = f"step {row.step} in metrics.jsonl, {entry.step} in line {entry.sequence} of journal.jsonl"
                raise SnapshotError(f"{shown(self.folder)}: expected a journal of all that was measured, got {got}")

    def _check_stages(self) -> None:
        """Whether the snapshots of the stages that were reached are those of the run."""
        digests = (
            {stage.stage: stage.digest for stage in self.result.stages if stage.stage != "seed"} if self.result else {}
        )
        reached = {"seed"} | digests.keys()
        if any(row.phase in ("shift", "prune", "finish") for row in self.rows):
            reached.add("grown")
        for stage in sorted(reached):
            path = self.folder / f"{stage}.json"
            found = load(path).digest
            if (expected := digests.get(stage, found)) != found:
                problem = f"expected the network {expected:.12} of the result, got {found:.12}"
                raise SnapshotError(f"{shown(path)}: {problem}: it was exchanged")


def _grown(folder: Path) -> tuple[tuple[Measurement, ...], tuple[JournalEntry, ...]]:
    """The rows of the metrics and the entries of the journal at one time."""
    metrics, journal = folder / "metrics.jsonl", folder / JOURNAL
    for _ in range(READINGS):
        size = metrics.stat().st_size if metrics.exists() else 0
        rows = tuple(read_metrics(folder)) if os.path.lexists(metrics) else ()
        entries = tuple(read_journal(journal)) if os.path.lexists(journal) else ()
        if size == (metrics.stat().st_size if metrics.exists() else 0):
            return rows, entries
    expected = "expected a folder that holds still while it is read, got one that grows"
    raise SnapshotError(f"{shown(folder)}: {expected}: try again")


def _document(path: Path) -> dict[str, Any]:
    where = shown(path.parent)
    try:
        content = check_json(read_bounded(path, MAX_BYTES))
    except (NestgraphError, ValueError, RecursionError) as error:
        raise SnapshotError(f"{where}: expected the folder of a run, got: {error}") from None
    if not isinstance(content, dict):
        raise SnapshotError(f"{where}: expected the folder of a run, got {path.name} without an object")
    return cast(dict[str, Any], content)
