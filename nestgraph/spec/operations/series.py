"""The places of maps in a row, between learned ones."""

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

Count = Annotated[int, Field(ge=0, lt=2**31, exclude_if=operator.not_)]
ENDS = UnitColumn("ends", 0.0, count=0)


class Series(Operation):
    """A map's places in a row, in row-major order, as a map of one extent with learned places at its ends.

    These hold values of each unit, as the class token of a vision transformer does (Dosovitskiy et al. 2021): a column
    of the layer, (units, places), those before the map first. `Pad` puts other places there, or takes some away.

    Attributes:
        before: how many learned places come before those of the map.
        after: how many come behind them.
    """

    kind: Literal["series"] = "series"  # pyright: ignore[reportIncompatibleVariableOverride]
    before: Count = 0
    after: Count = 0

    possible: ClassVar[tuple[UnitColumn, ...]] = (ENDS,)

    @property
    def columns(self) -> tuple[UnitColumn, ...]:
        """See `Operation.columns`."""
        return (replace(ENDS, count=self.before + self.after),) if self.before + self.after else ()

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        return Facts(reach="unit", spatial=True, resizes=True, keeps_sign=not self.columns)

    @property
    def words(self) -> str:
        """See `Operation.words`."""
        ends = ((self.before, "before"), (self.after, "after"))
        return ", ".join(["series", *(f"{count} learned {at}" for count, at in ends if count)])

    def resized(self, size: Size) -> Size:
        """See `Operation.resized`."""
        return (int(np.prod(size)) + self.before + self.after,)

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Operation.apply`."""
        row = x.reshape(*x.shape[:2], -1)
        if not self.columns:
            return row
        ends = np.broadcast_to(values["ends"].astype(x.dtype), (len(x), *values["ends"].shape))
        return np.concatenate([ends[:, :, : self.before], row, ends[:, :, self.before :]], 2)
