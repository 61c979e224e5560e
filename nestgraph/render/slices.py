"""Maps of one to three extents as images: a series is a row, and a volume its slices as tiles."""

import math

import numpy as np

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size


def slice_grid(size: Size, gaps: bool = False) -> tuple[int, int]:
    """How many slices of a map lie below and beside each other; at least as wide as high.

    >>> slice_grid((6, 4, 4)), slice_grid((5, 4, 4)), slice_grid((5, 4, 4), gaps=True), slice_grid((4, 4))
    ((2, 3), (1, 5), (2, 3), (1, 1))

    Args:
        size: of the map.
        gaps: whether the last places may be empty, so that the image is nearly square.
    """
    if len(size) < 3:
        return 1, 1
    least = math.isqrt(size[0] - 1) + 1
    beside = least if gaps else next(count for count in range(least, size[0] + 1) if size[0] % count == 0)
    return -(-size[0] // beside), beside


def as_image(values: AnyArray, axes: int, seam: float | None = None) -> AnyArray:
    """Values whose last axes are those of a map, with two in their place: (..., height, width).

    >>> as_image(np.arange(12).reshape(3, 2, 2), 3, -1).tolist()
    [[0, 1, -1, 4, 5], [2, 3, -1, 6, 7], [-1, -1, -1, -1, -1], [8, 9, -1, -1, -1], [10, 11, -1, -1, -1]]

    Args:
        values: of maps.
        axes: how many extents the maps have.
        seam: what lines between the slices of a volume, and places without one, hold; None for slices side by side.
    """
    lead, size = values.shape[:-axes], values.shape[-axes:]
    if axes == 1:
        return values.reshape(*lead, 1, *size)
    if axes == 2:
        return values
    below, beside = slice_grid(size, gaps=seam is not None)
    if seam is not None:
        behind = [(0, below * beside - size[0]), (0, 1), (0, 1)]
        values = np.pad(values, [*[(0, 0)] * len(lead), *behind], constant_values=seam)
    high, wide = values.shape[-2:]
    tiles = values.reshape(*lead, below, beside, high, wide)
    image = np.moveaxis(tiles, -3, -2).reshape(*lead, below * high, beside * wide)
    return image if seam is None else image[..., :-1, :-1]
