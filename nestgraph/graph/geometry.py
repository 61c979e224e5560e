"""Shapes: what size a kernel or a pooling chain gives, and which shape a projection's weights have."""

from nestgraph.errors import StructureError
from nestgraph.graph.structure import Structure
from nestgraph.spec.layer import Layer
from nestgraph.spec.operations import Pooling
from nestgraph.spec.projection import Conv, Dense, OneToOne, Projection

Size = tuple[int, int]


def swept_size(size: Size, kernel: Size, stride: Size, padding: Size, dilation: Size = (1, 1)) -> Size:
    """(height, width) of the positions that a kernel takes on a map of `size`; may be below 1."""
    heights_widths = zip(size, kernel, stride, padding, dilation, strict=True)
    height, width = (
        (extent + 2 * pad - dilate * (window - 1) - 1) // step + 1
        for extent, window, step, pad, dilate in heights_widths
    )
    return height, width


def output_size(layer: Layer) -> Size | None:
    """(height, width) of a unit's output after the layer's poolings; None for scalars.

    Raises:
        StructureError: a pooling window does not fit.
    """
    size = layer.size
    for operation in layer.operations:
        if size is not None and isinstance(operation, Pooling):
            size = swept_size(size, operation.kernel, operation.stride, operation.padding)
            if min(size) < 1:
                raise StructureError(
                    f"layer {layer.name!r}: expected a pooling window that fits its maps of {layer.size}, "
                    f"got kernel {operation.kernel}: choose a smaller one"
                )
    return size


def target_size(structure: Structure, projection: Projection) -> Size | None:
    """(height, width) that a projection gives to its target's sum; None where it gives scalars."""
    source = output_size(structure.layer(projection.source))
    if isinstance(projection, Dense) or source is None:
        return None
    if isinstance(projection, OneToOne) and projection.kernel is None:
        return source
    kernel = projection.kernel
    assert kernel is not None
    return swept_size(source, kernel, projection.stride, projection.padding, projection.dilation)


def weight_shape(structure: Structure, projection: Projection) -> tuple[int, ...]:
    """The shape of a projection's weights, from its record and the units at both ends."""
    if isinstance(projection, OneToOne):
        links = structure.connection_columns(projection.name).links
        return (0 if links is None else len(links), *(projection.kernel or ()))
    units = (len(structure.unit_columns(projection.target)), len(structure.unit_columns(projection.source)))
    if isinstance(projection, Conv):
        return units + projection.kernel
    return units + (output_size(structure.layer(projection.source)) or ())
