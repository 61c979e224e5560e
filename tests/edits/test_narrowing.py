"""Layers lose the weakest of their units, whole strands at a time."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import nestgraph as ng
from nestgraph.edits.narrowing import narrow
from nestgraph.errors import EditError
from nestgraph.graph.groups import block_groups
from tests.laws import quick, unless_refused
from tests.strategies import networks


@quick(40)
@given(networks(), st.sampled_from([0.0, 0.3, 0.7, 0.95]))
def test_what_is_left_is_a_network_and_the_way_back_is_exact(network, fraction):
    applied = unless_refused(lambda: narrow(network, fraction).apply(network))
    assume(applied)  # else an output would lose its last path
    assert ng.edits.drop_islands(applied.network).edits == ()
    assert applied.inverse.apply(applied.network).network.digest == network.digest
    assert set(applied.network.output_names) == set(network.output_names)


def test_the_weakest_neurons_go():
    network = ng.seeds.mlp([8, 20, 3], density=1.0, seed=0)
    (hidden,) = [
        name for name in network.layer_names if network.layer(name).kind == "neurons" and not network.layer(name).output
    ]
    (projection,) = network.incoming(hidden)
    norms = np.linalg.norm(network.connection_columns(projection.name).weight, axis=1)
    left = narrow(network, 0.3).apply(network).network
    assert set(left.units(hidden).tolist()) == set(np.argsort(norms)[6:].tolist())


def test_both_sides_of_a_residual_sum_lose_the_same_maps():
    network = ng.seeds.resnet(blocks=(1, 1), maps=(6, 10), size=(8, 8), seed=0)
    left = narrow(network, 0.5).apply(network).network
    for name in left.projection_names:
        links = left.connection_columns(name).parts.get("links")
        if links is not None:
            assert len(links) == len(left.units(left.projection(name).target))


def test_groups_stay_equal():
    from torch import nn, randn

    module = nn.Sequential(
        nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 24, 3, groups=4), nn.Flatten(), nn.Linear(384, 2)
    )
    network = ng.import_module(module, randn(2, 3, 8, 8))
    left = narrow(network, 0.34).apply(network).network
    (grouped,) = [name for name in left.projection_names if block_groups(left.connection_columns(name).edges) > 1]
    assert left.connection_columns(grouped).weight.shape[:2] == (16, 8)
    assert block_groups(left.connection_columns(grouped).edges) == 4


def test_only_the_layers_that_are_named_lose_units():
    network = ng.seeds.lenet_300_100(width=0.2, density=0.5, seed=0)
    left = narrow(network, 0.5, layers=["fc2"]).apply(network).network
    assert len(left.units("fc1")) == len(network.units("fc1"))
    assert len(left.units("fc2")) == len(network.units("fc2")) // 2


@pytest.mark.parametrize("fraction", [-0.1, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(fraction):
    with pytest.raises(EditError, match="fraction"):
        narrow(ng.seeds.mlp([4, 5, 3], density=1.0, seed=0), fraction)


def test_a_layer_that_is_not_there_is_refused():
    with pytest.raises(ng.NestgraphError, match="nowhere"):
        narrow(ng.seeds.mlp([4, 5, 3], density=1.0, seed=0), 0.5, layers=["nowhere"])
