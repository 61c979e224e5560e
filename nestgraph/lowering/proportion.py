"""Which projections train as sparse matrices: those whose steps are then expected to be quicker.

Between neurons such a projection is a vector over its live connections; convolutions with areas by pair of maps keep
their weights.

The choice is a function of the network alone, by a table that is built in: a run gives the same bytes, and resumes to
them, on whatever machine it is. So it holds for all sizes of batches.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from nestgraph.errors import LoweringError
from nestgraph.graph import Structure
from nestgraph.graph.columns.areas import paired, shortest
from nestgraph.graph.geometry import output_size
from nestgraph.graph.heads import summed_size
from nestgraph.lowering.live import LARGEST
from nestgraph.lowering.sparse import MOST, Choice
from nestgraph.spec import Conv, Dense, Projection

TrainedExecution = Literal["auto", "masked", "sparse"]

PRECISE = (torch.float32, torch.float64)
"""The types of numbers for which there are products of sparse matrices."""
WORTH = 0.8
"""The share of a masked step that a sparse one is to take at most, so that it is chosen."""
COSTS = "built in for 1 thread"
"""By what it is chosen, in words."""
BATCHES = (1, 256)
"""Numbers of samples at which it is to: what lies between is no worse."""
SWEPT_BATCHES = (64, 256)
"""The same for convolutions, of which a few samples are many places. At fewer one form or the other is a little
quicker, and both take little."""


@dataclass(frozen=True)
class StepCosts:
    """What parts of a training step of one projection take on one thread, in nanoseconds.

    A step is forward, backward to weights and source, and an optimizer of one kernel with momentum; measured as
    docs/performance.md says.

    Attributes:
        masked: the calls of a masked one.
        near: masking and stepping an entry of a matrix that stays in the processor's cache.
        far: what that takes more for each entry beyond `cached`.
        cached: how many entries stay there.
        dense: three multiply-adds of a dense matrix.
        sparse: the calls of a sparse one, with operators and autograd of Python.
        live: finding and stepping a live connection.
        product: three multiply-adds of one.
        turned: bringing a number to where samples are the last axis, or back, and its gradient.
        places: the calls of a convolution with areas by pair.
        laid: multiplying a weight by its area at a place.
        at_place: three multiply-adds of its product there, which is too small to be quick.
        window: gathering a number of a window, and its gradient.
        swept: the calls of such a convolution as a sparse matrix.
        edge: finding an entry of it, and adding its gradient to that of the weight which it shares.
    """

    masked: float = 120_000.0
    near: float = 0.5
    far: float = 1.0
    cached: int = 2**19
    dense: float = 0.057
    sparse: float = 260_000.0
    live: float = 7.0
    product: float = 0.26
    turned: float = 1.0
    places: float = 200_000.0
    laid: float = 3.0
    at_place: float = 0.09
    window: float = 2.2
    swept: float = 1_100_000.0
    edge: float = 8.0

    def of(self, rows: int, columns: int, live: int, batch: int) -> tuple[float, float]:
        """What a masked and a sparse step take for a batch."""
        size = rows * columns
        masked = self.masked + size * (self.near + self.dense * batch) + self.far * max(0, size - self.cached)
        sparse = self.sparse + live * (self.live + self.product * batch) + self.turned * (rows + columns) * batch
        return masked, sparse

    def of_places(
        self, weights: int, rows: int, columns: int, places: int, entries: int, batch: int
    ) -> tuple[float, float]:
        """What a masked and a sparse step take of a convolution with areas by pair, of so many weights and places."""
        windows = places * weights * places // rows
        masked = self.places + places * weights * (self.laid + self.at_place * batch) + self.window * windows * batch
        sparse = self.swept + entries * (self.edge + self.product * batch) + self.turned * (rows + columns) * batch
        return masked, sparse


def trained_choices(
    structure: Structure, execution: TrainedExecution, device: torch.device, dtype: torch.dtype
) -> dict[str, Choice]:
    """How each projection with trained weights is held and computed by a module that trains.

    Args:
        structure: what is computed.
        execution: "auto" for vectors where they are expected to be worth it, "sparse" wherever there is one, "masked"
            for none.
        device: where it is computed.
        dtype: with what numbers.

    Raises:
        LoweringError: matrices are to be sparse where there are no products of such.
    """
    there = device.type == "cpu" and dtype in PRECISE
    if execution == "sparse" and not there:
        raise LoweringError(
            f"lower expected execution='sparse' with float32 or float64 on the processor, got {dtype} on {device}: "
            "take 'auto', which computes under masks there"
        )
    found = {projection.name: Choice(sparse=False) for projection in _trained(structure)}
    for projection in _trained(structure) if there and execution != "masked" else ():
        if expected := _expected(structure, projection):
            masked, sparse = max(expected, key=lambda each: each[1] / each[0])
            found[projection.name] = Choice(execution == "sparse" or sparse <= WORTH * masked, (masked, sparse), COSTS)
    return found


def _expected(structure: Structure, projection: Projection) -> list[tuple[float, float]]:
    """What a masked and a sparse step take for each of `BATCHES`; nothing where there is no sparse one."""
    columns, costs = structure.connection_columns(projection.name), StepCosts()
    if isinstance(projection, Dense) and projection.follows is None and columns.mask.size <= LARGEST:
        shape = len(columns.mask), columns.mask[0].size
        return [costs.of(*shape, columns.active, batch) for batch in BATCHES]
    if not isinstance(projection, Conv) or not paired(shortest(columns.area)):
        return []
    sums, values = (
        math.prod(size or ())
        for size in (summed_size(structure, projection.target), output_size(structure.layer(projection.source)))
    )
    live = np.count_nonzero(columns.mask.reshape(*columns.edges.shape, -1), axis=2)
    entries = int((live * np.count_nonzero(columns.kept((sums,)).reshape(*live.shape, -1), axis=2)).sum())
    if entries > MOST:
        return []
    out, maps = columns.edges.shape
    return [
        costs.of_places(columns.mask.size, out * sums, maps * values, sums, entries, batch) for batch in SWEPT_BATCHES
    ]


def _trained(structure: Structure) -> Iterator[Projection]:
    projections = (structure.projection(name) for name in structure.projection_names)
    return (one for one in projections if one.learns and structure.connection_columns(one.name).weight.size)
