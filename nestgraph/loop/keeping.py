"""What an engine asks of the place where a run is written down; and memory, for a run that leaves nothing on a disk."""

import math
from pathlib import Path
from typing import Protocol

from nestgraph.edits.batch import AnyEdit
from nestgraph.graph.network import Network
from nestgraph.loop.checkpoint import Pace, Point
from nestgraph.runs.run import Fault, Measurement
from nestgraph.runs.run_folder import Kept
from nestgraph.snapshot import Proposal
from nestgraph.snapshot.journal import Action


class Book(Protocol):
    """Where a run is written down as it goes: `RunFolder` or `InMemory`."""

    @property
    def kept(self) -> Kept:
        """What is written now, for a point to go on from."""
        ...

    def log(
        self,
        action: Action,
        phase: str,
        digest: str,
        edit: AnyEdit | None = None,
        note: str = "",
        proposal: Proposal | None = None,
    ) -> None:
        """Note an edit, what undid one, or what a policy found."""
        ...

    def measured(self, row: Measurement) -> None:
        """Note what was measured."""
        ...

    def fault(self, fault: Fault) -> None:
        """Note a training that failed."""
        ...

    def keep(self, stage: str, network: Network) -> None:
        """Keep the network of a stage."""
        ...

    def noted(self, name: str, network: Network) -> None:
        """Remember which network a snapshot holds."""
        ...

    def stage(self, name: str) -> Network:
        """The network of a stage that was kept."""
        ...

    def rows(self) -> list[Measurement]:
        """What was measured so far."""
        ...


class Points(Protocol):
    """Where points to resume from are kept: `RunState`, or `NoPoints`."""

    pace: Pace

    def keep(self, point: Point) -> None:
        """Keep a point."""
        ...

    def keep_seed(self, network: Network) -> None:
        """Keep the network after the first training."""
        ...

    def seed(self) -> Network:
        """The network after the first training."""
        ...

    def training(self, number: int) -> Path | None:
        """The file of the point within a training; None where there is none."""
        ...


class InMemory:
    """A run of which no file is written, so that it cannot be resumed.

    Attributes:
        measurements: what was measured.
        faults: the trainings that failed.
        stages: the networks by stage; `trained-seed` is the one after the first training.
    """

    def __init__(self) -> None:
        """Nothing is noted yet."""
        self.measurements, self.faults = list[Measurement](), list[Fault]()
        self.stages = dict[str, Network]()

    @property
    def kept(self) -> Kept:
        """Nothing to go on from."""
        return Kept()

    def log(
        self,
        action: Action,
        phase: str,
        digest: str,
        edit: AnyEdit | None = None,
        note: str = "",
        proposal: Proposal | None = None,
    ) -> None:
        """There is no journal."""

    def measured(self, row: Measurement) -> None:
        """See `Book`."""
        self.measurements.append(row)

    def fault(self, fault: Fault) -> None:
        """See `Book`."""
        self.faults.append(fault)

    def keep(self, stage: str, network: Network) -> None:
        """See `Book`."""
        self.stages[stage] = network

    def noted(self, name: str, network: Network) -> None:
        """No snapshot is on a disk."""

    def stage(self, name: str) -> Network:
        """See `Book`."""
        return self.stages[name]

    def rows(self) -> list[Measurement]:
        """See `Book`."""
        return self.measurements


class NoPoints:
    """No point is ever due."""

    def __init__(self, book: InMemory) -> None:
        """Nothing is kept yet.

        Args:
            book: holds the network after the first training.
        """
        self.pace, self._book = Pace(math.inf), book

    def keep(self, point: Point) -> None:
        """Nothing is resumed."""

    def keep_seed(self, network: Network) -> None:
        """See `Points`."""
        self._book.keep("trained-seed", network)

    def seed(self) -> Network:
        """See `Points`."""
        return self._book.stage("trained-seed")

    def training(self, number: int) -> None:
        """See `Points`."""
