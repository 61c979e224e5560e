"""Graphs that went through a file or another library's tables come back as the same network."""

import json

import networkx as nx
import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given

from nestgraph.errors import StructureError
from nestgraph.graph import Network
from nestgraph.graph.explicit import plain_graph
from tests.laws import quick
from tests.strategies import networks
from tests.strategies.networks import EVERY


def written(write, read):
    """There and back through a file."""

    def convert(graph, path):
        write(graph, path)
        return read(path)

    return convert


def through_json(there, back):
    return lambda graph, _: back(json.loads(json.dumps(there(graph))))


def tables(graph, _):
    """Edges and nodes as pandas tables, which have NaN where an attribute is missing."""
    edges = nx.to_pandas_edgelist(graph)
    nodes = pd.DataFrame.from_dict(dict(graph.nodes(data=True)), orient="index")
    read = nx.DiGraph(**graph.graph)
    read.add_nodes_from(nodes.to_dict("index").items())
    read.update(nx.from_pandas_edgelist(edges, edge_attr=True, create_using=nx.DiGraph))
    return read


def gexf(graph, path):
    """GEXF has no place for a graph's attributes."""
    read = written(nx.write_gexf, nx.read_gexf)(graph, path)
    read.graph.update(graph.graph)
    return read


EXACT = {
    "graphml": written(nx.write_graphml, nx.read_graphml),
    "gml": written(nx.write_gml, nx.read_gml),
    "gexf": gexf,
    "node-link JSON": through_json(nx.node_link_data, nx.node_link_graph),
    "adjacency JSON": through_json(nx.adjacency_data, nx.adjacency_graph),
    "cytoscape JSON": through_json(nx.cytoscape_data, nx.cytoscape_graph),
    "pandas": tables,
}


def records(network):
    layers, projections = network.layers_by_name.values(), network.projections_by_name.values()
    return list(layers), list(projections), network.interface


@pytest.mark.parametrize("convert", EXACT.values(), ids=EXACT)
@quick(12)
@given(network=networks(EVERY))
def test_a_plain_graph_comes_back_bit_for_bit(network, convert, tmp_path_factory):
    assume(all(network.connection_columns(name).area is None for name in network.projection_names))
    read = convert(plain_graph(network), tmp_path_factory.mktemp("graph") / "graph")
    assert Network.from_graph(read) == network


@quick(15)
@given(network=networks(("conv",)))
def test_areas_come_back_as_from_the_view(network):
    read = through_json(nx.node_link_data, nx.node_link_graph)(plain_graph(network), None)
    assert Network.from_graph(read) == Network.from_graph(network.graph, *records(network))


@quick(15)
@given(network=networks(EVERY))
def test_the_view_itself_goes_where_nested_values_may(network):
    expected = Network.from_graph(network.graph, *records(network))
    for convert in (through_json(nx.node_link_data, nx.node_link_graph), tables):
        assert Network.from_graph(convert(network.graph, None), *records(network)) == expected


@quick(10)
@given(network=networks(EVERY))
def test_matrices_are_those_of_a_copy(network):
    view, copy = network.graph, nx.DiGraph(network.graph)
    for weight in ("weight", "connections", None):
        matrix = nx.to_numpy_array(copy, weight=weight)
        np.testing.assert_array_equal(nx.to_numpy_array(view, weight=weight), matrix)
        np.testing.assert_array_equal(nx.to_scipy_sparse_array(view, weight=weight).toarray(), matrix)
        assert nx.to_pandas_adjacency(view, weight=weight).equals(nx.to_pandas_adjacency(copy, weight=weight))
    again = nx.from_scipy_sparse_array(nx.to_scipy_sparse_array(view), create_using=nx.DiGraph)
    named = nx.relabel_nodes(again, dict(enumerate(view)))
    assert nx.get_edge_attributes(named, "weight") == nx.get_edge_attributes(copy, "weight")
    np.testing.assert_array_equal(nx.incidence_matrix(view).toarray(), nx.incidence_matrix(copy).toarray())


def plain(**edge):
    graph = nx.DiGraph([("x:0", "y:0")])
    graph.edges["x:0", "y:0"].update(weight=1.0, **edge)
    return graph


def test_layers_and_projections_are_inferred_in_a_plain_graph_without_records():
    assert Network.from_graph(plain()) == Network.from_graph(nx.DiGraph([(("x", 0), ("y", 0), {"weight": 1.0})]))


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (nx.DiGraph([("x:0", "y")]), "nodes called 'layer:id', got 'y'"),
        (nx.DiGraph([("x:0", "y:-1")]), "nodes called 'layer:id', got 'y:-1'"),
        (nx.DiGraph([("x:0", "y:" + "9" * 5000)]), "nodes called 'layer:id'"),
        (nx.DiGraph([("x:0", "y:9999999999999999")]), "id from 0 up"),
        (nx.DiGraph([("x:0", ("y", 0))]), "nodes called 'layer:id'"),
        (nx.DiGraph([("x y:0", "y:0")]), r"nodes \(layer name, id\), got name"),
        (plain(weights="["), "weights and areas and slots of an edge as JSON"),
        (plain(weights={"x_to_y": 1.0}), "weights and areas and slots of an edge as JSON"),
        (plain(weights="[" * 100_000), "weights and areas and slots of an edge as JSON"),
        (plain(weights="[1]"), "weights by projection name"),
        (plain(areas='{"x_to_y": "no"}'), "expected areas of convolutions, got one of 'x_to_y'"),
        (plain(slots='{"x_to_y": [0]}'), "expected slots of queries and keys, got some of 'x_to_y'"),
        (nx.DiGraph(plain(), layers="[{}]"), "layers of the graph as JSON, got 0"),
        (nx.DiGraph(plain(), projections=7), "projections of the graph as JSON"),
    ],
)
def test_strange_plain_graphs_are_refused_with_a_reason(graph, message):
    if message is None:
        assert Network.from_graph(graph)
        return
    with pytest.raises(StructureError, match=message):
        Network.from_graph(graph)
