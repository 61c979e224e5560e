"""Windows over the extents of maps: the positions that a kernel takes, and what lies under it at each."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nestgraph.errors import StructureError
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Extents, Size, along_all


def swept_size(
    size: Size,
    kernel: Size,
    stride: Size,
    padding: Extents,
    dilation: Size | None = None,
    transposed: bool = False,
    output_padding: Extents | None = None,
) -> Size:
    """The extents of the positions that a kernel takes on a map of `size`; they may be below 1.

    Transposed, of what it gives that starts at each place of the map, `stride` apart.

    Raises:
        StructureError: the kernel has more or fewer extents than the map.
    """
    if len(size) != len(kernel):
        raise StructureError(f"expected a kernel with an extent for each of the maps' {size}, got {kernel}")
    more = output_padding or (0,) * len(size)
    axes = zip(size, kernel, stride, padding, dilation or along_all(1, size), more, strict=True)
    if transposed:
        return tuple(
            (extent - 1) * step + dilate * (window - 1) + 1 - 2 * pad + added
            for extent, window, step, pad, dilate, added in axes
        )
    return tuple(
        (extent + 2 * pad - dilate * (window - 1) - 1) // step + 1 for extent, window, step, pad, dilate, _ in axes
    )


def windows_of(x: AnyArray, kernel: Size, stride: Size, padding: Extents, dilation: Size) -> AnyArray:
    """(batch, maps, *positions, *kernel): the values under a kernel at each of its positions, 0 in the padding."""
    padded = np.pad(x, [(0, 0), (0, 0), *((pad, pad) for pad in padding)])
    reach = tuple(dilate * (extent - 1) + 1 for extent, dilate in zip(kernel, dilation, strict=True))
    windows = sliding_window_view(padded, reach, axis=tuple(range(2, x.ndim)))
    return windows[:, :, *(slice(None, None, step) for step in (*stride, *dilation))]


def spread_windows(
    x: AnyArray, kernel: Size, stride: Size, padding: Extents, dilation: Size, output_padding: Extents
) -> AnyArray:
    """As `windows_of` for a transposed kernel: the values that its entries bring to each place that it gives.

    These are the windows of a kernel turned round on maps between whose places stand zeros.
    """
    spread = np.zeros(
        (*x.shape[:2], *((extent - 1) * step + 1 for extent, step in zip(x.shape[2:], stride, strict=True))), x.dtype
    )
    spread[:, :, *(slice(None, None, step) for step in stride)] = x
    reach = [dilate * (extent - 1) for extent, dilate in zip(kernel, dilation, strict=True)]
    edges = [(far - pad, far - pad + more) for far, pad, more in zip(reach, padding, output_padding, strict=True)]
    ones, none = along_all(1, kernel), along_all(0, kernel)
    windows = windows_of(framed(spread, edges), kernel, ones, none, dilation)
    return windows[..., *(slice(None, None, -1) for _ in kernel)]


def framed(x: AnyArray, edges: Sequence[tuple[int, int]], mode: str = "constant", value: float = 0.0) -> AnyArray:
    """Maps (batch, maps, *size) with places before and behind each axis; a negative number of them is cut off.

    What is put there is a value, or by the names that PyTorch has for it taken from the map.
    """
    ends = zip(edges, x.shape[2:], strict=True)
    kept = (slice(max(0, -before), extent + min(0, behind)) for (before, behind), extent in ends)
    around = [(0, 0), (0, 0), *((max(0, before), max(0, behind)) for before, behind in edges)]
    if mode == "constant":
        return np.pad(x[:, :, *kept], around, constant_values=value)
    names: Mapping[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    return np.pad(x, around, mode=names[mode])


def flattened(windows: AnyArray, axes: int) -> AnyArray:
    """(batch, maps, *positions, places): windows whose last axes, those of the kernel, are one."""
    return windows.reshape(*windows.shape[:-axes], math.prod(windows.shape[-axes:]))


def by_unit(values: AnyArray, like: AnyArray) -> AnyArray:
    """Shape (units,) to broadcast against (batch, units, *size)."""
    return values.reshape(1, -1, *([1] * (like.ndim - 2)))
