"""Connections of which every unit at one end may have some with every unit at the other."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np

from nestgraph.graph.columns.areas import of_pairs, paired, to_join
from nestgraph.graph.columns.connections import Address, Common, ConnectionColumns, Ends, gathered
from nestgraph.graph.columns.units import UnitColumns
from nestgraph.graph.pairs import Matrix, Pairs
from nestgraph.spec.arrays import AnyArray, frozen, owned


@dataclass(frozen=True, eq=False)
class Grid(ConnectionColumns):
    """The connections of a dense projection or of a convolution.

    Attributes:
        weight: (out, in, ...).
        mask: as `ConnectionColumns`.
        area: bool (out, in, *size), or (out, 1, *size) for one area per output map, or None for the whole map:
            the positions at which a convolution is computed (partial-area convolution, NeST section 3.2.3).
    """

    weight: AnyArray
    mask: AnyArray
    area: AnyArray | None = None

    axes: ClassVar[int] = 2
    names: ClassVar[tuple[str, ...]] = ("area",)
    what: ClassVar[str] = "a grid of weights"

    @classmethod
    def of(cls, weight: Any, mask: Any = None, area: Any = None) -> Self:
        """See `ConnectionColumns.of`."""
        return cls(
            frozen(weight, np.float32),
            frozen(np.ones(np.shape(weight), bool) if mask is None else mask, bool),
            None if area is None else frozen(area, bool),
        )

    @classmethod
    def between(cls, targets: AnyArray, sources: AnyArray, ends: Ends, inner: tuple[int, ...]) -> Self:  # noqa: ARG003
        """See `ConnectionColumns.between`."""
        shape = (*ends.shape, *inner)
        return cls.of(owned(np.zeros(shape, np.float32)), owned(np.zeros(shape, bool)))

    @classmethod
    def united(cls, versions: Sequence[tuple[Self, Ends]], ends: Ends) -> Self:  # noqa: ARG003
        """See `ConnectionColumns.united`."""
        return cls.of(owned(np.zeros(ends.shape, np.float32)), owned(np.zeros(ends.shape, bool)))

    def beside(self, values: AnyArray, end: int, ends: Ends) -> AnyArray:  # noqa: ARG002
        """See `ConnectionColumns.beside`."""
        return values.reshape((-1, 1) if end == 0 else (1, -1))

    def total(self, entries: AnyArray, end: int, ends: Ends) -> AnyArray:  # noqa: ARG002
        """See `ConnectionColumns.total`."""
        one = entries.ndim == 2  # a tuple of one axis takes as long as the sum of a small grid
        return entries.sum(axis=1 - end if one else tuple(axis for axis in range(entries.ndim) if axis != end))

    def touched(self, marks: AnyArray, end: int, ends: Ends) -> AnyArray:  # noqa: ARG002
        """See `ConnectionColumns.touched`."""
        return np.asarray(marks.any(axis=1 - end))

    def by_target(self, ends: Ends) -> tuple[AnyArray, tuple[AnyArray, ...]]:
        """See `ConnectionColumns.by_target`."""
        return np.arange(len(ends.target)), tuple(self.arrays.values())

    @property
    def areas_of_sources(self) -> AnyArray | None:
        """See `ConnectionColumns.areas_of_sources`."""
        return None if self.area is None or not self.by_unit(1) else self.area.swapaxes(0, 1)

    @property
    def computed(self) -> AnyArray:
        """See `ConnectionColumns.computed`."""
        if self.area is None:
            return super().computed
        return np.any(self.area, axis=tuple(range(2, self.area.ndim)), keepdims=True)

    def pairs(self, ends: Ends) -> Pairs:  # noqa: ARG002
        """See `ConnectionColumns.pairs`."""
        return Matrix(self.edges)

    def listed(self, marks: AnyArray, ends: Ends) -> tuple[AnyArray, AnyArray]:  # noqa: ARG002
        """See `ConnectionColumns.listed`."""
        rows, columns = np.nonzero(marks)
        return rows, columns

    def index(self, targets: AnyArray, sources: AnyArray, ends: Ends) -> tuple[AnyArray, ...]:  # noqa: ARG002
        """See `ConnectionColumns.index`."""
        return targets, sources

    def spread_out(self, ends: Ends) -> tuple[AnyArray, AnyArray]:  # noqa: ARG002
        """See `ConnectionColumns.spread_out`."""
        return self.weight, self.mask

    # -- the same in another network --------------------------------------------------------------------

    def common(self, later: Self, ends: Ends, later_ends: Ends) -> Common:  # noqa: ARG002
        """See `ConnectionColumns.common`."""
        if all(np.array_equal(one.ids, other.ids) for one, other in zip(ends, later_ends, strict=True)):
            return Common((...,), (...,), self, ends)  # the arrays as they are, without a copy
        both = [
            np.intersect1d(one.ids, other.ids, return_indices=True) for one, other in zip(ends, later_ends, strict=True)
        ]
        (targets, rows, later_rows), (sources, columns, later_columns) = both
        units = Ends(UnitColumns.of(targets, {}), UnitColumns.of(sources, {}))
        return Common(np.ix_(rows, columns), np.ix_(later_rows, later_columns), self, units)

    def follow(self, older: Self, old: tuple[AnyArray, AnyArray], ends: Ends, older_ends: Ends) -> tuple[AnyArray, ...]:  # noqa: ARG002
        """See `ConnectionColumns.follow`."""
        return old

    def moved(self, ends: Ends, here: Ends, old: tuple[AnyArray, AnyArray]) -> Self:  # noqa: ARG002
        """See `ConnectionColumns.moved`. Where each pair has an area, that of a new one is full."""
        area = None if self.area is None else gathered(self.area, old if paired(self.area) else old[:1], True)
        return self.of(gathered(self.weight, old, 0), gathered(self.mask, old, False), area)

    def other_areas(self, later: Self, common: Common) -> AnyArray:
        """See `ConnectionColumns.other_areas`."""
        if self.area is None and later.area is None:
            return np.zeros((1, 1), bool)
        if self.area is not None and later.area is not None and self.area.shape[2:] != later.area.shape[2:]:
            return np.ones((1, 1), bool)  # of maps of another size
        differs = self._kept_at(common.here) != later._kept_at(common.there)
        return differs.any(axis=tuple(range(2, differs.ndim)))

    def _kept_at(self, places: tuple[Any, ...]) -> AnyArray:
        """Bool (targets, sources, ...), or one that broadcasts to it: the area of some pairs."""
        if self.area is None or places[0] is ...:
            return self.kept((1,) * len(self.inner))
        return of_pairs(self.area, *places)

    # -- parts ---------------------------------------------------------------------------------------

    def take(self, places: AnyArray, end: int, ends: Ends) -> Self:
        """See `ConnectionColumns.take`. An area that is one for all sources stays."""
        part = self.own(places, end, ends)
        return replace(part, area=self.area) if part.area is None else part

    def own(self, places: AnyArray, end: int, ends: Ends) -> Self:  # noqa: ARG002
        """See `ConnectionColumns.own`. An area only where there is one for each unit of the end."""
        area = None if self.area is None or not self.by_unit(end) else owned(self.area.take(places, end))
        shape = _resized(self.mask, end, len(places))
        mask = np.ones(shape, bool) if self.whole else self.mask.take(places, end)
        return replace(self, weight=owned(self.weight.take(places, end)), mask=owned(mask), area=area)

    def by_unit(self, end: int) -> bool:
        """Whether the area has an entry for each unit of an end, rather than one for all of them."""
        return self.area is not None and self.area.shape[end] == self.weight.shape[end]

    def dormant(self, count: int, end: int) -> Self:
        """See `ConnectionColumns.dormant`."""
        shape = _resized(self.weight, end, count)
        return self.of(owned(np.zeros(shape, np.float32)), owned(np.zeros(shape, bool)))

    def explicit(self, part: Self, end: int, here: Self) -> Self:
        """See `ConnectionColumns.explicit`: an area of each new source that is not the one `here` without saying so."""
        if part.area is not None or self.area is None or end == 0 or paired(self.area) == paired(here.area):
            return part
        count = part.weight.shape[1]
        shape = _resized(self.area, 1, count)
        return replace(part, area=owned(np.ones(shape, bool) if paired(self.area) else np.repeat(self.area, count, 1)))

    def fitted(self, part: Self, end: int, known: AnyArray) -> tuple[Self, Self]:
        """See `ConnectionColumns.fitted`: areas in one form."""
        if part.area is None or (end == 1 and self.by_unit(1)):
            return self, part
        here, area = to_join(self.area, part.area, end, known, self.edges.shape)
        return self if here is self.area else self.with_area(here), replace(part, area=area)

    def joined(self, part: Self, end: int, order: AnyArray) -> Self:
        """See `ConnectionColumns.joined`. An area shared by a single source stays shared unless the part has one."""
        area = self.area
        if area is not None and self._takes_area(part, end):
            new = np.ones(_resized(area, end, part.weight.shape[end]), bool) if part.area is None else part.area
            area = _inserted(area, new, end, order)
        weight, mask = (_inserted(*both, end, order) for both in ((self.weight, part.weight), (self.mask, part.mask)))
        return replace(self, weight=weight, mask=mask, area=area)

    def _takes_area(self, part: Self, end: int) -> bool:
        from_single = end == 1 and self.weight.shape[1] == 1
        return self.by_unit(end) and not (from_single and part.area is None)

    def misfits(self, part: Self, end: int, ids: AnyArray) -> Iterator[str]:
        """See `ConnectionColumns.misfits`: another shape, or an area where there is none."""
        shape = _resized(self.weight, end, len(ids))
        if part.weight.shape != shape or part.mask.shape != shape:
            got = f"{part.weight.shape} and {part.mask.shape}"
            yield f"expected weights and mask of shape {shape} for {{!r}}, got {got}"
        if part.area is None:
            return
        if self.area is None or not self._takes_area(part, end):
            yield "expected no area for {!r}, which has none for each pair of maps: SetArea gives one"
        elif part.area.shape != (shape := _resized(self.area, end, len(ids))):
            yield f"expected an area of shape {shape} for {{!r}}, got {part.area.shape}"

    # -- addresses -----------------------------------------------------------------------------------

    def addresses(self, entries: AnyArray, ends: Ends) -> Address:
        """See `ConnectionColumns.addresses`."""
        pair, place = np.divmod(entries, max(math.prod(self.inner), 1))
        row, column = np.divmod(pair, max(len(ends.source), 1))
        return np.stack([ends.target.ids[row], ends.source.ids[column], place], 1)

    def entries(self, addresses: Address, ends: Ends) -> AnyArray:
        """See `ConnectionColumns.entries`."""
        row, column, size = ends.target.find(addresses[:, 0]), ends.source.find(addresses[:, 1]), math.prod(self.inner)
        there = (row >= 0) & (column >= 0) & (addresses[:, 2] < size)
        return np.where(there, (row * len(ends.source) + column) * size + addresses[:, 2], -1)


def _resized(array: AnyArray, axis: int, count: int) -> tuple[int, ...]:
    return (*array.shape[:axis], count, *array.shape[axis + 1 :])


def _inserted(old: AnyArray, added: AnyArray, axis: int, order: AnyArray) -> AnyArray:
    """Old entries along an axis and those added after them, in the order given; copied run by run."""
    count, before = old.shape[axis], (slice(None),) * axis
    grown = np.empty(_resized(old, axis, len(order)), old.dtype)
    breaks = (np.diff(order) != 1) | (order[1:] == count)
    ends = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(order)]
    for start, end in pairwise(ends):
        first = int(order[start])
        source, first = (added, first - count) if first >= count else (old, first)
        grown[(*before, slice(start, end))] = source[(*before, slice(first, first + end - start))]
    return owned(grown)
