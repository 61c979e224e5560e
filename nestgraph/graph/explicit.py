"""From an explicit networkx graph to a structure."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import networkx as nx
import numpy as np

from nestgraph.errors import StructureError
from nestgraph.graph.columns import NEUTRAL, ConnectionColumns, UnitColumns
from nestgraph.graph.geometry import weight_shape
from nestgraph.graph.structure import Structure
from nestgraph.graph.view import Node
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.layer import Layer
from nestgraph.spec.operations import Activation
from nestgraph.spec.projection import Dense, OneToOne, Projection


def structure_from_graph(
    graph: "nx.DiGraph[Node]", layers: Sequence[Layer], projections: Sequence[Projection]
) -> Structure:
    """Gather the columns of layers and projections from a graph's nodes and edges (see `Network.from_graph`)."""
    members = _members(graph.nodes)
    records = {layer.name: layer for layer in layers}
    pairs = sorted({(source[0], target[0]) for source, target in graph.edges})
    for name in members:
        records.setdefault(name, _inferred_layer(name, members[name], pairs))
    units = {name: _unit_columns(graph, records[name], members.get(name, [])) for name in records}
    links = {p.name: p for p in projections} or {f"{a}_to_{b}": Dense(source=a, target=b) for a, b in pairs}
    structure = Structure(records.values(), links.values(), units, {})
    connections = {name: _connection_columns(graph, structure, projection) for name, projection in links.items()}
    _check_all_carried(pairs, links.values())
    return structure.replace(connections=connections)


def _members(nodes: Iterable[Any]) -> dict[str, list[int]]:
    members: dict[str, list[int]] = {}
    for node in nodes:
        if not (isinstance(node, tuple) and len(cast(tuple[Any, ...], node)) == 2):
            raise StructureError(f"from_graph expected nodes (layer name, id), got {str(node)[:80]!r}")  # pyright: ignore
        layer, unit = cast(tuple[Any, Any], node)
        if not isinstance(layer, str) or not isinstance(unit, int | np.integer) or isinstance(unit, bool):
            raise StructureError(f"from_graph expected nodes (layer name, id), got {str(node)[:80]!r}")  # pyright: ignore
        members.setdefault(layer, []).append(int(unit))
    return members


def _inferred_layer(name: str, ids: list[int], pairs: list[tuple[str, str]]) -> Layer:
    if all(target != name for _, target in pairs):
        return Layer(name=name, kind="input", features=max(ids) + 1)
    output = all(source != name for source, _ in pairs)
    return Layer(
        name=name, kind="neurons", output=output, operations=() if output else (Activation(function="relu"),)
    )


def _unit_columns(graph: "nx.DiGraph[Node]", layer: Layer, ids: list[int]) -> UnitColumns:
    attributes = [graph.nodes[layer.name, unit] for unit in ids]
    values = {
        column: np.array([entry.get(column, NEUTRAL[column]) for entry in attributes], np.float32)
        for column in layer.column_names
    }
    return UnitColumns.of(np.array(ids, np.int64), values)


def _connection_columns(graph: "nx.DiGraph[Node]", structure: Structure, projection: Projection) -> ConnectionColumns:
    edges = [
        (source[1], target[1], data)
        for source, target, data in graph.edges(data=True)
        if (source[0], target[0]) == (projection.source, projection.target)
        and projection.name in data.get("projections", (projection.name,))
    ]
    if isinstance(projection, OneToOne):
        links = np.array([(source, target) for source, target, _ in edges], np.int64).reshape(-1, 2)
        shape = (len(links), *(projection.kernel or ()))
        places: list[Any] = list(range(len(links)))
    else:
        links, shape = None, weight_shape(structure, projection)
        sources = structure.unit_columns(projection.source).position
        targets = structure.unit_columns(projection.target).position
        places = [(targets[target], sources[source]) for source, target, _ in edges]
    weight, mask = np.zeros(shape, np.float32), np.zeros(shape, bool)
    for place, (source, target, data) in zip(places, edges, strict=True):
        weight[place], mask[place] = _block(projection, data, weight[place].shape, (source, target))
    return ConnectionColumns.of(weight, mask, links=links)


def _block(
    projection: Projection, data: Mapping[str, Any], shape: tuple[int, ...], ends: tuple[int, int]
) -> tuple[AnyArray, AnyArray]:
    nested = data.get("weights", {}).get(projection.name, data.get("weight", 0.0))
    values = np.array(nested, dtype=object)
    active = values != None  # noqa: E711  (elementwise)
    if values.shape not in ((), shape):
        edge = f"edge from {(projection.source, ends[0])} to {(projection.target, ends[1])}"
        raise StructureError(f"{edge}: expected weights of shape {shape} for {projection.name!r}, got {values.shape}")
    block = np.where(active, values, 0.0).astype(np.float32)
    return np.broadcast_to(block, shape), np.broadcast_to(active, shape)


def _check_all_carried(pairs: list[tuple[str, str]], projections: Iterable[Projection]) -> None:
    carried = {(projection.source, projection.target) for projection in projections}
    for pair in pairs:
        if pair not in carried:
            raise StructureError(f"edges from {pair[0]!r} to {pair[1]!r} expected a projection that carries them, got none")
