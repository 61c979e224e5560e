"""The arrays of a network: columns of a layer's units and of a projection's connections.

All arrays are read-only, so that networks can share them between versions; facts derived from them are
computed once and kept beside them.
"""

from nestgraph.graph.columns.connections import PART, Address, Common, ConnectionColumns, Ends, gathered
from nestgraph.graph.columns.grid import Grid
from nestgraph.graph.columns.links import Links
from nestgraph.graph.columns.slotted import Slotted
from nestgraph.graph.columns.units import UnitColumns
from nestgraph.graph.columns.whole import Whole

__all__ = [
    "PART",
    "Address",
    "Common",
    "ConnectionColumns",
    "Ends",
    "Grid",
    "Links",
    "Slotted",
    "UnitColumns",
    "Whole",
    "gathered",
]
