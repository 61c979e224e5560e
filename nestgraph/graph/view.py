"""The network as networkx sees it: a read-only `DiGraph` whose adjacency is computed from the arrays.

A node is a unit, keyed `(layer, id)`; an edge joins two units by at least one active connection. One dict edge a
weight would cost about 320 bytes; these views hold no edge at all.
"""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cached_property
from inspect import currentframe
from typing import Any, NoReturn, cast

import networkx as nx
import numpy as np

from nestgraph.errors import NestgraphError
from nestgraph.graph.columns.areas import of_pairs
from nestgraph.graph.dispatch import asked_backend
from nestgraph.graph.structure import Structure
from nestgraph.graph.topology import Node, Topology, position_of
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Projection


class ReadOnlyGraphError(NestgraphError, nx.NetworkXError):
    """A networkx mutator was called on a network's graph; the message names the edit to use."""


def layer_graph(structure: Structure) -> "nx.DiGraph[str]":
    """A frozen graph: a node a layer (`record`, `units`), an edge where projections lead (`projections`)."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    for name in structure.layer_names:
        graph.add_node(name, record=structure.layer(name), units=len(structure.unit_columns(name)))
    for name in structure.projection_names:
        projection = structure.projection(name)
        ends = (projection.source, projection.target)
        known = graph.edges[ends]["projections"] if graph.has_edge(*ends) else ()
        graph.add_edge(*ends, projections=(*known, projection))
    return cast("nx.DiGraph[str]", nx.freeze(graph))  # pyright: ignore[reportUnknownMemberType]


def _refuse(what: str, edit: str) -> Any:
    def refused(*_: Any, **__: Any) -> NoReturn:
        raise ReadOnlyGraphError(
            f"network.graph is read-only, so {what} cannot change it: apply {edit} through an Editor, "
            "or work on a copy, networkx.DiGraph(network.graph)"
        )

    return refused


class Attributes(dict[str, Any]):
    """Facts of a node, an edge or the graph, computed for the reader. Copies are ordinary, writable dicts."""

    def copy(self) -> dict[str, Any]:
        """An ordinary dict."""
        return dict(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[str, Any]:
        return deepcopy(dict(self), memo)

    def pop(self, key: str, *default: Any) -> Any:
        """The default for what is not there, which changes nothing; all else is refused."""
        return default[0] if default and key not in self else _refuse("writing an attribute", SET_VALUES)()


SET_VALUES = "nestgraph.edits.SetValues"
for _writer in ("__setitem__", "__delitem__", "__ior__", "clear", "popitem", "setdefault", "update"):
    setattr(Attributes, _writer, _refuse("writing an attribute", SET_VALUES))


class UnitGraph(nx.DiGraph):  # type: ignore[type-arg]
    """A read-only view of a structure's units and edges.

    Node attributes: `layer`, `kind`, and the unit's columns (`bias`, ...). Edge attributes: `weight` (the sum of the
    edge's weights), `connections` (how many are active), `projections` (their names), where an edge carries more than
    one number, `weights` (numbers or nested lists by projection; None where dormant), where a convolution is computed
    at some positions only, `areas` (nested lists by projection), and where it leads to heads of attention, `slots`
    (lists by projection, a weight for each). Any networkx algorithm runs on it.
    Copies, subgraph copies and reversed copies are ordinary `networkx.DiGraph` objects.
    """

    frozen = True  # what networkx.is_frozen asks

    def __new__(cls, structure: Structure | None = None) -> "nx.DiGraph[Node]":  # type: ignore[misc]
        """A view of a structure; without one an ordinary graph, as networkx makes results with `graph.__class__()`."""
        return nx.DiGraph() if structure is None else object.__new__(cls)

    def __init__(self, structure: Structure | None = None) -> None:
        assert structure is not None, "__new__ makes an ordinary graph without one"
        self.graph: dict[str, Any] = Attributes()
        self.__networkx_cache__: Any = None  # nothing is converted that would be worth keeping
        self._structure = structure
        self._node = _Units(structure)
        self._adj = _Adjacency(structure, forward=True)
        self._pred = _Adjacency(structure, forward=False)

    @property
    def __networkx_backend__(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]  (it only reads it)
        """What runs a function of networkx that is called with the view: see `dispatch`."""
        frame = currentframe()
        return asked_backend(self, None if frame is None else frame.f_back)

    @cached_property
    def topology(self) -> Topology:
        """The same structure as arrays."""
        return Topology(self._structure)

    def to_directed_class(self) -> type["nx.DiGraph[Node]"]:
        """The class of directed copies."""
        return nx.DiGraph

    def to_undirected_class(self) -> type["nx.Graph[Node]"]:
        """The class of undirected copies."""
        return nx.Graph

    def __reduce__(self) -> NoReturn:
        raise ReadOnlyGraphError("network.graph cannot be pickled or deep-copied: use networkx.DiGraph(network.graph)")


def _mutator_that_stays(refused: Any) -> property:
    """Of a class's attributes only a property keeps `networkx.freeze` from putting its own mutator in its place."""
    return property(lambda _: refused, lambda _, __: None)


