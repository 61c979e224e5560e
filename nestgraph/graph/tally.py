"""Records of counts: of what became of units and connections; see `difference` for what the words mean."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, cast

Fate = Literal["added", "removed", "changed", "unchanged"]


class Added:
    """Records of counts, which are added and taken from each other field by field."""

    def __add__(self, other: Self) -> Self:
        return type(self)(*(mine + its for mine, its in self._beside(other)))

    def __sub__(self, other: Self) -> Self:
        return type(self)(*(mine - its for mine, its in self._beside(other)))

    def _beside(self, other: Self) -> Iterator[tuple[Any, Any]]:
        names = (field.name for field in fields(cast(Any, self)))
        return ((getattr(self, name), getattr(other, name)) for name in names)


@dataclass(frozen=True)
class Tally(Added):
    """How many of a kind there were, and how many of them were added, removed and changed."""

    before: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0

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
class Counts(Added):
    """Counts of a layer, whose connections are those that lead into it, or of a whole network.

    Attributes:
        units: a unit changed where a bias or a statistic of it did, came or went.
        connections: a connection changed where its weight did.
        values: how many biases and statistics of units that both networks have changed.
    """

    units: Tally = Tally()
    connections: Tally = Tally()
    values: int = 0

    @property
    def numbers(self) -> int:
        """Weights, biases and statistics that changed where they were before."""
        return self.connections.changed + self.values
