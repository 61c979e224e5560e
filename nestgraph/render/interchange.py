"""A network's layers or units for other viewers: Model Explorer's JSON with overlays, GraphML and node-link JSON.

Model Explorer's file is a graph collection, `{label, graphs: [{id, nodes}]}`, where a node has `id`, `label`,
`namespace`, `attrs` and `incomingEdges`; an overlay is a file of its own, `{graph id: {results: {node id: {value}}}}`
(google-ai-edge/model-explorer, graph_builder.py and node_data_builder.py, 2026).
"""

# networkx writes GraphML and node-link; its functions are partly untyped.
# pyright: reportUnknownMemberType=false

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import networkx as nx

from nestgraph.errors import RenderError, SnapshotError
from nestgraph.graph.cost import Cost, NetworkCost, cost
from nestgraph.graph.explicit import plain_graph
from nestgraph.graph.network import Network
from nestgraph.graph.summary import operation_words
from nestgraph.render.folding import runs
from nestgraph.render.style import MUTED, plain, size_words
from nestgraph.snapshot import write_all_own
from nestgraph.spec.projection import Projection

Format = Literal["model-explorer", "graphml", "node-link"]
Detail = Literal["layers", "units"]
MOST_EDGES = 1_000_000  # of a unit graph, whose edges are text of some 300 bytes each
SCALE = ({"stop": 0, "bgColor": "#F3EFB0"}, {"stop": 1, "bgColor": "#41A9BF"})


def write_interchange(
    network: Network, path: str | os.PathLike[str], form: Format, detail: Detail = "layers", overwrite: bool = False
) -> tuple[Path, ...]:
    """Write a network for another viewer.

    Args:
        network: what to write.
        path: the file; the overlays of Model Explorer go beside it, as NAME.density.json and so on.
        form: `model-explorer`, `graphml` or `node-link`.
        detail: its layers, or every unit and edge (not for Model Explorer); `Network.from_graph` reads the latter.
        overwrite: replace files of other content that are there.

    Returns:
        The files that were written.

    Raises:
        RenderError: the format or detail is unknown, or there are too many units; or a file cannot be written.
    """
    target = Path(path)
    if form not in get_args(Format) or detail not in get_args(Detail):
        raise RenderError(f"export expected one of {', '.join(get_args(Format))}, got {str(form)[:40]!r} of {detail!r}")
    if form == "model-explorer":
        if detail == "units":
            raise RenderError("Model Explorer shows layers: write its units as graphml or node-link")
        files = {target: model_explorer(network)}
        files |= {target.with_suffix(f".{name}.json"): data for name, data in overlays(network).items()}
        return _written({file: json.dumps(content, indent=1).encode() for file, content in files.items()}, overwrite)
    graph = layer_graph_data(network) if detail == "layers" else _unit_graph(network)
    if form == "node-link":
        return _written({target: json.dumps(nx.node_link_data(graph, edges="edges")).encode()}, overwrite)
    text = io.BytesIO()
    nx.write_graphml(graph, text)
    return _written({target: text.getvalue()}, overwrite)


def _written(files: Mapping[Path, bytes], overwrite: bool) -> tuple[Path, ...]:
    """Write files of other programs' formats, which have no mark of ours: what is there stays, unless told."""
    try:
        write_all_own({file: (data, None) for file, data in files.items()}, overwrite)
    except SnapshotError as error:
        raise RenderError(f"a graph could not be written: {error}") from error
    return tuple(files)


def _unit_graph(network: Network) -> "nx.DiGraph[str]":
    edges = network.graph.number_of_edges()
    if edges > MOST_EDGES:
        raise RenderError(f"a unit graph for a file expected at most {MOST_EDGES:,} edges, got {edges:,}: use layers")
    return plain_graph(network)


def layer_graph_data(network: Network) -> "nx.DiGraph[str]":
    """The layers as a graph whose attributes are text and numbers, as GraphML and node-link JSON need them.

    Several projections between two layers are one edge: names and words are joined, counts summed.
    """
    table = cost(network)
    graph: nx.DiGraph[str] = nx.DiGraph()
    for name in network.layer_names:
        graph.add_node(name, **_layer_attributes(network, name, table.by_layer[name]))
    for name in network.projection_names:
        projection, entry = network.projection(name), table.by_projection[name]
        given = graph.get_edge_data(projection.source, projection.target) or {}
        graph.add_edge(projection.source, projection.target, **_joined(given, projection, entry))
    return graph


