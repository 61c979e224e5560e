"""Connections that lead to a slot of a unit: a unit may have many, each from a unit of its own."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from nestgraph.graph.columns.connections import Address, Common, Ends
from nestgraph.graph.columns.links import Links, renamed
from nestgraph.graph.pairs import PairList, Pairs
from nestgraph.spec.arrays import AnyArray, owned


@dataclass(frozen=True, eq=False)
class Slotted(Links):
    """The connections of one side of a match.

    Attributes:
        weight: (links,).
        mask: as `ConnectionColumns`.
        links: int64 (links, 3), the ids of source and target unit and the number of the slot, in ascending order of
            targets, then of slots, of which each has one link.
    """

    what: ClassVar[str] = "links to slots (links, 3)"

    @classmethod
    def between(cls, targets: AnyArray, sources: AnyArray, ends: Ends, inner: tuple[int, ...]) -> Self:
        """See `ConnectionColumns.between`: a slot of its own for each pair of a target, in the order given."""
        order = np.argsort(ends.target.ids[targets], kind="stable")
        ids = ends.target.ids[targets][order]
        first = np.searchsorted(ids, ids)
        links = np.stack([ends.source.ids[sources][order], ids, np.arange(len(ids)) - first], 1)
        return cls.of(np.zeros((len(links), *inner), np.float32), np.zeros((len(links), *inner), bool), links)

    def by_target(self, ends: Ends) -> tuple[AnyArray, tuple[AnyArray, ...]]:
        """See `ConnectionColumns.by_target`: a row for each slot."""
        places, known = super().by_target(ends)
        return places, (*known, self.links[:, 2])

    @property
    def formed(self) -> bool:
        """See `ConnectionColumns.formed`."""
        return self.links.ndim == 2 and self.links.shape[1] == 3

    @property
    def slots(self) -> AnyArray:
        """(links, 2): the id of the target and the slot of each link."""
        return self.links[:, 1:]

    @property
    def keys(self) -> AnyArray:
        """(links,): a number for each slot of each target, the same in other blocks."""
        return self.links[:, 1] * 2**31 + self.links[:, 2]

    def ordered(self) -> Self:
        """The links in their order."""
        return self.chosen(np.lexsort((self.links[:, 2], self.links[:, 1])))

    @classmethod
    def united(cls, versions: Sequence[tuple[Any, Ends]], ends: Ends) -> Self:  # noqa: ARG003
        """See `ConnectionColumns.united`: a pair once for each slot by which any of the networks joins it."""
        known = [columns.links[columns.edges] for columns, _ in versions]
        links = np.unique(np.concatenate(known), axis=0) if known else np.zeros((0, 3), np.int64)
        return cls.of(np.zeros(len(links), np.float32), np.zeros(len(links), bool), links).ordered()

    def pairs(self, ends: Ends) -> Pairs:
        """See `ConnectionColumns.pairs`."""
        joined = np.unique(np.stack(self.listed(self.edges, ends)), axis=1)
        return PairList(joined[0], joined[1], ends.shape)

    def relinked(self, links: AnyArray) -> Self:
        """See `Links.relinked`; links are (links, 3)."""
        return self.of(self.weight, self.mask, links.reshape(-1, 3))

    def where_between(self, targets: AnyArray, sources: AnyArray, ends: Ends) -> AnyArray:
        """See `ConnectionColumns.where_between`: all slots of a pair."""
        return np.isin(self._pair_numbers(ends), targets * len(ends.source) + sources)

    def blocks_between(self, targets: AnyArray, sources: AnyArray, ends: Ends) -> tuple[AnyArray, AnyArray]:
        """See `ConnectionColumns.blocks_between`: a weight for each slot, 0 where a pair has fewer than another."""
        wanted, known = targets * len(ends.source) + sources, self._pair_numbers(ends)
        order = np.argsort(known, kind="stable")
        first, behind = (np.searchsorted(known[order], wanted, side) for side in ("left", "right"))
        rows = first[:, None] + np.arange(int((behind - first).max(initial=1)))
        there = rows < behind[:, None]
        rows = np.append(order, 0)[np.where(there, rows, len(order))]
        return np.where(there, self.weight[rows], np.float32(0)), there & self.mask[rows]

    def _pair_numbers(self, ends: Ends) -> AnyArray:
        return self.at(0, ends) * len(ends.source) + self.at(1, ends)

    def between_two(self, target: int, source: int, ends: Ends) -> tuple[AnyArray, AnyArray]:
        """See `ConnectionColumns.between_two`: a number for each slot where a pair has several."""
        rows = self._of_pair(target, source, ends)
        if len(rows) < 2:
            return super().between_two(target, source, ends)
        return self.weight[rows], self.mask[rows]

    def slots_between(self, target: int, source: int, ends: Ends) -> AnyArray | None:
        """See `ConnectionColumns.slots_between`."""
        return self.links[self._of_pair(target, source, ends), 2]

    def _of_pair(self, target: int, source: int, ends: Ends) -> AnyArray:
        return np.flatnonzero((self.ids(0) == ends.target.ids[target]) & (self.ids(1) == ends.source.ids[source]))

    def spread_out(self, ends: Ends) -> tuple[AnyArray, AnyArray]:
        """See `ConnectionColumns.spread_out`: the sum over the slots of a pair."""
        shape, at = (*ends.shape, *self.inner), (self.at(0, ends), self.at(1, ends))
        weight, mask = np.zeros(shape, np.float32), np.zeros(shape, bool)
        np.add.at(weight, at, self.weight)
        np.logical_or.at(mask, at, self.mask)
        return weight, mask

    # -- the same in another network --------------------------------------------------------------------

    def common(self, later: Any, ends: Ends, later_ends: Ends) -> Common:  # noqa: ARG002
        """See `ConnectionColumns.common`."""
        there = later._found(self.links)
        rows = np.flatnonzero(there >= 0)
        return Common((rows,), (there[rows],), self.chosen(rows), ends)

    def _found(self, links: AnyArray) -> AnyArray:
        """The row of each link, or -1."""
        known: list[list[int]] = self.links.tolist()
        wanted: list[list[int]] = links.tolist()
        rows = {tuple(link): row for row, link in enumerate(known)}
        return np.array([rows.get(tuple(link), -1) for link in wanted], np.int64)

    def follow(self, older: Any, old: tuple[AnyArray, AnyArray], ends: Ends, older_ends: Ends) -> tuple[AnyArray, ...]:
        """See `ConnectionColumns.follow`."""
        there = [
            np.append(older_ends[end].ids, -1)[old[end][self.at(end, ends)]]  # -1, the last, of what is new
            for end in (1, 0)
        ]
        return (older._found(np.stack([*there, self.links[:, 2]], 1)),)

    def moved(self, ends: Ends, here: Ends, old: tuple[AnyArray, AnyArray]) -> Self:
        """See `ConnectionColumns.moved`."""
        units = [renamed(self.at(end, ends), here[end].ids, old[end], len(ends[end])) for end in (1, 0)]
        links = np.stack([*units, self.links[:, 2]], 1)
        kept = np.flatnonzero((links >= 0).all(axis=1))
        return type(self)(self.weight, self.mask, owned(links)).chosen(kept).ordered()

    # -- parts ---------------------------------------------------------------------------------------

    def fitted(self, part: Any, end: int, known: AnyArray) -> tuple[Self, Any]:  # noqa: ARG002
        """See `ConnectionColumns.fitted`."""
        taken = part.slots[np.isin(part.keys, self.keys)]
        if len(taken):
            got = tuple(taken[0].tolist())
            raise ValueError(f"expected slots without a link, got {got}, which the other side linked")
        return self, part

    def joined(self, part: Any, end: int, order: AnyArray) -> Self:  # noqa: ARG002
        """See `ConnectionColumns.joined`: in the order of targets and slots, whatever that of the units."""
        both = ((self.weight, part.weight), (self.mask, part.mask), (self.links, part.links))
        return self.of(*(np.concatenate(arrays) for arrays in both)).ordered()

    def misfits(self, part: Any, end: int, ids: AnyArray) -> Iterator[str]:
        """See `ConnectionColumns.misfits`."""
        if not part.formed:
            yield f"expected a block with links of shape (links, 3) for {{!r}}, got {part.links.shape}"
            return
        yield from super().misfits(part, end, ids)

    def joined_only(self, ends: Ends) -> Self:
        """See `ConnectionColumns.joined_only`."""
        stay = self.chosen(np.flatnonzero(self.edges))
        return stay.chosen(np.lexsort((stay.links[:, 2], stay.at(0, ends))))

    # -- addresses -----------------------------------------------------------------------------------

    def addresses(self, entries: AnyArray, ends: Ends) -> Address:  # noqa: ARG002
        """See `ConnectionColumns.addresses`: the place between two units is the slot."""
        return self.links[entries][:, [1, 0, 2]]

    def entries(self, addresses: Address, ends: Ends) -> AnyArray:  # noqa: ARG002
        """See `ConnectionColumns.entries`."""
        return self._found(addresses[:, [1, 0, 2]])

    def _rows(self, targets: AnyArray, sources: AnyArray, ends: Ends) -> AnyArray:
        """The first link of each pair of places, or -1."""
        joined: list[tuple[int, int]] = list(zip(self.at(0, ends).tolist(), self.at(1, ends).tolist(), strict=True))
        rows = {pair: row for row, pair in reversed(list(enumerate(joined)))}
        wanted: list[tuple[int, int]] = list(zip(targets.tolist(), sources.tolist(), strict=True))
        return np.array([rows.get(pair, -1) for pair in wanted], np.int64)
