"""What became of a layer and of its units from one network to another; see `difference` for what the words mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nestgraph.graph.columns import UnitColumns
from nestgraph.graph.matching import Matched, same_record, unequal
from nestgraph.graph.tally import Counts, Fate, Tally
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.layer import Layer


@dataclass(frozen=True, eq=False)
class Values:
    """A column's changed values: ids (units,), and the values before and after, float32 (units,), by place or not."""

    ids: AnyArray
    before: AnyArray
    after: AnyArray


@dataclass(frozen=True, eq=False)
class LayerDifference(Matched[Layer]):
    """What became of a layer itself and of its units.

    Attributes:
        body: whether both networks hold a body of the opaque layer, and these do not compute the same.
    """

    _old: UnitColumns
    _new: UnitColumns
    body: bool = False

    @cached_property
    def added(self) -> AnyArray:
        """Ids of units that only the new network has."""
        return self._new.ids[:0] if self._shared else self._new.ids[~np.isin(self._new.ids, self._old.ids)]

    @cached_property
    def removed(self) -> AnyArray:
        """Ids of units that only the old network has."""
        return self._old.ids[:0] if self._shared else self._old.ids[~np.isin(self._old.ids, self._new.ids)]

    @cached_property
    def values(self) -> Mapping[str, Values]:
        """By column, the values that changed of units that both networks have; columns of one alone are in `fields`."""
        if self._old is self._new:
            return {}
        ids, here, there = np.intersect1d(self._old.ids, self._new.ids, return_indices=True)
        found: dict[str, Values] = {}
        for column in [name for name in self._old.values if name in self._new.values]:
            before, after = self._old.values[column][here], self._new.values[column][there]
            entries = unequal(before, after)
            differs = entries.any(axis=tuple(range(1, entries.ndim)))
            if differs.any():
                found[column] = Values(ids[differs], before[differs], after[differs])
        return found

    @cached_property
    def changed(self) -> AnyArray:
        """Ids of units that both networks have and of which a bias or a statistic changed, came or went, ascending."""
        if self._old.values.keys() != self._new.values.keys():
            return np.intersect1d(self._old.ids, self._new.ids)
        return np.unique(np.concatenate([self._old.ids[:0], *(column.ids for column in self.values.values())]))

    @cached_property
    def reordered(self) -> bool:
        """Whether units that both networks have stand in another order, which outputs and files follow."""
        if self._shared:
            return False
        old, new = self._old.ids, self._new.ids
        return not np.array_equal(old[np.isin(old, new)], new[np.isin(new, old)])

    @property
    def fate(self) -> Fate:
        """What became of the record and the units; connections into the layer are those of its projections."""
        if self.alone:
            return self.alone
        if self._old is self._new and same_record(self.before, self.after) and not self.body:
            return "unchanged"
        differs = self.fields or len(self.added) or len(self.removed) or self.reordered or self.values or self.body
        return "changed" if differs else "unchanged"

    @property
    def counts(self) -> Counts:
        """Units and values."""
        tally = Tally(len(self._old.ids), len(self.added), len(self.removed), len(self.changed))
        return Counts(units=tally, values=sum(len(column.ids) for column in self.values.values()))

    @property
    def _shared(self) -> bool:
        return self._old.ids is self._new.ids
