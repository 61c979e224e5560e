"""Gradients by their factors: arrays to whoever reads them, and the same proposals as by the arrays."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.edits import grow_head
from nestgraph.errors import EditError
from nestgraph.graph.tying import asleep_entries
from nestgraph.policies import ConnectionGrowth, Evidence, HeadGrowth, RandomGrowth, RigL, Snip, ranking
from nestgraph.policies.factored import Factored
from nestgraph.policies.heads import gain
from nestgraph.policies.waking import random_scores
from tests.laws import quick
from tests.policies.attention import over_two
from tests.policies.evidence import evidence_for
from tests.strategies import SEEDS, networks
from tests.strategies.networks import EVERY

FRACTIONS = st.floats(0.01, 1)
SCOPES = st.sampled_from(("projection", "global"))
READERS = st.one_of(
    st.builds(
        ConnectionGrowth, fraction=FRACTIONS, scope=SCOPES, weight=st.sampled_from(("zero", "gradient", "random"))
    ),
    st.builds(RandomGrowth, fraction=FRACTIONS, scope=SCOPES, weight=st.just("gradient")),
    st.builds(RigL, fraction=FRACTIONS, scope=SCOPES),
    st.builds(Snip, fraction=FRACTIONS, scope=SCOPES),
)
BLOCKS = st.sampled_from((1, 3, 16, 2**18))


def factored(shape, rng, whole=False, samples=3):
    """An array by factors; of whole numbers its entries are exact, and many are equal."""
    draw = (lambda size: rng.integers(-1, 2, size)) if whole else rng.standard_normal
    left, right = draw((samples, shape[0])), draw((samples, int(np.prod(shape[1:]))))
    return Factored(left.astype(np.float32), right.astype(np.float32), tuple(shape[1:]))


def shapes_of(network):
    return {name: network.connection_columns(name).weight.shape for name in network.projection_names}


def proposed(policy, network, gradients, seed, scale=1.0):
    """What a policy proposes, or why it does not."""
    try:
        return policy.propose(network, Evidence(gradients), np.random.default_rng(seed), scale)
    except EditError as error:
        return str(error)


@given(networks(EVERY), READERS, BLOCKS, st.booleans(), st.floats(0.1, 1), SEEDS)
@quick(80)
def test_proposals_are_those_by_the_arrays_ties_too(network, policy, block, whole, scale, seed):
    rng = np.random.default_rng(seed)
    gradients = {name: factored(shape, rng, whole) for name, shape in shapes_of(network).items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "BLOCK", block)
        arrays = {name: np.asarray(each) for name, each in gradients.items()}
        by_factors = proposed(policy, network, gradients, seed, scale)
        assert by_factors == proposed(policy, network, arrays, seed, scale)
    if whole:  # exact, so that no block of theirs could round otherwise
        assert proposed(policy, network, arrays, seed, scale) == by_factors


@given(networks(EVERY), BLOCKS, SEEDS)
@quick(30)
def test_chance_is_the_same_by_blocks(network, block, seed):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "BLOCK", block)
        for name, shape in shapes_of(network).items():
            if np.prod(shape):
                drawn = np.concatenate(list(random_scores(network, name, np.random.default_rng(seed))))
                chances = np.random.default_rng(seed).random(shape)
                wanted = np.where(asleep_entries(network, name), chances, ranking.NEVER)
                np.testing.assert_array_equal(drawn, wanted)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(0, 5), BLOCKS, st.data(), SEEDS)
@quick(60)
def test_it_is_the_array_of_its_products(shape, samples, block, data, seed):
    each = factored(tuple(shape), np.random.default_rng(seed), samples=samples)
    left, right = (factor.astype(np.float64) for factor in (each.left, each.right))
    wanted = (left.T @ right).reshape(shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "BLOCK", block)
        evidence, entries = Evidence({"p": each}), np.flatnonzero(np.random.default_rng(seed).random(wanted.size) < 0.4)
        blocks = [rows for _, rows in evidence.by_rows("gradients", "p", tuple(shape))]
        found = (np.asarray(each), evidence.of("gradients", "p", tuple(shape)), np.concatenate(blocks))
        at = evidence.at("gradients", "p", tuple(shape), entries)
    for whole in found:
        assert whole.dtype == each.dtype == np.float32
        assert whole.shape == each.shape == tuple(shape)
        np.testing.assert_allclose(whole, wanted, atol=1e-5)
        np.testing.assert_array_equal(whole, found[0])
    np.testing.assert_array_equal(at, found[0].reshape(-1)[entries])
    first = data.draw(st.integers(0, shape[0]))
    last = data.draw(st.integers(first, shape[0]))
    np.testing.assert_allclose(each[first:last], wanted[first:last], atol=1e-5)
    np.testing.assert_allclose(each[0], wanted[0], atol=1e-5)
    np.testing.assert_allclose(2 * np.abs(each), 2 * np.abs(wanted), atol=1e-5)
    assert each.finite


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_it_knows_what_is_not_finite(value):
    left, right = np.full((2, 3), value, np.float32), np.full((2, 4), 2, np.float32)
    with np.errstate(all="ignore"):
        assert not Factored(left, right, (4,)).finite
    assert Factored(left[:, :0], right, (4,)).finite


def test_the_gain_of_heads_is_the_same_by_factors():
    network, _, _ = over_two()
    after = grow_head(network, next(n for n in network.layer_names if network.matches(n)), np.random.default_rng(0))
    after = after.apply(network).network
    rng = np.random.default_rng(1)
    slopes = {name: factored(shape, rng) for name, shape in shapes_of(after).items()}
    arrays = {name: np.asarray(each) for name, each in slopes.items()}
    found = [gain(network, after, Evidence(slopes=lambda _, form=form: form)) for form in (slopes, arrays)]
    assert found[0] == found[1] > 0
    evidence = evidence_for(network, rng)
    by_factors = replace(evidence, slopes=lambda given: {n: factored(s, rng) for n, s in shapes_of(given).items()})
    assert HeadGrowth().propose(network, by_factors, np.random.default_rng(0)).edits


def test_of_another_network_it_is_refused():
    network, _, _ = over_two()
    name = network.projection_names[0]
    wrong = factored((7, 3), np.random.default_rng(0))
    with pytest.raises(EditError, match=r"gradients of .* of shape .*gather it for this network"):
        ConnectionGrowth(projections=(name,)).propose(network, Evidence({name: wrong}), np.random.default_rng(0))
