"""The places of maps in a row, among others that hold 0 or learned values."""

import operator
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size
from nestgraph.spec.operations.operation import Facts, Operation
from nestgraph.spec.unit_column import UnitColumn

Places = Annotated[int, Field(gt=-(2**31), lt=2**31)]
ENDS = UnitColumn("ends", 0.0, count=0)


class Series(Operation):
    """A map's places in a row, in row-major order, as a map of one extent with more places at its ends, or fewer.

    Learned places hold values of each unit, as the class token of a vision transformer does (Dosovitskiy et al. 2021);
    others hold 0, so that a sum of series puts layers one behind the other.

    Attributes:
        before: how many places come before those of the map; a negative number leaves so many of the first out.
        after: how many come behind them; a negative number leaves so many of the last out.
        learned: whether what is put there is a column of the layer, (units, places), those before the map first.
    """

    kind: Literal["series"] = "series"  # pyright: ignore[reportIncompatibleVariableOverride]
    before: Annotated[Places, Field(exclude_if=operator.not_)] = 0
    after: Annotated[Places, Field(exclude_if=operator.not_)] = 0
    learned: Annotated[bool, Field(exclude_if=operator.not_)] = False

    possible: ClassVar[tuple[UnitColumn, ...]] = (ENDS,)

    @property
    def columns(self) -> tuple[UnitColumn, ...]:
        """See `Operation.columns`."""
        return (replace(ENDS, count=max(self.before, 0) + max(self.after, 0)),) if self.learned else ()

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        return Facts(reach="unit", spatial=True, resizes=True, keeps_sign=not self.learned)

    @property
    def words(self) -> str:
        """See `Operation.words`."""
        parts = [f"{abs(n)} {'off' if n < 0 else 'more'} {at}" for n, at in self._at_ends if n]
        return ", ".join(["series", *parts])

    @property
    def _at_ends(self) -> tuple[tuple[int, str], tuple[int, str]]:
        return (self.before, "before"), (self.after, "after")

    def resized(self, size: Size) -> Size:
        """See `Operation.resized`."""
        places = int(np.prod(size))
        if places + min(self.before, 0) + min(self.after, 0) < 1:
            raise ValueError(
                f"expected a series that leaves a place of maps of {size}, got {self.before} before and {self.after} "
                "after"
            )
        return (places + self.before + self.after,)

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Operation.apply`."""
        row = x.reshape(*x.shape[:2], -1)
        row = row[:, :, max(-self.before, 0) : row.shape[2] - max(-self.after, 0)]
        first, last = max(self.before, 0), max(self.after, 0)
        put = values["ends"].astype(x.dtype) if self.learned else np.zeros((x.shape[1], first + last), x.dtype)
        ends = np.broadcast_to(put, (len(x), *put.shape))
        return np.concatenate([ends[:, :, :first], row, ends[:, :, first:]], 2)
