"""A network's records and columns, not yet verified: what edits work on.

`Structure` is the data; `Network` (in `network.py`) is a structure that passed verification. Splitting the two
lets a batch of edits pass through invalid states while no invalid network can exist.
"""

import copy
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any, Self, TypeVar

import networkx as nx
import numpy as np

from nestgraph.errors import StructureError
from nestgraph.graph.body import Body
from nestgraph.graph.columns import ConnectionColumns, Ends, Links, UnitColumns
from nestgraph.graph.pairs import PairList, Pairs
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.interface import InputPort, Interface, OutputPort
from nestgraph.spec.layer import Layer
from nestgraph.spec.projection import Argument, Projection
from nestgraph.spec.wording import quoted

T = TypeVar("T")
R = TypeVar("R", Layer, Projection)


OF_RECORDS = ("layer_names", "projection_names", "_by_target", "_by_source", "inputs", "outputs", "tied")
"""What a structure looks up once, and its records and interface alone say."""


class Structure:
    """Layers, projections and their columns, by name. Immutable; versions share what did not change."""

    @checked(StructureError)
    def __init__(
        self,
        layers: Iterable[Layer],
        projections: Iterable[Projection],
        units: Mapping[str, UnitColumns],
        connections: Mapping[str, ConnectionColumns],
        bodies: Mapping[str, Body] | None = None,
        interface: Interface | None = None,
    ) -> None:
        self._layers = _by_name(layers, "layers", Layer)
        self._projections = _by_name(projections, "projections", Projection)
        self._units = dict(units)
        self._connections = dict(connections)
        self._bodies = dict(bodies or {})
        self._interface = None if interface is None or interface.plain else interface
        self._accept()

    def _accept(self) -> None:
        """What the class demands of its data; a structure demands nothing."""

    def replace(
        self,
        layers: Mapping[str, Layer | None] | None = None,
        projections: Mapping[str, Projection | None] | None = None,
        units: Mapping[str, UnitColumns] | None = None,
        connections: Mapping[str, ConnectionColumns] | None = None,
    ) -> "Structure":
        """A structure with some entries exchanged or added; a record of None removes it and its columns."""
        if not layers and not projections:
            return self._with_columns(units or {}, connections or {})
        new_layers = _updated(self._layers, layers)
        new_projections = _updated(self._projections, projections)
        new_units = self._units | dict(units or {})
        new_connections = self._connections | dict(connections or {})
        return Structure(
            new_layers.values(),
            new_projections.values(),
            {name: columns for name, columns in new_units.items() if name in new_layers},
            {name: columns for name, columns in new_connections.items() if name in new_projections},
            {name: body for name, body in self._bodies.items() if name in new_layers},
            self._interface,
        )

    @checked(StructureError)
    def _with_columns(
        self, units: Mapping[str, UnitColumns], connections: Mapping[str, ConnectionColumns]
    ) -> "Structure":
        """A structure with some columns exchanged: it shares the records, and what is known of their order."""
        twin = Structure.__new__(Structure)
        twin._layers, twin._projections = self._layers, self._projections
        twin._units = self._units | {name: units[name] for name in units if name in self._layers}
        twin._connections = self._connections | {n: connections[n] for n in connections if n in self._projections}
        twin._bodies, twin._interface = self._bodies, self._interface
        vars(twin).update((name, vars(self)[name]) for name in OF_RECORDS if name in vars(self))
        return twin

    def with_interface(self, interface: Interface | None) -> "Structure":
        """A structure with another interface; None for the order of the layers."""
        layers, projections = self._layers.values(), self._projections.values()
        return Structure(layers, projections, self._units, self._connections, self._bodies, interface)

    def with_bodies(self, bodies: Mapping[str, Body]) -> Self:
        """The same with what opaque layers compute, by layer; bodies of other layers stay.

        Raises:
            StructureError: a layer is not opaque, or a body cannot be called.
        """
        for name, body in bodies.items():
            if self.layer(name).opaque is None:
                raise StructureError(f"with_bodies expected names of opaque layers, got {name!r}, which has no body")
            if not callable(body):
                raise StructureError(f"with_bodies expected a body that can be called, got {type(body).__name__}")
        twin = copy.copy(self)
        twin._bodies = {**self._bodies, **bodies}
        return twin

    # -- records -------------------------------------------------------------------------------------

    @cached_property
    def layer_names(self) -> tuple[str, ...]:
        """Names of the layers, each after all that feed it; ties in alphabetical order.

        Raises:
            StructureError: the layers form a cycle.
        """
        return _ordered(tuple(self._layers), tuple((p.source, p.target) for p in self._projections.values()))

    @cached_property
    def projection_names(self) -> tuple[str, ...]:
        """Names of the projections in the order of their target layers; ties in alphabetical order."""
        place = {name: index for index, name in enumerate(self.layer_names)}
        return tuple(sorted(self._projections, key=lambda name: (place[self._projections[name].target], name)))

    def layer(self, name: str) -> Layer:
        """The record of a layer.

        Raises:
            StructureError: there is no such layer.
        """
        return _found(self._layers, name, "layer")

    def projection(self, name: str) -> Projection:
        """The record of a projection.

        Raises:
            StructureError: there is no such projection.
        """
        return _found(self._projections, name, "projection")

    @property
    def layers_by_name(self) -> Mapping[str, Layer]:
        """The records of all layers, in no particular order."""
        return self._layers

    @property
    def projections_by_name(self) -> Mapping[str, Projection]:
        """The records of all projections, in no particular order."""
        return self._projections

    def has_layer(self, name: str) -> bool:
        """Whether there is a layer of that name."""
        return isinstance(name, str) and name in self._layers  # pyright: ignore[reportUnnecessaryIsInstance]

    def has_projection(self, name: str) -> bool:
        """Whether there is a projection of that name."""
        return isinstance(name, str) and name in self._projections  # pyright: ignore[reportUnnecessaryIsInstance]

    @cached_property
    def _by_target(self) -> dict[str, tuple[Projection, ...]]:
        return self._by_end(lambda projection: projection.target)

    @cached_property
    def _by_source(self) -> dict[str, tuple[Projection, ...]]:
        return self._by_end(lambda projection: projection.source)

    def _by_end(self, end: Callable[[Projection], str]) -> dict[str, tuple[Projection, ...]]:
        """For each layer the projections of which it is an end, by name."""
        found: dict[str, list[Projection]] = {layer: [] for layer in self._layers}
        for _, projection in sorted(self._projections.items()):
            found.get(end(projection), []).append(projection)
        return {layer: tuple(projections) for layer, projections in found.items()}

    def incoming(self, layer: str) -> tuple[Projection, ...]:
        """The projections into a layer, by name."""
        return _found(self._by_target, layer, "layer")

    def summed(self, layer: str) -> tuple[Projection, ...]:
        """The projections that a layer's sum adds up, by name: neither gates nor arguments."""
        return tuple(p for p in self.incoming(layer) if p.adds)

    @cached_property
    def tied(self) -> Mapping[str, str]:
        """By projection of which there is another with the same table, the name of that: of a lookup, what follows it.

        A table that follows comes with the lookup that it names, and the lookup with it.
        """
        followed = {p.name: p.follows for p in self._projections.values() if p.follows in self._projections}
        both = {name: like for name, like in followed.items() if like and self._projections[like].names_classes}
        return {**{like: name for name, like in both.items()}, **both}

    def matches(self, layer: str) -> tuple[Projection, ...]:
        """Both sides of what a layer of heads compares, by name."""
        return tuple(p for p in self.incoming(layer) if p.matches)

    def gates(self, layer: str) -> tuple[Projection, ...]:
        """The projections that multiply a layer's sum, by name."""
        return tuple(p for p in self.incoming(layer) if p.gates)

    def arguments(self, layer: str) -> tuple[Argument, ...]:
        """The arguments of an opaque layer's body, in their order."""
        found = (p for p in self.incoming(layer) if isinstance(p, Argument))
        return tuple(sorted(found, key=lambda argument: argument.place))

    def outgoing(self, layer: str) -> tuple[Projection, ...]:
        """The projections out of a layer, by name."""
        return _found(self._by_source, layer, "layer")

    # -- what goes in and comes out --------------------------------------------------------------------

    @property
    def interface(self) -> Interface | None:
        """The recorded interface; None where there is none, and inputs and outputs are in the order of the layers."""
        return self._interface

    @cached_property
    def inputs(self) -> tuple[InputPort, ...]:
        """What the network takes, by position."""
        if self._interface is not None:
            return self._interface.inputs
        return tuple(InputPort(layer=name) for name in self.layer_names if self._layers[name].kind == "input")

    @cached_property
    def outputs(self) -> tuple[OutputPort, ...]:
        """What the network gives, by position."""
        if self._interface is not None:
            return self._interface.outputs
        return tuple(OutputPort(layer=name) for name in self.layer_names if self._layers[name].output)

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the input layers, in the order of `inputs`."""
        return tuple(port.layer for port in self.inputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the output layers in the order of `outputs`, each once."""
        return tuple(dict.fromkeys(port.layer for port in self.outputs))

    # -- columns -------------------------------------------------------------------------------------

    def unit_columns(self, layer: str) -> UnitColumns:
        """The columns of a layer's units."""
        return _found(self._units, layer, "layer")

    def connection_columns(self, projection: str) -> ConnectionColumns:
        """The columns of a projection's connections."""
        return _found(self._connections, projection, "projection")

    def ends(self, projection: str) -> Ends:
        """The units at both ends of a projection."""
        record = self.projection(projection)
        return Ends(self.unit_columns(record.target), self.unit_columns(record.source))

    def wired(self, projection: str) -> tuple[ConnectionColumns, Ends]:
        """The connections of a projection, and the units at both of its ends."""
        return self.connection_columns(projection), self.ends(projection)

    def linked(self, projection: str) -> tuple[Links, Ends]:
        """As `wired`, of a projection whose pairs are listed.

        Raises:
            StructureError: they are not.
        """
        columns, ends = self.wired(projection)
        if not isinstance(columns, Links):
            raise StructureError(f"projection {projection!r}: expected one-to-one links, got a {columns.what}")
        return columns, ends

    def pairs(self, projection: str) -> Pairs:
        """The pairs of units that a projection joins by at least one active connection.

        An argument joins all, or those of the same id where its layer works unit by unit.
        """
        columns, ends = self.wired(projection)
        return _alike(ends) if self.ties(self.projection(projection)) else columns.pairs(ends)

    def read_by(self, argument: Argument) -> AnyArray:
        """(k,) int64: the positions of the units of a layer that a body reads: all, or those of its own units' ids."""
        target, source = self.ends(argument.name)
        return source.positions(target.ids) if self.ties(argument) else np.arange(len(source))

    def ties(self, projection: Projection) -> bool:
        """Whether a projection is an argument of a layer that works unit by unit, and so joins units of the same id."""
        return not projection.weighted and self.layer(projection.target).unitwise

    def fans(self, layer: str) -> tuple[AnyArray, AnyArray]:
        """(units,) int64 each: how many active connections lead into and out of the units of a layer."""
        into, out = (np.zeros(len(self.unit_columns(layer)), np.int64) for _ in range(2))
        for found, end, projections in ((into, 0, self.incoming(layer)), (out, 1, self.outgoing(layer))):
            for columns, ends in (self.wired(projection.name) for projection in projections):
                found += columns.total(columns.mask, end, ends)
        return into, out

    def units(self, layer: str) -> AnyArray:
        """The ids of a layer's units, (units,) int64, in the order of their positions."""
        return self.unit_columns(layer).ids

    @property
    def bodies(self) -> Mapping[str, Body]:
        """What opaque layers compute, by layer: no part of equality, digest or files, so it may be missing."""
        return self._bodies

    @checked(StructureError)
    def fresh_ids(self, layer: str, count: int) -> list[int]:
        """`count` ids that no unit of the layer ever had."""
        start = self.unit_columns(layer).next_id
        return list(range(start, start + count))

    @property
    def unit_count(self) -> int:
        """The number of units of all layers."""
        return sum(len(self._units[name]) for name in self._layers)

    @property
    def connection_count(self) -> int:
        """The number of active connections: weights, of which an edge of `graph` may carry several."""
        return sum(self._connections[name].active for name in self._projections)


