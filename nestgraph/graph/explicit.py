"""Between a structure and an explicit networkx graph, with nodes `(layer, id)` or in the plain form of files."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import networkx as nx
import numpy as np
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from nestgraph.errors import RecordError, StructureError
from nestgraph.graph.annotations import NESTED, Edge, check_sums, check_unit, present, read_edge, table
from nestgraph.graph.columns import ConnectionColumns, Slotted, UnitColumns
from nestgraph.graph.columns.areas import shortest
from nestgraph.graph.projections import meaning_of
from nestgraph.graph.structure import Structure
from nestgraph.graph.topology import Node
from nestgraph.graph.view import UnitGraph
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size
from nestgraph.spec.interface import Interface
from nestgraph.spec.layer import Layer
from nestgraph.spec.limits import MAX_LAYERS, MAX_PROJECTIONS
from nestgraph.spec.operations import Activation
from nestgraph.spec.projection import AnyProjection, Dense, Projection
from nestgraph.spec.record import Record
from nestgraph.spec.unit_column import COLUMNS, neutral
from nestgraph.spec.wording import plain_problem, quoted

Pairs = dict[tuple[str, str], list[tuple[Node, Node, Mapping[str, Any]]]]
"""Edges with their attributes, by the layers that they join."""
RECORDS: Mapping[str, TypeAdapter[Any]] = {
    "layers": TypeAdapter(tuple[Layer, ...]),
    "projections": TypeAdapter(tuple[AnyProjection, ...]),
    "interface": TypeAdapter(Interface | None),
}


@checked(StructureError)
def plain_graph(structure: Structure) -> "nx.DiGraph[str]":
    """An ordinary graph for file formats that take text and numbers only, such as GraphML; `from_graph` reads it.

    Nodes are called `layer:id`. Attributes are those of `network.graph`, with `projections` as names between spaces
    and `weights`, `areas` and `slots` as JSON. The records of layers and projections, and the interface where one is
    recorded, are attributes of the graph, as JSON. It holds every edge as Python objects, about 1 kB each.

    Lost are the areas of pairs without an active connection, links without one, and which ids were used before.
    """
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.graph["layers"] = _json(structure.layer(name) for name in structure.layer_names)
    graph.graph["projections"] = _json(structure.projection(name) for name in structure.projection_names)
    if structure.interface is not None:
        graph.graph["interface"] = structure.interface.model_dump_json()
    view = UnitGraph(structure)
    graph.add_nodes_from((_plain_name(node), _plain_unit(data)) for node, data in view.nodes(data=True))
    graph.add_edges_from((_plain_name(u), _plain_name(v), _plain_edge(data)) for u, v, data in view.edges(data=True))
    return graph


def _json(records: Iterable[Record]) -> str:
    return json.dumps([record.model_dump(mode="json") for record in records])


def _plain_name(node: Node) -> str:
    return f"{node[0]}:{node[1]}"


def _plain_unit(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if isinstance(value, list) else value for name, value in data.items()}


def _plain_edge(data: Mapping[str, Any]) -> dict[str, Any]:
    nested = {name: json.dumps(data[name]) for name in NESTED if name in data}
    return {**data, "projections": " ".join(data["projections"]), **nested}


def _from_plain(graph: "nx.DiGraph[str]") -> "nx.DiGraph[Node]":
    """The graph with nodes `(layer, id)` and nested attributes, as `network.graph` has them."""
    read: nx.DiGraph[Node] = nx.DiGraph()
    for name, data in graph.nodes(data=True):
        read.add_node(_node(name), **_unit(_without(data, dict.fromkeys(("id", "label", "name", "value"), name))))
    for u, v, data in graph.edges(data=True):
        read.add_edge(_node(u), _node(v), **_edge(_without(data, {"source": u, "target": v, "id": ..., "key": ...})))
    return read


def _node(name: object) -> Node:
    match str(name).split(":"):
        case [layer, unit] if unit.isascii() and unit.isdecimal() and len(unit) <= 16:
            return layer, int(unit)
        case _:
            raise StructureError(f"from_graph expected nodes called 'layer:id', got {repr(name)[:80]}")


def _unit(data: Mapping[str, Any]) -> dict[str, Any]:
    several = {name for name, column in COLUMNS.items() if not column.single}
    return {name: _parsed(name, value) if name in several else value for name, value in data.items()}


def _parsed(name: str, value: Any) -> Any:
    """The values of a column that has several, which a plain graph has as JSON."""
    try:
        return from_json(value) if isinstance(value, str) else value
    except ValueError as error:
        raise StructureError(f"from_graph expected {name} of a node as JSON, got {error}") from None


def _edge(data: Mapping[str, Any]) -> dict[str, Any]:
    given = present(data)
    try:
        nested = {name: from_json(given[name]) for name in NESTED if name in given}
    except (TypeError, ValueError) as error:
        raise StructureError(f"from_graph expected {' and '.join(NESTED)} of an edge as JSON, got {error}") from None
    named = {"projections": str(given["projections"]).split()} if "projections" in given else {}
    return given | nested | named


def _without(data: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes but for those by which file formats name a node or an edge."""
    return {name: value for name, value in data.items() if name not in names or names[name] not in (value, ...)}


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
    pairs = _pairs(graph)
    if len(members) > MAX_LAYERS or len(pairs) > MAX_PROJECTIONS:
        expected = f"at most {MAX_LAYERS:,} layers and {MAX_PROJECTIONS:,} projections"
        raise StructureError(f"from_graph expected {expected}, got {len(members):,} and {len(pairs):,}")
    try:
        known = {layer.name for layer in layers}
        inferred = [_inferred_layer(name, members[name], pairs) for name in members if name not in known]
        carriers = list(projections) or _inferred_projections(pairs)
    except RecordError as error:
        raise StructureError(f"from_graph expected nodes (layer name, id), got {error.problem}") from None
    records = [*layers, *inferred]
    units = {layer.name: _unit_columns(graph, layer, members.get(layer.name, [])) for layer in records}
    structure = Structure(records, carriers, units, {}, interface=interface)
    edges = _edges(pairs, structure)
    connections = {p.name: _connection_columns(structure, p, edges[p.name]) for p in carriers}
    return structure.replace(connections=connections)


