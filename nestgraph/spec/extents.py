"""How many places things have along each axis of a map: sizes, kernels, strides, and what is put around a map."""

from typing import Annotated

from pydantic import Field, Strict

from nestgraph.spec.record import Count, Extent

MAX_EXTENTS = 3
"""Of a map: a series has one extent, an image two (height, width), a volume three (depth, height, width)."""

Size = Annotated[tuple[Count, ...], Field(min_length=1, max_length=MAX_EXTENTS), Strict(False)]  # a list will do
"""The places along each axis: of a map, of the kernel over it, and from one position of a kernel to the next."""

Extents = Annotated[tuple[Extent, ...], Field(min_length=1, max_length=MAX_EXTENTS), Strict(False)]
"""As `Size`, but each may be 0, as padding is."""


def along_all(extent: int, size: Size) -> Size:
    """The same extent along each axis of a size."""
    return (extent,) * len(size)


def in_words(size: Size) -> str:
    """A size for people, such as `3x3`."""
    return "x".join(str(extent) for extent in size)
