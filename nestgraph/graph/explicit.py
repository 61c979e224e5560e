"""Between a structure and an explicit networkx graph, with nodes `(layer, id)` or in the plain form of files."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import networkx as nx
import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from nestgraph.errors import StructureError
from nestgraph.graph.columns import NEUTRAL, ConnectionColumns, UnitColumns
from nestgraph.graph.geometry import weight_shape
from nestgraph.graph.structure import Structure
from nestgraph.graph.topology import Node
from nestgraph.graph.view import UnitGraph
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.interface import Interface
from nestgraph.spec.layer import Layer
from nestgraph.spec.operations import Activation
from nestgraph.spec.projection import Argument, Conv, Dense, OneToOne, Projection
from nestgraph.spec.record import Record, plain_problem

Edge = tuple[int, int, Mapping[str, Any]]
RECORDS: Mapping[str, TypeAdapter[Any]] = {
    "layers": TypeAdapter(tuple[Layer, ...]),
    "projections": TypeAdapter(tuple[Projection, ...]),
    "interface": TypeAdapter(Interface | None),
}
NESTED = ("weights", "areas")


def plain_graph(structure: Structure) -> "nx.DiGraph[str]":
    """An ordinary graph for file formats that take text and numbers only, such as GraphML; `from_graph` reads it.

    Nodes are called `layer:id`. Attributes are those of `network.graph`, with `projections` as names between spaces
    and `weights` and `areas` as JSON. The records of layers and projections, and the interface where one is recorded,
    are attributes of the graph, as JSON. It holds every edge as Python objects, about 1 kB each.

    Lost are the areas of pairs without an active connection, links without one, and which ids were used before.
    """
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.graph["layers"] = _json(structure.layer(name) for name in structure.layer_names)
    graph.graph["projections"] = _json(structure.projection(name) for name in structure.projection_names)
    if structure.interface is not None:
        graph.graph["interface"] = structure.interface.model_dump_json()
    view = UnitGraph(structure)
    graph.add_nodes_from((_plain_name(node), dict(data)) for node, data in view.nodes(data=True))
    graph.add_edges_from((_plain_name(u), _plain_name(v), _plain_edge(data)) for u, v, data in view.edges(data=True))
    return graph


def _json(records: Iterable[Record]) -> str:
    return json.dumps([record.model_dump(mode="json") for record in records])


def _plain_name(node: Node) -> str:
    return f"{node[0]}:{node[1]}"


def _plain_edge(data: Mapping[str, Any]) -> dict[str, Any]:
    nested = {name: json.dumps(data[name]) for name in NESTED if name in data}
    return {**data, "projections": " ".join(data["projections"]), **nested}


def _from_plain(graph: "nx.DiGraph[str]") -> "nx.DiGraph[Node]":
    """The graph with nodes `(layer, id)` and nested attributes, as `network.graph` has them."""
    read: nx.DiGraph[Node] = nx.DiGraph()
    read.add_nodes_from((_node(name), data) for name, data in graph.nodes(data=True))
    read.add_edges_from((_node(u), _node(v), _edge(data)) for u, v, data in graph.edges(data=True))
    return read


def _node(name: object) -> Node:
    match str(name).split(":"):
        case [layer, unit] if unit.isascii() and unit.isdecimal() and len(unit) <= 16:
            return layer, int(unit)
        case _:
            raise StructureError(f"from_graph expected nodes called 'layer:id', got {repr(name)[:80]}")


def _edge(data: Mapping[str, Any]) -> dict[str, Any]:
    given = _present(data)
    try:
        nested = {name: from_json(given[name]) for name in NESTED if name in given}
    except (TypeError, ValueError) as error:
        raise StructureError(f"from_graph expected {' and '.join(NESTED)} of an edge as JSON, got {error}") from None
    named = {"projections": str(given["projections"]).split()} if "projections" in given else {}
    return given | nested | named


def _present(data: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that an edge has; where another edge has one that it lacks, pandas gives NaN."""
    lacking = {name for name in (*NESTED, "projections") if isinstance(data.get(name), float)}
    return {name: value for name, value in data.items() if name not in lacking or not math.isnan(value)}


