"""The table from the modules of PyTorch to what the weaver makes of them."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor, nn
from torch.nn.utils import prune

from nestgraph.interop.elements import Elements, UncoveredError
from nestgraph.interop.spatial import avg_pool2d, interpolate, max_pool2d
from nestgraph.interop.vocabulary import FUNCTIONS, batch_norm, conv2d, linear
from nestgraph.interop.weaving import Weaver

Row = Callable[[Weaver, Elements], Elements]


def _pruned(module: nn.Module, name: str = "weight") -> Tensor | None:
    """What of a tensor `torch.nn.utils.prune` leaves; None where it prunes nothing of it."""
    hooks = cast("dict[int, Any]", vars(module)["_forward_pre_hooks"]).values()
    methods = [hook for hook in hooks if isinstance(hook, prune.BasePruningMethod)]
    return getattr(module, f"{name}_mask") if any(getattr(m, "_tensor_name", "") == name for m in methods) else None


def _linear(module: nn.Linear) -> Row:
    return lambda weaver, x: linear(weaver, x, module.weight, module.bias, _pruned(module))


def _convolution(module: nn.Conv2d) -> Row:
    if module.padding_mode != "zeros":
        raise UncoveredError(f"a convolution with padding mode {module.padding_mode!r}")
    sweep = (module.stride, module.padding, module.dilation, module.groups)
    return lambda weaver, x: conv2d(weaver, x, module.weight, module.bias, *sweep, _pruned(module))


def _normalisation(module: nn.BatchNorm2d) -> Row:
    statistics = (module.running_mean, module.running_var) if module.track_running_stats else (None, None)
    counted = module.momentum is None and module.num_batches_tracked is not None
    batches = int(module.num_batches_tracked or 0) if counted else 0

    def row(weaver: Weaver, x: Elements) -> Elements:
        columns: tuple[Any, Any] = (module.weight, module.bias)
        result = batch_norm(weaver, x, *statistics, *columns, False, module.momentum, module.eps, batches)
        if isinstance(module, nn.SyncBatchNorm):
            weaver.note(result, "each process normalises its own part of a batch")
        return result

    return row


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
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.BatchNorm1d: _normalisation,
    nn.BatchNorm2d: _normalisation,
    nn.SyncBatchNorm: _normalisation,
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
    nn.ELU: _plain("elu", "alpha"),
    nn.CELU: _plain("celu", "alpha"),
    nn.SELU: _plain("selu"),
    nn.Mish: _plain("mish"),
    nn.Softplus: _plain("softplus", "beta", "threshold"),
    nn.Softsign: _plain("softsign"),
    nn.Softshrink: _plain("softshrink", "lambd"),
    nn.LogSigmoid: _plain("logsigmoid"),
    nn.Tanhshrink: _plain("tanhshrink"),
    nn.PReLU: _plain("prelu", "weight"),
    nn.GLU: _plain("glu", "dim"),
    nn.Dropout: _plain("dropout", "p"),
    nn.Dropout1d: _plain("dropout1d", "p"),
    nn.Dropout2d: _plain("dropout2d", "p"),
    nn.Dropout3d: _plain("dropout3d", "p"),
    nn.AlphaDropout: _plain("alpha_dropout", "p"),
    nn.FeatureAlphaDropout: _plain("feature_alpha_dropout", "p"),
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
