"""In which form a module computes each projection, and what was expected of it, for people."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nestgraph.errors import LoweringError
from nestgraph.graph import Network
from nestgraph.graph.compaction import compacted
from nestgraph.lowering.compact import executed
from nestgraph.lowering.proportion import TrainedExecution, trained_choices
from nestgraph.lowering.sparse import Execution
from nestgraph.spec.arguments import AtLeastOne, checked


@dataclass(frozen=True)
class Computed:
    """How a module computes a projection.

    Attributes:
        projection: its name.
        connections: how many of it are not 0 once a network is made compact; in training, how many live.
        possible: how many there could be between its units.
        form: "dense" or "sparse"; in training "masked" or "sparse".
        dense: microseconds that the dense form is expected to take for a batch; None where it has that form alone. In
            training those that it takes under its mask for a step.
        sparse: likewise, as a sparse matrix.
        costs: by which costs that was expected, in words: "built in for 1 thread", say. Empty where nothing was.
    """

    projection: str
    connections: int
    possible: int
    form: str
    dense: float | None
    sparse: float | None
    costs: str = ""

    @property
    def reason(self) -> str:
        """Why it has this form."""
        if self.dense is None or self.sparse is None:
            return "it has no other form here"
        times = max(self.dense, self.sparse) / min(self.dense, self.sparse)
        quicker = "sparse" if self.sparse < self.dense else "masked" if self.form == "masked" else "dense"
        only = "only " if self.form == "masked" and quicker == "sparse" else ""
        return f"{quicker} is expected to be {only}{times:.1f} times quicker"


@checked(LoweringError)
def explain(
    network: Network,
    batch: int = 1,
    execution: Execution | TrainedExecution = "auto",
    training: bool = False,
    threads: AtLeastOne | None = None,
) -> Sequence[Computed]:
    """In which form `compact`, or `lower`, computes each projection that is left, with what it expects.

    Args:
        network: any.
        batch: as in `compact`; what trains is chosen for all sizes of batches (`proportion.BATCHES`), and what is
            expected is told of that for which sparse matrices gain least.
        execution: as in `compact`, or as in `lower`.
        training: whether it is about `lower`, in float32 on a processor; expected is what it takes on one thread.
        threads: of `compact`, how many compute; as many as torch has now unless given. What they take was measured by
            `calibrate`, or is built in.

    Raises:
        LoweringError: the execution is none of those of `compact`, or of `lower`.
    """
    if training:
        return _trained(network, execution)
    if execution == "masked":
        raise LoweringError("explain expected the execution 'masked' with training=True, got it without")
    structure, rows = compacted(network).structure, list[Computed]()
    for name, choice in executed(network, structure, execution, batch, threads).items():
        weight = structure.connection_columns(name).weight
        dense, sparse = (None, None) if choice.nanoseconds is None else (each / 1e3 for each in choice.nanoseconds)
        form = "sparse" if choice.sparse else "dense"
        live = int(np.count_nonzero(weight))
        rows.append(Computed(name, live, weight.size, form, dense, sparse, choice.costs))
    return rows


def _trained(network: Network, execution: Execution | TrainedExecution) -> Sequence[Computed]:
    if execution == "dense":
        raise LoweringError(
            "explain expected an execution 'auto', 'masked' or 'sparse' with training=True, got 'dense'"
        )
    rows = list[Computed]()
    for name, choice in trained_choices(network, execution, torch.device("cpu"), torch.float32).items():
        columns = network.connection_columns(name)
        masked, sparse = (None, None) if choice.nanoseconds is None else (each / 1e3 for each in choice.nanoseconds)
        form = "sparse" if choice.sparse else "masked"
        rows.append(Computed(name, columns.active, columns.mask.size, form, masked, sparse, choice.costs))
    return rows