for _mutator, _edit in {
    "add_node": "nestgraph.edits.AddUnits",
    "add_nodes_from": "nestgraph.edits.AddUnits",
    "remove_node": "nestgraph.edits.RemoveUnits",
    "remove_nodes_from": "nestgraph.edits.RemoveUnits",
    "add_edge": "nestgraph.edits.wake_connections",
    "add_edges_from": "nestgraph.edits.wake_connections",
    "add_weighted_edges_from": "nestgraph.edits.wake_connections",
    "remove_edge": "nestgraph.edits.prune_connections",
    "remove_edges_from": "nestgraph.edits.prune_connections",
    "update": "nestgraph.edits.Batch",
    "clear": "nestgraph.edits.Batch",
    "clear_edges": "nestgraph.edits.Batch",
}.items():
    setattr(UnitGraph, _mutator, _mutator_that_stays(_refuse(_mutator, _edit)))


class _Units(Mapping[Node, dict[str, Any]]):
    """Node -> attributes, in the order of layers and positions."""

    def __init__(self, structure: Structure) -> None:
        self._structure = structure

    def __iter__(self) -> Iterator[Node]:
        for layer in self._structure.layer_names:
            for unit in self._structure.units(layer).tolist():
                yield (layer, unit)

    def __len__(self) -> int:
        return self._structure.unit_count

    def __contains__(self, node: object) -> bool:
        return position_of(self._structure, node) is not None

    def __getitem__(self, node: Node) -> dict[str, Any]:
        position = position_of(self._structure, node)
        if position is None:
            raise KeyError(node)
        layer = self._structure.layer(node[0])
        values = self._structure.unit_columns(layer.name).values
        columns = {name: values[name][position].tolist() for name in layer.column_names}
        return Attributes({"layer": layer.name, "kind": layer.kind, **columns})


class _Adjacency(Mapping[Node, Mapping[Node, dict[str, Any]]]):
    """Node -> neighbours, forward along the connections or backward."""

    def __init__(self, structure: Structure, forward: bool) -> None:
        self._structure = structure
        self._forward = forward
        self._units = _Units(structure)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._units)

    def __len__(self) -> int:
        return len(self._units)

    def __contains__(self, node: object) -> bool:
        return node in self._units

    def __getitem__(self, node: Node) -> "_Neighbours":
        position = position_of(self._structure, node)
        if position is None:
            raise KeyError(node)
        return _Neighbours(self._structure, node, position, self._forward)

    def copy(self) -> dict[Node, dict[Node, dict[str, Any]]]:
        """An ordinary dict of dicts."""
        return {node: dict(neighbours) for node, neighbours in self.items()}


