"""Gradients of linear maps by their factors: what a layer read and what came back to it, sample by sample."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from nestgraph.policies.ranking import row_blocks
from nestgraph.spec.arrays import AnyArray


@dataclass(frozen=True, eq=False)
class Factored:
    """An array (rows, ...) that is a sum of outer products, one for each sample: the columns of two factors.

    dL/dW of u = Wx is the sum of dL/du x' over the samples, so of few samples the factors say all of it. It is computed
    where it is read: rows [a:b] as an array, and the whole as `numpy.asarray` gives it.

    Attributes:
        left: float32 (samples, rows).
        right: float32 (samples, entries of a row).
        inner: the shape of a row.
    """

    left: AnyArray
    right: AnyArray
    inner: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return (self.left.shape[1], *self.inner)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As of an array."""
        return self.left.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the factors."""
        return self.left.nbytes + self.right.nbytes

    @property
    def finite(self) -> bool:
        """Whether all entries are."""
        most = [float(np.abs(factor).max(initial=0.0)) for factor in (self.left, self.right)]
        if len(self.left) * math.prod(most) < np.finfo(self.dtype).max / 2:  # false of what is no number
            return True
        with np.errstate(all="ignore"):
            return all(bool(np.isfinite(self[rows]).all()) for rows in row_blocks(self.shape))

    def __getitem__(self, key: Any) -> AnyArray:
        """What an array would give."""
        if not isinstance(key, slice):
            return np.asarray(self)[key]
        left = self.left[:, key]
        return (left.T @ self.right).reshape(left.shape[1], *self.inner)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> AnyArray:
        """The whole, by the blocks in which policies read it: to the bit what they see."""
        whole = np.empty(self.shape, dtype or self.dtype)
        for rows in row_blocks(self.shape):
            whole[rows] = self[rows]
        return whole
