"""Activations in PyTorch."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.operations.room import Handler, Room, UncoveredError, Weaving, with_attributes
from nestgraph.spec import Activation, Layer
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
    "sign": _Plain(torch.sign, ("sign",)),
    "exp": _Plain(torch.exp, ("exp",)),
    "log": _Plain(torch.log, ("log",)),
    "sqrt": _Plain(torch.sqrt, ("sqrt",)),
    "rsqrt": _Plain(torch.rsqrt, ("rsqrt",)),
    "reciprocal": _Plain(torch.reciprocal, ("reciprocal",)),
    "sin": _Plain(torch.sin, ("sin",)),
    "cos": _Plain(torch.cos, ("cos",)),
    "erf": _Plain(torch.erf, ("erf",)),
    "gelu": _Plain(functional.gelu, ()),
    "softplus": _Plain(functional.softplus, ()),
}
"""The functions that have no options here; those without a name have some in PyTorch."""


def emit(emission: Emission, _layer: Layer, operation: Activation, _path: str, x: fx.Node) -> fx.Node:
    """A call of the function."""
    if operation.function in ("leaky_relu", "elu"):
        return emission.call(getattr(functional, operation.function), x, operation.slope)
    if operation.function == "clamp":
        return emission.call(torch.clamp, x, operation.low, operation.high)
    if operation.function == "gelu_tanh":
        return emission.call(functional.gelu, x, approximate="tanh")
    return emission.call(PLAIN[operation.function].function, x)


def _plain(function: ActivationFunction) -> Handler:
    def handle(weaving: Weaving[Any], input: Any, inplace: bool = False) -> Any:  # noqa: ARG001
        return weaving.pointwise(input, Activation(function=function))

    return handle


def _leaky_relu(weaving: Weaving[Any], input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:  # noqa: ARG001
    return weaving.pointwise(input, sloped("leaky_relu", negative_slope))


def _elu(weaving: Weaving[Any], input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:  # noqa: ARG001
    return weaving.pointwise(input, sloped("elu", alpha))


def sloped(function: ActivationFunction, slope: float) -> Activation:
    """A function with a factor below 0.

    Raises:
        UncoveredError: the factor is out of range.
    """
    if not 0 <= slope <= 1:
        raise UncoveredError(f"{function} with a factor of {slope}")
    return Activation(function=function, slope=slope)


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


ROOM = Room(
    Activation,
    emit,
    functions={
        **{name: _plain(function) for function, plain in PLAIN.items() for name in plain.names},
        "leaky_relu": _leaky_relu,
        "elu": _elu,
        "gelu": _gelu,
        "clamp": clamp,
        "clip": clamp,
        "clamp_min": clamp,
        "clamp_max": _clamp_above,
        "hardtanh": _hardtanh,
    },
    modules={
        **{module: with_attributes(_plain(function)) for function, plain in PLAIN.items() for module in plain.modules},
        nn.LeakyReLU: with_attributes(_leaky_relu, "negative_slope"),
        nn.ELU: with_attributes(_elu, "alpha"),
        nn.GELU: with_attributes(_gelu, "approximate"),
        nn.Hardtanh: with_attributes(_hardtanh, "min_val", "max_val"),
    },
)
