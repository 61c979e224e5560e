"""The moments of a run: the seed as it was made, and the network after each step that was kept.

They are read from the folder of a run, finished or not. The journal says what was done, the metrics what came of it;
where they disagree the folder is damaged, and no report is written.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.errors import SnapshotError
from nestgraph.graph.cost import cost
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.runs.records import Records
from nestgraph.runs.run import Measurement
from nestgraph.runs.steps import parts
from nestgraph.snapshot import JournalEntry, load


@dataclass(frozen=True)
class Part:
    """A kernel edit of a step: the proposal that it belongs to, and what it was applied to."""

    edit: AnyEdit
    proposal: Batch
    before: Structure


@dataclass(frozen=True)
class Moment:
    """One network of a run and how it came about.

    Attributes:
        number: 0 for the seed as it was made.
        network: the network.
        row: its measurement; None for the seed as it was made.
        parts: what led to it from the moment before, in order.
    """

    number: int
    network: Network
    row: Measurement | None
    parts: tuple[Part, ...]


def moments(records: Records) -> Iterator[Moment]:
    """The moments in order, each checked against journal and metrics.

    Raises:
        SnapshotError: journal, metrics and seed do not belong together.
    """
    network = load(records.folder / "seed.json")
    yield Moment(0, network, None, ())
    for number, (row, step) in enumerate(zip(records.accepted, records.steps, strict=False), 1):
        structure: Structure = network
        done: list[Part] = []
        for edit, proposal in (part for entry in step for part in parts(entry)):
            done.append(Part(edit, proposal, structure))
            structure, _ = edit.change(structure)
        network = Network.of(structure)
        _check(records.folder, row, step[-1], network)
        yield Moment(number, network, row, tuple(done))


def _check(folder: Path, row: Measurement, entry: JournalEntry, network: Network) -> None:
    if network.digest != entry.digest:
        problem = f"expected a network with digest {entry.digest}, got {network.digest}"
        raise SnapshotError(f"{folder}: journal entry {entry.sequence}: {problem}: it began with another network")
    total = cost(network).total
    ours, theirs = (total.units, total.connections, total.flops), (row.units, row.connections, row.flops)
    if ours != theirs:
        words = "units, connections and FLOPs"
        raise SnapshotError(f"{folder}: step {row.step}: expected {words} {ours} as replayed, got {theirs}")