def _records(graph: "nx.DiGraph[Any]", kind: str, missing: str = "[]") -> Any:
    try:
        return RECORDS[kind].validate_json(graph.graph.get(kind, missing))
    except ValidationError as error:
        raise StructureError(f"from_graph expected {kind} of the graph as JSON, got {plain_problem(error)}") from None


def structure_from_graph(
    graph: "nx.DiGraph[Node]",
    layers: Sequence[Layer],
    projections: Sequence[Projection],
    interface: Interface | None = None,
) -> Structure:
    """Gather the columns of layers and projections from a graph's nodes and edges (see `Network.from_graph`)."""
    if not isinstance(graph, nx.DiGraph) or graph.is_multigraph():  # pyright: ignore[reportUnnecessaryIsInstance]
        raise StructureError(f"from_graph expected a networkx.DiGraph, got {type(graph).__name__}")
    if any(isinstance(node, str) for node in graph):
        layers, projections = layers or _records(graph, "layers"), projections or _records(graph, "projections")
        interface = interface or _records(graph, "interface", "null")
        graph = _from_plain(cast("nx.DiGraph[str]", graph))
    members = _members(graph.nodes)
    pairs = sorted({(source[0], target[0]) for source, target in graph.edges})
    try:
        known = {layer.name for layer in layers}
        inferred = [_inferred_layer(name, members[name], pairs) for name in members if name not in known]
        carriers = list(projections) or [Dense(source=source, target=target) for source, target in pairs]
    except ValidationError as error:
        raise StructureError(f"from_graph expected nodes (layer name, id), got {plain_problem(error)}") from None
    records = [*layers, *inferred]
    units = {layer.name: _unit_columns(graph, layer, members.get(layer.name, [])) for layer in records}
    structure = Structure(records, carriers, units, {}, interface=interface)
    _check_all_carried(pairs, structure)
    return structure.replace(connections={p.name: _connection_columns(graph, structure, p) for p in carriers})


