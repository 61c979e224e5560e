"""The torch.fx compiler: from networks to modules that train, and trained values and optimizer state back."""

from nestgraph.lowering.bench_state import BenchState
from nestgraph.lowering.collect import collect, network_of, trained_values
from nestgraph.lowering.following import Moved, follow
from nestgraph.lowering.masked import lower
from nestgraph.lowering.nodes import LayerNodes, layer_nodes
from nestgraph.lowering.optimizer import carry_optimizer
from nestgraph.lowering.slots import Slot, slots
from nestgraph.lowering.states import OptimizerState, StateRecord
from nestgraph.lowering.workbench import Workbench

__all__ = [
    "BenchState",
    "LayerNodes",
    "Moved",
    "OptimizerState",
    "Slot",
    "StateRecord",
    "Workbench",
    "carry_optimizer",
    "collect",
    "follow",
    "layer_nodes",
    "lower",
    "network_of",
    "slots",
    "trained_values",
]
