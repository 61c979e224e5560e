"""A projection's weights as a vector over its live connections, and the matrix in compressed rows that they fill."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from nestgraph.graph.columns import ConnectionColumns
from nestgraph.spec.arrays import AnyArray

LARGEST = 2**31 - 1
"""Entries up to which they are counted in 32 bits, as kernels want them."""


@dataclass(frozen=True, eq=False)
class Live:
    """The live connections of a projection between neurons, in row-major order.

    Attributes:
        mask: bool, the shape of the column.
    """

    mask: AnyArray

    @classmethod
    def of(cls, columns: ConnectionColumns) -> "Live":
        """The live connections of columns."""
        return cls(columns.mask)

    @property
    def key(self) -> bytes:
        """See `Packing.key`; a mask is held by its network, so that no other one has its identity."""
        return b"live%d" % id(self.mask)

    @cached_property
    def entries(self) -> AnyArray:
        """int64 (live,): where they are in the column, row by row."""
        return np.flatnonzero(self.mask)

    def pattern(self) -> tuple[AnyArray, ...]:
        """Where the entries of the matrix stand, int32, by row and by column; see `sparse_linear.PATTERN`."""
        return pattern_at(self.entries, (len(self.mask), self.mask[0].size))

    def holds(self, values: Tensor) -> bool:
        """See `Packing.holds`: weights between neurons have two axes or more."""
        return values.ndim == 1

    def weights(self, weight: AnyArray) -> AnyArray:
        """See `Packing.weights`: (live,)."""
        return weight.reshape(-1)[self.entries]

    def packed(self, values: Tensor) -> Tensor:
        """See `Packing.packed`."""
        return values.reshape(-1).index_select(0, self._places(values))

    def spread(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """See `Packing.spread`; values of another number stay as they are."""
        if values.shape != self.entries.shape:
            return values
        return values.new_zeros(shape).view(-1).index_copy(0, self._places(values), values).view(shape)

    def _places(self, like: Tensor) -> Tensor:
        return torch.from_numpy(self.entries).to(like.device)


def pattern_at(entries: AnyArray, shape: tuple[int, int]) -> tuple[AnyArray, ...]:
    """Where entries at ascending places of a matrix stand, int32; see `sparse_linear.PATTERN`."""
    count, width = shape
    kind = np.uint16 if max(shape) <= np.iinfo(np.uint16).max else np.int32  # the shorter is sorted quicker
    rows, columns = (part.astype(kind) for part in (entries // width, entries % width))
    order = np.argsort(columns, kind="stable").astype(np.int32)
    found = _ends(rows, count), columns, _ends(columns, width), rows[order], order
    return tuple(part.astype(np.int32, copy=False) for part in found)


def _ends(numbers: AnyArray, count: int) -> AnyArray:
    """(1 + count,): how many of the numbers are below each of 0, 1, ..., count."""
    return np.concatenate([[0], np.cumsum(np.bincount(numbers, minlength=count))])
