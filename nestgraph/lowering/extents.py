"""What PyTorch has a name of its own for by the number of extents of a map, and how it takes their ends."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional

from nestgraph.lowering.emission import Emission
from nestgraph.spec import Conv
from nestgraph.spec.extents import Size

CONVOLUTIONS: Mapping[int, Callable[..., Any]] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
CONVOLUTION_MODULES: Mapping[int, Callable[..., Convolution]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}


def by_unit(size: Size | None) -> tuple[int, ...]:
    """The shape in which values of units broadcast over maps of a size, with the units in place of -1."""
    return (-1, *(1 for _ in size or ()))


def sweeps_places(projection: Conv) -> bool:
    """Whether a kernel takes the places of a series one by one: a linear map of the units at each, as over tokens.

    It is computed as such, places before units, which takes PyTorch half as long as a convolution and leaves what heads
    compare in the order that the quickest kernels of attention ask for.
    """
    return (projection.kernel, projection.stride, projection.padding) == ((1,), (1,), (0,))


def pads(edges: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """What is added before and behind each axis of a map, as `functional.pad` takes it: the last axis first."""
    return tuple(amount for edge in reversed(edges) for amount in edge)


def emit_reshaped(emission: Emission, values: fx.Node, given: Size | None, wanted: Size | None) -> fx.Node:
    """Single values, or maps of one place, as maps of as many axes as those of another size."""
    if len(given or ()) == len(wanted or ()):
        return values
    flat = values if given is None else emission.call(torch.flatten, values, 1)
    return flat if wanted is None else emission.call(torch.unflatten, flat, 1, by_unit(wanted))
