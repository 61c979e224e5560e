"""The network as a value: columns, laws, graph views, cost, and the NumPy reference of its meaning."""

from nestgraph.graph.columns import ConnectionColumns, Ends, Grid, Links, UnitColumns, Whole
from nestgraph.graph.cost import Cost, NetworkCost, cost
from nestgraph.graph.difference import Difference, difference
from nestgraph.graph.explicit import plain_graph
from nestgraph.graph.layer_difference import LayerDifference, Values
from nestgraph.graph.network import Network
from nestgraph.graph.projection_difference import Connections, ProjectionDifference
from nestgraph.graph.structure import Structure
from nestgraph.graph.tally import Counts, Tally
from nestgraph.graph.topology import Topology
from nestgraph.graph.verify import Violation, violations
from nestgraph.graph.view import Node, ReadOnlyGraphError

__all__ = [
    "ConnectionColumns",
    "Connections",
    "Cost",
    "Counts",
    "Difference",
    "Ends",
    "Grid",
    "LayerDifference",
    "Links",
    "Network",
    "NetworkCost",
    "Node",
    "ProjectionDifference",
    "ReadOnlyGraphError",
    "Structure",
    "Tally",
    "Topology",
    "UnitColumns",
    "Values",
    "Violation",
    "Whole",
    "cost",
    "difference",
    "plain_graph",
    "violations",
]
