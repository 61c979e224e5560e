"""Arrays for a page: weights as bytes, and many arrays as one compressed text.

A weight is drawn from one byte: 0 is dormant, 128 + s * round(127 * sqrt(|w| / largest)) is an active one of sign s.
The root leaves small weights apart that steps of equal width would lump together. Whether a weight changed is not told
from that byte: beside it stands at which moment the connection first had the bits that it has (`numbered`).
"""

import base64
import math
import zlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nestgraph.graph.columns import ConnectionColumns, UnitColumns
from nestgraph.graph.columns.areas import of_pairs, paired
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray

LEVELS = 127
MIDDLE = 128
Rows = tuple[AnyArray, AnyArray, AnyArray]
MIX = 2654435761
"""Knuth's multiplicative hash: the sample that it draws has nothing to do with a connection's place."""


def codes(weights: AnyArray) -> tuple[AnyArray, float]:
    """Bytes of active weights, and the largest |weight|.

    >>> codes(np.array([1.0, -0.25, 0.0]))[0].tolist()
    [255, 64, 128]
    """
    largest = float(np.abs(weights).max(initial=0.0))
    levels = np.rint(LEVELS * np.sqrt(np.abs(weights) / (largest or 1.0)))
    return (MIDDLE + np.sign(weights) * levels).astype(np.uint8), largest


@dataclass
class Bundle:
    """Arrays by name, written as one text."""

    arrays: dict[str, AnyArray] = field(default_factory=dict[str, AnyArray])

    def write(self) -> dict[str, Any]:
        """`index` has the dtype, offset and number of entries of each array in `packed`: base64 of deflated bytes."""
        index: dict[str, list[Any]] = {}
        parts: list[bytes] = []
        offset = 0
        for name, array in self.arrays.items():
            part = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
            index[name] = [array.dtype.name, offset, int(array.size)]
            parts.append(part)
            offset += len(part)
        packed = base64.b64encode(zlib.compress(b"".join(parts), 9)).decode("ascii")
        return {"index": index, "packed": packed}


class Numbers:
    """Whole numbers in place of values, so that two are equal exactly if the values are; 0 is for what is not there."""

    def __init__(self) -> None:
        self._known: dict[Hashable, int] = {}

    def of(self, value: Hashable) -> int:
        """The number of a value, from 1 up, in the order in which values are first asked for."""
        return self._known.setdefault(value, len(self._known) + 1)


def numbered(values: AnyArray, present: AnyArray) -> AnyArray:
    """(moments, parts): 1 and the moment at which a part first had the value that it has; 0 where it is not there.

    Args:
        values: whole numbers from 0 up.
        present: bool, where a part is there.
    """
    told = np.where(present, values.astype(np.int64), -1)
    order = np.argsort(told, axis=0, kind="stable")
    ranked = np.take_along_axis(told, order, 0)
    starts = np.ones(told.shape, bool)
    starts[1:] = ranked[1:] != ranked[:-1]
    place = np.maximum.accumulate(np.where(starts, np.arange(len(told))[:, None], 0), axis=0)
    numbers = np.zeros(told.shape, np.int64)
    np.put_along_axis(numbers, order, np.take_along_axis(order, place, 0) + 1, 0)
    return least(np.where(present, numbers, 0))


def least(numbers: AnyArray) -> AnyArray:
    """Whole numbers from 0 up in the smallest type that holds them and that the page reads."""
    kind = next(kind for kind in (np.uint8, np.uint16, np.uint32) if numbers.max(initial=0) <= np.iinfo(kind).max)
    return numbers.astype(kind)


