"""Softmax: shares of the columns of each row that add up to 1, as heads of attention give."""

import operator
from collections.abc import Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size
from nestgraph.spec.operations.operation import Facts, Operation


class Softmax(Operation):
    """exp(x) / sum of exp(x) over the last extent of maps: the columns of each row of a head.

    Attributes:
        causal: whether a row sees the columns up to its own number only: place (row, column) counts where column <=
            row, however many there are of each; the rest gives 0. Left out of JSON where it is not so.
    """

    kind: Literal["softmax"] = "softmax"  # pyright: ignore[reportIncompatibleVariableOverride]
    causal: Annotated[bool, Field(exclude_if=operator.not_)] = False

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        return Facts(reach="unit", spatial=True, keeps_sign=True, never_negative=True)

    @property
    def words(self) -> str:
        """See `Operation.words`."""
        return "causal softmax" if self.causal else "softmax"

    def resized(self, size: Size) -> Size:
        """See `Operation.resized`."""
        if self.causal and len(size) != 2:
            raise ValueError(f"expected a causal softmax over rows and columns, got maps of {size}")
        return size

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Operation.apply`."""
        seen = np.tri(*x.shape[-2:], dtype=bool) if self.causal else np.True_
        largest = np.max(x, axis=-1, keepdims=True, where=seen, initial=-np.inf)
        powers = np.exp(np.where(seen, x - largest, -np.inf))
        return powers / powers.sum(axis=-1, keepdims=True)
