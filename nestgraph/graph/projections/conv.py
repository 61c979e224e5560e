"""Convolutions: maps to maps by a kernel, at all positions or at those of an area."""

import math
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from nestgraph.graph.columns import ConnectionColumns, Grid
from nestgraph.graph.columns.areas import fits
from nestgraph.graph.projections.meaning import Meaning
from nestgraph.graph.projections.sweeping import reads_around_its_place, reads_its_place, swept
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size
from nestgraph.spec.projection import Conv
from nestgraph.spec.windows import flattened


class ConvMeaning(Meaning[Conv, Grid]):
    """A map adds up what kernels give that sweep over the maps it reads."""

    kind: ClassVar[type[ConnectionColumns]] = Grid

    @property
    def inner(self) -> tuple[int, ...]:
        """See `Meaning.inner`."""
        return self.record.kernel

    @property
    def size(self) -> Size | None:
        """See `Meaning.size`."""
        return self.source_size and self.record.swept_size(self.source_size)

    @property
    def leads(self) -> bool:
        """See `Meaning.leads`."""
        return self.source_size is not None and self.target_size is not None

    @property
    def pointwise(self) -> bool:
        """See `Meaning.pointwise`."""
        return reads_its_place(self.record)

    @property
    def centred(self) -> bool:
        """See `Meaning.centred`."""
        return reads_around_its_place(self.record)

    def faults(self) -> Iterator[tuple[str, str | tuple[str, int], str]]:
        """See `Meaning.faults`: an area of another shape."""
        area, (out, into), size = self.columns.area, self.ends.shape, self.target_size or ()
        if area is not None and not fits(area, (out, into), size):
            expected = f"an area of shape {(out, into, *size)}, or one for each output map, on a convolution"
            yield "shapes", self.record.name, f"expected {expected}, got {area.shape}"

    def project(self, source: AnyArray) -> AnyArray:
        """See `Meaning.project`."""
        weight, area, axes = self.weights(source.dtype), self.columns.area, len(self.record.kernel)
        windows, kernels = (flattened(values, axes) for values in (self.record.windows(source), weight))
        if area is None:
            return np.einsum("bi...k,oik->bo...", windows, kernels, optimize=True)
        return (np.einsum("bi...k,oik->boi...", windows, kernels, optimize=True) * area).sum(axis=2)

    def read(self, entries: AnyArray) -> AnyArray:
        """See `Meaning.read`: a place of a map is read once for every position kept that covers it."""
        return swept(self.record, entries, self.columns.kept(self.size or ()), self.source_size or ())

    @property
    def applications(self) -> int:
        """See `Meaning.applications`: at the positions of the area; transposed, at the places that are read."""
        area, mask = self.columns.area, self.columns.mask
        if self.record.transposed:
            size, given = self.source_size or (), self.size or ()
            left = (
                0 if area is None else swept(self.record, mask.astype(np.int64), ~self.columns.kept(given), size).sum()
            )
            return self.columns.active * math.prod(size) - int(left)
        if area is None:
            return super().applications
        places, entries = (np.sum(each, axis=tuple(range(2, each.ndim)), dtype=np.int64) for each in (area, mask))
        return int((places * entries).sum())
