"""A normalisation that nestgraph does not have: each unit divided by its greatest size, in a package of others."""

from typing import ClassVar, Literal

import numpy as np

from nestgraph.spec.operations import Facts, Operation, register
from nestgraph.spec.unit_column import UnitColumn
from nestgraph.spec.windows import by_unit


class PeakNorm(Operation):
    """gain * x / (largest |x| of the unit's map + epsilon)."""

    kind: Literal["acme.peak_norm"] = "acme.peak_norm"
    epsilon: float = 1e-3

    possible: ClassVar = (UnitColumn("gain", 1.0),)

    @property
    def facts(self):
        return Facts(reach="unit", spatial=True)

    @property
    def words(self):
        return "peak norm"

    def apply(self, x, values, ids):  # noqa: ARG002
        peak = np.abs(x).max(axis=tuple(range(2, x.ndim)), keepdims=True)
        return x / (peak + self.epsilon) * by_unit(values["gain"].astype(x.dtype), x)


register(PeakNorm)
