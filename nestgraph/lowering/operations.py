"""The table from the kind of an operation to the function that emits it.

A new kind is one record in `nestgraph.spec` and one row here.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from nestgraph.graph.operating import neighbours
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.slots import as_tensor
from nestgraph.spec import (
    Activation,
    AdaptivePooling,
    BatchNorm,
    Dropout,
    Layer,
    LocalResponseNorm,
    Pooling,
    Upsampling,
)


def emit_batch_norm(emission: Emission, layer: Layer, operation: BatchNorm, _path: str, x: fx.Node) -> fx.Node:
    """A batch normalisation module that starts from the layer's columns."""
    columns = emission.network.unit_columns(layer.name)
    kind = nn.BatchNorm1d if layer.size is None else nn.BatchNorm2d
    module = kind(len(columns), eps=operation.epsilon, momentum=operation.momentum)
    module.num_batches_tracked = torch.tensor(operation.batches)
    module.weight, module.bias = (emission.parameter(columns.values[name]) for name in ("gamma", "beta"))
    module.running_mean, module.running_var = (emission.tensor(columns.values[name]) for name in ("mean", "variance"))
    return emission.apply(f"{emission.layers[layer.name]}.batch_norm", module, x)


def emit_activation(emission: Emission, _layer: Layer, operation: Activation, _path: str, x: fx.Node) -> fx.Node:
    """A pointwise function."""
    if operation.function in ("leaky_relu", "elu"):
        return emission.call(getattr(functional, operation.function), x, operation.slope)
    if operation.function == "clamp":
        return emission.call(torch.clamp, x, operation.low, operation.high)
    options = {"approximate": "tanh"} if operation.function == "gelu_tanh" else {}
    return emission.call(ACTIVATIONS[operation.function], x, **options)


def emit_pooling(emission: Emission, _layer: Layer, operation: Pooling, _path: str, x: fx.Node) -> fx.Node:
    """A pooling, by the options that both have."""
    windows = (operation.kernel, operation.stride, operation.padding)
    if operation.function == "max":
        return emission.call(functional.max_pool2d, x, *windows, ceil_mode=operation.ceil_mode)
    counting = {"ceil_mode": operation.ceil_mode, "count_include_pad": operation.count_padding}
    return emission.call(functional.avg_pool2d, x, *windows, **counting)


def emit_adaptive_pooling(
    emission: Emission, _layer: Layer, operation: AdaptivePooling, _path: str, x: fx.Node
) -> fx.Node:
    """A pooling whose windows follow from the sizes."""
    pool = functional.adaptive_max_pool2d if operation.function == "max" else functional.adaptive_avg_pool2d
    return emission.call(pool, x, operation.size)


def emit_upsampling(emission: Emission, _layer: Layer, operation: Upsampling, _path: str, x: fx.Node) -> fx.Node:
    """An interpolation; PyTorch refuses `align_corners` in mode nearest."""
    corners = {"align_corners": operation.align_corners} if operation.mode == "bilinear" else {}
    extents = {"size": operation.size} if operation.scale is None else {"scale_factor": operation.scale}
    return emission.call(functional.interpolate, x, **extents, mode=operation.mode, **corners)


def emit_local_response_norm(
    emission: Emission, layer: Layer, operation: LocalResponseNorm, path: str, x: fx.Node
) -> fx.Node:
    """PyTorch's where ids are consecutive; else the sums of neighbours' squares are a convolution with 0 and 1."""
    ids, options = emission.network.units(layer.name), (operation.alpha, operation.beta, operation.k)
    if (np.diff(ids) == 1).all():
        return emission.call(functional.local_response_norm, x, operation.size, *options)
    band = neighbours(ids, operation.size)[:, :, None, None].astype(np.float32)
    squares = emission.call(torch.square, x)
    sums = emission.call(functional.conv2d, squares, emission.keep(f"{path}.neighbours", as_tensor(band)))
    scaled = emission.call(torch.mul, sums, operation.alpha / operation.size)
    divisor = emission.call(torch.pow, emission.call(torch.add, scaled, operation.k), operation.beta)
    return emission.call(torch.div, x, divisor)


def emit_dropout(emission: Emission, _layer: Layer, operation: Dropout, path: str, x: fx.Node) -> fx.Node:
    """A dropout module, which follows train() and eval()."""
    return emission.apply(path, DROPOUTS[operation.maps, operation.alpha](operation.probability), x)


ACTIVATIONS: Mapping[str, Callable[..., Any]] = {
    "relu": functional.relu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu6": functional.relu6,
    "hard_sigmoid": functional.hardsigmoid,
    "hard_swish": functional.hardswish,
    "silu": functional.silu,
    "gelu": functional.gelu,
    "gelu_tanh": functional.gelu,
    "selu": functional.selu,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "mish": functional.mish,
    "log_sigmoid": functional.logsigmoid,
    "tanh_shrink": functional.tanhshrink,
    "abs": torch.abs,
    "sign": torch.sign,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "reciprocal": torch.reciprocal,
    "sin": torch.sin,
    "cos": torch.cos,
    "erf": torch.erf,
}
DROPOUTS: Mapping[tuple[bool, bool], type[nn.Dropout | nn.Dropout2d | nn.AlphaDropout | nn.FeatureAlphaDropout]] = {
    (False, False): nn.Dropout,
    (True, False): nn.Dropout2d,
    (False, True): nn.AlphaDropout,
    (True, True): nn.FeatureAlphaDropout,
}
"""(of whole maps, to SELU's value) -> the module."""
OPERATIONS: Mapping[str, Callable[..., fx.Node]] = {
    "batch_norm": emit_batch_norm,
    "activation": emit_activation,
    "pooling": emit_pooling,
    "adaptive_pooling": emit_adaptive_pooling,
    "upsampling": emit_upsampling,
    "local_response_norm": emit_local_response_norm,
    "dropout": emit_dropout,
}
"""kind -> emitter(emission, layer, operation, path, x): the operation's result; a module of its own goes to `path`."""
