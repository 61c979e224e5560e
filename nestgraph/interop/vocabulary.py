"""The table from the functions of PyTorch to what the weaver makes of them.

A function of torch, one of torch.nn.functional and a method of a tensor that do the same have one name and one row.
What raises `UncoveredError` becomes an opaque layer.
"""

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor

from nestgraph.interop.arithmetic import add, div, mul, neg, square, sub
from nestgraph.interop.elements import Elements, UncoveredError
from nestgraph.interop.pointwise import (
    activations,
    attribute,
    celu,
    clamp,
    clamped_above,
    detached,
    dropped,
    elu,
    gelu,
    glu,
    hardtanh,
    leaky_relu,
    prelu,
    softplus,
    softshrink,
)
from nestgraph.interop.spatial import (
    Handler,
    adaptive,
    avg_pool2d,
    interpolate,
    local_response_norm,
    max_pool2d,
    pair,
    reduced,
)
from nestgraph.interop.weaving import Weaver, as_array
from nestgraph.spec import BatchNorm


def linear(
    weaver: Weaver, input: Elements, weight: Tensor, bias: Tensor | None = None, active: Tensor | None = None
) -> Elements:
    """`nn.Linear`, of whose weights those in `active` are connections."""
    return weaver.linear(input, weight, bias, active)


def conv2d(
    weaver: Weaver,
    input: Elements,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    active: Tensor | None = None,
) -> Elements:
    """`nn.Conv2d`, of whose weights those in `active` are connections."""
    kernel = cast("tuple[int, int]", tuple(weight.shape[2:]))
    sweep = {"stride": pair(stride), "dilation": pair(dilation)}
    sweep["padding"] = _padding(padding, kernel, sweep["dilation"])
    return weaver.convolution(input, weight, bias, sweep, groups, active)


def batch_norm(
    weaver: Weaver,
    input: Elements,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float | None = 0.1,
    eps: float = 1e-5,
    batches: int = 0,
) -> Elements:
    """`nn.BatchNorm1d` and `nn.BatchNorm2d`."""
    if training or running_mean is None or running_var is None:
        raise UncoveredError("a batch normalisation without running statistics")
    given = {"gamma": weight, "beta": bias, "mean": running_mean, "variance": running_var}
    columns = {name: as_array(tensor) for name, tensor in given.items() if tensor is not None}
    frozen = [name for name in ("gamma", "beta") if weaver.is_frozen(given[name])]
    return weaver.operated(input, BatchNorm(epsilon=eps, momentum=momentum, batches=batches), columns, frozen)


def _padding(padding: Any, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    if padding == "valid":
        return 0, 0
    if padding != "same":
        return pair(padding)
    spans = [step * (extent - 1) for extent, step in zip(kernel, dilation, strict=True)]
    if any(span % 2 for span in spans):
        raise UncoveredError("a convolution padded by different amounts at both sides")
    return spans[0] // 2, spans[1] // 2


FUNCTIONS: Mapping[str, Handler] = {
    **activations(),
    "linear": linear,
    "conv2d": conv2d,
    "batch_norm": batch_norm,
    "leaky_relu": leaky_relu,
    "gelu": gelu,
    "clamp": clamp,
    "clip": clamp,
    "clamp_min": clamp,
    "clamp_max": clamped_above,
    "hardtanh": hardtanh,
    "elu": elu,
    "celu": celu,
    "softplus": softplus,
    "prelu": prelu,
    "glu": glu,
    "softshrink": softshrink,
    "dropout": dropped(),
    "dropout1d": dropped(maps=True),
    "dropout2d": dropped(maps=True),
    "dropout3d": dropped(maps=True),
    "feature_dropout": dropped(maps=True),
    "alpha_dropout": dropped(alpha=True),
    "feature_alpha_dropout": dropped(maps=True, alpha=True),
    "detach": detached,
    "getattr": attribute,
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "adaptive_avg_pool2d": adaptive("average"),
    "adaptive_max_pool2d": adaptive("max"),
    "mean": reduced("average"),
    "sum": reduced("sum"),
    "amax": reduced("max"),
    "interpolate": interpolate,
    "local_response_norm": local_response_norm,
    "add": add,
    "sub": sub,
    "subtract": sub,
    "mul": mul,
    "multiply": mul,
    "div": div,
    "divide": div,
    "truediv": div,
    "neg": neg,
    "negative": neg,
    "square": square,
    "pow": square,
}
"""Name of a function or method -> handler(weaver, arguments as the function takes them)."""

BROADCASTING = frozenset(
    {"add", "sub", "subtract", "mul", "multiply", "div", "divide", "truediv"}
    | {"where", "masked_fill", "minimum", "maximum", "scaled_dot_product_attention"}
)
"""Names of functions and methods for which an axis of one entry does as well as one of as many samples that agree."""

JOINS = frozenset({"cat", "concat", "concatenate", "stack"})
MOVES = JOINS | frozenset(
    {"view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze"}
    | {"permute", "transpose", "t", "movedim", "moveaxis", "swapaxes", "swapdims", "flip", "roll"}
    | {"chunk", "split", "tensor_split", "hsplit", "unbind", "narrow", "select", "index_select", "getitem", "take"}
    | {"expand", "expand_as", "repeat", "tile"}
    | {"channel_shuffle", "pixel_shuffle", "pixel_unshuffle"}
    | {"contiguous", "clone", "identity", "alias"}
)
"""Names of functions and methods that move elements and compute nothing; JOINS put several tensors together."""

CASTS = frozenset(
    {"to", "type_as", "type", "float", "half", "bfloat16", "double", "cpu", "cuda", "requires_grad", "pin_memory"}
)
"""Names of methods that may change a tensor's type or device and compute nothing."""
