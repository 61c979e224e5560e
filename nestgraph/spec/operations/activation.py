"""Activations: functions of each number."""

import math
from collections.abc import Callable, Mapping
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations.operation import Facts, Operation
from nestgraph.spec.record import absent

ActivationFunction = Literal[
    "relu",
    "leaky_relu",
    "tanh",
    "sigmoid",
    "relu6",
    "hard_sigmoid",
    "hard_swish",
    "silu",
    "gelu",
    "gelu_tanh",
    "elu",
    "selu",
    "softplus",
    "softsign",
    "mish",
    "log_sigmoid",
    "tanh_shrink",
    "clamp",
    "abs",
    "sign",
    "exp",
    "log",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "sin",
    "cos",
    "erf",
]
NEVER_NEGATIVE = frozenset({"relu", "sigmoid", "relu6", "hard_sigmoid", "softplus", "abs", "exp", "sqrt"})


class Activation(Operation):
    """A pointwise function. `slope` is leaky ReLU's factor for negative inputs, and of ELU (Clevert et al. 2016) how
    far it falls below 0; unused by the others. `clamp` has the bounds `low` and `high`, one at least.

    The hard ones are those of MobileNetV3 (Howard et al. 2019), x * min(max(x + 3, 0), 6) / 6; `gelu` has the error
    function (Hendrycks, Gimpel 2016) and `gelu_tanh` its approximation.
    """

    kind: Literal["activation"] = "activation"  # pyright: ignore[reportIncompatibleVariableOverride]
    function: ActivationFunction
    slope: Annotated[float, Field(ge=0, le=1)] = 0.01
    low: Annotated[float | None, Field(exclude_if=absent)] = None
    high: Annotated[float | None, Field(exclude_if=absent)] = None

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        bounded = self.low is not None or self.high is not None
        if bounded != (self.function == "clamp"):
            raise ValueError(f"expected bounds low or high of a clamp, and only there, got function {self.function!r}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"expected low of at most high, got {self.low} and {self.high}")
        return self

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        return Facts(reach="value", never_negative=self.function in NEVER_NEGATIVE)

    @property
    def words(self) -> str:
        """See `Operation.words`."""
        return self.function

    def of(self, x: AnyArray) -> AnyArray:
        """The function of each number."""
        if self.function == "leaky_relu":
            return np.where(x >= 0, x, x * self.slope)
        if self.function == "elu":
            return np.where(x >= 0, x, np.expm1(np.minimum(x, 0)) * self.slope)
        if self.function == "clamp":
            return np.clip(x, self.low, self.high)
        with np.errstate(all="ignore"):  # a logarithm of what is negative is no number
            return FUNCTIONS[self.function](x)

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Operation.apply`."""
        return self.of(x)


def _sigmoid(x: AnyArray) -> AnyArray:
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))


def _hard_sigmoid(x: AnyArray) -> AnyArray:
    return np.clip(x + 3, 0, 6) / 6


def _erf(x: AnyArray) -> AnyArray:
    # NumPy has no error function and SciPy is no dependency; an element at a time is quick enough for the meaning.
    return np.vectorize(math.erf, [float])(x).astype(x.dtype)


def _gelu(x: AnyArray) -> AnyArray:
    return x * (1 + _erf(x / math.sqrt(2))) / 2


def _selu(x: AnyArray) -> AnyArray:
    scale, alpha = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
    return scale * np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _softplus(x: AnyArray) -> AnyArray:
    return np.logaddexp(x, np.zeros((), x.dtype))


def _gelu_tanh(x: AnyArray) -> AnyArray:
    near = np.clip(x, -100, 100)  # a cube must not overflow; there the tangent is 1
    return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (near + 0.044715 * near**3))) / 2


FUNCTIONS: Mapping[ActivationFunction, Callable[[AnyArray], AnyArray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "tanh": np.tanh,
    "sigmoid": _sigmoid,
    "relu6": lambda x: np.clip(x, 0, 6),
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": lambda x: x * _hard_sigmoid(x),
    "silu": lambda x: x * _sigmoid(x),
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "selu": _selu,
    "softplus": _softplus,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "mish": lambda x: x * np.tanh(_softplus(x)),
    "log_sigmoid": lambda x: -_softplus(-x),
    "tanh_shrink": lambda x: x - np.tanh(x),
    "abs": np.abs,
    "sign": np.sign,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "sin": np.sin,
    "cos": np.cos,
    "erf": _erf,
}
"""The activations that have no parameter."""
