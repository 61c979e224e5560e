"""Windows over the extents of maps: the positions that a kernel takes, and what lies under it at each."""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nestgraph.errors import StructureError
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Extents, Size, along_all


def swept_size(size: Size, kernel: Size, stride: Size, padding: Extents, dilation: Size | None = None) -> Size:
    """The extents of the positions that a kernel takes on a map of `size`; they may be below 1.

    Raises:
        StructureError: the kernel has more or fewer extents than the map.
    """
    if len(size) != len(kernel):
        raise StructureError(f"expected a kernel with an extent for each of the maps' {size}, got {kernel}")
    axes = zip(size, kernel, stride, padding, dilation or along_all(1, size), strict=True)
    return tuple(
        (extent + 2 * pad - dilate * (window - 1) - 1) // step + 1 for extent, window, step, pad, dilate in axes
    )


def windows_of(x: AnyArray, kernel: Size, stride: Size, padding: Extents, dilation: Size) -> AnyArray:
    """(batch, maps, *positions, *kernel): the values under a kernel at each of its positions, 0 in the padding."""
    padded = np.pad(x, [(0, 0), (0, 0), *((pad, pad) for pad in padding)])
    reach = tuple(dilate * (extent - 1) + 1 for extent, dilate in zip(kernel, dilation, strict=True))
    windows = sliding_window_view(padded, reach, axis=tuple(range(2, x.ndim)))
    return windows[:, :, *(slice(None, None, step) for step in (*stride, *dilation))]


def flattened(windows: AnyArray, axes: int) -> AnyArray:
    """(batch, maps, *positions, places): windows whose last axes, those of the kernel, are one."""
    return windows.reshape(*windows.shape[:-axes], math.prod(windows.shape[-axes:]))


def by_unit(values: AnyArray, like: AnyArray) -> AnyArray:
    """Shape (units,) to broadcast against (batch, units, *size)."""
    return values.reshape(1, -1, *([1] * (like.ndim - 2)))