def _members(nodes: Iterable[object]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for node in nodes:
        match node:
            case (str(layer), int() | np.integer() as given) if not isinstance(given, bool) and 0 <= given < 2**53:
                members.setdefault(layer, []).append(int(cast(int, given)))
            case _:
                raise StructureError(f"from_graph expected nodes (layer name, id from 0 up), got {repr(node)[:80]}")
    return members


def _inferred_layer(name: str, ids: list[int], pairs: list[tuple[str, str]]) -> Layer:
    if all(target != name for _, target in pairs):
        return Layer(name=name, kind="input", features=max(ids) + 1)
    output = all(source != name for source, _ in pairs)
    chain = () if output else (Activation(function="relu"),)
    return Layer(name=name, kind="neurons", output=output, operations=chain)


def _unit_columns(graph: "nx.DiGraph[Node]", layer: Layer, ids: list[int]) -> UnitColumns:
    attributes = [graph.nodes[layer.name, unit] for unit in ids]
    values = {
        column: _numbers([entry.get(column, NEUTRAL[column]) for entry in attributes], f"{column} of {layer.name!r}")
        for column in layer.column_names
    }
    return UnitColumns.of(np.array(ids, np.int64), values)


def _numbers(values: Any, what: str) -> AnyArray:
    try:
        with np.errstate(over="ignore"):  # infinity, which verification reports
            return np.asarray(values).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise StructureError(f"from_graph expected numbers for the {what}, got {str(values)[:80]}: {error}") from None


def _connection_columns(graph: "nx.DiGraph[Node]", structure: Structure, projection: Projection) -> ConnectionColumns:
    edges = [
        (source[1], target[1], data)
        for source, target, data in ((u, v, _present(given)) for u, v, given in graph.edges(data=True))
        if (source[0], target[0]) == (projection.source, projection.target) and _carries(data, projection.name)
    ]
    if isinstance(projection, Argument):
        return ConnectionColumns.of(np.zeros(0))
    if isinstance(projection, OneToOne):
        return _linked(projection, sorted(edges, key=lambda edge: edge[1]))
    shape = weight_shape(structure, projection)
    sources = structure.unit_columns(projection.source).position
    targets = structure.unit_columns(projection.target).position
    weight, mask = np.zeros(shape, np.float32), np.zeros(shape, bool)
    for edge in edges:
        place = (targets[edge[1]], sources[edge[0]])
        weight[place], mask[place] = _block(projection, edge, shape[2:])
    return ConnectionColumns.of(weight, mask, _area(structure, projection, edges))


def _carries(data: Mapping[str, Any], projection: str) -> bool:
    names = data.get("projections", (projection,))
    if not isinstance(names, tuple | list):
        raise StructureError(f"from_graph expected projections to be a list of names, got {str(names)[:80]}")
    return projection in names


def _linked(projection: OneToOne, edges: Sequence[Edge]) -> ConnectionColumns:
    links = np.array([edge[:2] for edge in edges], np.int64).reshape(-1, 2)
    kernel = projection.kernel or ()
    blocks = [_block(projection, edge, kernel) for edge in edges]
    weight = np.array([block[0] for block in blocks], np.float32).reshape(len(edges), *kernel)
    mask = np.array([block[1] for block in blocks], bool).reshape(len(edges), *kernel)
    return ConnectionColumns.of(weight, mask, links=links)


def _block(projection: Projection, edge: Edge, shape: tuple[int, ...]) -> tuple[AnyArray, AnyArray]:
    source, target, data = edge
    where = f"edge from {(projection.source, source)} to {(projection.target, target)}"
    nested = _table(data, "weights").get(projection.name, data.get("weight", 0.0))
    values = _objects(nested)
    active = np.asarray(values != None)  # noqa: E711  (elementwise)
    if values.shape not in ((), shape):
        raise StructureError(f"{where}: expected weights of shape {shape} for {projection.name!r}, got {values.shape}")
    block = _numbers(np.where(active, values, 0.0), where)
    return np.broadcast_to(block, shape), np.broadcast_to(active, shape)


def _objects(nested: Any) -> AnyArray:
    try:
        return np.array(nested, dtype=object)
    except ValueError as error:
        raise StructureError(f"from_graph expected weights as even nested lists, got {error}") from None


def _area(structure: Structure, projection: Projection, edges: Sequence[Edge]) -> AnyArray | None:
    """(out, in, P, Q), or (out, 1, P, Q) where the edges into each map agree; None where no edge has one."""
    given = {edge[:2]: _table(edge[2], "areas").get(projection.name) for edge in edges}
    if all(area is None for area in given.values()) or not isinstance(projection, Conv):
        return None
    rows: list[AnyArray] = []
    size = structure.layer(projection.target).size
    for target in structure.units(projection.target).tolist():
        known = {source: _grid(area, size) for (source, unit), area in given.items() if unit == target}
        rest = next(iter(known.values()), np.ones(size or (), bool))
        rows.append(np.stack([known.get(source, rest) for source in structure.units(projection.source).tolist()]))
    area = np.stack(rows)
    return area[:, :1] if (area == area[:, :1]).all() else area


def _grid(area: Any, size: tuple[int, int] | None) -> AnyArray:
    grid = np.ones(size or (), bool) if area is None else _objects(area)
    if grid.shape != size or not all(isinstance(entry, bool | np.bool) for entry in grid.flat):
        raise StructureError(f"from_graph expected areas of {size} booleans, got {str(area)[:80]}")
    return grid.astype(bool)


def _table(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table = data.get(name, {})
    if not isinstance(table, Mapping):
        raise StructureError(f"from_graph expected {name} by projection name, got {str(table)[:80]}")
    return cast(Mapping[str, Any], table)


def _check_all_carried(pairs: list[tuple[str, str]], structure: Structure) -> None:
    carried = {(projection.source, projection.target) for projection in structure.projections_by_name.values()}
    for source, target in pairs:
        if (source, target) not in carried:
            raise StructureError(
                f"edges from {source!r} to {target!r} expected a projection that carries them, got none: "
                "give its record to from_graph"
            )
