"""Convolutions with areas by pair of maps that train as a sparse matrix: an entry for each reading of a connection.

The weights stay as they are, under their mask; the entries of the matrix that read one weight share it.
"""

import math

import numpy as np
import torch
from torch import Tensor, fx

from nestgraph.graph import Structure
from nestgraph.graph.geometry import output_size
from nestgraph.graph.heads import summed_size
from nestgraph.lowering.areas import window_places
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.live import pattern_at
from nestgraph.lowering.sparse_linear import PATTERN, Matrix
from nestgraph.spec import Conv
from nestgraph.spec.arrays import AnyArray

SWEEP = "sweep"
"""What the matrix is called beside the weight of its projection."""


class SparseSweep(Matrix):
    """The matrix of a convolution, whose rows are the sums place by place, and whose columns are values alike."""

    index: Tensor

    def __init__(self, parts: dict[str, Tensor], size: tuple[int, ...]) -> None:
        """Hold where the entries stand, the weight that each of them has, and the size of the maps of sums."""
        super().__init__(parts)
        self.size = size
        self.register_buffer("index", parts["index"])

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """(samples, out, *size) from (samples, in, ...), by a weight (out, in, *kernel); units lie last in memory."""
        weights = weight.flatten().index_select(0, self.index)
        sums = self.product(weights, x.movedim(1, -1).flatten(1), None)
        return sums.reshape(x.shape[0], *self.size, -1).movedim(-1, 1)


def emit_swept(emission: Emission, projection: Conv, source: fx.Node, weight: fx.Node) -> fx.Node:
    """Emit a convolution with areas by its matrix."""
    path, size = f"{emission.projections[projection.name]}.{SWEEP}", summed_size(emission.network, projection.target)
    emission.state[path] = SparseSweep(swept_parts(emission.network, projection), size or ())
    return emission.graph.call_module(path, (source, weight))


def swept_parts(structure: Structure, projection: Conv) -> dict[str, Tensor]:
    """The pattern of a convolution's matrix, and for each entry the place of its weight, int64: `index`."""
    columns = structure.connection_columns(projection.name)
    out, maps = columns.mask.shape[:2]
    sums, values = (
        math.prod(size or ())
        for size in (summed_size(structure, projection.target), output_size(structure.layer(projection.source)))
    )
    weights = np.flatnonzero(columns.mask)
    target, source, kernel = np.unravel_index(weights, (out, maps, columns.mask[0, 0].size))
    read = window_places(structure, projection).reshape(sums, maps, -1)[:, source, kernel]
    kept = (read >= 0) & _area(columns.kept((sums,)), (out, maps, sums))[target, source].T
    place, entry = np.nonzero(kept)
    read = read[place, entry]
    at = (place * out + target[entry]) * (values * maps) + read % values * maps + read // values
    order = np.argsort(at)
    pattern = pattern_at(at[order], (sums * out, values * maps))
    found = {name: torch.from_numpy(part) for name, part in zip(PATTERN, pattern, strict=True)}
    return {**found, "index": torch.from_numpy(weights[entry][order])}


def _area(area: AnyArray, shape: tuple[int, int, int]) -> AnyArray:
    return np.broadcast_to(area.reshape(*area.shape[:2], -1), shape)
