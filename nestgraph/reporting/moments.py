"""The moments of a run: the seed as it was made, and the network after each step that was kept.

They are read from the folder of a run, finished or not. The journal says what was done, the metrics what came of it;
where they disagree the folder is damaged, and no report is written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.errors import SnapshotError
from nestgraph.graph.cost import cost
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.runs.records import Records, kept_steps
from nestgraph.runs.run import Measurement
from nestgraph.snapshot import JournalEntry, load

PROPOSAL = 2
"""How deep in a step the batches of policies are."""


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
    steps = kept_steps(records.entries)
    for number, (row, step) in enumerate(zip(records.accepted, steps, strict=False), 1):
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
