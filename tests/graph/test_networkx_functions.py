"""Every function of networkx that leaves a graph as it is gives the same on the view as on a copy."""

import inspect
import io
import math
import random
import sys
from collections.abc import Iterator, Mapping
from itertools import islice

import networkx as nx
import numpy as np
import pytest
from networkx.utils import backends

from nestgraph.graph.view import ReadOnlyGraphError
from nestgraph.seeds import mlp

LONG = {
    "optimal_edit_paths": "tries all edits of a graph",
    "optimize_edit_paths": "tries all edits of a graph",
    "optimize_graph_edit_distance": "tries all edits of a graph",
    "graph_edit_distance": "tries all edits of a graph",
    "directed_edge_swap": "tries again at random until it finds a swap",
    "connected_double_edge_swap": "tries again at random until it finds a swap",
    "double_edge_swap": "tries again at random until it finds a swap",
}
OTHERWISE = {
    "is_frozen": "the view is frozen, its copy is not",
    "display": "draws with matplotlib",
    "all_pairs_lowest_common_ancestor": "names one of several lowest ancestors, the first that a set happens to have",
}
FIRST = {"G", "graph", "B", "D", "T", "G1"}
"""What networkx calls the graph that a function is about."""
SECOND = {"H", "G2", "Gc"}
"""What it calls another one, which is an ordinary one here."""


def network():
    return mlp((2, 3, 2), density=0.8, seed=0, batch_norm=False)


def arguments(nodes):
    """What is given for a parameter of each name, made anew for each call."""
    first, last, some, rest = nodes[0], nodes[-1], nodes[:3], nodes[3:]
    named = {
        **dict.fromkeys(("source", "s", "_s", "u", "root", "start", "n", "node", "node1", "source_node"), first),
        **dict.fromkeys(("target", "t", "_t", "v", "node2", "target_node"), last),
        **dict.fromkeys(("nodes", "nbunch", "nbunch1", "S", "nodes1", "top_nodes", "terminal_nodes", "C"), some),
        **{name: [set(some), set(rest)] for name in ("communities", "partition", "grouped_nodes")},
        **dict.fromkeys(("attribute", "node_attributes", "label"), "kind"),
        **dict.fromkeys(("k", "l", "distance", "walk_length", "number_of_sets", "num_colors", "sample_size"), 2),
        **{name: set() for name in ("matching", "cover", "ebunch", "edges")},
    }
    extras = {"T": rest, "sources": {first}, "targets": {last}, "path": io.BytesIO(), "edge": (first, rest[0])}
    flow = {"weight": "weight", "capacity": "connections", "demand": "demand", "name": "weight", "mapping": {}}
    parts = {"x": {first}, "y": {last}, "z": set(some[1:]), "center_nodes": set(some), "row_order": some}
    return named | extras | flow | parts | {"attr": "weight", "seed": 0, "stretch": 2, "values": 1.0, "minimum": True}


def functions():
    """The functions of networkx that take a graph first, by name."""
    known = [(name, made.orig_func) for name, made in backends._registered_algorithms.items() if made.graphs]
    found = {name: getattr(sys.modules[own.__module__], own.__name__, None) for name, own in known}
    plain = {name: value for name, value in vars(nx).items() if inspect.isfunction(value) and name not in found}
    for name, function in plain.items():
        parameters = list(inspect.signature(function).parameters)
        if parameters and parameters[0] in FIRST and not name.startswith(("draw", "_")):
            found[name] = function
    return {name: function for name, function in found.items() if function is not None}


def given(function, graph, nodes):
    """The arguments of a call; None where one is needed that has no row."""
    parameters = list(inspect.signature(function).parameters.values())
    table, call = arguments(nodes), {}
    for place, parameter in enumerate(parameters):
        needed = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL
        if place == 0 or (needed and parameter.name in SECOND):
            call[parameter.name] = graph if place == 0 else nx.DiGraph(graph)
        elif parameter.name in table and (needed or parameter.name == "seed"):
            call[parameter.name] = table[parameter.name]
        elif needed and parameter.kind is not parameter.VAR_KEYWORD:
            return None
    return call


def outcome(function, call):
    """What a call gives and writes, or how it ends."""
    random.seed(0)
    np.random.seed(0)
    try:
        value = plain(function(**call))
    except ReadOnlyGraphError:
        return "refused"
    except Exception as error:
        value = type(error), str(error).replace("UnitGraph", "DiGraph")
    written = [entry.getvalue() for entry in call.values() if isinstance(entry, io.BytesIO) and not entry.closed]
    return [value, written]


def plain(value):
    """Graphs, iterators and arrays as containers."""
    if isinstance(value, nx.Graph):
        return type(value).__name__, plain(list(value.nodes(data=True))), plain(list(value.edges(data=True)))
    if isinstance(value, Iterator):
        return [plain(part) for part in islice(value, 100)]
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if hasattr(value, "toarray"):
        value = value.toarray()
    if hasattr(value, "to_dict"):
        return value.to_dict()
    return value.tolist() if isinstance(value, np.ndarray) else value


def same(one, other):
    """Whether two outcomes agree; numbers but for rounding, and what sets gave in any order."""
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-9) or (one != one and other != other)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return all(map(same, one, other)) or sorted(map(repr, one)) == sorted(map(repr, other))
    return one == other or repr(one).replace("UnitGraph", "DiGraph") == repr(other).replace("UnitGraph", "DiGraph")


def facts(graph):
    return list(graph.nodes(data=True)), list(graph.edges(data=True)), dict(graph.graph)


@pytest.mark.filterwarnings("ignore")
def test_functions_give_the_same_on_the_view_as_on_a_copy():
    made = network()
    nodes, tried, wrong = list(made.graph), [], []
    untouched = facts(nx.DiGraph(made.graph))
    for name, function in functions().items():
        copy = nx.DiGraph(made.graph)
        call = None if name in LONG or name in OTHERWISE else given(function, copy, nodes)
        if call is None:
            continue
        expected = outcome(function, call)
        got = outcome(function, given(function, made.graph, nodes))
        tried.append(name)
        if not (same(got, expected) if facts(copy) == untouched else got == "refused"):
            wrong.append((name, str(expected)[:200], str(got)[:200]))
    assert wrong == []
    assert len(tried) > 400, len(tried)
    assert facts(nx.DiGraph(made.graph)) == untouched
