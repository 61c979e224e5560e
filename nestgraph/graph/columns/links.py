"""Connections of pairs that are listed: each target has at most one source."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from nestgraph.graph.columns.connections import Address, Common, ConnectionColumns, Ends
from nestgraph.graph.pairs import PairList, Pairs
from nestgraph.spec.arrays import AnyArray, frozen, owned


@dataclass(frozen=True, eq=False)
class Links(ConnectionColumns):
    """The connections of a one-to-one projection.

    Attributes:
        weight: (links, ...).
        mask: as `ConnectionColumns`.
        links: int64 (links, 2), the ids of source and target unit, in ascending order of targets.
    """

    weight: AnyArray
    mask: AnyArray
    links: AnyArray

    axes: ClassVar[int] = 1
    names: ClassVar[tuple[str, ...]] = ("links",)
    what: ClassVar[str] = "links (links, 2)"

    @classmethod
    def of(cls, weight: Any, mask: Any = None, links: Any = None) -> Self:
        """See `ConnectionColumns.of`.

        Raises:
            ValueError: there are no links.
        """
        if links is None:
            raise ValueError("expected links of shape (links, 2), got none")
        mask = np.ones(np.shape(weight), bool) if mask is None else mask
        return cls(frozen(weight, np.float32), frozen(mask, bool), frozen(links, np.int64))

    @classmethod
    def between(cls, targets: AnyArray, sources: AnyArray, ends: Ends, inner: tuple[int, ...]) -> Self:
        """See `ConnectionColumns.between`."""
        links = np.stack([ends.source.ids[sources], ends.target.ids[targets]], 1)
        links = links[np.argsort(links[:, 1], kind="stable")]
        return cls.of(np.zeros((len(links), *inner), np.float32), np.zeros((len(links), *inner), bool), links)

    @property
    def formed(self) -> bool:
        """See `ConnectionColumns.formed`."""
        return self.links.ndim == 2 and self.links.shape[1] == 2

    def at(self, end: int, ends: Ends) -> AnyArray:
        """(links,): the place of each link's unit at an end.

        Raises:
            StructureError: a unit does not live.
        """
        return ends[end].positions(self.ids(end))

    def ids(self, end: int) -> AnyArray:
        """(links,): the id of each link's unit at an end."""
        return self.links[:, 1 - end]

    @classmethod
    def united(cls, versions: Sequence[tuple[Self, Ends]], ends: Ends) -> Self:
        """See `ConnectionColumns.united`: the live links of all, a target once for each of its sources."""
        known = [columns.ids(end)[columns.edges] for end in (0, 1) for columns, _ in versions]
        halves = np.concatenate(known).reshape(2, -1) if known else np.zeros((2, 0), np.int64)
        places = np.stack([ends.target.positions(halves[0]), ends.source.positions(halves[1])], 1)
        targets, sources = np.unique(places, axis=0).T
        links = np.stack([ends.source.ids[sources], ends.target.ids[targets]], 1)
        return cls.of(np.zeros(len(links), np.float32), np.zeros(len(links), bool), links)

    def beside(self, values: AnyArray, end: int, ends: Ends) -> AnyArray:
        """See `ConnectionColumns.beside`."""
        return values[self.at(end, ends)]

    def total(self, entries: AnyArray, end: int, ends: Ends) -> AnyArray:
        """See `ConnectionColumns.total`."""
        each = entries.sum(axis=tuple(range(1, entries.ndim)), dtype=None if entries.dtype != bool else np.int64)
        total = np.zeros(len(ends[end]), each.dtype)
        np.add.at(total, self.at(end, ends), each)
        return total

    def touched(self, marks: AnyArray, end: int, ends: Ends) -> AnyArray:
        """See `ConnectionColumns.touched`."""
        found = np.zeros(len(ends[end]), bool)
        found[self.at(end, ends)[marks]] = True
        return found

    def by_target(self, ends: Ends) -> tuple[AnyArray, tuple[AnyArray, ...]]:
        """See `ConnectionColumns.by_target`."""
        return self.at(0, ends), (self.ids(1), self.weight, self.mask)

    def pairs(self, ends: Ends) -> Pairs:
        """See `ConnectionColumns.pairs`."""
        return PairList(*self.listed(self.edges, ends), ends.shape)

    def listed(self, marks: AnyArray, ends: Ends) -> tuple[AnyArray, AnyArray]:
        """See `ConnectionColumns.listed`."""
        chosen = self.chosen(marks)
        return chosen.at(0, ends), chosen.at(1, ends)

    def index(self, targets: AnyArray, sources: AnyArray, ends: Ends) -> tuple[AnyArray, ...]:
        """See `ConnectionColumns.index`."""
        rows = self._rows(targets, sources, ends)
        return (rows[rows >= 0],)

    def _rows(self, targets: AnyArray, sources: AnyArray, ends: Ends) -> AnyArray:
        """The link of each pair of places, or -1. Targets of a picture of two networks may have several links."""
        if not len(self.links):
            return np.full(len(targets), -1)
        keys, wanted = (t * len(ends.source) + s for t, s in ((self.at(0, ends), self.at(1, ends)), (targets, sources)))
        order = np.argsort(keys)
        rows = order.take(np.searchsorted(keys, wanted, sorter=order), mode="clip")
        return np.where((targets >= 0) & (sources >= 0) & (keys[rows] == wanted), rows, -1)

    def relinked(self, links: AnyArray) -> Self:
        """The same weights between other units, given as (links, 2)."""
        return self.of(self.weight, self.mask, links.reshape(-1, 2))

    def spread_out(self, ends: Ends) -> tuple[AnyArray, AnyArray]:
        """See `ConnectionColumns.spread_out`."""
        shape, at = (*ends.shape, *self.inner), (self.at(0, ends), self.at(1, ends))
        weight, mask = np.zeros(shape, np.float32), np.zeros(shape, bool)
        weight[at], mask[at] = self.weight, self.mask
        return weight, mask

    # -- the same in another network --------------------------------------------------------------------

    def joins_as(self, other: ConnectionColumns) -> bool:
        """See `ConnectionColumns.joins_as`."""
        return super().joins_as(other) and isinstance(other, Links) and np.array_equal(self.links, other.links)

    def common(self, later: Self, ends: Ends, later_ends: Ends) -> Common:  # noqa: ARG002
        """See `ConnectionColumns.common`."""
        _, rows, later_rows = np.intersect1d(self.ids(0), later.ids(0), return_indices=True)
        same = self.ids(1)[rows] == later.ids(1)[later_rows]
        return Common((rows[same],), (later_rows[same],), self.chosen(rows[same]), ends)

    def follow(self, older: Self, old: tuple[AnyArray, AnyArray], ends: Ends, older_ends: Ends) -> tuple[AnyArray, ...]:
        """See `ConnectionColumns.follow`."""
        return (older._rows(old[0][self.at(0, ends)], old[1][self.at(1, ends)], older_ends),)

    def moved(self, ends: Ends, here: Ends, old: tuple[AnyArray, AnyArray]) -> Self:
        """See `ConnectionColumns.moved`."""
        links = np.stack([renamed(self.at(end, ends), here[end].ids, old[end], len(ends[end])) for end in (1, 0)], 1)
        kept = np.flatnonzero((links >= 0).all(axis=1))
        return type(self)(self.weight, self.mask, owned(links)).chosen(kept[np.argsort(links[kept, 1], kind="stable")])

    # -- parts ---------------------------------------------------------------------------------------

    def chosen(self, which: AnyArray) -> Self:
        """Some links, by a mask or in the order given by number."""
        return type(self)(*(owned(array[which]) for array in (self.weight, self.mask, self.links)))

    def take(self, places: AnyArray, end: int, ends: Ends) -> Self:
        """See `ConnectionColumns.take`: the links that touch the units, in their own order."""
        return self.chosen(np.isin(self.ids(end), ends[end].ids[places]))

    def dormant(self, count: int, end: int) -> Self:  # noqa: ARG002
        """See `ConnectionColumns.dormant`."""
        return self.chosen(np.zeros(0, np.int64))

    def fitted(self, part: Self, end: int, known: AnyArray) -> tuple[Self, Self]:  # noqa: ARG002
        """See `ConnectionColumns.fitted`."""
        taken = part.ids(0)[np.isin(part.ids(0), self.ids(0))]
        if end == 1 and len(taken):
            raise ValueError(f"expected targets without a link, got unit {int(taken[0])}, which the other side linked")
        return self, part

    def joined(self, part: Self, end: int, order: AnyArray) -> Self:  # noqa: ARG002
        """See `ConnectionColumns.joined`: in ascending order of targets, whatever that of the units."""
        both = ((self.weight, part.weight), (self.mask, part.mask), (self.links, part.links))
        weight, mask, links = (np.concatenate(arrays) for arrays in both)
        return self.of(weight, mask, links).chosen(np.argsort(links[:, 1], kind="stable"))

    def misfits(self, part: Self, end: int, ids: AnyArray) -> Iterator[str]:
        """See `ConnectionColumns.misfits`: weights of another shape, or links of other units."""
        if not part.formed:
            yield f"expected a block with links of shape (links, 2) for {{!r}}, got {part.links.shape}"
            return
        shape = (len(part.links), *self.inner)
        if part.weight.shape != shape or part.mask.shape != shape:
            got = f"{part.weight.shape} and {part.mask.shape}"
            yield f"expected weights and mask of shape {shape} for {{!r}}, got {got}"
        if not np.isin(part.ids(end), ids).all():
            yield "expected links of the new units only for {!r}, got links of others"

    def joined_only(self, ends: Ends) -> Self:
        """See `ConnectionColumns.joined_only`."""
        stay = np.flatnonzero(self.edges)
        return self.chosen(stay[np.argsort(self.at(0, ends)[stay])])

    # -- addresses -----------------------------------------------------------------------------------

    def addresses(self, entries: AnyArray, ends: Ends) -> Address:  # noqa: ARG002
        """See `ConnectionColumns.addresses`."""
        row, place = np.divmod(entries, max(math.prod(self.inner), 1))
        return np.stack([self.ids(0)[row], self.ids(1)[row], place], 1)

    def entries(self, addresses: Address, ends: Ends) -> AnyArray:
        """See `ConnectionColumns.entries`: of the link of the target, if it is still that of the source."""
        row = self._rows(ends.target.find(addresses[:, 0]), ends.source.find(addresses[:, 1]), ends)
        size = math.prod(self.inner)
        return np.where((row >= 0) & (addresses[:, 2] < size), row * size + addresses[:, 2], -1)


def renamed(places: AnyArray, ids: AnyArray, old: AnyArray, count: int) -> AnyArray:
    """The ids of units, given by their old places, of which there were so many; -1 of those that are gone."""
    now = np.full(count + 1, -1)
    now[old] = ids  # those that are new go into the last place
    return now[:-1][places] if count else places
