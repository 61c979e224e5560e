"""Runs that leave nothing on a disk: for a library that trains many small networks, such as scikit-learn."""

import math
from collections.abc import Sequence
from typing import Any

from nestgraph.edits.batch import AnyEdit
from nestgraph.graph.network import Network
from nestgraph.loop.checkpoint import Pace, Point
from nestgraph.loop.engine import Engine
from nestgraph.loop.trainer import Trainer, cpu_threads
from nestgraph.recipes.recipe import Recipe
from nestgraph.runs.run import Fault, Measurement
from nestgraph.runs.run_folder import Kept
from nestgraph.snapshot import Proposal
from nestgraph.snapshot.files import from_bytes, to_bytes
from nestgraph.snapshot.journal_entry import Action
from nestgraph.snapshot.outcomes import Outcome


def in_memory(recipe: Recipe, trainer: Trainer) -> "InMemory":
    """Run a recipe to its end, on the data of a trainer.

    Args:
        recipe: all choices of the run but the data.
        trainer: with the data, the recipe's options of training, and the seed.

    Raises:
        DataError: the network does not fit the data.
        TrainingError: the seed network does not train.
    """
    book = InMemory(recipe)
    with cpu_threads(recipe.training.threads):
        engine = Engine(recipe, trainer, book, NoPoints(book))
        book.stages.update(engine.run())
    return book


class InMemory:
    """A run of which no file is written, so that it cannot be resumed.

    Pickled, its networks are snapshots.

    Attributes:
        recipe: all choices of the run but the data.
        measurements: what was measured.
        faults: the trainings that failed.
        stages: the networks by stage; `trained-seed` is the one after the first training.
    """

    def __init__(self, recipe: Recipe) -> None:
        """Nothing is noted yet."""
        self.recipe = recipe
        self.measurements, self.faults = list[Measurement](), list[Fault]()
        self.stages = dict[str, Network]()

    @property
    def network(self) -> Network:
        """The final network."""
        return self.stages["final"]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "stages": {name: to_bytes(network) for name, network in self.stages.items()}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        stages = {name: from_bytes(data, name) for name, data in state["stages"].items()}
        self.__dict__.update(state, stages=stages)

    @property
    def kept(self) -> Kept:
        """Nothing to go on from."""
        return Kept()

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
