"""The moments of a run: the seed as it was made, and the network after each step that was kept.

They are read from the folder of a run, finished or not. The journal says what was done, the metrics what came of it;
where they disagree the folder is damaged, and no report is written.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetValues
from nestgraph.errors import NestgraphError, SnapshotError
from nestgraph.graph.cost import cost
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.snapshot import JournalEntry, check_json, load, read_bounded, read_journal, read_record
from nestgraph.snapshot.limits import MAX_BYTES
from nestgraph.train.runs import Measurement, Result, read_metrics, read_timing

PROPOSAL = 2
"""How deep in a step the batches of policies are."""

_RESULT: TypeAdapter[Result] = TypeAdapter(Result)


@dataclass(frozen=True)
class Records:
    """All that a run folder holds in words and numbers.

    Attributes:
        folder: of the run.
        recipe: as it was resolved.
        environment: what it ran on.
        rows: of the metrics, each with its time.
        entries: of the journal.
        result: of the run, once it is finished.
    """

    folder: Path
    recipe: dict[str, Any]
    environment: dict[str, Any]
    rows: tuple[Measurement, ...]
    entries: tuple[JournalEntry, ...]
    result: dict[str, Any] | None

    @classmethod
    def read(cls, folder: Path) -> "Records":
        """Read a run folder.

        Raises:
            SnapshotError: it is not the folder of a run, or damaged.
        """
        recipe, environment = (_document(folder / name) for name in ("recipe.json", "environment.json"))
        with warnings.catch_warnings():  # a run that still writes has a last line in the making
            warnings.simplefilter("ignore")
            rows = tuple(read_metrics(folder)) if (folder / "metrics.jsonl").exists() else ()
            entries = tuple(read_journal(folder / "journal.jsonl")) if (folder / "journal.jsonl").exists() else ()
        return cls(folder, recipe, environment, rows, entries, _result(folder))


def _result(folder: Path) -> dict[str, Any] | None:
    path = folder / "result.json"
    if not path.exists():
        return None
    result = read_record(_RESULT, read_bounded(path, MAX_BYTES), str(path))
    seconds = result.seconds or max((row.seconds for row in read_timing(folder)), default=0.0)
    return result.model_copy(update={"seconds": seconds}).model_dump(mode="json")


def _document(path: Path) -> dict[str, Any]:
    where = path.parent
    try:
        content = check_json(read_bounded(path, MAX_BYTES))
    except (NestgraphError, ValueError) as error:
        raise SnapshotError(f"{where}: expected the folder of a run, got: {error}") from None
    if not isinstance(content, dict):
        raise SnapshotError(f"{where}: expected the folder of a run, got {path.name} without an object")
    return cast(dict[str, Any], content)


@dataclass(frozen=True)
class Moment:
    """One network of a run and how it came about.

    Attributes:
        number: 0 for the seed as it was made.
        network: the network.
        row: its measurement; None for the seed as it was made.
        edits: what led to it from the moment before, in order.
    """

    number: int
    network: Network
    row: Measurement | None
    edits: tuple[AnyEdit, ...]


def moments(records: Records) -> Iterator[Moment]:
    """The moments in order, each checked against journal and metrics.

    Raises:
        SnapshotError: journal, metrics and seed do not belong together.
    """
    network = load(records.folder / "seed.json")
    yield Moment(0, network, None, ())
    kept = [row for row in records.rows if row.accepted]
    steps = kept_steps(records.entries)
    if len(steps) < len(kept):
        got = f"{len(kept)} kept steps in metrics.jsonl, {len(steps)} in journal.jsonl"
        raise SnapshotError(f"{records.folder}: expected a journal of all that was measured, got {got}")
    for number, (row, step) in enumerate(zip(kept, steps, strict=False), 1):
        structure: Structure = network
        edits = tuple(entry.edit for entry in step if entry.edit is not None)
        for edit in edits:
            structure, _ = edit.change(structure)
        network = Network.of(structure)
        _check(records.folder, row, step[-1], network)
        yield Moment(number, network, row, edits)


def _check(folder: Path, row: Measurement, entry: JournalEntry, network: Network) -> None:
    if network.digest != entry.digest:
        problem = f"expected a network with digest {entry.digest}, got {network.digest}"
        raise SnapshotError(f"{folder}: journal entry {entry.sequence}: {problem}: it began with another network")
    total = cost(network).total
    ours, theirs = (total.units, total.connections, total.flops), (row.units, row.connections, row.flops)
    if ours != theirs:
        words = "units, connections and FLOPs"
        raise SnapshotError(f"{folder}: step {row.step}: expected {words} {ours} as replayed, got {theirs}")


def kept_steps(entries: Sequence[JournalEntry]) -> list[list[JournalEntry]]:
    """The steps that were not undone: each an edit with the trainings after it, or trainings alone."""
    done: list[JournalEntry] = []
    undone: list[JournalEntry] = []
    for entry in entries:
        if entry.action == "apply":
            done.append(entry)
            undone.clear()
        else:
            source, target = (done, undone) if entry.action == "undo" else (undone, done)
            if not source:
                raise SnapshotError(f"journal entry {entry.sequence}: expected something to {entry.action}, got none")
            target.append(source.pop())
    steps: list[list[JournalEntry]] = []
    for entry in done:
        if not steps or not isinstance(entry.edit, SetValues) or entry.phase != steps[-1][-1].phase:
            steps.append([])
        steps[-1].append(entry)
    return steps


@dataclass(frozen=True)
class Leaf:
    """A kernel edit within a step: the proposal that it belongs to, and what it was applied to."""

    edit: AnyEdit
    proposal: Batch
    before: Structure


def leaves(edits: Sequence[AnyEdit], before: Structure) -> Iterator[Leaf]:
    """The kernel edits of a step in order.

    A step is a batch of what policies proposed, each a batch with a title; what is nested deeper are its consequences.
    """
    for edit, proposal in _flat(edits, Batch(edits=()), PROPOSAL):
        yield Leaf(edit, proposal, before)
        before, _ = edit.change(before)


def _flat(edits: Sequence[AnyEdit], proposal: Batch, depth: int) -> Iterator[tuple[AnyEdit, Batch]]:
    for edit in edits:
        if isinstance(edit, Batch):
            yield from _flat(edit.edits, edit if depth and edit.title else proposal, max(0, depth - 1))
        else:
            yield edit, proposal
