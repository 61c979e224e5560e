# ruff: noqa: ARG005
"""Where networkx dispatches, arrays answer as its own code does; everywhere else its own code runs on the view."""

import subprocess
import sys
import warnings

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.graph import view
from nestgraph.graph.backend import BY_ARRAYS
from nestgraph.graph.dispatch import NAME
from nestgraph.graph.view import ReadOnlyGraphError
from tests.laws import quick
from tests.strategies import networks

ON_ARRAYS = {
    "ancestors": lambda g, u, v: nx.ancestors(g, u),
    "descendants": lambda g, u, v: nx.descendants(G=g, source=u),
    "has_path": lambda g, u, v: (nx.has_path(g, u, v), nx.has_path(g, target=u, source=v), nx.has_path(g, u, u)),
    "is_directed_acyclic_graph": lambda g, u, v: nx.is_directed_acyclic_graph(g),
    "topological_generations": lambda g, u, v: list(nx.topological_generations(g)),
    "weakly_connected_components": lambda g, u, v: list(nx.weakly_connected_components(g)),
    "topological_sort": lambda g, u, v: list(nx.topological_sort(g)),
    "is_weakly_connected": lambda g, u, v: nx.is_weakly_connected(g),
    "number_weakly_connected_components": lambda g, u, v: nx.number_weakly_connected_components(g),
}
ON_THE_VIEW = {
    "pagerank": lambda g, u, v: nx.pagerank(g, weight="connections"),
    "betweenness": lambda g, u, v: nx.betweenness_centrality(g),
    "longest path": lambda g, u, v: nx.dag_longest_path(g, weight="connections"),
    "all topological sorts": lambda g, u, v: next(nx.all_topological_sorts(g)),
    "strong components": lambda g, u, v: list(map(set, nx.strongly_connected_components(g))),
    "condensation": lambda g, u, v: list(nx.condensation(g).nodes(data=True)),
    "transitive closure": lambda g, u, v: list(nx.transitive_closure_dag(g).edges),
    "dominators": lambda g, u, v: nx.immediate_dominators(g, u),
    "flow": lambda g, u, v: nx.maximum_flow_value(g, u, v, capacity="connections"),
    "paths": lambda g, u, v: list(nx.all_simple_paths(g, u, v)),
    "k core": lambda g, u, v: list(nx.k_core(g).edges),
    "line graph": lambda g, u, v: list(nx.line_graph(g).edges),
    "with an ordinary graph": lambda g, u, v: (
        list(nx.compose(g, nx.DiGraph([(0, 1)])).edges),
        list(nx.union(nx.DiGraph([(0, 1)]), g).edges),
        nx.is_isomorphic(g, nx.DiGraph(g)),
        nx.faster_could_be_isomorphic(nx.DiGraph(g), g),
        list(nx.difference(g, nx.create_empty_copy(g)).edges),
    ),
    "with itself": lambda g, u, v: (list(nx.intersection(g, g).edges), nx.is_isomorphic(g, g)),
    "layers for a drawing": lambda g, u, v: list(nx.multipartite_layout(g, subset_key="layer")),
    "a part": lambda g, u, v: list(nx.topological_sort(nx.subgraph(g, [u, v]))),
    "backwards": lambda g, u, v: (
        nx.descendants(nx.reverse_view(g), v),
        list(nx.topological_sort(g.reverse(copy=False))),
    ),
}
STRANGE = {
    "ancestors": lambda g: nx.ancestors(g, ("nobody", 0)),
    "descendants": lambda g: nx.descendants(g, "x"),
    "no path from": lambda g: nx.has_path(g, 7, next(iter(g))),
    "no path to": lambda g: nx.has_path(g, next(iter(g)), ("x", "0")),
    "too few": lambda g: nx.descendants(g),
    "too many": lambda g: nx.ancestors(g, next(iter(g)), colour=1),
}


@pytest.fixture(autouse=True)
def _no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def pair(network, data):
    """Two units, the first not after the second."""
    nodes = list(network.graph)
    first, second = sorted(data.draw(st.lists(st.integers(0, len(nodes) - 1), min_size=2, max_size=2, unique=True)))
    return nodes[first], nodes[second]


