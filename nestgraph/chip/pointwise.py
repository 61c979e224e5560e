"""Functions of one number at a time: what they mean is in `spec`, how C writes them is here, a row each."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations import Activation, ActivationFunction
from nestgraph.spec.windows import by_unit

EXPRESSIONS: Mapping[ActivationFunction, str] = {
    "relu": "v > 0.0f ? v : 0.0f",
    "tanh": "tanhf(v)",
    "sigmoid": "1.0f / (1.0f + expf(-v))",
    "relu6": "v < 0.0f ? 0.0f : v > 6.0f ? 6.0f : v",
    "hard_sigmoid": "v < -3.0f ? 0.0f : v > 3.0f ? 1.0f : (v + 3.0f) / 6.0f",
    "hard_swish": "v < -3.0f ? 0.0f : v > 3.0f ? v : v * (v + 3.0f) / 6.0f",
    "silu": "v / (1.0f + expf(-v))",
    "gelu": "v * erfcf(v * -0.707106781f) / 2.0f",
    "gelu_tanh": "v / (1.0f + expf(-1.59576912f * (v + 0.044715f * v * v * v)))",
    "selu": "1.05070099f * (v >= 0.0f ? v : 1.67326324f * expm1f(v))",
    "softsign": "v / (1.0f + fabsf(v))",
    "mish": "v * tanhf((v > 0.0f ? v : 0.0f) + log1pf(expf(-fabsf(v))))",
    "log_sigmoid": "(v < 0.0f ? v : 0.0f) - log1pf(expf(-fabsf(v)))",
    "tanh_shrink": "fabsf(v) > 0.3f ? v - tanhf(v) : v * v * v * (0.333333333f - v * v * (0.133333333f - v * v * "
    "(0.0539682540f - v * v * (0.0218694885f - v * v * 0.00886323553f))))",
    "abs": "fabsf(v)",
    "sign": "v > 0.0f ? 1.0f : v < 0.0f ? -1.0f : 0.0f",
    "exp": "expf(v)",
    "log": "logf(v)",
    "sqrt": "sqrtf(v)",
    "rsqrt": "1.0f / sqrtf(v)",
    "reciprocal": "1.0f / v",
    "sin": "sinf(v)",
    "cos": "cosf(v)",
    "erf": "erff(v)",
    "square": "v * v",
    "exp2": "exp2f(v)",
    "expm1": "expm1f(v)",
    "log1p": "log1pf(v)",
    "log2": "log2f(v)",
    "log10": "log10f(v)",
    "erfc": "erfcf(v)",
    "sinc": "v < 0.0f || v > 0.0f ? sinf(3.14159265f * v) / (3.14159265f * v) : 1.0f",
    "tan": "tanf(v)",
    "sinh": "sinhf(v)",
    "cosh": "coshf(v)",
    "asin": "asinf(v)",
    "acos": "acosf(v)",
    "atan": "atanf(v)",
    "asinh": "asinhf(v)",
    "acosh": "acoshf(v)",
    "atanh": "atanhf(v)",
    "floor": "floorf(v)",
    "ceil": "ceilf(v)",
    "round": "rintf(v)",
    "trunc": "truncf(v)",
    "frac": "v - truncf(v)",
    "leaky_relu": "v >= 0.0f ? v : v * {0}",
    "elu": "v >= 0.0f ? v : expm1f(v) * {0}",
    "celu": "v >= 0.0f ? v : expm1f(v / {0}) * {0}",
    "hard_shrink": "fabsf(v) <= {0} ? 0.0f : v",
    "soft_shrink": "v > {0} ? v - {0} : v < -{0} ? v + {0} : 0.0f",
    "threshold": "v <= {0} ? {1} : v",
    "power": "powf(v, {0})",
}
"""By function, what it makes of a float `v`, with the options of `spec.operations.pointwise.OPTIONS` by place.

Small results keep their digits: x - tanh(x) near 0 is its series, and the tails of GELU are no differences of numbers
near 1.
"""


def literal(number: float) -> str:
    """A number as C writes a float, exact in single precision."""
    return single(float(np.float32(number)))


def single(number: float) -> str:
    """The same of a number of single precision."""
    digits = f"{number:.9g}"
    return f"{digits}f" if "." in digits or "e" in digits else f"{digits}.0f"


def expression(activation: Activation) -> str | None:
    """What an activation makes of a float `v`, as C; None where none is known."""
    options = activation.options
    if activation.function == "clamp":
        low, high = (None if bound is None else literal(bound) for bound in options)
        above = "v" if high is None else f"v > {high} ? {high} : v"
        return above if low is None else f"v < {low} ? {low} : {above}"
    if activation.function == "softplus":
        sharpness, high = (None if each is None else literal(each) for each in options)
        scaled = "v" if sharpness is None else f"v * {sharpness}"
        smooth = f"(v > 0.0f ? {scaled} : 0.0f) + log1pf(expf(-fabsf({scaled})))"
        smooth = smooth if sharpness is None else f"({smooth}) / {sharpness}"
        return smooth if high is None else f"v > {high} ? v : {smooth}"
    if activation.function == "logit":
        least = options[0]
        if least is None:
            return "logf(v / (1.0f - v))"
        low, high = literal(least), literal(1 - least)
        near = f"(v < {low} ? {low} : v > {high} ? {high} : v)"
        return f"logf({near} / (1.0f - {near}))"
    found = EXPRESSIONS.get(activation.function)
    return found and found.format(*(literal(each or 0) for each in options))


@dataclass(frozen=True, eq=False)
class Function:
    """A function of a number, the same for all units.

    Attributes:
        activation: which.
        text: of it, in C, of a float `v`.
    """

    activation: Activation
    text: str

    @property
    def rises(self) -> bool:
        """Whether a larger number never gives a smaller one."""
        return self.activation.facts.rises

    def run(self, x: AnyArray) -> AnyArray:
        """Of (batch, units, ...)."""
        return self.activation.of(x)


@dataclass(frozen=True, eq=False)
class Line:
    """A straight line for each unit, or two that meet at 0.

    Attributes:
        scale: (units,): the slope from 0 up.
        shift: (units,): what is added.
        below: (units,): the slope below 0; None where it is the same.
    """

    scale: AnyArray
    shift: AnyArray
    below: AnyArray | None = None

    rises = False

    def run(self, x: AnyArray) -> AnyArray:
        """Of (batch, units, ...)."""
        scale = by_unit(self.scale.astype(x.dtype), x)
        if self.below is not None:
            scale = np.where(x >= 0, scale, by_unit(self.below.astype(x.dtype), x))
        return x * scale + by_unit(self.shift.astype(x.dtype), x)


Pointwise = Function | Line
