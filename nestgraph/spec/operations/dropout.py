"""Dropout, which does nothing in inference."""

import operator
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations.operation import Facts, Operation


class Dropout(Operation):
    """Drop outputs with `probability` while training (Srivastava et al. 2014).

    Attributes:
        probability: of each to be dropped.
        maps: whether whole maps are dropped together (Tompson et al. 2015), which single values are alike.
        alpha: whether what is dropped takes SELU's value for large negative inputs, and mean and variance stay
            (Klambauer et al. 2017), instead of 0. The two switches came after the first snapshots: at their default
            they are left out of JSON, so digests stay.
    """

    kind: Literal["dropout"] = "dropout"  # pyright: ignore[reportIncompatibleVariableOverride]
    probability: Annotated[float, Field(ge=0, lt=1)]
    maps: Annotated[bool, Field(exclude_if=operator.not_)] = False
    alpha: Annotated[bool, Field(exclude_if=operator.not_)] = False

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        return Facts(reach="value", idle=True, keeps_sign=True)

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Operation.apply`."""
        return x