def test_networkx_knows_the_backend():
    assert NAME in nx.config.backends, "expected nestgraph to be installed: run make .venv"
    assert set(BY_ARRAYS) <= set(ON_ARRAYS)


@pytest.mark.parametrize("ask", ON_ARRAYS.values(), ids=ON_ARRAYS)
@quick(20)
@given(network=networks(), data=st.data())
def test_arrays_answer(network, ask, data):
    ends = pair(network, data)
    expected = ask(nx.DiGraph(network.graph), *ends)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view._Neighbours, "__init__", None)  # no edge may be looked at
        assert ask(network.graph, *ends) == ask(network.graph, *ends) == expected


@pytest.mark.parametrize("ask", ON_THE_VIEW.values(), ids=ON_THE_VIEW)
@quick(6)
@given(network=networks(), data=st.data())
def test_all_else_runs_on_the_view(network, ask, data):
    ends = pair(network, data)
    assert ask(network.graph, *ends) == ask(network.graph, *ends) == ask(nx.DiGraph(network.graph), *ends)


@pytest.mark.parametrize("ask", STRANGE.values(), ids=STRANGE)
@quick(3)
@given(network=networks())
def test_strange_questions_are_refused_in_the_words_of_networkx(network, ask):
    with pytest.raises((nx.NetworkXException, TypeError)) as expected:
        ask(nx.DiGraph(network.graph))
    with pytest.raises(expected.type) as refusal:
        ask(network.graph)
    assert str(refusal.value) == str(expected.value)


@quick(3)
@given(network=networks())
def test_what_a_function_writes_and_takes_back_it_writes_into_a_copy(network):
    copy = nx.DiGraph(network.graph)
    assert nx.negative_edge_cycle(network.graph) == nx.negative_edge_cycle(copy)
    assert list(nx.minimum_branching(network.graph).edges) == list(nx.minimum_branching(copy).edges)
    with pytest.raises(ReadOnlyGraphError):
        nx.set_edge_attributes(network.graph, 9.0, "weight")
    assert nx.utils.graphs_equal(nx.DiGraph(network.graph), copy)


@quick(3)
@given(network=networks())
def test_the_backend_can_be_named_and_takes_views_only(network):
    node = next(iter(network.graph))
    assert nx.descendants(network.graph, node, backend=NAME) == nx.descendants(network.graph, node, backend="networkx")
    with pytest.raises(NotImplementedError):
        nx.descendants(nx.DiGraph(network.graph), node, backend=NAME)


WITHOUT = """
import importlib.metadata as metadata
found = metadata.entry_points
metadata.entry_points = lambda **chosen: () if chosen.get("group", "").startswith("networkx") else found(**chosen)
"""
ASK = """
import networkx as nx
from nestgraph.graph import Network, view
graph = Network.from_graph(nx.DiGraph([(("x", 0), ("h", 0)), (("h", 0), ("y", 0))])).graph
edges, seen = view._Neighbours.__init__, []
view._Neighbours.__init__ = lambda *given: (seen.append(given), edges(*given))[1]
print(sorted(nx.descendants(graph, ("x", 0))), "edge by edge" if seen else "by arrays", nx.is_weakly_connected(graph))
print(nx.config.backend_priority)
"""
CHOOSE = "import networkx as nx\nnx.config.backend_priority"


@pytest.mark.parametrize(
    ("before", "how", "kept"),
    [
        ("", "by arrays", "algos=[]"),
        (WITHOUT, "edge by edge", "algos=[]"),
        (CHOOSE + ".descendants = ['networkx']", "edge by edge", "descendants=['networkx']"),
        (CHOOSE + ".algos = ['networkx']", "edge by edge", "algos=['networkx']"),
        (CHOOSE + ".algos = ['nestgraph']", "by arrays", "algos=['nestgraph']"),
    ],
    ids=["installed", "not installed", "another for the function", "another for all", "this for all"],
)
def test_the_choice_of_the_user_holds_and_stays(before, how, kept):
    command = [sys.executable, "-W", "error", "-c", before + ASK]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    answer, priority = said.stdout.splitlines() or ("", "")
    assert answer == f"[('h', 0), ('y', 0)] {how} True", said.stderr
    assert kept in priority, said.stderr