def _pairs(graph: "nx.DiGraph[Node]") -> Pairs:
    """The edges, by the layers that they join."""
    found: Pairs = {}
    for source, target, data in graph.edges(data=True):
        found.setdefault((source[0], target[0]), []).append((source, target, data))
    return dict(sorted(found.items()))


def _inferred_projections(pairs: Pairs) -> list[Projection]:
    """A dense projection for each name that edges between two layers give, or of its own name where they give none."""
    made: list[Projection] = []
    for (source, target), edges in pairs.items():
        names: dict[str, None] = {}
        for _, _, data in edges:
            given = present(data).get("projections", ())
            names |= dict.fromkeys(cast("Sequence[str]", given) if isinstance(given, tuple | list) else ())
        ends = {"source": source, "target": target}
        made += [Dense.model_validate({**ends, "name": name}) for name in names] or [Dense.model_validate(ends)]
    return made


def _edges(pairs: Pairs, structure: Structure) -> dict[str, list[Edge]]:
    """By projection, the edges that it carries.

    Raises:
        StructureError: an edge is carried by none, or says what none of them carries.
    """
    between: dict[tuple[str, str], list[Projection]] = {}
    for projection in structure.projections_by_name.values():
        between.setdefault((projection.source, projection.target), []).append(projection)
    found: dict[str, list[Edge]] = {name: [] for name in structure.projections_by_name}
    for (source, target), edges in pairs.items():
        if (source, target) not in between:
            raise StructureError(
                f"edges from {source!r} to {target!r} expected a projection that carries them, got none: "
                "give its record to from_graph"
            )
        for ends in edges:
            edge = read_edge(*ends, between[source, target])
            blocks = [_block(structure, structure.projection(name), edge) for name in edge.carriers]
            total = float(sum(weight.sum(dtype=np.float64) for weight, _ in blocks))
            arguments = any(not structure.projection(name).weighted for name in edge.carriers)
            check_sums(edge, total, sum(int(active.sum()) for _, active in blocks), arguments)
            for name in edge.carriers:
                found[name].append(edge)
    return found


