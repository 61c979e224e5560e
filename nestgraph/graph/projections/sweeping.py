"""What a kernel reads of maps, counted exactly without data."""

import numpy as np

from nestgraph.graph.geometry import Size
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Conv, OneToOne


def swept(sweep: Conv | OneToOne, kernels: AnyArray, kept: AnyArray, size: Size) -> AnyArray:
    """(in, height, width) of maps of a size: kernels summed over the positions at which they read each place.

    Args:
        sweep: how kernels sweep.
        kernels: (out, in, kernel height, kernel width).
        kept: bool (out or 1, in or 1, P, Q): the positions of the output that count.
        size: of the maps that are read.
    """
    (down, right), (top, left), (tall, broad) = sweep.stride, sweep.padding, sweep.dilation
    total = np.zeros((kernels.shape[1], size[0] + 2 * top, size[1] + 2 * left))
    high, wide = kept.shape[2:]
    for row, column in np.ndindex(*kernels.shape[2:]):
        added = np.einsum("oi,oipq->ipq", kernels[:, :, row, column], kept)  # an axis of 1 is broadcast
        down_to, right_to = row * tall + down * high, column * broad + right * wide
        total[:, row * tall : down_to : down, column * broad : right_to : right] += added
    return total[:, top : top + size[0], left : left + size[1]]
