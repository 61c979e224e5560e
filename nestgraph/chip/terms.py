"""What the sum of a unit is made of: its terms and gates, as tables of entries over flat arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nestgraph.chip.program import Held, Value
from nestgraph.spec.arrays import AnyArray

TOGETHER = 2**21
"""Numbers that are gathered at once."""


def places_at(size: Sequence[int], strides: Sequence[int]) -> AnyArray:
    """(places,) int64: for each place of a map, row-major, where it starts to read, by the stride along each axis."""
    starts = np.zeros(tuple(size), np.int64)
    for axis, (extent, stride) in enumerate(zip(size, strides, strict=True)):
        starts += (np.arange(extent) * stride).reshape(-1, *(1,) * (len(size) - axis - 1))
    return starts.reshape(-1)


def strides_of(size: Sequence[int]) -> tuple[int, ...]:
    """The row-major strides of a map."""
    return tuple(math.prod(size[axis + 1 :]) for axis in range(len(size)))


def _flat(held: Held, value: Value) -> AnyArray:
    return held[value.name].reshape(-1, value.count)


@dataclass(frozen=True, eq=False)
class Segment:
    """Entries of a unit that are computed at the same places.

    Attributes:
        area: the number of their area, -1 where they are computed everywhere.
        offsets: (entries,) int64, ascending: what each reads, from where its place starts.
        weights: (entries,) of each.
    """

    area: int
    offsets: AnyArray
    weights: AnyArray


@dataclass(frozen=True, eq=False)
class Swept:
    """Weights times numbers of a flat array that lie at the same offsets from every place: dense, kernels, skips.

    Attributes:
        source: what is read.
        size: of the sum.
        strides: where each place starts, by axis.
        rows: for each unit its segments.
        areas: bool (areas, places).
    """

    source: Value
    size: tuple[int, ...]
    strides: tuple[int, ...]
    rows: tuple[tuple[Segment, ...], ...]
    areas: AnyArray

    @property
    def sources(self) -> tuple[Value, ...]:
        """What it reads."""
        return (self.source,)

    @property
    def segmented(self) -> bool:
        """Whether some entries are computed at some places only."""
        return any(len(row) != 1 or row[0].area >= 0 for row in self.rows)

    @property
    def multiplications(self) -> int:
        """How many multiply-adds it takes."""
        places, kept = math.prod(self.size), self.areas.sum(axis=1)
        segments = (segment for row in self.rows for segment in row)
        return sum(
            len(segment.offsets) * int(places if segment.area < 0 else kept[segment.area]) for segment in segments
        )

    def run(self, held: Held) -> AnyArray:
        """(batch, units, places)."""
        x, starts = _flat(held, self.source), places_at(self.size, self.strides)
        total = np.zeros((len(x), len(self.rows), len(starts)), x.dtype)
        for unit, row in enumerate(self.rows):
            for segment in row:
                kept = np.arange(len(starts)) if segment.area < 0 else np.flatnonzero(self.areas[segment.area])
                read = starts[kept][:, None] + segment.offsets
                for first in range(0, len(x), some := max(1, TOGETHER // max(1, read.size))):
                    total[first : first + some, unit, kept] += x[first : first + some, read] @ segment.weights.astype(
                        x.dtype
                    )
        return total


@dataclass(frozen=True, eq=False)
class Placed:
    """A weight of its own for each place of a number that stands there.

    Attributes:
        source: what is read.
        offsets: (units,) int64: where the map that each reads starts; -1 for none.
        weights: (units, places).
    """

    source: Value
    offsets: AnyArray
    weights: AnyArray

    @property
    def sources(self) -> tuple[Value, ...]:
        """What it reads."""
        return (self.source,)

    @property
    def multiplications(self) -> int:
        """How many multiply-adds it takes."""
        return int((self.offsets >= 0).sum()) * self.weights.shape[1]

    def run(self, held: Held) -> AnyArray:
        """(batch, units, places)."""
        x = _flat(held, self.source)
        at: AnyArray = np.maximum(self.offsets, 0)[:, None] + np.arange(int(self.weights.shape[1]))
        read: AnyArray = x[:, at]
        return np.where((self.offsets >= 0)[:, None], read * self.weights.astype(x.dtype), 0)


@dataclass(frozen=True, eq=False)
class Looked:
    """What each unit has for the class that stands at each place.

    Attributes:
        source: the ids.
        table: (units, classes).
    """

    source: Value
    table: AnyArray

    @property
    def sources(self) -> tuple[Value, ...]:
        """What it reads."""
        return (self.source,)

    @property
    def multiplications(self) -> int:
        """None."""
        return 0

    def run(self, held: Held) -> AnyArray:
        """(batch, units, places)."""
        ids = _flat(held, self.source)
        return np.moveaxis(self.table.astype(ids.dtype)[:, ids.astype(np.int64)], 0, 1)


@dataclass(frozen=True, eq=False)
class Met:
    """How alike queries at each row and keys at each column are, slot by slot.

    Attributes:
        query: what is read by row.
        key: what is read by column.
        size: rows and columns.
        slots: for each head (slots, 2) int64: where the maps of a query and of its key start.
        weights: for each head (slots,): what each product is multiplied by.
    """

    query: Value
    key: Value
    size: tuple[int, ...]
    slots: tuple[AnyArray, ...]
    weights: tuple[AnyArray, ...]

    @property
    def sources(self) -> tuple[Value, ...]:
        """What it reads."""
        return (self.query, self.key)

    @property
    def multiplications(self) -> int:
        """How many multiply-adds it takes."""
        return sum(map(len, self.slots)) * math.prod(self.size)

    def run(self, held: Held) -> AnyArray:
        """(batch, heads, places)."""
        queries, keys = _flat(held, self.query), _flat(held, self.key)
        rows, columns = (np.arange(extent) for extent in self.size)
        total = np.zeros((len(queries), len(self.slots), *self.size), queries.dtype)
        for head, (slots, weights) in enumerate(zip(self.slots, self.weights, strict=True)):
            one = queries[:, slots[:, :1] + rows] * weights.astype(queries.dtype)[:, None]
            total[:, head] = np.einsum("bsn,bsm->bnm", one, keys[:, slots[:, 1:] + columns])
        return total.reshape(*total.shape[:2], -1)


@dataclass(frozen=True, eq=False)
class Mixed:
    """The places of a sum, added up anew for each row by the weights of a head.

    Attributes:
        heads: (heads, rows, columns).
        summed: (units, columns).
        head_of: (units,) int64: the head of each.
        weights: (units,): what the weights of the head are multiplied by.
    """

    heads: Value
    summed: Value
    head_of: AnyArray
    weights: AnyArray

    @property
    def sources(self) -> tuple[Value, ...]:
        """What it reads."""
        return (self.heads, self.summed)

    @property
    def multiplications(self) -> int:
        """How many multiply-adds it takes."""
        return len(self.head_of) * math.prod(self.heads.shape[1:])

    def run(self, held: Held) -> AnyArray:
        """(batch, units, rows)."""
        heads = held[self.heads.name].reshape(-1, *self.heads.shape)
        summed = held[self.summed.name].reshape(len(heads), len(self.head_of), -1)
        chosen = heads[:, self.head_of] * self.weights.astype(heads.dtype)[:, None, None]
        return np.einsum("bunm,bum->bun", chosen, summed)


Term = Swept | Placed | Looked | Met | Mixed


@dataclass(frozen=True, eq=False)
class Gate:
    """Factors of a sum.

    Attributes:
        source: what is read.
        size: of the sum.
        strides: where each place reads, by axis: all 0 where one number holds for all of them.
        offsets: (units,) int64: where the map of each starts; -1 for a unit that is not gated.
        weights: (units,): what each is multiplied by.
    """

    source: Value
    size: tuple[int, ...]
    strides: tuple[int, ...]
    offsets: AnyArray
    weights: AnyArray

    @property
    def multiplications(self) -> int:
        """How many multiplications it takes."""
        return int((self.offsets >= 0).sum()) * math.prod(self.size)

    def run(self, held: Held) -> AnyArray:
        """(batch, units, places)."""
        x = _flat(held, self.source)
        read = x[:, np.maximum(self.offsets, 0)[:, None] + places_at(self.size, self.strides)]
        return np.where((self.offsets >= 0)[:, None], read * self.weights.astype(x.dtype)[:, None], 1)
