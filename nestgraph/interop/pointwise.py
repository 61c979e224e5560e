"""What functions of each element, and what is none in evaluation, become: activations, sums of them, and dropouts."""

from typing import Any, cast

import torch
from torch import Tensor

from nestgraph.interop.arithmetic import constants
from nestgraph.interop.elements import Elements, UncoveredError
from nestgraph.interop.spatial import Handler
from nestgraph.interop.weaving import Weaver
from nestgraph.spec import Activation, Dropout

RELU = Activation(function="relu")
NAMES = {
    "relu": "relu",
    "relu6": "relu6",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "hardsigmoid": "hard_sigmoid",
    "hardswish": "hard_swish",
    "silu": "silu",
    "selu": "selu",
    "softsign": "softsign",
    "mish": "mish",
    "logsigmoid": "log_sigmoid",
    "log_sigmoid": "log_sigmoid",
    "tanhshrink": "tanh_shrink",
    "abs": "abs",
    "absolute": "abs",
    "sign": "sign",
    "exp": "exp",
    "log": "log",
    "sqrt": "sqrt",
    "rsqrt": "rsqrt",
    "reciprocal": "reciprocal",
    "sin": "sin",
    "cos": "cos",
    "erf": "erf",
}
"""The name of a function of PyTorch without options -> that of the activation."""


def activations() -> dict[str, Handler]:
    """The handlers of functions without options."""
    return {name: _pointwise(Activation(function=cast(Any, function))) for name, function in NAMES.items()}


def _pointwise(operation: Activation) -> Handler:
    def handle(weaver: Weaver, input: Elements, inplace: bool = False) -> Elements:  # noqa: ARG001
        return weaver.pointwise(input, operation)

    return handle


def leaky_relu(weaver: Weaver, input: Elements, negative_slope: float = 0.01, inplace: bool = False) -> Elements:  # noqa: ARG001
    """`nn.LeakyReLU`."""
    return weaver.pointwise(input, _sloped("leaky_relu", negative_slope))


def elu(weaver: Weaver, input: Elements, alpha: float = 1.0, inplace: bool = False) -> Elements:  # noqa: ARG001
    """`nn.ELU`."""
    return weaver.pointwise(input, _sloped("elu", alpha))


def celu(weaver: Weaver, input: Elements, alpha: float = 1.0, inplace: bool = False) -> Elements:  # noqa: ARG001
    """`nn.CELU`: ELU at another scale."""
    return _scaled(weaver, input, _sloped("elu", 1.0), 1 / alpha)


def softplus(weaver: Weaver, input: Elements, beta: float = 1.0, threshold: float = 20.0) -> Elements:
    """`nn.Softplus`; from its threshold on it is the identity, which the function itself is there but for rounding."""
    if threshold < 15:
        raise UncoveredError(f"a softplus with threshold {threshold}")
    return _scaled(weaver, input, Activation(function="softplus"), beta)


def prelu(weaver: Weaver, input: Elements, weight: Tensor) -> Elements:
    """`nn.PReLU`: what is positive, and a trained multiple of what is negative."""
    negative = weaver.pointwise(weaver.placed(input, -1), RELU)
    shape = (-1, *[1] * (input.index.ndim - 2))
    slopes = constants(input, weight.detach().reshape(shape))
    result = weaver.sum([weaver.pointwise(input, RELU), negative], [1, -slopes], [False, True])
    if weight.numel() < len(slopes):
        weaver.note(result, "one slope for all units: copies, which train apart")
    return result


def gelu(weaver: Weaver, input: Elements, approximate: str = "none") -> Elements:
    """`nn.GELU`."""
    return weaver.pointwise(input, Activation(function="gelu_tanh" if approximate == "tanh" else "gelu"))


def glu(weaver: Weaver, input: Elements, dim: int = -1) -> Elements:
    """`nn.GLU`: a half times the sigmoid of the other."""
    values, gates = (Elements(half, input.regions) for half in input.index.chunk(2, dim))
    return weaver.product(values, weaver.pointwise(gates, Activation(function="sigmoid")))


def clamp(weaver: Weaver, input: Elements, min: Any = None, max: Any = None, inplace: bool = False) -> Elements:  # noqa: ARG001
    """A clamp to numbers."""
    if isinstance(min, Tensor) or isinstance(max, Tensor):
        raise UncoveredError("a clamp to tensors")
    named = {(0, None): "relu", (0, 6): "relu6"}.get((min, max))
    if named is not None:
        return weaver.pointwise(input, Activation(function=cast(Any, named)))
    low, high = (None if bound is None else float(bound) for bound in (min, max))
    return weaver.pointwise(input, Activation(function="clamp", low=low, high=high))


def clamped_above(weaver: Weaver, input: Elements, max: Any) -> Elements:
    """A clamp from above."""
    return clamp(weaver, input, None, max)


def hardtanh(
    weaver: Weaver,
    input: Elements,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,  # noqa: ARG001
) -> Elements:
    """`nn.Hardtanh`."""
    return clamp(weaver, input, min_val, max_val)


def softshrink(weaver: Weaver, input: Elements, lambd: float = 0.5) -> Elements:
    """`nn.Softshrink`: what is left of a value beyond its clamp."""
    kept = clamp(weaver, weaver.placed(input), -lambd, lambd)
    return weaver.sum([input, kept], [1, -1])


def dropped(maps: bool = False, alpha: bool = False) -> Handler:
    """A kind of dropout; whether it was training when it was traced does not matter."""

    def handle(
        weaver: Weaver,
        input: Elements,
        p: float = 0.5,
        training: bool = True,  # noqa: ARG001
        inplace: bool = False,  # noqa: ARG001
    ) -> Elements:
        if not p:
            return input
        if p >= 1 or (maps and not _of_units(weaver, input)):
            weaver.note(input, f"a dropout with probability {p} in training is left out")
            return input
        return weaver.pointwise(input, Dropout(probability=p, maps=maps, alpha=alpha))

    return handle


def _of_units(weaver: Weaver, x: Elements) -> bool:
    """Whether what is dropped together is a unit."""
    try:
        weaver.ledger.refs(x)
    except UncoveredError:
        return False
    return x.index.ndim == 4


def detached(weaver: Weaver, input: Elements) -> Elements:
    """`detach`."""
    weaver.note(input, "the module stops gradients behind it; here they go on")
    return input


def _sloped(function: Any, slope: float) -> Activation:
    if not 0 <= slope <= 1:
        raise UncoveredError(f"{function} with a factor of {slope}")
    return Activation(function=function, slope=slope)


def _scaled(weaver: Weaver, x: Elements, operation: Activation, scale: float) -> Elements:
    """A function of a multiple of `x`, divided by the same."""
    if scale == 1:
        return weaver.pointwise(x, operation)
    return weaver.placed(weaver.pointwise(weaver.placed(x, scale), operation), 1 / scale)


def attribute(weaver: Weaver, input: Elements, name: str) -> Any:
    """An attribute of a tensor: a transposition, or what `detach` gives."""
    if name == "data":
        return detached(weaver, input)
    found = getattr(input.index, name)
    if not isinstance(found, torch.Tensor) or name not in ("T", "mT", "H", "mH"):
        raise UncoveredError(f"the attribute {name!r} of a tensor")
    return Elements(found, input.regions)
