"""Small rasters of kernels: squares by size of weight, filled where positive, hollow where negative (Hinton)."""

from collections.abc import Iterator

import numpy as np

from nestgraph.graph.structure import Structure
from nestgraph.render.neuron_plan import ID_STRIP, Column
from nestgraph.render.scene import Mark, Squares
from nestgraph.render.selection import edge_norms
from nestgraph.render.slices import as_image
from nestgraph.render.style import BLUE, VERMILION
from nestgraph.spec.arrays import AnyArray


def strongest_kernels(structure: Structure, layer: str) -> dict[int, AnyArray]:
    """For each map of a layer that a kernel feeds, by id: the kernel of its strongest edge, as an image."""
    found: dict[int, tuple[float, AnyArray]] = {}
    for projection in structure.incoming(layer):
        if getattr(projection, "kernel", None) is None:
            continue
        columns, ends = structure.wired(projection.name)
        targets, sources = columns.listed(columns.edges, ends)
        place = columns.index(targets, sources, ends)
        norms = edge_norms(columns)[place]
        greatest = np.zeros(len(ends.target), norms.dtype)
        np.maximum.at(greatest, targets, norms)
        best = np.flatnonzero(norms == greatest[targets])
        best = best[np.unique(targets[best], return_index=True)[1]]  # the first of equals
        units, kernels = ends.target.ids[targets[best]].tolist(), columns.weight[tuple(each[best] for each in place)]
        for unit, norm, kernel in zip(units, norms[best].tolist(), kernels, strict=True):
            if norm > found.get(unit, (0.0, None))[0]:
                found[unit] = (norm, kernel)
    return {unit: as_image(kernel, kernel.ndim, 0.0) for unit, (_, kernel) in found.items()}


def kernel_marks(structure: Structure, column: Column) -> Iterator[Mark]:
    """The strongest kernel of every shown map, inside its tile."""
    kernels = strongest_kernels(structure, column.layer.name)
    for sign, colour in ((1, BLUE), (-1, VERMILION)):
        squares = [
            square
            for unit, y in column.places.items()
            if unit in kernels
            for square in _squares(kernels[unit], column.x + ID_STRIP, y, column.side - 3, sign)
        ]
        if squares:
            yield Squares(colour, sign > 0, tuple(squares))


def _squares(kernel: AnyArray, x: float, y: float, side: float, sign: int) -> Iterator[tuple[float, float, float]]:
    """(x, y, side) of the squares of one sign; the largest weight fills its cell."""
    height, width = kernel.shape
    cell, largest = side / max(kernel.shape), float(np.abs(kernel).max())
    for row, place in np.argwhere(sign * kernel > 0):
        full = cell * float(np.sqrt(abs(kernel[row, place]) / largest))
        shown = max(full * 0.96 - (1.0 if sign < 0 else 0.0), 0.6)
        yield x + cell * (place + 0.5 - width / 2), y + cell * (row + 0.5 - height / 2), shown
