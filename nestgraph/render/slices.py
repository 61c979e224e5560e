"""Maps of one to three extents as images: a series is a row, and a volume its slices as tiles."""

import numpy as np

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size


def slice_grid(size: Size) -> tuple[int, int]:
    """How many slices of a map lie below and beside each other; wider than high, and without a gap.

    >>> slice_grid((6, 4, 4)), slice_grid((5, 4, 4)), slice_grid((4, 4))
    ((2, 3), (1, 5), (1, 1))
    """
    if len(size) < 3:
        return 1, 1
    beside = next(count for count in range(1, size[0] + 1) if count * count >= size[0] and size[0] % count == 0)
    return size[0] // beside, beside


def as_image(values: AnyArray, axes: int, seam: float | None = None) -> AnyArray:
    """Values whose last axes are those of a map, with two in their place: (..., height, width).

    >>> as_image(np.arange(8).reshape(2, 2, 2), 3, -1).tolist()
    [[0, 1, -1, 4, 5], [2, 3, -1, 6, 7]]

    Args:
        values: of maps.
        axes: how many extents the maps have.
        seam: what a line between two slices of a volume holds; None for slices without lines between them.
    """
    lead, size = values.shape[:-axes], values.shape[-axes:]
    if axes == 1:
        return values.reshape(*lead, 1, *size)
    if axes == 2:
        return values
    tiles = values.reshape(*lead, *slice_grid(size), *size[1:])
    if seam is not None:
        tiles = np.pad(tiles, [*[(0, 0)] * (len(lead) + 2), (0, 1), (0, 1)], constant_values=seam)
    below, beside, high, wide = tiles.shape[len(lead) :]
    image = np.moveaxis(tiles, -3, -2).reshape(*lead, below * high, beside * wide)
    return image if seam is None else image[..., :-1, :-1]
