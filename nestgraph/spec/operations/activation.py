"""Activations: functions of each number."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations.operation import Facts, Operation
from nestgraph.spec.operations.pointwise import (
    NEVER_NEGATIVE,
    OPTIONS,
    PIECEWISE,
    PLAIN,
    WITH_OPTIONS,
    ActivationFunction,
)
from nestgraph.spec.record import absent
from nestgraph.spec.unit_column import UnitColumn
from nestgraph.spec.windows import by_unit

Option = Annotated[float | None, Field(exclude_if=absent)]
"""What came after the first snapshots is left out of JSON where there is none, so digests stay."""


class Activation(Operation):
    """A pointwise function. `slope` is leaky ReLU's factor for negative inputs, and of ELU (Clevert et al. 2016) and
    CELU (Barron 2017) how far they fall below 0; unused by the others. `clamp` has the bounds `low` and `high`, one at
    least; the shrinks give 0 for what is at most `high` from 0, and the soft one moves the rest as far towards it;
    `threshold` gives `value` up to `low`.

    The hard ones are those of MobileNetV3 (Howard et al. 2019), x * min(max(x + 3, 0), 6) / 6; `gelu` has the error
    function (Hendrycks, Gimpel 2016) and `gelu_tanh` its approximation. `softplus` is log(1 + exp(sharpness * x)) /
    sharpness, and x itself above `high`; `logit` is of what lies `low` from 0 and from 1 at least.
    """

    kind: Literal["activation"] = "activation"  # pyright: ignore[reportIncompatibleVariableOverride]
    function: ActivationFunction
    slope: float = 0.01
    low: Option = None
    high: Option = None
    exponent: Option = None
    value: Option = None
    sharpness: Annotated[float | None, Field(gt=0, exclude_if=absent)] = None

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        own, names = OPTIONS.get(self.function, {}), ("low", "high", "exponent", "value", "sharpness")
        given = {name for name in names if getattr(self, name) is not None}
        missing = {name for name, needed in own.items() if needed} - given
        if self.function == "clamp" and not given:
            missing = {"low or high"}
        if missing or given - own.keys():
            wanted = ", ".join(name for name in own if name != "slope") or "no option"
            raise ValueError(
                f"expected {wanted} of a {self.function}, got {', '.join(sorted(given)) or 'none'}"
                + (f": give {' and '.join(sorted(missing))}" if missing else "")
            )
        return self._check_values()

    def _check_values(self) -> Self:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"expected low of at most high, got {self.low} and {self.high}")
        if self.function == "celu" and not self.slope:
            raise ValueError("expected a slope of a celu that is not 0, by which it divides, got 0")
        if self.function in ("hard_shrink", "soft_shrink") and (self.high or 0) < 0:
            raise ValueError(f"expected high of a {self.function} that is not negative, got {self.high}")
        if self.function == "logit" and not 0 <= (self.low or 0) <= 0.5:
            raise ValueError(f"expected low of a logit between 0 and 0.5, got {self.low}")
        return self

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        rises = self.function in PIECEWISE or (self.function == "leaky_relu" and self.slope >= 0)
        return Facts(reach="value", never_negative=self.function in NEVER_NEGATIVE, rises=rises)

    @property
    def words(self) -> str:
        """See `Operation.words`."""
        return self.function

    @property
    def options(self) -> tuple[float | None, ...]:
        """The values of the options that the function takes, in the order of its arguments."""
        return tuple(getattr(self, name) for name in OPTIONS.get(self.function, ()))

    def of(self, x: AnyArray) -> AnyArray:
        """The function of each number."""
        with np.errstate(all="ignore"):  # a logarithm of what is negative is no number
            if self.function in PLAIN:
                return PLAIN[self.function](x)
            return WITH_OPTIONS[self.function](x, *self.options)

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Operation.apply`."""
        return self.of(x)


class ParametricReLU(Operation):
    """Leaky ReLU whose slope below 0 each unit learns (He et al. 2015), in a column of the layer."""

    kind: Literal["parametric_relu"] = "parametric_relu"  # pyright: ignore[reportIncompatibleVariableOverride]

    possible: ClassVar[tuple[UnitColumn, ...]] = (UnitColumn("slope", 1.0),)

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        return Facts(reach="value", keeps_sign=True)

    @property
    def words(self) -> str:
        """See `Operation.words`."""
        return "parametric relu"

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Operation.apply`."""
        return np.where(x >= 0, x, by_unit(values["slope"].astype(x.dtype), x) * x)
