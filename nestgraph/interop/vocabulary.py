"""The table from the functions of PyTorch to what the weaver makes of them.

A function of torch, one of torch.nn.functional and a method of a tensor that do the same have one name and one row.
What raises `UncoveredError` becomes an opaque layer.
"""

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor

from nestgraph.interop.arithmetic import add, div, mul, neg, square, sub
from nestgraph.interop.elements import Elements, UncoveredError
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
from nestgraph.spec import Activation, BatchNorm, Dropout, Operation


def linear(weaver: Weaver, input: Elements, weight: Tensor, bias: Tensor | None = None) -> Elements:
    """`nn.Linear`."""
    return weaver.linear(input, weight, bias)


def conv2d(
    weaver: Weaver,
    input: Elements,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Elements:
    """`nn.Conv2d`."""
    kernel = cast("tuple[int, int]", tuple(weight.shape[2:]))
    sweep = {"stride": pair(stride), "dilation": pair(dilation)}
    sweep["padding"] = _padding(padding, kernel, sweep["dilation"])
    return weaver.convolution(input, weight, bias, sweep, groups)


def batch_norm(
    weaver: Weaver,
    input: Elements,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Elements:
    """`nn.BatchNorm1d` and `nn.BatchNorm2d`."""
    if training or running_mean is None or running_var is None:
        raise UncoveredError("a batch normalisation without running statistics")
    given = {"gamma": weight, "beta": bias, "mean": running_mean, "variance": running_var}
    columns = {name: as_array(tensor) for name, tensor in given.items() if tensor is not None}
    return weaver.operated(input, BatchNorm(epsilon=eps, momentum=momentum), columns)


def _pointwise(operation: Operation) -> Handler:
    def handle(weaver: Weaver, input: Elements, inplace: bool = False) -> Elements:  # noqa: ARG001
        return weaver.pointwise(input, operation)

    return handle


def leaky_relu(weaver: Weaver, input: Elements, negative_slope: float = 0.01, inplace: bool = False) -> Elements:  # noqa: ARG001
    """`nn.LeakyReLU`."""
    return weaver.pointwise(input, Activation(function="leaky_relu", slope=negative_slope))


def gelu(weaver: Weaver, input: Elements, approximate: str = "none") -> Elements:
    """`nn.GELU`."""
    return weaver.pointwise(input, Activation(function="gelu_tanh" if approximate == "tanh" else "gelu"))


def clamp(weaver: Weaver, input: Elements, min: Any = None, max: Any = None, inplace: bool = False) -> Elements:  # noqa: ARG001
    """A clamp that is a ReLU."""
    functions = {(0, None): "relu", (0, 6): "relu6"}
    if isinstance(min, Tensor) or isinstance(max, Tensor) or (min, max) not in functions:
        raise UncoveredError(f"a clamp to ({min}, {max})"[:80])
    return weaver.pointwise(input, Activation(function=cast(Any, functions[min, max])))


def hardtanh(
    weaver: Weaver,
    input: Elements,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,  # noqa: ARG001
) -> Elements:
    """`nn.Hardtanh`, where it is a ReLU6."""
    return clamp(weaver, input, min_val, max_val)


def dropout(
    weaver: Weaver,
    input: Elements,
    p: float = 0.5,
    training: bool = True,  # noqa: ARG001
    inplace: bool = False,  # noqa: ARG001
) -> Elements:
    """`nn.Dropout`; whether it was training when it was traced does not matter."""
    return weaver.pointwise(input, Dropout(probability=p)) if p else input


def _padding(padding: Any, kernel: tuple[int, int], dilation: tuple[int, int]) -> tuple[int, int]:
    if padding == "valid":
        return 0, 0
    if padding != "same":
        return pair(padding)
    spans = [step * (extent - 1) for extent, step in zip(kernel, dilation, strict=True)]
    if any(span % 2 for span in spans):
        raise UncoveredError("a convolution padded by different amounts at both sides")
    return spans[0] // 2, spans[1] // 2


def _activations() -> dict[str, Handler]:
    names = {
        "relu": "relu",
        "relu6": "relu6",
        "tanh": "tanh",
        "sigmoid": "sigmoid",
        "hardsigmoid": "hard_sigmoid",
        "hardswish": "hard_swish",
        "silu": "silu",
    }
    return {name: _pointwise(Activation(function=cast(Any, function))) for name, function in names.items()}


FUNCTIONS: Mapping[str, Handler] = {
    **_activations(),
    "linear": linear,
    "conv2d": conv2d,
    "batch_norm": batch_norm,
    "leaky_relu": leaky_relu,
    "gelu": gelu,
    "clamp": clamp,
    "clip": clamp,
    "hardtanh": hardtanh,
    "dropout": dropout,
    "max_pool2d": max_pool2d,
    "avg_pool2d": avg_pool2d,
    "adaptive_avg_pool2d": adaptive("average"),
    "adaptive_max_pool2d": adaptive("max"),
    "mean": reduced("average"),
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

CASTS = frozenset({"to", "type_as", "type", "float", "half", "bfloat16", "double", "cpu", "cuda"})
"""Names of methods that may change a tensor's type or device and compute nothing."""
