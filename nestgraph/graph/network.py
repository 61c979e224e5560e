"""The network: a structure that passed verification, with its graph views and digest."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self, cast

import networkx as nx

import nestgraph.display as notebook
from nestgraph.errors import StructureError, VerificationError
from nestgraph.graph.cost import cost
from nestgraph.graph.digest import digest, fingerprint
from nestgraph.graph.explicit import structure_from_graph
from nestgraph.graph.structure import Structure
from nestgraph.graph.summary import summary
from nestgraph.graph.topology import Topology
from nestgraph.graph.verify import violations
from nestgraph.graph.view import Node, UnitGraph, layer_graph
from nestgraph.spec.arguments import checked
from nestgraph.spec.interface import Interface
from nestgraph.spec.layer import Layer
from nestgraph.spec.projection import Projection


class Network(Structure):
    """A neural network as an explicit graph: an immutable value in which no unit is an island.

    Networks come from seeds, edits, snapshots and `from_graph`; each way verifies. Two networks are equal when
    structure, weights and statistics agree to the bit, which is when their digests agree.

    Raises:
        VerificationError: a law is broken; its `violations` name each unit, layer or projection.
    """

    def _accept(self) -> None:
        broken = violations(self)
        if broken:
            raise VerificationError(broken)

    @classmethod
    @checked(StructureError)
    def of(cls, structure: Structure) -> Self:
        """The network of a structure, if it breaks no law.

        Raises:
            VerificationError: as the constructor does.
        """
        if isinstance(structure, cls):
            return structure
        layers, projections = structure._layers.values(), structure._projections.values()
        bodies, interface = structure._bodies, structure._interface
        return cls(layers, projections, structure._units, structure._connections, bodies, interface)

    @classmethod
    @checked(StructureError)
    def from_graph(
        cls,
        graph: "nx.DiGraph[Node]",
        layers: Sequence[Layer] = (),
        projections: Sequence[Projection] = (),
        interface: Interface | None = None,
    ) -> Self:
        """A network from an explicit graph whose nodes are `(layer, id)`, or from the form of `plain_graph`.

        Args:
            graph: nodes may carry columns (`bias`, ...); edges carry `weight`, or `weights` as nested lists by
                projection for kernels, and `slots` by projection where they lead to heads of attention, as
                `network.graph` shows them. All that they say is carried or refused by name: another attribute, a
                projection that is not there, a layer or a count that is another.
            layers: records of the layers. One that is missing is inferred: without incoming edges an input, without
                outgoing edges an output of neurons, else neurons with ReLU.
            projections: records of the projections. Where there are none, each is dense, of the names that edges give.
            interface: what goes in and comes out; None for the order of the layers, or what a plain graph says.

        Raises:
            StructureError: nodes or edges that do not fit the records.
            VerificationError: the graph breaks a law, such as an island.
        """
        return cls.of(structure_from_graph(graph, layers, projections, interface))

    @cached_property
    def graph(self) -> "nx.DiGraph[Node]":
        """The units and their edges as a read-only `networkx.DiGraph`."""
        return UnitGraph(self)

    @cached_property
    def topology(self) -> Topology:
        """Structure queries answered by arrays: reach, depth, components, degrees."""
        return cast(UnitGraph, self.graph).topology

    @cached_property
    def layers(self) -> "nx.DiGraph[str]":
        """The layers as a frozen `networkx.DiGraph`, projections on its edges."""
        return layer_graph(self)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of structure, weights and statistics; equal for equal networks on every machine."""
        return digest(self)

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 of which units, links, connections and areas there are: what a state dict has to fit."""
        return fingerprint(self)

    def summary(self) -> str:
        """A table of layers: units, live and possible connections, parameters, FLOPs (2 per multiply-add)."""
        return summary(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Network) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        total = cost(self).total
        widths = "-".join(str(len(self.unit_columns(name))) for name in self.layer_names)
        return f"<Network {widths}: {total.connections:,} of {total.possible:,} connections, {self.digest[:8]}>"

    def _repr_mimebundle_(self, **chosen: Any) -> dict[str, str]:  # noqa: ARG002  (notebooks pass include and exclude)
        return notebook.shown(self)