def _members(nodes: Iterable[object]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for node in nodes:
        match node:
            case (str(layer), int() | np.integer() as given) if not isinstance(given, bool) and 0 <= given < 2**53:
                members.setdefault(layer, []).append(int(cast(int, given)))
            case _:
                raise StructureError(f"from_graph expected nodes (layer name, id from 0 up), got {repr(node)[:80]}")
    return members


def _inferred_layer(name: str, ids: list[int], pairs: Iterable[tuple[str, str]]) -> Layer:
    if all(target != name for _, target in pairs):
        return Layer(name=name, kind="input", features=max(ids) + 1)
    output = all(source != name for source, _ in pairs)
    chain = () if output else (Activation(function="relu"),)
    return Layer(name=name, kind="neurons", output=output, operations=chain)


def _unit_columns(graph: "nx.DiGraph[Node]", layer: Layer, ids: list[int]) -> UnitColumns:
    attributes = [graph.nodes[layer.name, unit] for unit in ids]
    for unit, data in zip(ids, attributes, strict=True):
        check_unit((layer.name, unit), data, layer)
    values = {
        column: _column([entry.get(column, neutral(column)) for entry in attributes], layer, column)
        for column in layer.column_names
    }
    return UnitColumns.of(np.array(ids, np.int64), values)


def _column(values: list[Any], layer: Layer, column: str) -> AnyArray:
    """A column of a layer's units; a number that is given for one by place goes for all places of a unit."""
    shape, what = layer.column_shape(column, len(values)), f"{column} of {layer.name!r}"
    rows = [_numbers(value, what) for value in values] if len(shape) > 1 else []
    if any(row.shape not in ((), shape[1:]) for row in rows):
        raise StructureError(f"from_graph expected numbers of shape {shape[1:]} for the {what}, got others")
    if len(shape) > 1:
        return np.stack([np.broadcast_to(row, shape[1:]) for row in rows]) if rows else np.zeros(shape, np.float32)
    return _numbers(values, what)


def _numbers(values: Any, what: str) -> AnyArray:
    try:
        with np.errstate(over="ignore"):  # infinity, which verification reports
            return np.asarray(values).astype(np.float32)
    except Exception as error:  # an integer of any size, a tensor with gradients
        raise StructureError(
            f"from_graph expected numbers for the {what}, got {quoted(values)}: {str(error)[:120]}"
        ) from None


def _connection_columns(structure: Structure, projection: Projection, edges: Sequence[Edge]) -> ConnectionColumns:
    meaning, (target, source) = meaning_of(structure, projection), structure.ends(projection.name)
    wanted = len(target) * (1 if structure.ties(projection) else len(source))
    if not projection.weighted and len(edges) != wanted:
        raise StructureError(
            f"argument {projection.name!r} expected an edge from each unit of {projection.source!r} to each of "
            f"{projection.target!r}, got {len(edges)}"
        )
    if projection.matches:
        return _slotted(structure, projection, edges)
    targets = target.positions(np.array([edge.target[1] for edge in edges], np.int64))
    sources = source.positions(np.array([edge.source[1] for edge in edges], np.int64))
    columns = meaning.kind.between(targets, sources, meaning.ends, meaning.inner)
    if projection.weighted and edges:
        at, blocks = (
            columns.index(targets, sources, meaning.ends),
            [_block(structure, projection, edge) for edge in edges],
        )
        weight, mask = columns.weight.copy(), columns.mask.copy()
        weight[at], mask[at] = (np.stack(arrays) for arrays in zip(*blocks, strict=True))
        columns = columns.with_weight(weight, mask)
    return columns.with_area(_area(structure, projection, edges)) if projection.areas else columns


def _slotted(structure: Structure, match: Projection, edges: Sequence[Edge]) -> ConnectionColumns:
    """The links of a match, each at a slot that its edge names."""
    links, weights, masks = [np.zeros((0, 3), np.int64)], [np.zeros(0, np.float32)], [np.zeros(0, bool)]
    for edge in edges:
        weight, mask = _block(structure, match, edge)
        slots = _slots(match, edge)
        links.append(np.array([(edge.source[1], edge.target[1], slot) for slot in slots], np.int64))
        weights.append(weight.reshape(-1))
        masks.append(mask.reshape(-1))
    return Slotted.of(*(np.concatenate(arrays) for arrays in (weights, masks, links))).ordered()


def _slots(match: Projection, edge: Edge) -> Sequence[int]:
    """At which slots of a head an edge of a match leads."""
    given = table(edge.data, "slots")
    known = given.get(match.name)
    slots = cast("Sequence[Any]", known) if isinstance(known, list | tuple) else [known]
    if not slots or not all(type(slot) is int and 0 <= slot < 2**31 for slot in slots):
        edge.refuse(
            f"expected slots of {match.name!r}, whole numbers from 0 up, got {str(dict(given))[:80]}: "
            f"slots={{{match.name!r}: [0]}} says at which slot of its head a unit stands"
        )
    return slots


def _block(structure: Structure, projection: Projection, edge: Edge) -> tuple[AnyArray, AnyArray]:
    """The weights and the mask that a projection carries of an edge."""
    if not projection.weighted:
        return np.zeros((), np.float32), np.zeros((), bool)
    shape = meaning_of(structure, projection).inner
    if projection.matches and (count := len(_slots(projection, edge))) > 1:
        shape = (count,)
    if projection.name in table(edge.data, "areas") and not projection.areas:
        edge.refuse(f"expected areas of convolutions, got one of {projection.name!r}")
    if projection.name in table(edge.data, "slots") and not projection.matches:
        edge.refuse(f"expected slots of queries and keys, got some of {projection.name!r}")
    values = _objects(edge.block(projection.name))
    active = np.asarray(values != None)  # noqa: E711  (elementwise)
    if values.shape not in ((), shape):
        edge.refuse(f"expected weights of shape {shape} for {projection.name!r}, got {values.shape}")
    block = _numbers(np.where(active, values, 0.0), f"edge from {edge.source} to {edge.target}")
    return np.broadcast_to(block, shape), np.broadcast_to(active, shape)


def _objects(nested: Any) -> AnyArray:
    try:
        return np.array(nested, dtype=object)
    except Exception as error:
        raise StructureError(f"from_graph expected weights as even nested lists, got {error}") from None


def _area(structure: Structure, projection: Projection, edges: Sequence[Edge]) -> AnyArray | None:
    """(out, in, *size) in its shortest spelling; None where no edge has one."""
    given = {(e.source[1], e.target[1]): table(e.data, "areas").get(projection.name) for e in edges}
    if all(area is None for area in given.values()):
        return None
    rows: list[AnyArray] = []
    size = structure.layer(projection.target).size
    for target in structure.units(projection.target).tolist():
        known = {source: _grid(area, size) for (source, unit), area in given.items() if unit == target}
        rest = next(iter(known.values()), np.ones(size or (), bool))
        rows.append(np.stack([known.get(source, rest) for source in structure.units(projection.source).tolist()]))
    return shortest(np.stack(rows))


def _grid(area: Any, size: Size | None) -> AnyArray:
    grid = np.ones(size or (), bool) if area is None else _objects(area)
    if grid.shape != size or not all(isinstance(entry, bool | np.bool) for entry in grid.flat):
        raise StructureError(f"from_graph expected areas of {size} booleans, got {str(area)[:80]}")
    return grid.astype(bool)