@dataclass
class Carried:
    """The connections of one projection that the page carries, over all moments.

    A connection's key is (target * sources + source) * inner + place in the kernel or map, with the places of target
    and source among all units that their layers ever had. Where there are too many, one of `of` is carried, chosen by
    its ends and place alone, so that it is carried at every moment.

    Attributes:
        cap: the most connections to carry at a moment.
        inner: the shape of the weights of an edge.
        of: a power of two.
    """

    cap: int
    inner: tuple[int, ...]
    of: int = 1
    found: dict[int, Rows] = field(default_factory=dict[int, Rows])
    _areas: Numbers = field(default_factory=Numbers)

    def add(self, moment: int, columns: ConnectionColumns, connections: Rows) -> None:
        """Take in a projection as it is at a moment: its columns, and what `active_rows` gives."""
        rows, weights, edges = self._sampled(*connections)
        self.found[moment] = rows, weights, self._area_numbers(columns, edges)
        while len(self.found[moment][1]) > self.cap:
            self.thin()

    def thin(self) -> None:
        """Carry half as many."""
        self.of *= 2
        self.found = {moment: self._sampled(*connections) for moment, connections in self.found.items()}

    def _area_numbers(self, columns: ConnectionColumns, edges: AnyArray) -> AnyArray:
        """(connections,): the number of the area of each connection's pair of maps; 0 for the whole map."""
        if columns.area is None:
            return np.zeros(len(edges), np.int64)
        sources = columns.edges.shape[1]
        shown, place = np.unique(edges if paired(columns.area) else edges // sources * sources, return_inverse=True)
        areas: list[AnyArray] = list(of_pairs(columns.area, *np.divmod(shown, sources)))
        numbers = [0 if area.all() else self._areas.of(area.tobytes()) for area in areas]
        return np.array(numbers, np.int64)[place]

    def _sampled(self, rows: AnyArray, weights: AnyArray, third: AnyArray) -> Rows:
        """Of connections those that are carried, in three tables of a row a connection."""
        if self.of == 1:
            return rows, weights, third
        mixed = np.zeros(len(rows), np.uint64)
        for column in range(3):
            mixed = (
                (mixed * np.uint64(1_000_003) + rows[:, column].astype(np.uint64)) * np.uint64(MIX) % np.uint64(2**32)
            )
        chosen = (mixed >> np.uint64(7)) % np.uint64(self.of) == 0
        return rows[chosen], weights[chosen], third[chosen]

    @property
    def size(self) -> int:
        """How many connections are carried, each counted once however many moments it is there."""
        rows = np.concatenate([rows for rows, *_ in self.found.values()])
        if not len(rows):
            return 0
        high = rows.max(axis=0) + 1
        return len(np.unique((rows[:, 0] * high[1] + rows[:, 1]) * high[2] + rows[:, 2]))

    def packed(self, moments: int, targets: Mapping[int, int], sources: Mapping[int, int]) -> dict[str, AnyArray]:
        """What the page reads of the projection.

        Returns:
            `keys`, uint32, ascending, each less the one before; `codes`, uint8 (moments, keys); `scale`, by moment;
            `values`, as `numbered` (moments, keys), of weights; `regions`, the same of the area of a connection's pair
            of maps, where any has one.
        """
        by_moment = {moment: self._keys(rows, targets, sources) for moment, (rows, *_) in self.found.items()}
        keys = np.unique(np.concatenate([np.zeros(0, np.int64), *by_moment.values()]))
        shape = moments, len(keys)
        table, bits, regions = (np.zeros(shape, kind) for kind in (np.uint8, np.uint32, np.int64))
        scale = np.zeros(moments, np.float32)
        for moment, own in by_moment.items():
            places, (_, weights, areas) = np.searchsorted(keys, own), self.found[moment]
            table[moment, places], scale[moment] = codes(weights)
            bits[moment, places], regions[moment, places] = weights.view(np.uint32), areas
        found = {"codes": table, "scale": scale, "values": numbered(bits, table > 0)}
        found |= {"regions": numbered(regions, table > 0)} if regions.any() else {}
        return {"keys": np.diff(keys, prepend=0).astype(np.uint32), **found}

    def _keys(self, rows: AnyArray, targets: Mapping[int, int], sources: Mapping[int, int]) -> AnyArray:
        target, source = (_places(rows[:, column], places) for column, places in ((0, targets), (1, sources)))
        return (target * len(sources) + source) * math.prod(self.inner) + rows[:, 2]


def _places(ids: AnyArray, places: Mapping[int, int]) -> AnyArray:
    order = np.array(list(places.values()), np.int64)
    return order[UnitColumns.of(np.array(list(places), np.int64), {}).positions(ids)]


def active_rows(structure: Structure, name: str) -> Rows:
    """(connections, 3) ids of target and source and place within the edge's weights; the weights; which edge it is."""
    columns, ends = structure.wired(name)
    flat = np.flatnonzero(columns.mask)
    edges = flat // max(math.prod(columns.inner), 1)
    return columns.addresses(flat, ends), columns.weight.reshape(-1)[flat], edges