@lru_cache(maxsize=64)
def _ordered(layers: tuple[str, ...], edges: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    """Names of layers, each after all that feed it: looked up again where an edit leaves layers and projections."""
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(layers)
    graph.add_edges_from(edges)
    try:
        return tuple(nx.lexicographical_topological_sort(graph))
    except nx.NetworkXUnfeasible:
        cycle = " -> ".join(edge[0] for edge in nx.find_cycle(graph))  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType, reportUnknownArgumentType]
        raise StructureError(f"expected layers without a cycle, got {cycle}: remove one projection") from None


def _by_name(records: Iterable[R], what: str, kind: Any) -> dict[str, R]:
    table: dict[str, R] = {}
    for record in records:
        if not isinstance(record, kind):
            raise StructureError(f"expected records of {what}, got {quoted(record)}")
        if record.name in table:
            raise StructureError(
                f"expected {what} of different names, got {record.name!r} twice: give one another name"
            )
        table[record.name] = record
    return table


def _updated(old: dict[str, Any], changes: Mapping[str, Any] | None) -> dict[str, Any]:
    merged = old | dict(changes or {})
    return {name: record for name, record in merged.items() if record is not None}


def _found(table: Mapping[str, T], name: str, what: str) -> T:
    try:
        return table[name]
    except (KeyError, TypeError):  # asked so often that to look first costs
        known = ", ".join(sorted(table)[:12]) or "none"
        raise StructureError(f"expected the name of a {what}, got {quoted(name)}; there are: {known}") from None


def _alike(ends: Ends) -> PairList:
    """The pairs of units of the same id."""
    sources = ends.source.find(ends.target.ids)
    targets = np.flatnonzero(sources >= 0)
    return PairList(targets, sources[targets], ends.shape)
