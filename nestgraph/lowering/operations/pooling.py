"""Pooling in PyTorch."""

import math
import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.operations.room import Handler, Room, UncoveredError, Weaving, along, with_attributes
from nestgraph.spec import AdaptivePooling, Layer, Pooling

MAXIMA = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
AVERAGES = (functional.avg_pool1d, functional.avg_pool2d, functional.avg_pool3d)
"""By the number of extents, as those below."""
ADAPTIVE_MAXIMA: Any = (functional.adaptive_max_pool1d, functional.adaptive_max_pool2d, functional.adaptive_max_pool3d)
ADAPTIVE_AVERAGES = (functional.adaptive_avg_pool1d, functional.adaptive_avg_pool2d, functional.adaptive_avg_pool3d)


CALLS = 2**16
"""Numbers whose maximum pooling takes as long as the calls that take slices and compare them."""

SMALL = 9
"""Places of a window up to which maxima of slices are quicker than the kernel of a maximum pooling."""


def emit(emission: Emission, layer: Layer, operation: Pooling, _path: str, x: fx.Node) -> fx.Node:
    """A pooling, by the options that both have."""
    if emission.slices * _values(emission, layer) > CALLS and _tiles(operation, layer):
        return _emit_slices(emission, operation, x)
    windows, number = (operation.kernel, operation.stride, operation.padding), len(operation.kernel) - 1
    if operation.function == "max":
        return emission.call(MAXIMA[number], x, *windows, ceil_mode=operation.ceil_mode)
    counting = {"ceil_mode": operation.ceil_mode, "count_include_pad": operation.count_padding}
    return emission.call(AVERAGES[number], x, *windows, **counting)


def _values(emission: Emission, layer: Layer) -> int:
    """How many numbers the maps of a layer have in a sample."""
    return len(emission.network.units(layer.name)) * math.prod(layer.size or ())


def _tiles(operation: Pooling, layer: Layer) -> bool:
    """Whether windows lie side by side, so that a place of all of them is a slice of the maps."""
    apart = operation.stride == operation.kernel and not any(operation.padding)
    whole = all(extent % side == 0 for extent, side in zip(layer.size or (), operation.kernel, strict=True))
    return operation.function == "max" and apart and whole and math.prod(operation.kernel) <= SMALL


def _emit_slices(emission: Emission, operation: Pooling, x: fx.Node) -> fx.Node:
    """The maxima of windows that lie side by side, along one axis after the other."""
    for axis, side in enumerate(operation.kernel, 2):
        before = (slice(None),) * axis
        parts = [emission.call(operator.getitem, x, (*before, slice(place, None, side))) for place in range(side)]
        x = parts[0]
        for part in parts[1:]:
            x = emission.call(torch.maximum, x, part)
    return x


def emit_adaptive(emission: Emission, _layer: Layer, operation: AdaptivePooling, _path: str, x: fx.Node) -> fx.Node:
    """A pooling whose windows follow from the sizes."""
    pools = ADAPTIVE_MAXIMA if operation.function == "max" else ADAPTIVE_AVERAGES
    (first, *rest) = operation.size
    return emission.call(pools[len(rest)], x, operation.size if rest else first)


def _maximum(axes: int) -> Handler:
    def handle(
        weaving: Weaving[Any],
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        if return_indices or set(along(dilation, axes)) != {1}:
            raise UncoveredError("a maximum pooling with dilation or indices")
        return weaving.operated(input, _pooling("max", axes, kernel_size, stride, padding, ceil_mode=ceil_mode))

    return handle


def _average(axes: int) -> Handler:
    def handle(
        weaving: Weaving[Any],
        input: Any,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Any:
        if divisor_override is not None:
            raise UncoveredError("an average pooling with a divisor of its own")
        counting = {"ceil_mode": ceil_mode, "count_padding": count_include_pad}
        return weaving.operated(input, _pooling("average", axes, kernel_size, stride, padding, **counting))

    return handle


def _pooling(function: Any, axes: int, kernel: Any, stride: Any, padding: Any, **options: Any) -> Pooling:
    window = along(kernel, axes)
    step = along(stride, axes) if stride else window
    return Pooling(function=function, kernel=window, stride=step, padding=along(padding, axes), **options)


def _adaptive(function: Any, axes: int) -> Handler:
    def handle(weaving: Weaving[Any], input: Any, output_size: Any, return_indices: bool = False) -> Any:
        if return_indices:
            raise UncoveredError("a maximum pooling with indices")
        return adapted(weaving, input, function, along(output_size, axes))

    return handle


def adapted(weaving: Weaving[Any], x: Any, function: Any, wanted: tuple[int | None, ...]) -> Any:
    """Maps `x` pooled to a size, of which None is the extent that they have."""
    extents = weaving.size(x)
    if len(wanted) != len(extents):
        raise UncoveredError(f"a pooling of maps of {extents} along {len(wanted)} axes")
    size = tuple(extent if want is None else want for want, extent in zip(wanted, extents, strict=True))
    return x if size == extents else weaving.operated(x, AdaptivePooling(function=function, size=size))


_WINDOW = ("kernel_size", "stride", "padding")
_AXES = (1, 2, 3)
ROOM = Room(
    Pooling,
    emit,
    functions={
        **{f"max_pool{axes}d": _maximum(axes) for axes in _AXES},
        **{f"avg_pool{axes}d": _average(axes) for axes in _AXES},
    },
    modules={
        **{
            module: with_attributes(_maximum(axes), *_WINDOW, "dilation", "ceil_mode", "return_indices")
            for axes, module in enumerate((nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d), 1)
        },
        nn.AvgPool1d: with_attributes(_average(1), *_WINDOW, "ceil_mode", "count_include_pad"),
        **{
            module: with_attributes(_average(axes), *_WINDOW, "ceil_mode", "count_include_pad", "divisor_override")
            for axes, module in enumerate((nn.AvgPool2d, nn.AvgPool3d), 2)
        },
    },
)
_MAXIMA = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
_AVERAGES = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
ADAPTIVE = Room(
    AdaptivePooling,
    emit_adaptive,
    functions={
        **{f"adaptive_max_pool{axes}d": _adaptive("max", axes) for axes in _AXES},
        **{f"adaptive_avg_pool{axes}d": _adaptive("average", axes) for axes in _AXES},
    },
    modules={
        **{
            module: with_attributes(_adaptive("max", axes), "output_size", "return_indices")
            for axes, module in enumerate(_MAXIMA, 1)
        },
        **{
            module: with_attributes(_adaptive("average", axes), "output_size")
            for axes, module in enumerate(_AVERAGES, 1)
        },
    },
)
