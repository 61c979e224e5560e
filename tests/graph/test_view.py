# ruff: noqa: ARG005
"""networkx sees the same through the view as through an explicit graph, and can change nothing."""

import copy
import json
import pickle

import networkx as nx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.graph import ReadOnlyGraphError
from tests.graph.explicit import explicit_graph
from tests.laws import fresh_digest, quick
from tests.strategies import networks

ALGORITHMS = {
    "nodes": lambda g: list(g.nodes(data=True)),
    "topological_sort": lambda g: list(nx.lexicographical_topological_sort(g)),
    "ancestors and descendants": lambda g: {n: (nx.ancestors(g, n), nx.descendants(g, n)) for n in g},
    "weakly_connected_components": lambda g: sorted(map(sorted, nx.weakly_connected_components(g))),
    "degrees": lambda g: (dict(g.in_degree()), dict(g.out_degree()), dict(g.degree())),
    "weighted degrees": lambda g: {
        n: pytest.approx(d) for n, d in [*g.in_degree(weight="weight"), *g.out_degree(weight="connections")]
    },
    "number_of_edges": lambda g: (g.number_of_nodes(), g.number_of_edges(), g.size("connections")),
    "shortest_path": lambda g: {n: {m: len(p) for m, p in nx.single_source_shortest_path(g, n).items()} for n in g},
    "transitive_closure": lambda g: sorted(nx.transitive_closure(g).edges),
    "transitive_reduction": lambda g: sorted(nx.transitive_reduction(g).edges),
    "is_directed_acyclic_graph": lambda g: (nx.is_directed_acyclic_graph(g), g.is_directed(), g.is_multigraph()),
    "longest path": lambda g: nx.dag_longest_path_length(g, weight=None),
    "to_numpy_array": lambda g: nx.to_numpy_array(g, nodelist=sorted(g)).tolist(),
    "to_scipy_sparse_array": lambda g: nx.to_scipy_sparse_array(g, sorted(g), weight="connections").toarray().tolist(),
    "to_pandas_edgelist": lambda g: sorted(nx.to_pandas_edgelist(g)[["source", "target"]].itertuples(index=False)),
    "generations": lambda g: [sorted(generation) for generation in nx.topological_generations(g)],
}


def facts(graph):
    """Nodes and edges with all attributes, weights within rounding."""
    nodes = {node: dict(data) for node, data in graph.nodes(data=True)}
    edges = {(u, v): dict(data) | {"weight": pytest.approx(data["weight"])} for u, v, data in graph.edges(data=True)}
    return nodes, edges


@quick(40)
@given(network=networks())
def test_the_view_has_the_nodes_edges_and_attributes_of_the_explicit_graph(network):
    expected = explicit_graph(network)
    assert facts(expected) == facts(network.graph)
    assert facts(nx.DiGraph(network.graph)) == facts(expected)
    assert network.connection_count == sum(c for _, _, c in network.graph.edges(data="connections"))
    for u in expected:
        for v in expected:
            assert network.graph.has_edge(u, v) == expected.has_edge(u, v) == (u in network.graph.pred[v])


@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS.keys())
@quick(8)
@given(network=networks())
def test_algorithms_give_the_same_on_the_view(network, algorithm):
    assert algorithm(network.graph) == algorithm(explicit_graph(network))


@quick(15)
@given(network=networks(), data=st.data())
def test_copies_are_ordinary_graphs_of_their_own(network, data):
    view, expected = network.graph, explicit_graph(network)
    some = data.draw(st.lists(st.sampled_from(list(expected)), unique=True))
    links = copy.deepcopy(nx.node_link_data(view))
    pairs = [
        (view.copy(), expected.copy()),
        (view.subgraph(some).copy(), expected.subgraph(some).copy()),
        (view.edge_subgraph(list(expected.edges)[:3]).copy(), expected.edge_subgraph(list(expected.edges)[:3]).copy()),
        (view.reverse(), expected.reverse()),
        (nx.DiGraph(view), nx.DiGraph(expected)),
        (view.to_directed(), expected.to_directed()),
        (view.to_undirected(), expected.to_undirected()),
        (nx.relabel_nodes(view, str), nx.relabel_nodes(expected, str)),
        (nx.node_link_graph(links), nx.node_link_graph(nx.node_link_data(expected))),
    ]
    for got, wanted in pairs:
        assert type(got) is type(wanted)
        assert facts(got) == facts(wanted)
        got.add_edge("new", "edge", weight=1)
        got.graph["name"] = "mine"
        nx.set_node_attributes(got, 7, "bias")
        nx.set_edge_attributes(got, 7, "weight")
    assert facts(view) == facts(expected)
    assert nx.utils.graphs_equal(nx.reverse_view(view), nx.reverse_view(nx.DiGraph(view)))
    assert fresh_digest(network) == network.digest
    json.dumps(nx.node_link_data(view))


