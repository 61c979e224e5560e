"""Local response normalisation in PyTorch."""

from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.extents import CONVOLUTIONS
from nestgraph.lowering.operations.room import Room, Weaving, with_attributes
from nestgraph.lowering.tensors import as_tensor
from nestgraph.spec import Layer, LocalResponseNorm
from nestgraph.spec.operations.local_response_norm import neighbours


def emit(emission: Emission, layer: Layer, operation: LocalResponseNorm, path: str, x: fx.Node) -> fx.Node:
    """PyTorch's where ids are consecutive; else the sums of neighbours' squares are a convolution with 0 and 1."""
    ids, options = emission.network.units(layer.name), (operation.alpha, operation.beta, operation.k)
    if (np.diff(ids) == 1).all():
        return emission.call(functional.local_response_norm, x, operation.size, *options)
    axes = len(layer.size or ())
    band = neighbours(ids, operation.size).astype(np.float32).reshape(len(ids), len(ids), *[1] * axes)
    squares, kernel = emission.call(torch.square, x), emission.keep(f"{path}.neighbours", as_tensor(band))
    sums = emission.call(CONVOLUTIONS[axes], squares, kernel)
    scaled = emission.call(torch.mul, sums, operation.alpha / operation.size)
    divisor = emission.call(torch.pow, emission.call(torch.add, scaled, operation.k), operation.beta)
    return emission.call(torch.div, x, divisor)


def local_response_norm(
    weaving: Weaving[Any], input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Any:
    """A call of `local_response_norm`."""
    return weaving.operated(input, LocalResponseNorm(size=size, alpha=alpha, beta=beta, k=k))


ROOM = Room(
    LocalResponseNorm,
    emit,
    functions={"local_response_norm": local_response_norm},
    modules={nn.LocalResponseNorm: with_attributes(local_response_norm, "size", "alpha", "beta", "k")},
)
