"""What PyTorch has a name of its own for by the number of extents of a map, and how it takes their ends."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from nestgraph.lowering.emission import Emission
from nestgraph.spec import Conv
from nestgraph.spec.extents import Size
from nestgraph.spec.projection import Swept

CONVOLUTIONS: Mapping[int, Callable[..., Any]] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED: Mapping[int, Callable[..., Any]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d | Transposed
CONVOLUTION_MODULES: Mapping[int, Callable[..., Convolution]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED_MODULES: Mapping[int, Callable[..., Transposed]] = {
    1: nn.ConvTranspose1d,
    2: nn.ConvTranspose2d,
    3: nn.ConvTranspose3d,
}


def convolved(call: Callable[..., Any], sweep: Swept, x: Any, weight: Any, bias: Any = None, groups: int = 1) -> Any:
    """A convolution as a record sweeps, transposed or not, of tensors or of nodes.

    Args:
        call: what calls a function: (function, arguments).
        sweep: how the kernel sweeps.
        x: (batch, in, *size).
        weight: (out, in / groups, *kernel).
        bias: (out,), or None.
        groups: how many groups of maps read and give apart from each other.
    """
    axes, grouped = len(sweep.window or ()), (groups,) if groups > 1 else ()
    if not sweep.transposed:
        return call(CONVOLUTIONS[axes], x, weight, bias, sweep.stride, sweep.padding, sweep.dilation, *grouped)
    if groups > 1:
        weight = call(torch.transpose, call(torch.unflatten, weight, 0, (groups, -1)), 1, 2)
        weight = call(torch.flatten, weight, 0, 1)
    else:
        weight = call(torch.transpose, weight, 0, 1)
    options = (sweep.stride, sweep.padding, sweep.output_padding or 0, groups, sweep.dilation)
    return call(TRANSPOSED[axes], x, weight, bias, *options)


def by_unit(size: Size | None) -> tuple[int, ...]:
    """The shape in which values of units broadcast over maps of a size, with the units in place of -1."""
    return (-1, *(1 for _ in size or ()))


def sweeps_places(projection: Conv) -> bool:
    """Whether a kernel takes the places of a series one by one: a linear map of the units at each, as over tokens.

    It is computed as such, places before units, which takes PyTorch half as long as a convolution and leaves what heads
    compare in the order that the quickest kernels of attention ask for.
    """
    sweep = (projection.kernel, projection.stride, projection.padding, projection.output_padding)
    return sweep == ((1,), (1,), (0,), ())


def pads(edges: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """What is added before and behind each axis of a map, as `functional.pad` takes it: the last axis first."""
    return tuple(amount for edge in reversed(edges) for amount in edge)


def emit_reshaped(emission: Emission, values: fx.Node, given: Size | None, wanted: Size | None) -> fx.Node:
    """Single values, or maps of one place, as maps of as many axes as those of another size."""
    if len(given or ()) == len(wanted or ()):
        return values
    flat = values if given is None else emission.call(torch.flatten, values, 1)
    return flat if wanted is None else emission.call(torch.unflatten, flat, 1, by_unit(wanted))