WRITERS = {
    "add_node": lambda g, u, v: g.add_node(("new", 0)),
    "add_nodes_from": lambda g, u, v: g.add_nodes_from([("new", 0)]),
    "remove_node": lambda g, u, v: g.remove_node(u),
    "remove_nodes_from": lambda g, u, v: g.remove_nodes_from([u]),
    "add_edge": lambda g, u, v: g.add_edge(v, u),
    "add_edges_from": lambda g, u, v: g.add_edges_from([(v, u)]),
    "add_weighted_edges_from": lambda g, u, v: g.add_weighted_edges_from([(v, u, 1.0)]),
    "remove_edge": lambda g, u, v: g.remove_edge(u, v),
    "remove_edges_from": lambda g, u, v: g.remove_edges_from([(u, v)]),
    "update": lambda g, u, v: g.update(nodes=[("new", 0)]),
    "clear": lambda g, u, v: g.clear(),
    "clear_edges": lambda g, u, v: g.clear_edges(),
    "add_path": lambda g, u, v: nx.add_path(g, [v, u]),
    "relabel in place": lambda g, u, v: nx.relabel_nodes(g, {u: ("new", 0)}, copy=False),
    "contract in place": lambda g, u, v: nx.contracted_nodes(g, u, v, copy=False),
    "node attribute": lambda g, u, v: g.nodes[v].__setitem__("bias", 9.0),
    "node attributes": lambda g, u, v: nx.set_node_attributes(g, 9.0, "bias"),
    "node update": lambda g, u, v: g.nodes[v].update(bias=9.0),
    "node pop": lambda g, u, v: g.nodes[v].pop("kind"),
    "node del": lambda g, u, v: g.nodes[v].__delitem__("kind"),
    "edge attribute": lambda g, u, v: g.edges[u, v].__setitem__("weight", 9.0),
    "edge attribute by adjacency": lambda g, u, v: g[u][v].setdefault("colour", 9.0),
    "edge attributes": lambda g, u, v: nx.set_edge_attributes(g, 9.0, "weight"),
    "edge attributes through data": lambda g, u, v: [d.clear() for *_, d in g.edges(data=True)],
    "graph attribute": lambda g, u, v: g.graph.__setitem__("name", "mine"),
    "name": lambda g, u, v: setattr(g, "name", "mine"),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS.keys())
@quick(3)
@given(network=networks())
def test_writers_are_refused_and_name_an_edit(network, write):
    before = facts(network.graph)
    ends = next(iter(explicit_graph(network).edges))
    with pytest.raises(ReadOnlyGraphError, match=r"apply nestgraph\.edits\.\w+ through an Editor") as refusal:
        write(network.graph, *ends)
    assert isinstance(refusal.value, nx.NetworkXError)
    assert facts(network.graph) == before
    assert fresh_digest(network) == network.digest


def test_every_public_method_of_networkx_that_writes_is_refused():
    """A new writer in a new networkx would have no row above."""
    reading = {name for name in dir(nx.DiGraph) if not name.startswith("_")} - set(WRITERS)
    assert reading == {
        *("adj", "adjacency", "adjlist_inner_dict_factory", "adjlist_outer_dict_factory", "copy", "degree"),
        *("edge_attr_dict_factory", "edge_subgraph", "edges", "get_edge_data", "graph_attr_dict_factory"),
        *("has_edge", "has_node", "has_predecessor", "has_successor", "in_degree", "in_edges", "is_directed"),
        *("is_multigraph", "name", "nbunch_iter", "neighbors", "node_attr_dict_factory", "node_dict_factory"),
        *("nodes", "number_of_edges", "number_of_nodes", "order", "out_degree", "out_edges", "pred", "predecessors"),
        *("reverse", "size", "subgraph", "succ", "successors", "to_directed", "to_directed_class"),
        *("to_undirected", "to_undirected_class"),
    } - set(WRITERS)


@quick(5)
@given(network=networks())
def test_the_view_is_frozen_and_no_pickle_leaves(network):
    assert nx.is_frozen(network.graph)
    assert nx.is_frozen(network.layers)
    for attempt in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(ReadOnlyGraphError):
            attempt(network.graph)


@quick(5)
@given(network=networks())
def test_strange_nodes_are_not_there(network):
    graph = network.graph
    for node in (("x", -1), ("nobody", 0), "x", 7, None, ("x",), ("x", [1]), ("x", "0"), ("x", np.nan), ([], 0)):
        assert node not in graph
        assert not graph.has_node(node)
    with pytest.raises(nx.NetworkXError):
        list(graph.successors(("nobody", 0)))
    with pytest.raises(KeyError):
        graph.nodes["nobody", 0]


@quick(10)
@given(network=networks())
def test_the_graph_of_layers_has_the_records(network):
    for name, data in network.layers.nodes(data=True):
        assert (data["record"], data["units"]) == (network.layer(name), len(network.units(name)))
    projections = [p for *_, data in network.layers.edges(data=True) for p in data["projections"]]
    assert sorted(p.name for p in projections) == sorted(network.projection_names)
