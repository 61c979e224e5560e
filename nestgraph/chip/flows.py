"""Where the maps of a layer lie in a value, maybe with zeros around each, and how kernels sweep over them."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nestgraph.chip.program import Value
from nestgraph.chip.terms import strides_of
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Swept as Sweep

Frame = tuple[tuple[int, int], ...]
"""Along each axis, the zeros before and behind the places of a map; none where it is empty."""


def framed_size(size: tuple[int, ...], frame: Frame) -> tuple[int, ...]:
    """The extents of maps with what is around them."""
    edges = frame or ((0, 0),) * len(size)
    return tuple(before + extent + after for extent, (before, after) in zip(size, edges, strict=True))


@dataclass(frozen=True)
class Flow:
    """What a layer gives.

    Attributes:
        value: where it lies.
        size: of its maps; () for single numbers.
        rows: (units,) int64: the row of each unit in the value.
        frame: the zeros around each map.
    """

    value: Value
    size: tuple[int, ...]
    rows: AnyArray
    frame: Frame = ()

    @property
    def edges(self) -> Frame:
        """The zeros around each map, along each axis."""
        return self.frame or ((0, 0),) * len(self.size)

    @property
    def whole(self) -> tuple[int, ...]:
        """The extents with what is around."""
        return framed_size(self.size, self.frame)

    @property
    def strides(self) -> tuple[int, ...]:
        """From a place to the next along each axis."""
        return strides_of(self.whole)

    @property
    def starts(self) -> AnyArray:
        """(units,) int64: where the first place of each unit's map lies."""
        first = sum(before * stride for (before, _), stride in zip(self.edges, self.strides, strict=True))
        return self.rows * math.prod(self.whole) + first


Taking = Callable[[Flow, tuple[AnyArray, ...]], Flow]
"""Gives maps of which places are taken along each axis, and 0 where there is none (-1)."""


def is_spread(sweep: Sweep) -> bool:
    """Whether zeros stand between the places that a kernel reads: it is transposed, and steps over some."""
    return sweep.transposed and max(sweep.stride) > 1


def edges_of(sweep: Sweep) -> Frame:
    """The zeros that a kernel reads before and behind a map, along each axis; below 0 where it leaves places out."""
    kernel, more = sweep.kernel or (), sweep.output_padding or (0,) * len(sweep.stride)
    if not sweep.transposed:
        return tuple((pad, pad) for pad in sweep.padding)
    reach = [dilation * (extent - 1) for extent, dilation in zip(kernel, sweep.dilation, strict=True)]
    return tuple((far - pad, far - pad + add) for far, pad, add in zip(reach, sweep.padding, more, strict=True))


def frame_of(sweeps: list[Sweep]) -> Frame:
    """The zeros around maps that kernels read; () where there is none, or some stand between places."""
    if not sweeps or any(is_spread(sweep) for sweep in sweeps):
        return ()
    edges = [edges_of(sweep) for sweep in sweeps]
    most = tuple((max(0, *(b for b, _ in axis)), max(0, *(a for _, a in axis))) for axis in zip(*edges, strict=True))
    return most if any(map(any, most)) else ()


@dataclass(frozen=True, eq=False)
class Sweeping:
    """How a kernel reads maps.

    Attributes:
        flow: which.
        starts: (units,) int64: what it reads first of each at its first position.
        strides: from a position to the next, along each axis.
        entries: (entries,) int64: what each reads, from there.
    """

    flow: Flow
    starts: AnyArray
    strides: tuple[int, ...]
    entries: AnyArray


def swept(sweep: Sweep, flow: Flow, taking: Taking) -> Sweeping:
    """How a kernel reads a flow: as it lies where there are zeros enough around it, else from places that are taken.

    A transposed kernel is one turned round on maps between whose places stand zeros.
    """
    edges, kernel = edges_of(sweep), sweep.kernel or ()
    there = all(b <= before and a <= after for (b, a), (before, after) in zip(edges, flow.edges, strict=True))
    if is_spread(sweep) or not there:
        flow = taking(flow, tuple(_places(sweep, axis, extent, edges[axis]) for axis, extent in enumerate(flow.size)))
        edges = ((0, 0),) * len(edges)
    strides = flow.strides
    entries = np.zeros(kernel, np.int64)
    for axis, (extent, dilation) in enumerate(zip(kernel, sweep.dilation, strict=True)):
        order = np.arange(extent)[::-1] if sweep.transposed else np.arange(extent)
        entries += (order * dilation * strides[axis]).reshape(-1, *(1,) * (len(kernel) - axis - 1))
    back = sum(before * stride for (before, _), stride in zip(edges, strides, strict=True))
    steps = (1,) * len(kernel) if sweep.transposed else sweep.stride
    moves = tuple(step * stride for step, stride in zip(steps, strides, strict=True))
    return Sweeping(flow, flow.starts - back, moves, entries.reshape(-1))


def _places(sweep: Sweep, axis: int, extent: int, edges: tuple[int, int]) -> AnyArray:
    """The places along an axis that a kernel sweeps over, -1 for zeros."""
    places = np.arange(extent)
    if sweep.transposed:
        places = np.full((extent - 1) * sweep.stride[axis] + 1, -1)
        places[:: sweep.stride[axis]] = np.arange(extent)
    before, after = edges
    inside = places[max(0, -before) : len(places) - max(0, -after)]
    return np.concatenate([np.full(max(0, before), -1), inside, np.full(max(0, after), -1)])
