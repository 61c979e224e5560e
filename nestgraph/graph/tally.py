"""Counts of what became of units and connections; see `difference` for what the words mean."""

from dataclasses import astuple, dataclass
from typing import Literal

Fate = Literal["added", "removed", "changed", "unchanged"]


@dataclass(frozen=True)
class Tally:
    """How many of a kind there were, and how many of them were added, removed and changed."""

    before: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    @property
    def after(self) -> int:
        """How many there are now."""
        return self.before + self.added - self.removed

    @property
    def unchanged(self) -> int:
        """How many are there as they were."""
        return self.before - self.removed - self.changed


@dataclass(frozen=True)
class Counts:
    """Counts of a layer, whose connections are those that lead into it, or of a whole network.

    Attributes:
        units: a unit changed where a bias or a statistic of it did, came or went.
        connections: a connection changed where its weight did.
        values: how many biases and statistics of units that both networks have changed.
    """

    units: Tally = Tally()
    connections: Tally = Tally()
    values: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.units + other.units, self.connections + other.connections, self.values + other.values)

    @property
    def numbers(self) -> int:
        """Weights, biases and statistics that changed where they were before."""
        return self.connections.changed + self.values
