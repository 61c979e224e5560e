"""Matches: both sides of how alike queries and keys are, slot by slot of a head."""

import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from nestgraph.graph.columns import ConnectionColumns, Slotted
from nestgraph.graph.heads import opposite, sides
from nestgraph.graph.projections.linked import Linked
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size
from nestgraph.spec.projection import Match


class MatchMeaning(Linked[Match, Slotted]):
    """A head adds up, slot by slot, products of a query at its row and a key at its column."""

    kind: ClassVar[type[ConnectionColumns]] = Slotted

    @property
    def settled(self) -> bool:
        """See `Meaning.settled`: the heads have a row or a column for each place."""
        return True

    @property
    def size(self) -> Size | None:
        """See `Meaning.size`: of the heads, with this side's places along its axis."""
        target = self.target_size
        if target is None or len(target) != 2:
            return None
        places = math.prod(self.source_size or ())
        return (places, target[1]) if self.record.side == "query" else (target[0], places)

    @property
    def leads(self) -> bool:
        """See `Meaning.leads`."""
        return self.source_size is not None and self.target_size is not None

    def faults(self) -> Iterator[tuple[str, str | tuple[str, int], str]]:
        """See `Meaning.faults`: links of units that do not live, two at a slot, dormant ones, no other side."""
        columns, name = self.columns, self.record.name
        yield from self.dead()
        heads, slots = columns.ids(0), columns.links[:, 2]
        ascending = (np.diff(heads) > 0) | ((np.diff(heads) == 0) & (np.diff(slots) > 0))
        if not ascending.all() or (slots < 0).any() or (slots >= 2**31).any():
            yield "links", name, "expected links in ascending order of heads and of slots from 0 up, one at each slot"
        if not columns.mask.all():
            yield "links", name, "expected all links of a match to be active, got a dormant one: remove its unit"
        if not opposite(self._structure, self.record):
            other = "key" if self.record.side == "query" else "query"
            yield "records", name, f"expected a {other} for heads that read a {self.record.side}, got none: add both"
        if any(p.side == self.record.side and p.name != name for p in self._matches()):
            yield "records", name, f"expected one {self.record.side} for a layer of heads, got two: concatenate them"

    def _matches(self) -> list[Match]:
        incoming = self._structure.incoming(self.record.target)
        return [projection for projection in incoming if isinstance(projection, Match)]

    def project(self, source: AnyArray) -> AnyArray:
        """See `Meaning.project`: nothing by itself; `scores` multiplies both sides."""
        return np.zeros((len(source), len(self.ends.target), *(self.target_size or ())), source.dtype)

    def read(self, entries: AnyArray) -> AnyArray:
        """See `Meaning.read`: each place is read once for each place of the other side."""
        rows, columns = self.target_size or (1, 1)
        size = self.source_size or ()
        total = np.zeros(len(self.ends.source))
        times = columns if self.record.side == "query" else rows
        np.add.at(total, self.columns.at(1, self.ends), times * entries)
        return np.broadcast_to(total.reshape(-1, *(1 for _ in size)), (len(total), *size)).copy()

    @property
    def applications(self) -> int:
        """See `Meaning.applications`: a product for each row and column of a slot, counted with its query."""
        if self.record.side == "key":
            return 0
        return self.columns.active * math.prod(self.target_size or ())

    def unconnected(self) -> ConnectionColumns:
        """See `Meaning.unconnected`: no links, as nothing says which units are to meet."""
        return Slotted.of(np.zeros(0, np.float32), links=np.zeros((0, 3), np.int64))


def scores(structure: Structure, heads: str, outputs: Mapping[str, AnyArray]) -> AnyArray | None:
    """(batch, heads, rows, columns): what matches give to the sums of a layer of heads; None where there are none."""
    both = sides(structure, heads)
    if not both["query"] or not both["key"]:
        return None
    width = 1 + max((int(links.links[:, 2].max(initial=0)) for found in both.values() for _, links in found))
    query, key = (_slotted(structure, found, outputs, width) for found in (both["query"], both["key"]))
    return np.einsum("bhsn,bhsm->bhnm", query, key, optimize=True)


def _slotted(
    structure: Structure, found: list[tuple[Match, Slotted]], outputs: Mapping[str, AnyArray], width: int
) -> AnyArray:
    """(batch, heads, slots, places): what stands at each slot of each head on one side; 0 where nothing does."""
    parts: list[AnyArray] = []
    for match, columns in found:
        ends, source = structure.ends(match.name), outputs[match.source]
        flat = source.reshape(*source.shape[:2], math.prod(source.shape[2:]))
        part = np.zeros((len(flat), len(ends.target), width, flat.shape[2]), flat.dtype)
        weight = np.where(columns.mask, columns.weight, 0).astype(flat.dtype)
        part[:, columns.at(0, ends), columns.links[:, 2]] = flat[:, columns.at(1, ends)] * weight[None, :, None]
        parts.append(part)
    return sum(parts[1:], parts[0])
