"""What the functions of activations mean, number by number."""

import math
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from nestgraph.spec.arrays import AnyArray

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
    "celu",
    "hard_shrink",
    "soft_shrink",
    "threshold",
    "power",
    "square",
    "exp2",
    "expm1",
    "log1p",
    "log2",
    "log10",
    "logit",
    "erfc",
    "sinc",
    "tan",
    "sinh",
    "cosh",
    "asin",
    "acos",
    "atan",
    "asinh",
    "acosh",
    "atanh",
    "floor",
    "ceil",
    "round",
    "trunc",
    "frac",
]
NEVER_NEGATIVE = frozenset(
    {"relu", "sigmoid", "relu6", "hard_sigmoid", "softplus", "abs", "exp", "sqrt", "square", "exp2", "erfc"}
    | {"cosh", "acos", "acosh"}
)
PIECEWISE = frozenset({"relu", "relu6", "clamp"})
"""Functions that give a number as it is or a bound in its place."""


def _sigmoid(x: AnyArray) -> AnyArray:
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))


def _hard_sigmoid(x: AnyArray) -> AnyArray:
    return np.clip(x + 3, 0, 6) / 6


def _each(function: Callable[[float], float]) -> Callable[[AnyArray], AnyArray]:
    """A function of `math`: NumPy lacks it and SciPy is no dependency; one number at a time does for the meaning."""

    def of(x: AnyArray) -> AnyArray:
        return np.vectorize(function, [float])(x).astype(x.dtype)

    return of


_erf = _each(math.erf)


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


PLAIN: Mapping[ActivationFunction, Callable[[AnyArray], AnyArray]] = {
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
    "square": np.square,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "log1p": np.log1p,
    "log2": np.log2,
    "log10": np.log10,
    "erfc": _each(math.erfc),
    "sinc": np.sinc,
    "tan": np.tan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "trunc": np.trunc,
    "frac": lambda x: x - np.trunc(x),
}
"""The functions without an option."""


def _leaky_relu(x: AnyArray, slope: float) -> AnyArray:
    return np.where(x >= 0, x, x * slope)


def _elu(x: AnyArray, slope: float) -> AnyArray:
    return np.where(x >= 0, x, np.expm1(np.minimum(x, 0)) * slope)


def _celu(x: AnyArray, slope: float) -> AnyArray:
    return np.where(x >= 0, x, np.expm1(np.minimum(x, 0) / slope) * slope)


def _clamp(x: AnyArray, low: float | None, high: float | None) -> AnyArray:
    return np.clip(x, low, high)


def _hard_shrink(x: AnyArray, high: float) -> AnyArray:
    return np.where(np.abs(x) <= high, np.zeros((), x.dtype), x)


def _soft_shrink(x: AnyArray, high: float) -> AnyArray:
    return x - np.clip(x, -high, high)


def _threshold(x: AnyArray, low: float, value: float) -> AnyArray:
    return np.where(x <= low, np.asarray(value, x.dtype), x)


def _power(x: AnyArray, exponent: float) -> AnyArray:
    return np.power(x, exponent)


def _logit(x: AnyArray, least: float | None) -> AnyArray:
    near = x if least is None else np.clip(x, least, 1 - least)
    return np.log(near / (1 - near))


def _softplus_of(x: AnyArray, sharpness: float | None, high: float | None) -> AnyArray:
    smooth = _softplus(x) if sharpness is None else _softplus(x * sharpness) / sharpness
    return smooth if high is None else np.where(x > high, x, smooth)


WITH_OPTIONS: Mapping[ActivationFunction, Callable[..., AnyArray]] = {
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "celu": _celu,
    "clamp": _clamp,
    "hard_shrink": _hard_shrink,
    "soft_shrink": _soft_shrink,
    "threshold": _threshold,
    "power": _power,
    "softplus": _softplus_of,
    "logit": _logit,
}
"""The functions with options, which stand in `OPTIONS` in the order of their arguments."""

OPTIONS: Mapping[ActivationFunction, Mapping[str, bool]] = {
    "leaky_relu": {"slope": False},
    "elu": {"slope": False},
    "celu": {"slope": False},
    "clamp": {"low": False, "high": False},
    "hard_shrink": {"high": True},
    "soft_shrink": {"high": True},
    "threshold": {"low": True, "value": True},
    "power": {"exponent": True},
    "softplus": {"sharpness": False, "high": False},
    "logit": {"low": False},
}
"""By function the options that it takes, and whether each must be given."""
