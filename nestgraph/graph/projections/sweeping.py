"""What a kernel reads of maps, counted exactly without data."""

import math

import numpy as np

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size
from nestgraph.spec.projection import Swept


def swept(sweep: Swept, kernels: AnyArray, kept: AnyArray, size: Size) -> AnyArray:
    """(in, *size) of maps of a size: kernels summed over the positions at which they read each place.

    Args:
        sweep: how kernels sweep.
        kernels: (out, in, *kernel).
        kept: bool (out or 1, in or 1, ...): the positions of the output that count.
        size: of the maps that are read.
    """
    places = sweep.windows(np.arange(1, 1 + math.prod(size)).reshape(1, 1, *size))[0, 0]  # 0 for what is not there
    total = np.zeros((1 + math.prod(size), kernels.shape[1]))
    for entry in np.ndindex(*kernels.shape[2:]):  # which reads no place from two positions; an axis of 1 is broadcast
        total[places[..., *entry]] += np.einsum("oi,oi...->...i", kernels[:, :, *entry], kept)
    return total[1:].T.reshape(-1, *size)


def reads_its_place(sweep: Swept) -> bool:
    """Whether a kernel reads the one place that each of its positions is at."""
    return {*(sweep.kernel or ()), *sweep.stride} == {1} and not any((*sweep.padding, *sweep.output_padding))


def reads_around_its_place(sweep: Swept) -> bool:
    """Whether the middle of a kernel reads the place that each of its positions is at."""
    kernel = sweep.kernel or ()
    odd = all(extent % 2 == 1 for extent in kernel)
    steps = {*sweep.stride, *sweep.dilation} == {1}
    return odd and steps and not any(sweep.output_padding) and sweep.padding == tuple(extent // 2 for extent in kernel)
