"""Arrays for a page: weights as bytes, and many arrays as one compressed text.

A weight takes one byte: 0 is dormant, 128 + s * round(127 * sqrt(|w| / largest)) is an active one of sign s. The root
leaves small weights apart that steps of equal width would lump together.
"""

import base64
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nestgraph.graph.columns import UnitColumns
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray

LEVELS = 127
MIDDLE = 128
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
    found: dict[int, tuple[AnyArray, AnyArray]] = field(default_factory=dict[int, tuple[AnyArray, AnyArray]])

    def add(self, moment: int, structure: Structure, name: str) -> None:
        """Take in a projection as it is at a moment."""
        self.found[moment] = self._sampled(*_active(structure, name))
        while len(self.found[moment][1]) > self.cap:
            self.thin()

    def thin(self) -> None:
        """Carry half as many."""
        self.of *= 2
        self.found = {moment: self._sampled(*connections) for moment, connections in self.found.items()}

    def _sampled(self, rows: AnyArray, weights: AnyArray) -> tuple[AnyArray, AnyArray]:
        if self.of == 1:
            return rows, weights
        mixed = np.zeros(len(rows), np.uint64)
        for column in range(3):
            mixed = (
                (mixed * np.uint64(1_000_003) + rows[:, column].astype(np.uint64)) * np.uint64(MIX) % np.uint64(2**32)
            )
        chosen = (mixed >> np.uint64(7)) % np.uint64(self.of) == 0
        return rows[chosen], weights[chosen]

    @property
    def size(self) -> int:
        """How many connections are carried, each counted once however many moments it is there."""
        rows = np.concatenate([rows for rows, _ in self.found.values()])
        if not len(rows):
            return 0
        high = rows.max(axis=0) + 1
        return len(np.unique((rows[:, 0] * high[1] + rows[:, 1]) * high[2] + rows[:, 2]))

    def packed(self, moments: int, targets: Mapping[int, int], sources: Mapping[int, int]) -> dict[str, AnyArray]:
        """`keys`: uint32, ascending, each less the one before; `codes`: uint8 (moments, keys); `scale`: by moment."""
        by_moment = {moment: self._keys(rows, targets, sources) for moment, (rows, _) in self.found.items()}
        keys = np.unique(np.concatenate([np.zeros(0, np.int64), *by_moment.values()]))
        table, scale = np.zeros((moments, len(keys)), np.uint8), np.zeros(moments, np.float32)
        for moment, own in by_moment.items():
            table[moment, np.searchsorted(keys, own)], scale[moment] = codes(self.found[moment][1])
        return {"keys": np.diff(keys, prepend=0).astype(np.uint32), "codes": table, "scale": scale}

    def _keys(self, rows: AnyArray, targets: Mapping[int, int], sources: Mapping[int, int]) -> AnyArray:
        target, source = (_places(rows[:, column], places) for column, places in ((0, targets), (1, sources)))
        return (target * len(sources) + source) * math.prod(self.inner) + rows[:, 2]


def _places(ids: AnyArray, places: Mapping[int, int]) -> AnyArray:
    order = np.array(list(places.values()), np.int64)
    return order[UnitColumns.of(np.array(list(places), np.int64), {}).positions(ids)]


def _active(structure: Structure, name: str) -> tuple[AnyArray, AnyArray]:
    """(connections, 3) ids of target and source and place within the edge's weights; and the weights."""
    projection, columns = structure.projection(name), structure.connection_columns(name)
    flat = np.flatnonzero(columns.mask)
    weights = columns.weight.reshape(-1)[flat]
    if columns.links is not None:
        inner = max(1, int(np.prod(columns.mask.shape[1:])))
        pairs = columns.links[flat // inner]
        return np.column_stack([pairs[:, 1], pairs[:, 0], flat % inner]), weights
    if columns.mask.ndim < 2:
        return np.zeros((0, 3), np.int64), weights[:0]
    inner = int(np.prod(columns.mask.shape[2:]))
    edge = flat // inner
    target = structure.units(projection.target)[edge // columns.mask.shape[1]]
    source = structure.units(projection.source)[edge % columns.mask.shape[1]]
    return np.column_stack([target, source, flat % inner]), weights
