"""What an engine asks of the places where a run is written down and points to resume from are kept."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from nestgraph.edits.batch import AnyEdit
from nestgraph.graph.network import Network
from nestgraph.loop.checkpoint import Pace, Point
from nestgraph.runs.run import Fault, Measurement
from nestgraph.runs.run_folder import Kept
from nestgraph.snapshot import Proposal
from nestgraph.snapshot.journal_entry import Action
from nestgraph.snapshot.outcomes import Outcome


class Book(Protocol):
    """Where a run is written down as it goes: `RunFolder` or `InMemory`."""

    @property
    def kept(self) -> Kept:
        """What is written now, for a point to go on from."""
        ...

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
        """Note an edit, what undid one, what policies proposed, or what came of an action."""
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
