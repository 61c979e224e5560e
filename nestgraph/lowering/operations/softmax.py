"""Softmax in PyTorch."""

from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.operations.room import Room, UncoveredError, Weaving, with_attributes
from nestgraph.spec import Layer, Softmax


def emit(emission: Emission, layer: Layer, operation: Softmax, path: str, x: fx.Node) -> fx.Node:
    """A call over the last axis; what a row does not see is -inf before it."""
    if operation.causal:
        rows, columns = layer.size or (1, 1)
        unseen = emission.keep(f"{path}.unseen", torch.ones(rows, columns).triu(1).bool())
        x = emission.call(torch.masked_fill, x, unseen, float("-inf"))
    return emission.call(functional.softmax, x, -1)


def softmax(weaving: Weaving[Any], input: Any, dim: int | None = None, *_rest: Any, **_options: Any) -> Any:
    """A call of `softmax` over the last axis of maps."""
    try:
        axes = 2 + len(weaving.size(input))
    except UncoveredError:
        raise UncoveredError("softmax has no kind over the units of a layer") from None
    if dim is None or dim % axes != axes - 1:
        raise UncoveredError("softmax has no kind over another axis than the last one of maps")
    return weaving.operated(input, Softmax())


ROOM = Room(Softmax, emit, functions={"softmax": softmax}, modules={nn.Softmax: with_attributes(softmax, "dim")})
