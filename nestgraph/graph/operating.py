"""What the operations of a layer do, in NumPy and in inference mode: the half of `reference` after the sum."""

import math
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nestgraph.graph.columns import UnitColumns
from nestgraph.graph.geometry import pooled_size, upsampled_size
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Extents, Size
from nestgraph.spec.layer import Layer
from nestgraph.spec.operations import (
    Activation,
    ActivationFunction,
    AdaptivePooling,
    BatchNorm,
    Dropout,
    LocalResponseNorm,
    Operation,
    Pooling,
    Upsampling,
)


def activate(layer: Layer, columns: UnitColumns, total: AnyArray) -> AnyArray:
    """Apply a layer's operations in order; dropout does nothing in inference."""
    for operation in layer.operations:
        total = _apply(operation, columns, total)
    return total


def _apply(operation: Operation, columns: UnitColumns, x: AnyArray) -> AnyArray:
    if isinstance(operation, BatchNorm):
        values = {name: by_unit(column.astype(x.dtype), x) for name, column in columns.values.items()}
        deviation = np.sqrt(values["variance"] + operation.epsilon)
        return values["gamma"] * (x - values["mean"]) / deviation + values["beta"]
    if isinstance(operation, LocalResponseNorm):
        squares = np.einsum("ij,bj...->bi...", neighbours(columns.ids, operation.size).astype(x.dtype), x * x)
        return x / (operation.k + operation.alpha * squares / operation.size) ** operation.beta
    if isinstance(operation, Dropout):
        return x
    return _apply_alone(operation, x)


def _apply_alone(operation: Activation | Pooling | AdaptivePooling | Upsampling, x: AnyArray) -> AnyArray:
    """Apply what looks at one unit at a time."""
    if isinstance(operation, Activation):
        return pointwise(operation, x)
    if isinstance(operation, Pooling):
        return _pool(operation, x)
    if isinstance(operation, AdaptivePooling):
        return _pool_adaptively(operation, x)
    return _upsample(operation, x)


def pointwise(operation: Activation, x: AnyArray) -> AnyArray:
    """An activation's function of `x`."""
    if operation.function == "leaky_relu":
        return np.where(x >= 0, x, x * operation.slope)
    if operation.function == "elu":
        return np.where(x >= 0, x, np.expm1(np.minimum(x, 0)) * operation.slope)
    if operation.function == "clamp":
        return np.clip(x, operation.low, operation.high)
    with np.errstate(all="ignore"):  # a logarithm of what is negative is no number
        return FUNCTIONS[operation.function](x)


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


def neighbours(ids: AnyArray, size: int) -> AnyArray:
    """Bool (units, units): whether the second unit's id is in the window of `size` around the first's."""
    offset = ids[None, :] - ids[:, None]
    return (offset >= -(size // 2)) & (offset <= (size - 1) // 2)


def _pool(operation: Pooling, x: AnyArray) -> AnyArray:
    (high, wide), stride = operation.padding, operation.stride
    size = pooled_size(x.shape[2:], operation)
    pads = ((0, 0), (0, 0), (high, high + stride[0] - 1), (wide, wide + stride[1] - 1))
    padded = np.pad(x, pads, constant_values=-np.inf if operation.function == "max" else 0.0)
    windows = windows_of(padded, operation.kernel, stride, (0, 0), (1, 1))[:, :, : size[0], : size[1]]
    if operation.function == "max":
        return windows.max(axis=(-2, -1))
    counts = [_counted(operation, axis, x.shape[2 + axis], count) for axis, count in enumerate(size)]
    return windows.sum(axis=(-2, -1)) / np.outer(*counts).astype(x.dtype)


def _counted(operation: Pooling, axis: int, extent: int, windows: int) -> AnyArray:
    """(windows,): how many rows (axis 0) or columns of each window an average divides by."""
    pad = operation.padding[axis]
    starts = np.arange(windows) * operation.stride[axis] - pad
    ends = np.minimum(starts + operation.kernel[axis], extent + pad)
    return ends - starts if operation.count_padding else np.minimum(ends, extent) - np.maximum(starts, 0)


def _pool_adaptively(operation: AdaptivePooling, x: AnyArray) -> AnyArray:
    """Rows first, then columns: the windows are products of intervals."""
    for axis, count in ((2, operation.size[0]), (3, operation.size[1])):
        parts = [x.take(range(*ends), axis) for ends in _intervals(x.shape[axis], count)]
        x = np.stack([part.max(axis) if operation.function == "max" else part.mean(axis) for part in parts], axis)
    return x


def _intervals(extent: int, count: int) -> Iterator[tuple[int, int]]:
    for place in range(count):
        yield place * extent // count, -((place + 1) * extent // -count)


def _upsample(operation: Upsampling, x: AnyArray) -> AnyArray:
    size = upsampled_size((x.shape[2], x.shape[3]), operation)
    for axis, count, scale in zip((2, 3), size, operation.scale or (None, None), strict=True):
        extent = x.shape[axis]
        if operation.mode == "nearest":
            step = np.float32(extent) / np.float32(count) if scale is None else np.float32(1 / scale)
            x = x.take(np.minimum((np.arange(count, dtype=np.float32) * step).astype(np.int64), extent - 1), axis)
            continue
        places = _between(extent, count, operation.align_corners, scale)
        low = places.astype(np.int64)
        share = (places - low).astype(x.dtype).reshape(-1, *([1] * (3 - axis)))
        x = x.take(low, axis) * (1 - share) + x.take(np.minimum(low + 1, extent - 1), axis) * share
    return x


def _between(extent: int, count: int, align_corners: bool, scale: float | None) -> AnyArray:
    """(count,): the places, in parts of pixels, that a bilinear interpolation reads along an axis."""
    if align_corners:
        return np.arange(count) * ((extent - 1) / max(count - 1, 1))
    step = extent / count if scale is None else 1 / scale
    return np.clip((np.arange(count) + 0.5) * step - 0.5, 0, None)


def windows_of(
    x: AnyArray,
    kernel: Size,
    stride: Size,
    padding: Extents,
    dilation: Size,
    fill: float = 0.0,
) -> AnyArray:
    """(batch, maps, *positions, *kernel): the values under a kernel at each of its positions."""
    padded = np.pad(x, [(0, 0), (0, 0), *((pad, pad) for pad in padding)], constant_values=fill)
    reach = tuple(dilate * (extent - 1) + 1 for extent, dilate in zip(kernel, dilation, strict=True))
    windows = sliding_window_view(padded, reach, axis=tuple(range(2, x.ndim)))
    return windows[:, :, *(slice(None, None, step) for step in (*stride, *dilation))]


def flattened(windows: AnyArray, axes: int) -> AnyArray:
    """(batch, maps, *positions, places): windows whose last axes, those of the kernel, are one."""
    return windows.reshape(*windows.shape[:-axes], math.prod(windows.shape[-axes:]))


def by_unit(values: AnyArray, like: AnyArray) -> AnyArray:
    """Shape (units,) to broadcast against (batch, units, *size)."""
    return values.reshape(1, -1, *([1] * (like.ndim - 2)))
