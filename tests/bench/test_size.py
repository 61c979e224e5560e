"""What AlexNet takes in hand: bytes beside its bare arrays and a dict of dicts; seconds to build, verify and view."""

import dataclasses
import gc
import hashlib
import time
import tracemalloc

import networkx as nx
import numpy as np
import pytest

from nestgraph.graph import Grid, Network, violations
from nestgraph.seeds import NEST_ALEXNET, alexnet, mlp

MEMORY, SECONDS, HASHING = 1.3, 2.0, 2.5
EDGES_IN, EDGES_OUT = 1500, 1000  # of the dict of dicts


def bare_bytes(network):
    """The bytes of all weights and masks."""
    columns = [network.connection_columns(name) for name in network.projection_names]
    return sum(each.weight.nbytes + each.mask.nbytes for each in columns)


def held_bytes(make):
    """What `make` gives, the bytes that it holds, and the most that were held on the way."""
    gc.collect()
    tracemalloc.start()
    try:
        made = make()
        gc.collect()
        return made, *tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()


def seconds(call):
    """What a call gives and the processor time that it takes."""
    began = time.process_time()
    given = call()
    return given, time.process_time() - began


def forgetful(network):
    """The same structure in arrays of its own, without any derived fact."""
    columns = {name: network.connection_columns(name) for name in network.projection_names}
    return network.replace(
        units={name: dataclasses.replace(network.unit_columns(name)) for name in network.layer_names},
        connections={name: Grid.of(old.weight.copy(), old.mask.copy()) for name, old in columns.items()},
    )


def viewed(network):
    """The network, after its laws, its graph view, degrees and digest were asked for."""
    assert network.graph.degree(("fc6", 7)) == len(network.units("conv5")) + len(network.units("fc7"))
    assert violations(network) == ()
    assert network.digest
    return network


@pytest.fixture(scope="module")
def dense():
    return alexnet()


@pytest.mark.slow
def test_a_dense_alexnet_takes_little_more_than_its_arrays():
    network, held, most = held_bytes(lambda: viewed(alexnet()))
    bare = bare_bytes(network)
    print(
        f"\nAlexNet, {network.connection_count:,} connections: {held / bare:.3f} times the {bare / 1e6:.0f} MB of its"
    )
    print(f"weights and masks, with all derived facts; {most / bare:.3f} times while it was built")
    assert network.connection_count == 60_954_656
    assert held <= MEMORY * bare


@pytest.mark.slow
@pytest.mark.parametrize("density", [0.01, 0.1, 0.3, 0.9, 1.0])
def test_alexnet_is_seeded_in_seconds(density):
    network, taken = seconds(lambda: alexnet(density=density))
    shapes = [network.connection_columns(name).weight.shape for name in network.projection_names]
    size = sum(int(np.prod(shape)) for shape in shapes)
    numbers, bare = seconds(lambda: np.random.default_rng(0).standard_normal(size, dtype=np.float32))
    print(
        f"\ndensity {density}: {taken:.2f} s, {taken / bare:.2f} times drawing {numbers.size:,} weights ({bare:.2f} s)"
    )
    assert taken <= SECONDS


@pytest.mark.slow
def test_the_seed_of_nest_is_made_in_seconds():
    network, taken = seconds(lambda: alexnet(density=0.3, widths=NEST_ALEXNET, groups=1))
    print(f"\nNeST's seed: {taken:.2f} s, {network.connection_count:,} connections")
    assert network.connection_count == pytest.approx(8.4e6, rel=0.06)  # method.md, section 6
    assert taken <= SECONDS


@pytest.mark.slow
def test_verifying_and_viewing_alexnet_take_little(dense):
    structure = forgetful(dense)
    found, verifying = seconds(lambda: violations(structure))
    fresh = Network.of(forgetful(dense))
    degree, viewing = seconds(lambda: fresh.graph.degree(("fc6", 7)))
    weights = [dense.connection_columns(name).weight for name in dense.projection_names]
    _, reading = seconds(lambda: [np.isfinite(weight).all() for weight in weights])
    print(f"\nverifying: {verifying:.3f} s, {verifying / reading:.1f} times reading the weights ({reading:.3f} s)")
    print(f"opening the graph view and asking a degree: {viewing:.4f} s, {viewing / reading:.2f} times")
    assert found == ()
    assert degree == 256 + 4096
    assert verifying <= SECONDS
    assert viewing <= SECONDS


@pytest.mark.slow
def test_the_digest_of_alexnet_costs_little_more_than_hashing(dense):
    weights = [dense.connection_columns(name).weight for name in dense.projection_names]
    fresh = Network.of(forgetful(dense))
    _, taken = seconds(lambda: fresh.digest)
    state = hashlib.sha256()
    _, bare = seconds(lambda: [state.update(weight) for weight in weights])
    print(f"\ndigest: {taken:.2f} s, {taken / bare:.2f} times hashing the weights ({bare:.2f} s)")
    assert taken <= HASHING * bare


@pytest.mark.slow
def test_a_dict_of_dicts_takes_many_times_as_much():
    network = mlp((EDGES_IN, EDGES_OUT), batch_norm=False)
    network, ours, _ = held_bytes(lambda: Network.of(forgetful(network)))
    weight = network.connection_columns("input_to_output").weight
    explicit, theirs, _ = held_bytes(lambda: dict_of_dicts(weight))
    edges = explicit.number_of_edges()
    assert network.graph.number_of_edges() == edges == EDGES_IN * EDGES_OUT
    print(f"\n{edges:,} edges: {theirs / edges:.0f} bytes an edge as networkx.DiGraph, {ours / edges:.1f} as Network")
    print(f"({theirs / ours:.0f} times); AlexNet's 60,954,656 would take {60_954_656 * theirs / edges / 1e9:.0f} GB")
    assert theirs >= 40 * ours


def dict_of_dicts(weight):
    """The graph as anyone would write it down: a number on each edge."""
    graph = nx.DiGraph()
    for target, row in enumerate(weight.tolist()):
        graph.add_weighted_edges_from(
            (("input", source), ("output", target), value) for source, value in enumerate(row)
        )
    return graph
