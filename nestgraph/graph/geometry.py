"""Sizes: what a kernel or a chain of operations gives for maps of one."""

import math

from nestgraph.errors import StructureError
from nestgraph.spec.extents import Extents, Size, along_all
from nestgraph.spec.layer import Layer
from nestgraph.spec.operations import Pooling, Resizing, Upsampling


def is_single(size: Size | None) -> bool:
    """Whether a map of a size has one place, as a single value has."""
    return size is not None and math.prod(size) == 1


def swept_size(size: Size, kernel: Size, stride: Size, padding: Extents, dilation: Size | None = None) -> Size:
    """The size of the positions that a kernel takes on a map of `size`; may be below 1.

    Raises:
        StructureError: the kernel has more or fewer extents than the map.
    """
    if len(size) != len(kernel):
        raise StructureError(f"expected a kernel with an extent for each of the maps' {size}, got {kernel}")
    axes = zip(size, kernel, stride, padding, dilation or along_all(1, size), strict=True)
    return tuple(
        (extent + 2 * pad - dilate * (window - 1) - 1) // step + 1 for extent, window, step, pad, dilate in axes
    )


def pooled_size(size: Size, pooling: Pooling) -> Size:
    """(height, width) of what a pooling gives for a map of `size`, by PyTorch's rules; may be below 1."""
    kernel, stride, padding = pooling.kernel, pooling.stride, pooling.padding
    if not pooling.ceil_mode:
        return swept_size(size, kernel, stride, padding)
    reach = (size[0] + stride[0] - 1, size[1] + stride[1] - 1)
    counts = zip(swept_size(reach, kernel, stride, padding), stride, size, padding, strict=True)
    # A window that would start in the padding behind the map is dropped.
    height, width = (count - ((count - 1) * step >= extent + pad) for count, step, extent, pad in counts)
    return height, width


def upsampled_size(size: Size, upsampling: Upsampling) -> Size:
    """(height, width) of what an interpolation gives for a map of `size`."""
    if upsampling.scale is None:
        return upsampling.size
    return int(size[0] * upsampling.scale[0]), int(size[1] * upsampling.scale[1])


def output_size(layer: Layer) -> Size | None:
    """(height, width) of a unit's output after the layer's poolings and upsamplings; None for scalars.

    Raises:
        StructureError: a pooling window does not fit.
    """
    size = layer.size
    for operation in layer.operations:
        if size is None or not isinstance(operation, Resizing):
            continue
        before, size = size, pooled_size(size, operation) if isinstance(operation, Pooling) else operation.size
        if isinstance(operation, Pooling) and min(size) < 1:
            raise StructureError(
                f"layer {layer.name!r}: expected a pooling window that fits its maps of {layer.size}, "
                f"got kernel {operation.kernel}: choose a smaller one"
            )
        if isinstance(operation, Upsampling) and size != upsampled_size(before, operation):
            grown = upsampled_size(before, operation)
            raise StructureError(f"layer {layer.name!r}: expected an upsampling of {before} to {grown}, got {size}")
    return size
