"""Which projections train as vectors over their live connections: those whose steps are then expected to be quicker.

The choice is a function of the network alone, by a table that is built in: a run gives the same bytes, and resumes to
them, on whatever machine it is. So it holds for all sizes of batches.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from nestgraph.errors import LoweringError
from nestgraph.graph import Structure
from nestgraph.lowering.live import LARGEST
from nestgraph.lowering.sparse import Choice
from nestgraph.spec import Dense, Projection

TrainedExecution = Literal["auto", "masked", "sparse"]

PRECISE = (torch.float32, torch.float64)
"""The types of numbers for which there are products of sparse matrices."""
WORTH = 0.8
"""The share of a masked step that a sparse one is to take at most, so that it is chosen."""
COSTS = "built in for 1 thread"
"""By what it is chosen, in words."""
BATCHES = (1, 256)
"""Numbers of samples at which it is to: what lies between is no worse."""


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

    def of(self, rows: int, columns: int, live: int, batch: int) -> tuple[float, float]:
        """What a masked and a sparse step take for a batch."""
        size = rows * columns
        masked = self.masked + size * (self.near + self.dense * batch) + self.far * max(0, size - self.cached)
        sparse = self.sparse + live * (self.live + self.product * batch) + self.turned * (rows + columns) * batch
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
        columns = structure.connection_columns(projection.name)
        own = isinstance(projection, Dense) and projection.follows is None
        if not own or columns.mask.size > LARGEST:
            continue
        shape = len(columns.mask), columns.mask[0].size
        expected = (StepCosts().of(*shape, columns.active, batch) for batch in BATCHES)
        masked, sparse = max(expected, key=lambda each: each[1] / each[0])
        found[projection.name] = Choice(execution == "sparse" or sparse <= WORTH * masked, (masked, sparse), COSTS)
    return found


def _trained(structure: Structure) -> Iterator[Projection]:
    projections = (structure.projection(name) for name in structure.projection_names)
    return (one for one in projections if one.learns and structure.connection_columns(one.name).weight.size)
