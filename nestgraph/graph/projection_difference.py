"""What became of a projection and of its connections from one network to another; see `difference` for the words."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from nestgraph.graph.columns import Common, ConnectionColumns, Ends
from nestgraph.graph.columns.areas import spelled_alike
from nestgraph.graph.matching import (
    Matched,
    common_pairs,
    same_make,
    same_record,
    unequal,
)
from nestgraph.graph.structure import Structure
from nestgraph.graph.tally import Fate, Tally
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Projection


@dataclass(frozen=True, eq=False)
class Connections:
    """Connections of one projection and one fate, each array (connections,).

    Attributes:
        targets: ids of the units that they lead to.
        sources: ids of the units that they come from.
        places: where a connection is among those of its pair of units: the index into the flat kernel or map.
        before: weights in the old network; 0 where there was none.
        after: weights in the new one; 0 where there is none.
    """

    targets: AnyArray
    sources: AnyArray
    places: AnyArray
    before: AnyArray
    after: AnyArray

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class ProjectionDifference(Matched[Projection]):
    """What became of a projection and of its connections."""

    _old: Structure
    _new: Structure

    @cached_property
    def remade(self) -> bool:
        """Whether both networks have a projection of this name, but of another make, so that nothing was kept."""
        return self.before is not None and self.after is not None and not same_make(self._old, self._new, self.name)

    @cached_property
    def area(self) -> bool:
        """Whether another area is recorded for the maps that both networks have."""
        if not self._compared:
            return False
        before, after = self._columns
        if before.area is after.area:
            return False
        sources = before.edges.shape[1], after.edges.shape[1]
        return not spelled_alike(before.area, after.area, sources) or self._other_positions

    @property
    def respelled(self) -> bool:
        """Whether the area of the maps that both networks have is the same, but spelled otherwise."""
        return self.area and not self._other_positions

    @property
    def rewritten(self) -> bool:
        """Whether more than connections changed: the projection came or went, or its record, make or area differs."""
        return bool(self.alone or self.fields or self.remade or self.area)

    @cached_property
    def counts(self) -> Tally:
        """Active connections."""
        before = 0 if self.before is None else self._old.connection_columns(self.name).active
        after = 0 if self.after is None else self._new.connection_columns(self.name).active
        if not self._compared:
            return Tally(before, after, before, 0)
        if self._columns[0] is self._columns[1]:
            return Tally(before)
        kept = int(np.count_nonzero(self._kept))
        return Tally(before, after - kept, before - kept, int(np.count_nonzero(self._moved)))

    def into(self, layer: str) -> Tally:
        """Of the counts those of a layer: a projection that leads elsewhere now takes from one and adds to another."""
        if self.before is None or self.after is None or self.before.target == self.after.target:
            return self.counts
        here = self.counts.before, 0, self.counts.removed
        return Tally(*here) if self.before.target == layer else Tally(added=self.counts.added)

    @property
    def fate(self) -> Fate:
        """What became of the projection: of its record, its connections or their areas."""
        if self.alone:
            return self.alone
        if self._columns[0] is self._columns[1] and same_record(self.before, self.after):
            return "unchanged"
        quickly = self.remade or self.fields or self._columns[0].active != self._columns[1].active
        return "changed" if quickly or self.area or self.counts else "unchanged"

    @cached_property
    def added(self) -> Connections:
        """Connections that only the new network has."""
        return self._of_one(new=True)

    @cached_property
    def removed(self) -> Connections:
        """Connections that only the old network has."""
        return self._of_one(new=False)

    @cached_property
    def changed(self) -> Connections:
        """Connections that both networks have with another weight."""
        if not self._compared or self._columns[0] is self._columns[1]:
            return _NONE
        before, after = self._columns
        at = np.flatnonzero(self._moved)
        weights = (c.weight[p].reshape(-1)[at] for c, p in zip((before, after), self._sides, strict=True))
        return Connections(*_named(self._common.block, at, self._common.ends), *weights)

    @cached_property
    def edges(self) -> AnyArray:
        """Bool, as the old network's edges (out, in) or links: pairs that both join, and of which anything changed.

        Of a pair all counts: a connection that came, went or has another weight, and where its kernel is computed.
        """
        columns = self._old.connection_columns(self.name)
        marks = np.zeros(columns.edges.shape, bool)
        if not self._compared or self._columns[0] is self._columns[1]:
            return marks
        before, after = self._columns
        here, there = self._sides
        differs = before.of_pairs(self._moved | (before.mask[here] != after.mask[there]))
        differs = differs | before.other_areas(after, self._common)
        marks[here] = differs & before.edges[here] & after.edges[there]
        return marks

    @cached_property
    def _other_positions(self) -> bool:
        before, after = self._columns
        return bool(before.other_areas(after, self._common).any())

    # -- what both networks have -----------------------------------------------------------------------

    @property
    def _compared(self) -> bool:
        return not (self.alone or self.remade)

    @property
    def _columns(self) -> tuple[ConnectionColumns, ConnectionColumns]:
        return self._old.connection_columns(self.name), self._new.connection_columns(self.name)

    @cached_property
    def _common(self) -> Common:
        return common_pairs(self._old, self._new, self.name)

    @property
    def _sides(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        return self._common.here, self._common.there

    @property
    def _kept(self) -> AnyArray:
        before, after = self._columns
        here, there = self._sides
        return before.mask[here] & after.mask[there]

    @cached_property
    def _moved(self) -> AnyArray:
        before, after = self._columns
        here, there = self._sides
        return unequal(before.weight[here], after.weight[there]) & self._kept

    def _of_one(self, new: bool) -> Connections:
        record, structure = (self.after, self._new) if new else (self.before, self._old)
        if record is None:
            return _NONE
        columns = structure.connection_columns(self.name)
        alone = columns.mask
        if self._compared:
            if self._columns[0] is self._columns[1]:
                return _NONE
            mine, others = reversed(self._sides) if new else self._sides
            other = self._columns[0 if new else 1]
            alone = columns.mask.copy()
            alone[mine] &= ~other.mask[others]
        at = np.flatnonzero(alone)
        weights = columns.weight.reshape(-1)[at]
        nothing = np.zeros_like(weights)
        sides = (nothing, weights) if new else (weights, nothing)
        return Connections(*_named(columns, at, structure.ends(self.name)), *sides)


def _named(columns: ConnectionColumns, at: AnyArray, ends: Ends) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Ids of targets and of sources of entries, and their places between the two."""
    target, source, place = columns.addresses(at, ends).T
    return target, source, place


_NONE = Connections(*(np.zeros(0, np.int64) for _ in range(3)), *(np.zeros(0, np.float32) for _ in range(2)))
