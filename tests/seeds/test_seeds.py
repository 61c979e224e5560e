"""Seeds: no islands, exactly as many connections as asked for, He weights, and the same each time."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.errors import StructureError
from nestgraph.graph import violations
from nestgraph.graph.reference import predict
from nestgraph.seeds import lenet_5, lenet_300_100, mlp
from nestgraph.seeds.sparse import he_connections, sparse_mask
from tests.laws import fresh_digest, quick

WIDTHS = st.lists(st.integers(1, 40), min_size=2, max_size=5)
DENSITIES = st.floats(1e-6, 1, exclude_min=True)
SEEDS = st.integers(0, 2**63)


def wanted(mask, density):
    return max(round(density * mask.size), *mask.shape[:2])


def check(network, density):
    assert violations(network.replace()) == ()
    for name in network.projection_names:
        mask = network.connection_columns(name).mask
        assert mask.sum() == wanted(mask, density)


@given(WIDTHS, DENSITIES, SEEDS, st.booleans())
@quick(60)
def test_a_perceptron_has_no_islands_and_exactly_its_density(widths, density, seed, batch_norm):
    network = mlp(widths, density, seed, batch_norm=batch_norm)
    check(network, density)
    assert [len(network.units(name)) for name in network.layer_names] == widths
    assert network == mlp(np.array(widths), density, seed, batch_norm=batch_norm)


@given(st.floats(0.01, 0.3), DENSITIES, SEEDS)
@quick(15)
def test_convolutional_seeds_have_no_islands_and_exactly_their_density(width, density, seed):
    network = lenet_5(width, density, seed)
    check(network, density)
    assert predict(network, np.zeros((1, 1, 28, 28))).shape == (1, 10)


@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from([(), (1, 1), (3, 2)]), DENSITIES, SEEDS)
@quick(100)
def test_a_mask_joins_every_unit_on_both_sides(out, inputs, kernel, density, seed):
    mask = sparse_mask((out, inputs, *kernel), density, np.random.default_rng(seed))
    assert mask.sum() == wanted(mask, density)
    edges = mask.reshape(out, inputs, -1).any(axis=2)
    assert edges.any(axis=0).all()
    assert edges.any(axis=1).all()


def test_a_mask_is_uniform_apart_from_its_cover():
    counts = sum(sparse_mask((6, 8), 0.5, np.random.default_rng(seed)).astype(int) for seed in range(2000))
    assert np.abs(counts / 2000 - 0.5).max() < 0.06  # five standard deviations


def test_seeds_differ_and_repeat_and_leave_the_global_generator():
    state = np.random.get_state()[1].copy()
    digests = {fresh_digest(mlp((20, 10, 5), 0.3, seed)) for seed in (0, 1, 2, 0)}
    assert len(digests) == 3
    np.testing.assert_array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize("shape", [(400, 300), (40, 30, 5, 5)])
def test_weights_have_he_variance_by_the_fan_in_that_is_there(shape):
    columns = he_connections(shape, 0.2, np.random.default_rng(0))
    assert not columns.weight[~columns.mask].any()
    rows = columns.mask.reshape(shape[0], -1)
    scaled = columns.weight.reshape(rows.shape) * np.sqrt(rows.sum(axis=1, keepdims=True) / 2)
    live = scaled[rows]
    assert live.var() == pytest.approx(1, abs=0.05)
    assert live.mean() == pytest.approx(0, abs=0.03)
    fan_in = rows.sum(axis=1)
    assert np.corrcoef(fan_in, (scaled**2).sum(axis=1) / fan_in)[0, 1] == pytest.approx(0, abs=0.25)


def test_signals_keep_their_size_through_a_deep_seed():
    network = mlp((200,) * 8 + (10,), 0.2, batch_norm=False)
    outputs = predict(network, np.random.default_rng(1).standard_normal((64, 200)))
    assert 0.3 < np.sqrt((outputs**2).mean()) / np.sqrt(2) < 3


def test_reference_widths():
    assert [len(lenet_300_100(0.4, 0.1).units(n)) for n in ("input", "fc1", "fc2", "output")] == [784, 120, 40, 10]
    assert lenet_300_100().connection_count == 266_200
    assert lenet_5().connection_count == 430_500
    assert lenet_5(1e-9, 1.0).unit_count == 1 + 1 + 1 + 1 + 10


def test_a_full_sized_seed_is_quick():
    began = time.process_time()
    check(lenet_300_100(1.0, 0.1), 0.1)
    assert time.process_time() - began < 2


@pytest.mark.slow
def test_an_alexnet_sized_layer_takes_seconds():
    began = time.process_time()
    columns = he_connections((4096, 9216), 0.1, np.random.default_rng(0))
    assert time.process_time() - began < 60
    assert columns.active == round(0.1 * 4096 * 9216)


REFUSED = {
    "one width": (lambda: mlp((5,)), "at least two widths"),
    "no width": (lambda: mlp(()), "at least two widths"),
    "a width of 0": (lambda: mlp((5, 0, 2)), "at least two widths"),
    "a negative width": (lambda: mlp((5, -3)), "at least two widths"),
    "half a unit": (lambda: mlp((5, 2.5)), "at least two widths"),
    "a number for widths": (lambda: mlp(784), "at least two widths"),
    "words for widths": (lambda: mlp("ab"), "at least two widths"),
    "density 0": (lambda: mlp((5, 2), 0.0), "a density above 0"),
    "density above 1": (lambda: mlp((5, 2), 1.5), "a density above 0"),
    "density NaN": (lambda: lenet_5(density=float("nan")), "a density above 0"),
    "width ratio 0": (lambda: lenet_300_100(0.0), "a width above 0"),
    "width ratio below 0": (lambda: lenet_5(-1.0), "a width above 0"),
    "width ratio NaN": (lambda: lenet_300_100(float("nan")), "a width above 0"),
    "width ratio infinite": (lambda: lenet_300_100(float("inf")), "a width above 0"),
    "random seed below 0": (lambda: mlp((5, 2), seed=-1), "a random seed of 0 or more"),
    "unknown activation": (lambda: mlp((5, 2, 2), activation="swish"), "a known activation"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_choice_is_a_sentence(name):
    make, expected = REFUSED[name]
    with pytest.raises(StructureError, match=expected) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert "got" in str(caught.value)
