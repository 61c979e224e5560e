"""The table from the functions of PyTorch to what the weaver makes of them.

A function of torch, one of torch.nn.functional and a method of a tensor that do the same have one name and one row.
What raises `UncoveredError` becomes an opaque layer. Those that are one operation are in its room.
"""

import math
from collections import ChainMap
from typing import Any

from torch import Tensor

from nestgraph.interop.arithmetic import add, addcdiv, addcmul, div, lerp, mul, neg, raised, rsub, sub, times, turned
from nestgraph.interop.elements import Elements
from nestgraph.interop.embeddings import embedding
from nestgraph.interop.heads import masked_fill, matmul, scaled_dot_product_attention, where
from nestgraph.interop.pointwise import attribute, detached, glu
from nestgraph.interop.spatial import reduced
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering import operations
from nestgraph.lowering.operations import Handler
from nestgraph.lowering.operations.pad import pad
from nestgraph.lowering.operations.room import along


def linear(
    weaver: Weaver, input: Elements, weight: Tensor, bias: Tensor | None = None, active: Tensor | None = None
) -> Elements:
    """`nn.Linear`, of whose weights those in `active` are connections."""
    return weaver.linear(input, weight, bias, active)


def convolution(
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
    """`nn.Conv1d`, `nn.Conv2d` and `nn.Conv3d`, of whose weights those in `active` are connections."""
    kernel = tuple(weight.shape[2:])
    sweep = {"stride": along(stride, len(kernel)), "dilation": along(dilation, len(kernel))}
    x = input
    if padding == "same":  # where the two sides differ, the second has a place more
        spans = [step * (extent - 1) for extent, step in zip(kernel, sweep["dilation"], strict=True)]
        padding = tuple(span // 2 for span in spans)
        x = pad(weaver, x, [amount for span in reversed(spans) for amount in (0, span % 2)])
    sweep["padding"] = along(0 if padding == "valid" else padding, len(kernel))
    axis = _spanned(weaver, x, kernel, sweep["padding"]) if groups == 1 and active is None else None
    if axis is None:
        return weaver.convolution(x, weight, bias, sweep, groups, active)
    others = {name: (*values[: axis - 2], *values[axis - 1 :]) for name, values in sweep.items()}
    found = weaver.convolution(_upright(x, axis), weight.transpose(1, axis).squeeze(axis), bias, others, 1)
    return Elements(found.index.unsqueeze(axis), found.regions)


def _spanned(weaver: Weaver, x: Elements, kernel: tuple[int, ...], padding: tuple[int, ...]) -> int | None:
    """The axis of (batch, 1, *size) along which units stand that kernels take all together, as those of words."""
    if len(kernel) < 2 or x.ndim != 2 + len(kernel) or x.shape[1] != 1 or weaver.of_units(x):
        return None
    whole = [(pad, extent) == (0, span) for pad, extent, span in zip(padding, kernel, x.shape[2:], strict=True)]
    return next((axis for axis, spans in enumerate(whole, 2) if spans and weaver.of_units(_upright(x, axis))), None)


def _upright(x: Elements, axis: int) -> Elements:
    """(batch, units, *size) of what is (batch, 1, ...) with the units along another axis."""
    return Elements(x.index.transpose(1, axis).squeeze(axis), x.regions)


def transposed_convolution(
    weaver: Weaver,
    input: Elements,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    active: Tensor | None = None,
) -> Elements:
    """`nn.ConvTranspose1d`, `nn.ConvTranspose2d` and `nn.ConvTranspose3d`; weights are (in, out / groups, *kernel)."""
    axes = weight.ndim - 2
    extents = {"stride": stride, "padding": padding, "dilation": dilation, "output_padding": output_padding}
    sweep = {name: along(each, axes) for name, each in extents.items()} | {"transposed": True}
    turned, kept = (None if each is None else _by_target(each, groups) for each in (weight, active))
    assert turned is not None
    return weaver.convolution(input, turned, bias, sweep, groups, kept, weaver.is_frozen(weight))


def _by_target(weight: Tensor, groups: int) -> Tensor:
    """(out, in / groups, *kernel) from (in, out / groups, *kernel)."""
    return weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2).flatten(0, 1)


def any_convolution(
    weaver: Weaver,
    input: Elements,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Elements:
    """`torch.convolution`, which is either kind."""
    if transposed:
        return transposed_convolution(weaver, input, weight, bias, stride, padding, output_padding, groups, dilation)
    return convolution(weaver, input, weight, bias, stride, padding, dilation, groups)


FUNCTIONS: ChainMap[str, Handler] = ChainMap(
    {
        "linear": linear,
        "conv1d": convolution,
        "conv2d": convolution,
        "conv3d": convolution,
        "conv_transpose1d": transposed_convolution,
        "conv_transpose2d": transposed_convolution,
        "conv_transpose3d": transposed_convolution,
        "convolution": any_convolution,
        "embedding": embedding,
        "glu": glu,
        "scaled_dot_product_attention": scaled_dot_product_attention,
        "matmul": matmul,
        "bmm": matmul,
        "masked_fill": masked_fill,
        "where": where,
        "detach": detached,
        "getattr": attribute,
        "mean": reduced("average"),
        "sum": reduced("sum"),
        "amax": reduced("max"),
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
        "rsub": rsub,
        "addcmul": addcmul,
        "addcdiv": addcdiv,
        "lerp": lerp,
        "deg2rad": times(math.pi / 180),
        "rad2deg": times(180 / math.pi),
        "pow": raised,
        "float_power": raised,
    },
    operations.FUNCTIONS,
    {"turned": turned},
)
"""Name of a function or method -> handler(weaver, arguments as the function takes them); last what `patterns` name."""

LIKENED = frozenset({"view_as", "reshape_as", "expand_as"})
"""Names of methods of which the second tensor says a shape alone."""
SHAPED = frozenset({"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"})
"""Names of functions and methods that heed the shape and type of what they are given, and nothing else of it."""

BROADCASTING = frozenset(
    {"add", "sub", "subtract", "rsub", "lerp", "addcmul", "addcdiv", "mul", "multiply", "div", "divide", "truediv"}
    | {"where", "masked_fill", "minimum", "maximum", "scaled_dot_product_attention"}
)
"""Names of functions and methods for which an axis of one entry does as well as one of as many samples that agree."""

JOINS = frozenset({"cat", "concat", "concatenate", "stack"})
MOVES = JOINS | frozenset(
    {"view", "view_as", "reshape", "reshape_as", "flatten", "unflatten", "squeeze", "unsqueeze"}
    | {"permute", "transpose", "t", "movedim", "moveaxis", "swapaxes", "swapdims", "flip", "fliplr", "roll"}
    | {"chunk", "split", "tensor_split", "hsplit", "unbind", "narrow", "select", "index_select", "getitem", "take"}
    | {"expand", "expand_as", "repeat", "tile"}
    | {"channel_shuffle", "pixel_shuffle", "pixel_unshuffle"}
    | {"contiguous", "clone", "identity", "alias", "positive", "real", "conj"}
)
"""Names of functions and methods that move elements and compute nothing; JOINS put several tensors together."""

CASTS = frozenset(
    {"to", "type_as", "type", "float", "half", "bfloat16", "double", "cpu", "cuda", "requires_grad", "pin_memory"}
)
"""Names of methods that may change a tensor's type or device and compute nothing."""