def _joined(given: Mapping[str, Any], projection: Projection, entry: Cost) -> dict[str, Any]:
    counts = {"connections": entry.connections, "possible": entry.possible, "flops": entry.flops}
    names = f"{given['projections']} {projection.name}" if given else projection.name
    words = f"{given['words']}; {projection.words}" if given else projection.words
    return {"projections": names, "words": words} | {key: given.get(key, 0) + n for key, n in counts.items()}


def _layer_attributes(network: Network, name: str, entry: Cost) -> dict[str, Any]:
    layer = network.layer(name)
    found: dict[str, Any] = {
        "kind": layer.kind if layer.opaque is None else f"opaque: {plain(layer.opaque)}",
        "label": plain(layer.label),
        "output": layer.output,
        "size": size_words(layer),
        "operations": operation_words(layer),
        "units": entry.units,
        "connections": entry.connections,
        "possible": entry.possible,
        "parameters": entry.parameters,
        "flops": entry.flops,
    }
    return {key: value for key, value in found.items() if value != ""}


def model_explorer(network: Network) -> dict[str, Any]:
    """A graph collection of the layers; runs of equal layers share a namespace, and edges carry their live counts."""
    table = cost(network)
    spaces = {name: f"{run.key}_x{len(run.names)}" for run in runs(network) if len(run.names) > 1 for name in run.names}
    nodes = [_node(network, table, name, spaces.get(name, "")) for name in network.layer_names]
    total = {key: f"{value:,}" for key, value in vars(table.total).items()}
    graph = {
        "id": "layers",
        "nodes": nodes,
        "groupNodeAttributes": {"": total | {"digest": network.digest}},
        "tasksData": {"edgeOverlaysDataListLeftPane": [_edge_overlay(network, table)]},
    }
    return {"label": f"nestgraph {network.digest[:8]}", "graphs": [graph]}


def _node(network: Network, table: NetworkCost, name: str, namespace: str) -> dict[str, Any]:
    attributes = _layer_attributes(network, name, table.by_layer[name])
    incoming = network.incoming(name)
    edges = [
        {"sourceNodeId": p.source, "sourceNodeOutputId": "0", "targetNodeInputId": str(place)}
        for place, p in enumerate(incoming)
    ]
    metadata = [
        {"id": str(place), "attrs": _pairs({"__tensor_tag": p.name, "words": p.words, **_counts(table, p)})}
        for place, p in enumerate(incoming)
    ]
    return {
        "id": name,
        "label": name,
        "namespace": namespace,
        "attrs": _pairs(attributes),
        "incomingEdges": edges,
        "inputsMetadata": metadata,
    }


def _counts(table: NetworkCost, projection: Projection) -> dict[str, Any]:
    if not projection.weighted:
        return {}
    entry = table.by_projection[projection.name]
    return {"live": entry.connections, "possible": entry.possible, "flops": entry.flops}


def _pairs(attributes: Mapping[str, Any]) -> list[dict[str, str]]:
    """Model Explorer takes text alone."""
    return [{"key": key, "value": f"{v:,}" if type(v) is int else str(v)} for key, v in attributes.items()]


def _edge_overlay(network: Network, table: NetworkCost) -> dict[str, Any]:
    edges = [
        {
            "sourceNodeId": p.source,
            "targetNodeId": p.target,
            "label": f"{table.by_projection[p.name].connections:,} live",
        }
        for p in map(network.projection, network.projection_names)
    ]
    overlay = {"name": "live connections", "edgeColor": MUTED, "edges": edges}
    return {"type": "edge_overlays", "name": "connections", "overlays": [overlay]}


def overlays(network: Network) -> dict[str, dict[str, Any]]:
    """Values to colour Model Explorer's nodes by, one file each: density, connections, parameters and FLOPs."""
    table = cost(network).by_layer
    values = {
        "density": {name: entry.connections / entry.possible for name, entry in table.items() if entry.possible},
        "connections": {name: entry.connections for name, entry in table.items()},
        "parameters": {name: entry.parameters for name, entry in table.items()},
        "flops": {name: entry.flops for name, entry in table.items()},
    }
    return {
        name: {"layers": {"results": {key: {"value": value} for key, value in found.items()}, "gradient": list(SCALE)}}
        for name, found in values.items()
    }
