"""What functions of each element become that are no one activation: sums and products of several."""

from typing import Any

import torch
from torch import Tensor

from nestgraph.interop.arithmetic import constants
from nestgraph.interop.elements import Elements
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering.operations import UncoveredError
from nestgraph.lowering.operations.activation import clamp, sloped
from nestgraph.spec import Activation

RELU = Activation(function="relu")


def celu(weaver: Weaver, input: Elements, alpha: float = 1.0, inplace: bool = False) -> Elements:  # noqa: ARG001
    """`nn.CELU`: ELU at another scale."""
    return _scaled(weaver, input, sloped("elu", 1.0), 1 / alpha)


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


def glu(weaver: Weaver, input: Elements, dim: int = -1) -> Elements:
    """`nn.GLU`: a half times the sigmoid of the other."""
    values, gates = (Elements(half, input.regions) for half in input.index.chunk(2, dim))
    return weaver.product(values, weaver.pointwise(gates, Activation(function="sigmoid")))


def softshrink(weaver: Weaver, input: Elements, lambd: float = 0.5) -> Elements:
    """`nn.Softshrink`: what is left of a value beyond its clamp."""
    kept = clamp(weaver, weaver.placed(input), -lambd, lambd)
    return weaver.sum([input, kept], [1, -1])


def _scaled(weaver: Weaver, x: Elements, operation: Activation, scale: float) -> Elements:
    """A function of a multiple of `x`, divided by the same."""
    if scale == 1:
        return weaver.pointwise(x, operation)
    return weaver.placed(weaver.pointwise(weaver.placed(x, scale), operation), 1 / scale)


def detached(weaver: Weaver, input: Elements) -> Elements:
    """`detach`."""
    weaver.note(input, "the module stops gradients behind it; here they go on")
    return input


def attribute(weaver: Weaver, input: Elements, name: str) -> Any:
    """An attribute of a tensor: a transposition, or what `detach` gives."""
    if name == "data":
        return detached(weaver, input)
    found = getattr(input.index, name)
    if not isinstance(found, torch.Tensor) or name not in ("T", "mT", "H", "mH"):
        raise UncoveredError(f"the attribute {name!r} of a tensor")
    return Elements(found, input.regions)
