"""Counts are bounded before the work that they cost, by every way to a network: so whatever is saved can be loaded."""

import networkx as nx
import numpy as np
import pytest

import nestgraph as ng
from nestgraph.errors import EditError, InteropError, RecordError, StructureError
from nestgraph.graph import Network
from nestgraph.recipes.recipe import SeedOptions, TrainingOptions
from nestgraph.spec.limits import MAX_THREADS, MAX_WHOLE

CHAIN = [(f"n{i:03}", f"n{j:03}", 0.5) for i in range(190) for j in range(i)]
MLP = ng.seeds.mlp((4, 3, 2), seed=0)


def _graph():
    graph = nx.DiGraph()
    graph.add_weighted_edges_from(((first, 0), (second, 0), 0.5) for second, first, _ in CHAIN)
    return graph


TOO_MUCH = {
    "edges between layers": (lambda: ng.from_edges(CHAIN), InteropError, "16,384 pairs"),
    "a graph of layers": (lambda: Network.from_graph(_graph()), StructureError, "16,384 projections"),
    "layers": (lambda: ng.seeds.mlp((2,) * 5000), StructureError, "4,096 layers"),
    "projections": (lambda: ng.seeds.densenet(1, (300,), size=2), StructureError, "16,384 projections"),
    "units": (lambda: ng.seeds.mlp((2**53 - 1, 2)), StructureError, "16,777,216"),
    "concatenated units": (lambda: ng.seeds.densenet(2**24, (2,), size=2), StructureError, "16,777,216"),
    "weights": (lambda: ng.seeds.mlp((2**15, 2**15, 2)), StructureError, "268,435,456 possible"),
    "copies": (lambda: ng.edits.widen(MLP, "fc1", 2**40, np.random.default_rng(0)), EditError, "16,777,216 units"),
    "threads": (lambda: TrainingOptions(threads=MAX_THREADS + 1), RecordError, "threads: expected less than or equal"),
    "features": (lambda: ng.spec.Layer(name="a", kind="input", features=MAX_WHOLE), RecordError, "features"),
    "a range": (lambda: SeedOptions(kind="mlp", widths=range(10**12)), RecordError, "widths: .* in memory"),
    "an array of one number": (
        lambda: ng.edits.RemoveUnits(layer="a", units=np.broadcast_to(np.int64(1), 2**40)),
        RecordError,
        "units: .* in memory",
    ),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_is_refused_before_it_is_made(name):
    make, error, words = TOO_MUCH[name]
    with pytest.raises(error, match=words):
        make()


def test_no_network_has_more_layers_and_projections_than_a_file(monkeypatch):
    monkeypatch.setattr("nestgraph.graph.verify.MAX_LAYERS", 3)
    monkeypatch.setattr("nestgraph.graph.verify.MAX_PROJECTIONS", 2)
    monkeypatch.setattr("nestgraph.graph.verify.MAX_UNITS", 4)
    assert Network.of(ng.seeds.mlp((4, 3, 2), seed=1)).layer_names
    for edit, words in (
        (lambda: ng.edits.deepen(MLP, "fc1", "more", function=None), "at most 3 layers, got 4"),
        (lambda: ng.edits.insert_skip(MLP, "input", "output"), "at most 2 projections, got 3"),
        (lambda: ng.edits.widen(MLP, "fc1", 2, np.random.default_rng(0)), "at most 4 units, got 5"),
    ):
        with pytest.raises(EditError, match=words):
            edit().apply(MLP)
