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


def an_edge(g):
    return next(iter(g.edges))


def some(g):
    """Nodes with a gap between them, and one that is not there."""
    return [*list(g)[::2], ("nobody", 0)]


READS = {
    "adj": lambda g: ({u: dict(n) for u, n in g.adj.items()}, [len(g.adj[u]) for u in g], g.adj == g.succ, len(g.adj)),
    "adjacency": lambda g: [(u, list(n.items())) for u, n in g.adjacency()],
    "copy": lambda g: (facts(g.copy()), facts(nx.DiGraph(g.copy(as_view=True)))),
    "degree": lambda g: ([dict(g.degree(weight=w)) for w in WEIGHTS], g.degree[next(iter(g))], list(g.degree(some(g)))),
    "edge_subgraph": lambda g: facts(g.edge_subgraph(list(g.edges)[::2])),
    "edges": lambda g: (
        [list(g.edges), list(g.edges(data=True)), list(g.edges(some(g), data="connections")), len(g.edges)],
        [list(g.edges.data("areas", default="none")), g.edges[an_edge(g)], an_edge(g) in g.edges, (1, 2) in g.edges],
        [g.edges & {an_edge(g)}, g.edges - {an_edge(g)}, dict(g.edges.items())],
    ),
    "get_edge_data": lambda g: (g.get_edge_data(*an_edge(g)), g.get_edge_data(1, 2), g.get_edge_data(1, 2, "none")),
    "has_edge": lambda g: (g.has_edge(*an_edge(g)), g.has_edge(*an_edge(g)[::-1]), g.has_edge(1, [])),
    "has_node": lambda g: ([g.has_node(n) for n in some(g)], [n in g for n in some(g)], "x" in g, [] in g),
    "has_predecessor": lambda g: [g.has_predecessor(*pair) for pair in (an_edge(g), an_edge(g)[::-1])],
    "has_successor": lambda g: [g.has_successor(*pair) for pair in (an_edge(g), an_edge(g)[::-1])],
    "in_degree": lambda g: ([dict(g.in_degree(weight=w)) for w in WEIGHTS], list(g.in_degree(some(g)))),
    "in_edges": lambda g: (list(g.in_edges(data=True)), list(g.in_edges(some(g), "weight")), an_edge(g) in g.in_edges),
    "is_directed": lambda g: g.is_directed(),
    "is_multigraph": lambda g: g.is_multigraph(),
    "name": lambda g: (g.name, len(g), bool(g), dict(g.graph), str(g).partition(" with ")[2]),
    "nbunch_iter": lambda g: (list(g.nbunch_iter()), list(g.nbunch_iter(some(g))), list(g.nbunch_iter(next(iter(g))))),
    "neighbors": lambda g: {u: list(g.neighbors(u)) for u in g},
    "nodes": lambda g: (
        [list(g.nodes), list(g.nodes(data=True)), list(g.nodes(data="bias", default=7)), len(g.nodes), list(g)],
        [g.nodes[next(iter(g))], [n in g.nodes for n in some(g)], g.nodes & set(some(g)), dict(g.nodes.items())],
    ),
    "number_of_edges": lambda g: (
        g.number_of_edges(),
        g.number_of_edges(*an_edge(g)),
        g.number_of_edges(*an_edge(g)[::-1]),
    ),
    "number_of_nodes": lambda g: g.number_of_nodes(),
    "order": lambda g: g.order(),
    "out_degree": lambda g: ([dict(g.out_degree(weight=w)) for w in WEIGHTS], list(g.out_degree(some(g)))),
    "out_edges": lambda g: (list(g.out_edges(data=True)), list(g.out_edges(some(g), "weight"))),
    "pred": lambda g: ({u: dict(n) for u, n in g.pred.items()}, [len(g.pred[u]) for u in g], g.pred[an_edge(g)[1]]),
    "predecessors": lambda g: {u: list(g.predecessors(u)) for u in g},
    "reverse": lambda g: (facts(g.reverse()), facts(g.reverse(copy=False))),
    "size": lambda g: [g.size(w) for w in WEIGHTS],
    "subgraph": lambda g: (facts(g.subgraph(some(g))), facts(g.subgraph(some(g)).copy()), facts(g.subgraph([]))),
    "succ": lambda g: ({u: dict(n) for u, n in g.succ.items()}, [len(g.succ[u]) for u in g], g.succ[an_edge(g)[0]]),
    "successors": lambda g: {u: (list(g.successors(u)), list(g[u])) for u in g},
    "to_directed": lambda g: (facts(g.to_directed()), facts(g.to_directed(as_view=True))),
    "to_undirected": lambda g: (
        facts(g.to_undirected()),
        facts(g.to_undirected(as_view=True)),
        g.to_undirected(True).size(),
    ),
}
"""What each public name of `networkx.DiGraph` gives to a reader."""

FUNCTIONS = {
    "views": lambda g: (
        facts(nx.restricted_view(g, some(g)[:1], [an_edge(g)])),
        facts(nx.reverse_view(g)),
        facts(nx.subgraph_view(g, filter_node=lambda n: n[0] != "y", filter_edge=lambda u, _: u[0] == "x")),
        facts(nx.induced_subgraph(g, some(g))),
        facts(nx.create_empty_copy(g)),
        facts(nx.to_undirected(g)),
        facts(nx.convert_node_labels_to_integers(g, label_attribute="node")),
    ),
    "counts": lambda g: (nx.density(g), nx.degree_histogram(g), nx.number_of_selfloops(g), nx.is_empty(g)),
    "weights": lambda g: (
        nx.is_weighted(g),
        nx.is_negatively_weighted(g),
        nx.get_edge_attributes(g, "weight"),
        nx.get_node_attributes(g, "bias"),
        nx.path_weight(g, an_edge(g), "connections"),
    ),
    "neighbours": lambda g: {n: (list(nx.all_neighbors(g, n)), set(nx.non_neighbors(g, n))) for n in g},
    "other edges": lambda g: sorted(nx.non_edges(g)),
    "containers": lambda g: (nx.to_dict_of_dicts(g), nx.to_dict_of_lists(g), list(nx.to_edgelist(g))),
    "lines": lambda g: (
        list(nx.generate_edgelist(g)),
        list(nx.generate_adjlist(g)),
        list(nx.generate_multiline_adjlist(g)),
    ),
    "frozen": lambda g: facts(nx.freeze(g)),
}
WEIGHTS = (None, "weight", "connections")


@pytest.mark.parametrize("read", [*READS.values(), *FUNCTIONS.values()], ids=[*READS, *FUNCTIONS])
@quick(12)
@given(network=networks())
def test_readers_see_the_same_as_on_a_copy(network, read):
    assert read(network.graph) == read(nx.DiGraph(network.graph))


def test_every_public_name_of_networkx_reads_or_is_refused():
    """A new one in a new networkx would have no row in either table."""
    makers = {
        name for name in dir(nx.DiGraph) if name.endswith(("_dict_factory", "_directed_class", "_undirected_class"))
    }
    public = {name for name in dir(nx.DiGraph) if not name.startswith("_")} - makers
    assert public == set(READS) | (set(WRITERS) & public)


@quick(5)
@given(network=networks())
def test_the_view_is_frozen_and_no_pickle_leaves(network):
    assert nx.is_frozen(network.graph)
    assert nx.freeze(network.graph) is network.graph
    with pytest.raises(ReadOnlyGraphError, match="AddUnits"):
        network.graph.add_node(("new", 0))
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
