"""Activations in PyTorch."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.operations.room import Handler, Room, UncoveredError, Weaving, with_attributes
from nestgraph.lowering.tensors import as_array
from nestgraph.spec import Activation, Layer, ParametricReLU
from nestgraph.spec.operations import ActivationFunction


class _Plain(NamedTuple):
    """A function without options: what computes it, the names it is called by, and its modules."""

    function: Callable[..., Any]
    names: tuple[str, ...]
    modules: tuple[type[nn.Module], ...] = ()


PLAIN: Mapping[ActivationFunction, _Plain] = {
    "relu": _Plain(functional.relu, ("relu",), (nn.ReLU,)),
    "tanh": _Plain(torch.tanh, ("tanh",), (nn.Tanh,)),
    "sigmoid": _Plain(torch.sigmoid, ("sigmoid",), (nn.Sigmoid,)),
    "relu6": _Plain(functional.relu6, ("relu6",), (nn.ReLU6,)),
    "hard_sigmoid": _Plain(functional.hardsigmoid, ("hardsigmoid",), (nn.Hardsigmoid,)),
    "hard_swish": _Plain(functional.hardswish, ("hardswish",), (nn.Hardswish,)),
    "silu": _Plain(functional.silu, ("silu",), (nn.SiLU,)),
    "selu": _Plain(functional.selu, ("selu",), (nn.SELU,)),
    "softsign": _Plain(functional.softsign, ("softsign",), (nn.Softsign,)),
    "mish": _Plain(functional.mish, ("mish",), (nn.Mish,)),
    "log_sigmoid": _Plain(functional.logsigmoid, ("logsigmoid", "log_sigmoid"), (nn.LogSigmoid,)),
    "tanh_shrink": _Plain(functional.tanhshrink, ("tanhshrink",), (nn.Tanhshrink,)),
    "abs": _Plain(torch.abs, ("abs", "absolute")),
    "sign": _Plain(torch.sign, ("sign", "sgn")),
    "exp": _Plain(torch.exp, ("exp",)),
    "log": _Plain(torch.log, ("log",)),
    "sqrt": _Plain(torch.sqrt, ("sqrt",)),
    "rsqrt": _Plain(torch.rsqrt, ("rsqrt",)),
    "reciprocal": _Plain(torch.reciprocal, ("reciprocal",)),
    "sin": _Plain(torch.sin, ("sin",)),
    "cos": _Plain(torch.cos, ("cos",)),
    "erf": _Plain(torch.erf, ("erf",)),
    "square": _Plain(torch.square, ("square",)),
    "exp2": _Plain(torch.exp2, ("exp2",)),
    "expm1": _Plain(torch.expm1, ("expm1",)),
    "log1p": _Plain(torch.log1p, ("log1p",)),
    "log2": _Plain(torch.log2, ("log2",)),
    "log10": _Plain(torch.log10, ("log10",)),
    "erfc": _Plain(torch.erfc, ("erfc",)),
    "sinc": _Plain(torch.sinc, ("sinc",)),
    "tan": _Plain(torch.tan, ("tan",)),
    "sinh": _Plain(torch.sinh, ("sinh",)),
    "cosh": _Plain(torch.cosh, ("cosh",)),
    "asin": _Plain(torch.asin, ("asin", "arcsin")),
    "acos": _Plain(torch.acos, ("acos", "arccos")),
    "atan": _Plain(torch.atan, ("atan", "arctan")),
    "asinh": _Plain(torch.asinh, ("asinh", "arcsinh")),
    "acosh": _Plain(torch.acosh, ("acosh", "arccosh")),
    "atanh": _Plain(torch.atanh, ("atanh", "arctanh")),
    "floor": _Plain(torch.floor, ("floor",)),
    "ceil": _Plain(torch.ceil, ("ceil",)),
    "trunc": _Plain(torch.trunc, ("trunc", "fix")),
    "frac": _Plain(torch.frac, ("frac",)),
    "round": _Plain(torch.round, ()),
    "gelu": _Plain(functional.gelu, ()),
}
"""The functions that have no options here; those without a name have some in PyTorch."""
SPECIAL = {"expit": "sigmoid"} | {
    name: name for name in ("erf", "erfc", "exp2", "expm1", "log1p", "logit", "round", "sinc")
}
"""What `torch.special` calls functions -> the name that they have in torch."""


def emit(emission: Emission, _layer: Layer, operation: Activation, _path: str, x: fx.Node) -> fx.Node:
    """A call of the function."""
    if operation.function in PLAIN:
        return emission.call(PLAIN[operation.function].function, x)
    return OPTIONAL[operation.function](emission, operation, x)


def _with_options(function: Callable[..., Any]) -> Callable[[Emission, Activation, fx.Node], fx.Node]:
    def call(emission: Emission, operation: Activation, x: fx.Node) -> fx.Node:
        return emission.call(function, x, *operation.options)

    return call


def _emit_softplus(emission: Emission, operation: Activation, x: fx.Node) -> fx.Node:
    if operation.sharpness is None and operation.high is None:
        return emission.call(functional.softplus, x)
    sharpness = 1.0 if operation.sharpness is None else operation.sharpness
    straight = () if operation.high is None else (operation.high * sharpness,)
    return emission.call(functional.softplus, x, sharpness, *straight)


def _emit_gelu_tanh(emission: Emission, _operation: Activation, x: fx.Node) -> fx.Node:
    return emission.call(functional.gelu, x, approximate="tanh")


OPTIONAL: Mapping[ActivationFunction, Callable[[Emission, Activation, fx.Node], fx.Node]] = {
    "leaky_relu": _with_options(functional.leaky_relu),
    "elu": _with_options(functional.elu),
    "celu": _with_options(functional.celu),
    "clamp": _with_options(torch.clamp),
    "hard_shrink": _with_options(functional.hardshrink),
    "soft_shrink": _with_options(functional.softshrink),
    "threshold": _with_options(functional.threshold),
    "power": _with_options(torch.pow),
    "logit": _with_options(torch.logit),
    "softplus": _emit_softplus,
    "gelu_tanh": _emit_gelu_tanh,
}
"""The others, each with what calls it."""


def emit_parametric(emission: Emission, layer: Layer, _operation: ParametricReLU, _path: str, x: fx.Node) -> fx.Node:
    """A call that starts from the layer's column."""
    slopes = emission.parameter(emission.network.unit_columns(layer.name).values["slope"])
    return emission.call(functional.prelu, x, emission.keep(f"{emission.layers[layer.name]}.slope", slopes))


