# ruff: noqa: ARG005
"""Questions about structure: networkx through the backend against networkx on a copy, and how long large networks take.

A copy holds every edge as Python objects, so the comparison is made where one fits: LeNet-5, dense. Each answer is
found anew on a fresh view; only which pairs are joined is known from before, as it belongs to the arrays.
"""

import statistics
import time

import networkx as nx
import pytest

from nestgraph.graph.view import UnitGraph
from nestgraph.seeds import alexnet, lenet_5, mlp

ROUNDS = 7
LIMIT = 2.0
"""Seconds that a question about a large network may take."""

QUESTIONS = {
    "ancestors": lambda g, first, last: nx.ancestors(g, last),
    "descendants": lambda g, first, last: nx.descendants(g, first),
    "has_path": nx.has_path,
    "is_directed_acyclic_graph": lambda g, *_: nx.is_directed_acyclic_graph(g),
    "topological_generations": lambda g, *_: list(nx.topological_generations(g)),
    "topological_sort": lambda g, *_: list(nx.topological_sort(g)),
    "weakly_connected_components": lambda g, *_: list(nx.weakly_connected_components(g)),
}
ARRAYS = ("components", "depth", "islands", "in_degrees", "out_degrees", "is_acyclic")


def seconds(ask):
    start = time.perf_counter()
    ask()
    return time.perf_counter() - start


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_arrays_are_quicker_than_edges(question, request):
    network = lenet_5()
    nodes, copy = list(network.graph), nx.DiGraph(network.graph)
    pairs = [
        (
            seconds(lambda: question(UnitGraph(network), nodes[0], nodes[-1])),
            seconds(lambda: question(copy, nodes[0], nodes[-1])),
        )
        for _ in range(ROUNDS)
    ]
    ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
    ratio = statistics.median(a / b for a, b in pairs)
    name = request.node.callspec.id
    print(f"\n{name}, LeNet-5, {copy.number_of_edges():,} edges: {ratio:.4f} times networkx on a copy", end=" ")
    print(f"({ours * 1e3:.2f} to {theirs * 1e3:.2f} ms)")
    assert ratio <= 1


@pytest.mark.slow
@pytest.mark.parametrize("build", [lambda: mlp((4096, 4096, 1000)), alexnet], ids=["mlp 4096-4096-1000", "alexnet"])
def test_large_networks_answer_soon(build, request):
    network = build()
    nodes = list(network.graph)
    taken = {"which pairs are joined": seconds(lambda: network.topology.in_degrees)}
    for name, question in QUESTIONS.items():
        taken[name] = seconds(lambda: question(UnitGraph(network), nodes[0], nodes[-1]))  # noqa: B023
    taken["topology.distances"] = seconds(lambda: UnitGraph(network).topology.distances(nodes[0]))
    for name in ARRAYS:
        taken[f"topology.{name}"] = seconds(lambda: getattr(UnitGraph(network).topology, name))  # noqa: B023
    edges = int(network.topology.in_degrees.sum())
    print(f"\n{request.node.callspec.id}, {network.connection_count:,} connections, {edges:,} edges:")
    for name, time_taken in taken.items():
        print(f"  {name}: {time_taken * 1e3:.1f} ms")
    assert max(taken.values()) <= LIMIT
