"""Batch normalisation."""

import operator
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations.operation import Affine, Facts, Operation
from nestgraph.spec.record import Extent
from nestgraph.spec.unit_column import UnitColumn
from nestgraph.spec.windows import by_unit


class BatchNorm(Operation):
    """Batch normalisation (Ioffe, Szegedy 2015): gamma * (u - mean) / sqrt(variance + epsilon) + beta.

    The four values of each unit are columns of the layer.

    Attributes:
        epsilon: what is added to the variance.
        momentum: the weight of the newest batch in the running statistics; None for the average over all batches.
        batches: how many batches such an average has seen. It came after the first snapshots: 0 is left out of JSON.
    """

    kind: Literal["batch_norm"] = "batch_norm"  # pyright: ignore[reportIncompatibleVariableOverride]
    epsilon: Annotated[float, Field(gt=0)] = 1e-5
    momentum: Annotated[float, Field(gt=0, le=1)] | None = 0.1
    batches: Annotated[Extent, Field(exclude_if=operator.not_)] = 0

    possible: ClassVar[tuple[UnitColumn, ...]] = (
        UnitColumn("gamma", 1.0),
        UnitColumn("beta", 0.0),
        UnitColumn("mean", 0.0, trained=False),
        UnitColumn("variance", 1.0, trained=False, least=0.0),
    )

    @model_validator(mode="after")
    def _check_batches(self) -> Self:
        if self.batches and self.momentum is not None:
            raise ValueError(f"expected batches with momentum None only, got momentum {self.momentum}")
        return self

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        return Facts(reach="value", normalises=True, subtracts="mean", adds="beta")

    @property
    def seen(self) -> int | None:
        """See `Operation.seen`."""
        return self.batches if self.momentum is None else None

    def with_seen(self, batches: int) -> Self:
        """See `Operation.with_seen`."""
        return self.model_copy(update={"batches": batches})

    def affine(self, values: Mapping[str, AnyArray]) -> Affine | None:
        """See `Operation.affine`."""
        variance = values["variance"]
        scale = values["gamma"] / np.sqrt(variance + variance.dtype.type(self.epsilon))
        return Affine(scale, values["mean"], values["beta"])

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Operation.apply`."""
        gamma, beta, mean, variance = (by_unit(values[c.name].astype(x.dtype), x) for c in self.possible)
        return gamma * (x - mean) / np.sqrt(variance + self.epsilon) + beta