def _plain(function: ActivationFunction) -> Handler:
    def handle(weaving: Weaving[Any], input: Any, inplace: bool = False) -> Any:  # noqa: ARG001
        return weaving.pointwise(input, Activation(function=function))

    return handle


def _sloped(function: ActivationFunction, usual: float) -> Handler:
    """A function with a factor below 0; `negative_slope` or `alpha` in PyTorch."""

    def handle(
        weaving: Weaving[Any],
        input: Any,
        alpha: float = usual,
        inplace: bool = False,  # noqa: ARG001
        negative_slope: float | None = None,
    ) -> Any:
        slope = float(alpha if negative_slope is None else negative_slope)
        return weaving.pointwise(input, Activation(function=function, slope=slope))

    return handle


def _rrelu(
    weaving: Weaving[Any],
    input: Any,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,  # noqa: ARG001
    inplace: bool = False,  # noqa: ARG001
) -> Any:
    result = weaving.pointwise(input, Activation(function="leaky_relu", slope=(lower + upper) / 2))
    if lower != upper:
        weaving.note(result, "its slope is drawn in training; here it is their mean, as in evaluation")
    return result


def _softplus(weaving: Weaving[Any], input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """From a threshold of 15 on it is the identity there, which the function itself is but for rounding."""
    sharpness = None if beta == 1 else float(beta)
    high = None if threshold >= 15 else threshold / beta
    return weaving.pointwise(input, Activation(function="softplus", sharpness=sharpness, high=high))


def _shrunk(function: ActivationFunction) -> Handler:
    def handle(weaving: Weaving[Any], input: Any, lambd: float = 0.5) -> Any:
        return weaving.pointwise(input, Activation(function=function, high=float(lambd)))

    return handle


def _threshold(weaving: Weaving[Any], input: Any, threshold: float, value: float, inplace: bool = False) -> Any:  # noqa: ARG001
    if threshold == 0 == value:
        return weaving.pointwise(input, Activation(function="relu"))
    return weaving.pointwise(input, Activation(function="threshold", low=float(threshold), value=float(value)))


def _logit(weaving: Weaving[Any], input: Any, eps: float | None = None) -> Any:
    return weaving.pointwise(input, Activation(function="logit", low=None if eps is None else float(eps)))


def _round(weaving: Weaving[Any], input: Any, *, decimals: int = 0) -> Any:
    if decimals:
        raise UncoveredError(f"a rounding to {decimals} decimals")
    return weaving.pointwise(input, Activation(function="round"))


_POWERS: Mapping[float, ActivationFunction] = {
    2: "square",
    0.5: "sqrt",
    -0.5: "rsqrt",
    -1: "reciprocal",
}


def power(weaving: Weaving[Any], input: Any, exponent: float) -> Any:
    """A power by a number, under the name that it has where it has one."""
    if exponent == 1:
        return input
    named = _POWERS.get(exponent)
    if named is not None:
        return weaving.pointwise(input, Activation(function=named))
    if exponent == 0:
        raise UncoveredError("a power of 0, which depends on nothing")
    return weaving.pointwise(input, Activation(function="power", exponent=float(exponent)))


def _gelu(weaving: Weaving[Any], input: Any, approximate: str = "none") -> Any:
    return weaving.pointwise(input, Activation(function="gelu_tanh" if approximate == "tanh" else "gelu"))


def clamp(weaving: Weaving[Any], input: Any, min: Any = None, max: Any = None, inplace: bool = False) -> Any:  # noqa: ARG001
    """A clamp to numbers."""
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        raise UncoveredError("a clamp to tensors")
    named = {(0, None): "relu", (0, 6): "relu6"}.get((min, max))
    if named is not None:
        return weaving.pointwise(input, Activation(function=cast(Any, named)))
    low, high = (None if bound is None else float(bound) for bound in (min, max))
    return weaving.pointwise(input, Activation(function="clamp", low=low, high=high))


def _clamp_above(weaving: Weaving[Any], input: Any, max: Any) -> Any:
    return clamp(weaving, input, None, max)


def _hardtanh(
    weaving: Weaving[Any],
    input: Any,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,  # noqa: ARG001
) -> Any:
    return clamp(weaving, input, min_val, max_val)


def prelu(weaving: Weaving[Any], input: Any, weight: Tensor) -> Any:
    """`nn.PReLU`, of a slope for each unit or of one for all."""
    slopes, frozen = as_array(weight).reshape(-1), ["slope"] if weaving.is_frozen(weight) else []
    if len(slopes) > 1:
        return weaving.operated(input, ParametricReLU(), {"slope": slopes}, frozen)
    result = weaving.pointwise(input, ParametricReLU(), {"slope": slopes[0]}, frozen)
    weaving.note(result, "one slope for all units: copies, which train apart")
    return result


_NAMED: Mapping[str, Handler] = {
    **{name: _plain(function) for function, plain in PLAIN.items() for name in plain.names},
    "logit": _logit,
    "round": _round,
}
ROOM = Room(
    Activation,
    emit,
    functions={
        **_NAMED,
        **{f"special_{name}": _NAMED[known] for name, known in SPECIAL.items()},
        "leaky_relu": _sloped("leaky_relu", 0.01),
        "celu": _sloped("celu", 1.0),
        "rrelu": _rrelu,
        "softplus": _softplus,
        "hardshrink": _shrunk("hard_shrink"),
        "softshrink": _shrunk("soft_shrink"),
        "threshold": _threshold,
        "_threshold": _threshold,
        "elu": _sloped("elu", 1.0),
        "gelu": _gelu,
        "clamp": clamp,
        "clip": clamp,
        "clamp_min": clamp,
        "clamp_max": _clamp_above,
        "hardtanh": _hardtanh,
    },
    modules={
        **{module: with_attributes(_plain(function)) for function, plain in PLAIN.items() for module in plain.modules},
        nn.LeakyReLU: with_attributes(_sloped("leaky_relu", 0.01), "negative_slope"),
        nn.ELU: with_attributes(_sloped("elu", 1.0), "alpha"),
        nn.CELU: with_attributes(_sloped("celu", 1.0), "alpha"),
        nn.RReLU: with_attributes(_rrelu, "lower", "upper"),
        nn.Softplus: with_attributes(_softplus, "beta", "threshold"),
        nn.Hardshrink: with_attributes(_shrunk("hard_shrink"), "lambd"),
        nn.Softshrink: with_attributes(_shrunk("soft_shrink"), "lambd"),
        nn.Threshold: with_attributes(_threshold, "threshold", "value"),
        nn.GELU: with_attributes(_gelu, "approximate"),
        nn.Hardtanh: with_attributes(_hardtanh, "min_val", "max_val"),
    },
)
PARAMETRIC = Room(
    ParametricReLU,
    emit_parametric,
    {"slope": "slope"},
    functions={"prelu": prelu},
    modules={nn.PReLU: with_attributes(prelu, "weight")},
)
