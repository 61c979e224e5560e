"""The table from the modules of PyTorch to what the weaver makes of them."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from nestgraph.interop.elements import Elements, UncoveredError
from nestgraph.interop.spatial import avg_pool2d, interpolate, max_pool2d
from nestgraph.interop.vocabulary import FUNCTIONS, batch_norm, conv2d
from nestgraph.interop.weaving import Weaver

Row = Callable[[Weaver, Elements], Elements]


def _convolution(module: nn.Conv2d) -> Row:
    if module.padding_mode != "zeros":
        raise UncoveredError(f"a convolution with padding mode {module.padding_mode!r}")
    sweep = (module.stride, module.padding, module.dilation, module.groups)
    return lambda weaver, x: conv2d(weaver, x, module.weight, module.bias, *sweep)


def _normalisation(module: nn.BatchNorm2d) -> Row:
    statistics = (module.running_mean, module.running_var) if module.track_running_stats else (None, None)
    momentum = 0.1 if module.momentum is None else module.momentum
    return lambda weaver, x: batch_norm(
        weaver, x, *statistics, module.weight, module.bias, momentum=momentum, eps=module.eps
    )


def _upsampling(m: nn.Upsample) -> Row:
    options = (m.size, m.scale_factor, m.mode, m.align_corners, m.recompute_scale_factor)
    return lambda weaver, x: interpolate(weaver, x, *options)


def _averaging(m: nn.AvgPool2d) -> Row:
    options = (m.kernel_size, m.stride, m.padding, m.ceil_mode, m.count_include_pad, m.divisor_override)
    return lambda weaver, x: avg_pool2d(weaver, x, *options)


def _maximum(m: nn.MaxPool2d) -> Row:
    options = (m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode, m.return_indices)
    return lambda weaver, x: max_pool2d(weaver, x, *options)


def _plain(name: str, *attributes: str) -> Callable[[Any], Row]:
    """The row of a module that calls a function with some of its attributes."""
    return lambda module: lambda weaver, x: FUNCTIONS[name](weaver, x, *(getattr(module, a) for a in attributes))


MODULES: Mapping[type[nn.Module], Callable[[Any], Row]] = {
    nn.Linear: _plain("linear", "weight", "bias"),
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _normalisation,
    nn.BatchNorm2d: _normalisation,
    nn.ReLU: _plain("relu"),
    nn.ReLU6: _plain("relu6"),
    nn.Hardtanh: _plain("hardtanh", "min_val", "max_val"),
    nn.LeakyReLU: _plain("leaky_relu", "negative_slope"),
    nn.Tanh: _plain("tanh"),
    nn.Sigmoid: _plain("sigmoid"),
    nn.Hardsigmoid: _plain("hardsigmoid"),
    nn.Hardswish: _plain("hardswish"),
    nn.SiLU: _plain("silu"),
    nn.GELU: _plain("gelu", "approximate"),
    nn.Dropout: _plain("dropout", "p"),
    nn.MaxPool2d: _maximum,
    nn.AvgPool2d: _averaging,
    nn.AdaptiveAvgPool2d: _plain("adaptive_avg_pool2d", "output_size"),
    nn.AdaptiveMaxPool2d: _plain("adaptive_max_pool2d", "output_size", "return_indices"),
    nn.Upsample: _upsampling,
    nn.UpsamplingNearest2d: _upsampling,
    nn.UpsamplingBilinear2d: _upsampling,
    nn.LocalResponseNorm: _plain("local_response_norm", "size", "alpha", "beta", "k"),
}
"""Class of a module -> a module -> what the weaver makes of its input; a subclass is another class."""

MOVING_MODULES: tuple[type[nn.Module], ...] = (
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.ChannelShuffle,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
)
"""Modules that move elements and compute nothing."""