class _Neighbours(Mapping[Node, dict[str, Any]]):
    """Neighbour -> edge attributes, for one unit in one direction."""

    def __init__(self, structure: Structure, node: Node, position: int, forward: bool) -> None:
        self._structure = structure
        self._node = node
        self._position = position
        self._forward = forward

    @cached_property
    def _touched(self) -> dict[Node, list[Projection]]:
        """The neighbours and the projections that lead to each, in the order of a copy made edge by edge."""
        found: dict[Node, list[Projection]] = {}
        for far, projection, units in self._steps:
            for unit in units.tolist():
                found.setdefault((far, unit), []).append(projection)
        return found if self._forward or not self._shared else dict(sorted(found.items(), key=self._rank))

    def _rank(self, found: tuple[Node, list[Projection]]) -> tuple[int, int]:
        layer, unit = found[0]
        return self._structure.layer_names.index(layer), self._structure.unit_columns(layer).position[unit]

    @property
    def _shared(self) -> bool:
        """Whether two projections may lead to the same neighbour."""
        return len({far for far, _, _ in self._steps}) < len(self._steps)

    @cached_property
    def _steps(self) -> list[tuple[str, Projection, AnyArray]]:
        """For each projection the layer that it leads to, and the ids of the neighbours there."""
        if self._forward:
            ends = [(p.target, p) for p in self._structure.outgoing(self._node[0])]
        else:
            ends = [(p.source, p) for p in self._structure.incoming(self._node[0])]
            ends.sort(key=lambda end: self._structure.layer_names.index(end[0]))
        return [(far, projection, self._across(projection, self._structure.units(far))) for far, projection in ends]

    def _across(self, projection: Projection, far_ids: AnyArray) -> AnyArray:
        return far_ids[self._structure.pairs(projection.name).beyond(self._position, self._forward)]

    def __iter__(self) -> Iterator[Node]:
        return iter(self._touched)

    def __len__(self) -> int:
        return len(self._touched) if self._shared else sum(len(units) for _, _, units in self._steps)

    def __contains__(self, node: object) -> bool:
        return node in self._touched

    def __getitem__(self, node: Node) -> dict[str, Any]:
        projections = self._touched[node]
        source, target = (self._node, node) if self._forward else (node, self._node)
        blocks = {p.name: edge_block(self._structure, p, source[1], target[1]) for p in projections}
        attributes: dict[str, Any] = {
            "weight": float(sum(weight.sum(dtype=np.float64) for weight, _ in blocks.values())),
            "connections": sum(int(mask.sum()) for _, mask in blocks.values()),
            "projections": tuple(blocks),
        }
        if len(blocks) > 1 or any(weight.ndim for weight, _ in blocks.values()):
            attributes["weights"] = {name: _nested(*block) for name, block in blocks.items()}
        areas = {p.name: edge_area(self._structure, p, source[1], target[1]) for p in projections}
        if any(area is not None for area in areas.values()):
            attributes["areas"] = {name: area.tolist() for name, area in areas.items() if area is not None}
        slots = {p.name: edge_slots(self._structure, p, source[1], target[1]) for p in projections if p.matches}
        if slots:
            attributes["slots"] = {name: found.tolist() for name, found in slots.items() if found is not None}
        return Attributes(attributes)

    def copy(self) -> dict[Node, dict[str, Any]]:
        """An ordinary dict."""
        return dict(self)


def edge_block(structure: Structure, projection: Projection, source: int, target: int) -> tuple[AnyArray, AnyArray]:
    """The weight and mask block (a scalar, a kernel, or one weight a pixel or slot) between two units given by id.

    An argument joins units without a connection: weight 0 and dormant.
    """
    columns, ends = structure.wired(projection.name)
    return columns.between_two(ends.target.position[target], ends.source.position[source], ends)


def edge_slots(structure: Structure, projection: Projection, source: int, target: int) -> AnyArray | None:
    """(k,): at which slots of a head a unit stands; None for a projection without slots."""
    columns, ends = structure.wired(projection.name)
    return columns.slots_between(ends.target.position[target], ends.source.position[source], ends)


def edge_area(structure: Structure, projection: Projection, source: int, target: int) -> AnyArray | None:
    """(P, Q): where a convolution between two units given by id is computed; None where it is everywhere."""
    area, ends = structure.connection_columns(projection.name).area, structure.ends(projection.name)
    if area is None:
        return None
    return of_pairs(area, ends.target.position[target], ends.source.position[source])


def _nested(weight: AnyArray, mask: AnyArray) -> Any:
    if not weight.ndim:
        return float(weight) if mask else None
    return [_nested(row, lit) for row, lit in zip(weight, mask, strict=True)]
