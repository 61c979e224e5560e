"""What a kernel reads of maps, counted exactly without data."""

import numpy as np

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size
from nestgraph.spec.projection import Conv, OneToOne


def swept(sweep: Conv | OneToOne, kernels: AnyArray, kept: AnyArray, size: Size) -> AnyArray:
    """(in, *size) of maps of a size: kernels summed over the positions at which they read each place.

    Args:
        sweep: how kernels sweep.
        kernels: (out, in, *kernel).
        kept: bool (out or 1, in or 1, ...): the positions of the output that count.
        size: of the maps that are read.
    """
    total = np.zeros((kernels.shape[1], *(extent + 2 * pad for extent, pad in zip(size, sweep.padding, strict=True))))
    axes = tuple(zip(sweep.dilation, sweep.stride, kept.shape[2:], strict=True))
    for place in np.ndindex(*kernels.shape[2:]):
        added = np.einsum("oi,oi...->i...", kernels[:, :, *place], kept)  # an axis of 1 is broadcast
        starts = (at * dilate for at, (dilate, _, _) in zip(place, axes, strict=True))
        read = (slice(at, at + step * count, step) for at, (_, step, count) in zip(starts, axes, strict=True))
        total[:, *read] += added
    return total[:, *(slice(pad, pad + extent) for pad, extent in zip(sweep.padding, size, strict=True))]


def reads_its_place(sweep: Conv | OneToOne) -> bool:
    """Whether a kernel reads the one place that each of its positions is at."""
    return {*(sweep.kernel or ()), *sweep.stride} == {1} and not any(sweep.padding)


def reads_around_its_place(sweep: Conv | OneToOne) -> bool:
    """Whether the middle of a kernel reads the place that each of its positions is at."""
    kernel = sweep.kernel or ()
    odd = all(extent % 2 == 1 for extent in kernel)
    steps = {*sweep.stride, *sweep.dilation} == {1}
    return odd and steps and sweep.padding == tuple(extent // 2 for extent in kernel)
