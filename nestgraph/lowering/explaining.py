"""In which form a compact module computes each projection, and what was expected of it, for people."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nestgraph.errors import LoweringError
from nestgraph.graph import Network
from nestgraph.graph.compaction import compacted
from nestgraph.lowering.compact import executed
from nestgraph.lowering.sparse import Execution
from nestgraph.spec.arguments import checked


@dataclass(frozen=True)
class Computed:
    """How a compact module computes a projection.

    Attributes:
        projection: its name.
        connections: how many of it are not 0 once a network is made compact.
        possible: how many there could be between its units.
        form: "dense" or "sparse".
        dense: microseconds that the dense form is expected to take for a batch; None where it has that form alone.
        sparse: likewise, as a sparse matrix.
    """

    projection: str
    connections: int
    possible: int
    form: str
    dense: float | None
    sparse: float | None

    @property
    def reason(self) -> str:
        """Why it has this form."""
        if self.dense is None or self.sparse is None:
            return "it has no other form here"
        times = max(self.dense, self.sparse) / min(self.dense, self.sparse)
        quicker = "dense" if self.dense <= self.sparse else "sparse"
        return f"{quicker} is expected to be {times:.1f} times quicker"


@checked(LoweringError)
def explain(network: Network, batch: int = 1, execution: Execution = "auto") -> Sequence[Computed]:
    """In which form `compact` computes each projection that is left, with what it expects on one thread.

    Args:
        network: any.
        batch: as in `compact`.
        execution: as in `compact`.

    Raises:
        LoweringError: the execution is none of those of `compact`.
    """
    structure, rows = compacted(network).structure, list[Computed]()
    for name, choice in executed(network, structure, execution, batch).items():
        weight = structure.connection_columns(name).weight
        dense, sparse = (None, None) if choice.nanoseconds is None else (each / 1e3 for each in choice.nanoseconds)
        form = "sparse" if choice.sparse else "dense"
        rows.append(Computed(name, int(np.count_nonzero(weight)), weight.size, form, dense, sparse))
    return rows
