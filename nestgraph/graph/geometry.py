"""The sizes that layers give."""

import math

from nestgraph.errors import StructureError
from nestgraph.spec.extents import Size
from nestgraph.spec.layer import Layer


def is_single(size: Size | None) -> bool:
    """Whether a map of a size has one place, as a single value has."""
    return size is not None and math.prod(size) == 1


def output_size(layer: Layer) -> Size | None:
    """The extents of a unit's output after the layer's operations; None for scalars.

    Raises:
        StructureError: an operation does not fit its maps.
    """
    if (size := layer.size) is None:
        return None
    for operation in layer.operations:
        try:
            size = operation.resized(size)
        except ValueError as problem:
            raise StructureError(f"layer {layer.name!r}: {problem}") from None
    return size
