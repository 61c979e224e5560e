"""The network as a value: columns, laws, graph views, cost, and the NumPy reference of its meaning."""

from nestgraph.graph.columns import NEUTRAL, ConnectionColumns, UnitColumns
from nestgraph.graph.cost import Cost, NetworkCost, cost
from nestgraph.graph.explicit import plain_graph
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.graph.topology import Topology
from nestgraph.graph.verify import Violation, violations
from nestgraph.graph.view import Node, ReadOnlyGraphError

__all__ = [
    "NEUTRAL",
    "ConnectionColumns",
    "Cost",
    "Network",
    "NetworkCost",
    "Node",
    "ReadOnlyGraphError",
    "Structure",
    "Topology",
    "UnitColumns",
    "Violation",
    "cost",
    "plain_graph",
    "violations",
]
