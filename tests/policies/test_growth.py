"""Growth wakes and adds what the evidence asks for, legally, and nothing else."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.edits import SetMask
from nestgraph.graph import Grid
from nestgraph.graph.reference import predict
from nestgraph.interop import import_module
from nestgraph.loop.evidence import gather
from nestgraph.policies import (
    ConnectionGrowth,
    Evidence,
    MagnitudePruning,
    NeuronGrowth,
    RandomGrowth,
    RigL,
    SkipGrowth,
    bridged_layers,
)
from nestgraph.policies.growth import paper_neuron, rank_one_neuron
from nestgraph.policies.policy import plastic_projections
from nestgraph.seeds import mlp
from nestgraph.spec import Activation
from nestgraph.spec.operations import Facts
from tests.edits.test_blocks import characters
from tests.laws import check_laws, quick
from tests.policies.evidence import asleep, evidence_for
from tests.strategies import SEEDS, networks
from tests.strategies.networks import EVERY

FRACTIONS = st.floats(0.01, 1)
GROWTHS = st.one_of(
    st.builds(
        ConnectionGrowth,
        fraction=FRACTIONS,
        scope=st.sampled_from(("projection", "global")),
        weight=st.sampled_from(("zero", "gradient", "random")),
    ),
    st.builds(RandomGrowth, fraction=FRACTIONS, weight=st.sampled_from(("zero", "gradient", "random"))),
    st.builds(SkipGrowth, connections=st.integers(1, 5), weight=st.sampled_from(("zero", "gradient"))),
    st.builds(
        NeuronGrowth,
        units=st.integers(1, 3),
        beta=FRACTIONS,
        alpha=st.floats(0.01, 2),
        rule=st.sampled_from(("paper", "rank_one", "gradmax")),
        scope=st.sampled_from(("layer", "global")),
        limit=st.none() | st.integers(1, 6),
    ),
)


def generator(seed=0):
    return np.random.default_rng(seed)


@given(networks(EVERY), GROWTHS, SEEDS)
@quick(80)
def test_proposals_are_legal_and_pure(network, policy, seed):
    evidence = evidence_for(network, generator(seed))
    edit = policy.propose(network, evidence, generator(seed))
    assert edit == policy.propose(network, evidence, generator(seed))
    applied = check_laws(network, edit)
    assert applied is not None
    assert applied.network.connection_count >= network.connection_count
    assert bool(edit.edits) == (applied.network != network)


@given(networks(EVERY), FRACTIONS, st.sampled_from(("projection", "global")), st.floats(0.1, 1), SEEDS)
@quick(60)
def test_woken_are_the_dormant_entries_with_the_largest_gradient(network, fraction, scope, scale, seed):
    evidence = evidence_for(network, generator(seed))
    edit = ConnectionGrowth(fraction=fraction, scope=scope).propose(network, evidence, generator(), scale)
    woken = {(e.projection, place) for e in edit.edits for place in e.entries.tolist()}
    names = [p.name for p in plastic_projections(network)]
    expected = set()
    for group in [names] if scope == "global" else [[name] for name in names]:
        dormant = []
        for name in group:
            size = np.abs(evidence.gradients[name]).ravel()
            dormant += [(-size[place], name, place) for place in np.flatnonzero(asleep(network, name)).tolist()]
        possible = sum(network.connection_columns(name).mask.size for name in group)
        expected |= {(name, place) for _, name, place in sorted(dormant)[: max(1, round(fraction * scale * possible))]}
    assert woken == expected
    assert not any(e.weights.any() for e in edit.edits)


@given(networks(EVERY), FRACTIONS, SEEDS)
@quick(40)
def test_equal_gradients_respect_the_count(network, fraction, seed):
    rng = generator(seed)
    evidence = evidence_for(network, rng, lambda shape: rng.integers(-1, 2, shape))
    edit = ConnectionGrowth(fraction=fraction).propose(network, evidence, generator())
    by_name = {e.projection: e.entries for e in edit.edits}
    for projection in plastic_projections(network):
        mask = network.connection_columns(projection.name).mask
        gradient = evidence.gradients[projection.name]
        waiting = np.count_nonzero(asleep(network, projection.name) & (gradient != 0))
        entries = by_name.get(projection.name, np.zeros(0, np.int64))
        assert len(entries) == min(waiting, max(1, round(fraction * mask.size)))
        assert (gradient.ravel()[entries] != 0).all()


@pytest.mark.parametrize(
    "policy", [ConnectionGrowth(fraction=1.0), NeuronGrowth(), NeuronGrowth(rule="rank_one"), SkipGrowth()]
)
@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_without_a_gradient_nothing_grows(policy, value):
    network = mlp((6, 5, 4, 3), 0.5)
    evidence = evidence_for(network, generator(), lambda shape: np.full(shape, value))
    assert policy.propose(network, evidence, generator()).edits == ()


def test_a_woken_weight_is_one_step_of_gradient_descent_where_asked():
    network = mlp((6, 5, 3), 0.4)
    evidence = evidence_for(network, generator())
    edit = ConnectionGrowth(fraction=0.2, weight="gradient", rate=0.25).propose(network, evidence, generator())
    for part in edit.edits:
        np.testing.assert_allclose(part.weights, -0.25 * evidence.gradients[part.projection].flat[part.entries])


def test_a_woken_weight_is_small_and_random_where_asked():
    network = mlp((60, 50, 3), 0.4)
    evidence = evidence_for(network, generator())
    for policy in (ConnectionGrowth, RandomGrowth):
        edit = policy(fraction=0.5, weight="random", rate=0.2).propose(network, evidence, generator())
        columns = network.connection_columns("input_to_fc1")
        weights = next(part.weights for part in edit.edits if part.projection == "input_to_fc1")
        assert weights.std() == pytest.approx(0.2 * np.abs(columns.weight[columns.mask]).mean(), rel=0.1)
        assert abs(weights.mean()) < 0.1 * weights.std()


@pytest.mark.parametrize("policy", [ConnectionGrowth, RandomGrowth, RigL, MagnitudePruning])
def test_a_policy_for_some_projections_leaves_the_others_alone(policy):
    network = mlp((20, 12, 8, 5), 0.4)
    evidence = evidence_for(network, generator())
    chosen = ("fc2_to_output", "fc1_to_fc2", "gone")
    edit = policy(fraction=0.02, projections=chosen).propose(network, evidence, generator())
    assert {part.projection for part in edit.edits if isinstance(part, SetMask)} == set(chosen[:2])


def test_random_growth_reaches_every_dormant_connection_alike():
    network = mlp((5, 4, 3), 0.5, batch_norm=False)
    evidence, rng = evidence_for(network, generator(), np.zeros), generator()
    mask = network.connection_columns("input_to_fc1").mask
    counts = np.zeros(mask.size)
    for _ in range(600):
        edit = RandomGrowth(fraction=0.1).propose(network, evidence, rng)
        counts[next(part.entries for part in edit.edits if part.projection == "input_to_fc1")] += 1
    assert (counts[mask.ravel()] == 0).all()
    np.testing.assert_allclose(counts[~mask.ravel()], 1200 / (~mask).sum(), rtol=0.35)


def test_a_projection_without_entries_is_passed_over():
    network = mlp((4, 3, 2), 0.5)
    bare = network.replace(connections={"fc1_to_output": Grid.of(np.zeros((2, 0)))})
    assert [p.name for p in plastic_projections(bare)] == ["input_to_fc1"]


# -- neurons ---------------------------------------------------------------------------------------------


def wide(hidden=4, seed=0):
    return mlp((9, hidden, 7, 5), 0.5, seed, batch_norm=False)


def only(network, layer, bridge):
    """Evidence that bridges one layer."""
    zero = evidence_for(network, generator(), np.zeros).bridges
    return Evidence(bridges={**zero, layer: np.asarray(bridge, np.float32)})


@given(SEEDS, st.integers(1, 40))
@quick(60)
def test_the_paper_s_neuron_is_its_algorithm_word_for_word(seed, count):
    bridge = generator(seed).standard_normal((5, 8))
    w_in, w_out = paper_neuron(bridge, count, generator(seed))
    rng, expected_in, expected_out = generator(seed), np.zeros(8), np.zeros(5)
    largest = sorted(range(40), key=lambda place: -abs(bridge.flat[place]))[:count]
    for place in sorted(largest):
        m, n = divmod(place, 8)
        d = np.sqrt(abs(bridge[m, n])) * rng.choice((-1.0, 1.0))
        expected_out[m] += d
        expected_in[n] += d * np.sign(-bridge[m, n])
    np.testing.assert_allclose(w_in, expected_in)
    np.testing.assert_allclose(w_out, expected_out)


def test_one_bridge_is_one_step_of_gradient_descent_on_a_direct_connection():
    bridge = np.zeros((3, 4))
    bridge[1, 2] = 0.36
    for design in (paper_neuron, rank_one_neuron):
        w_in, w_out = design(bridge, 1, generator())
        np.testing.assert_allclose(np.outer(w_out, w_in), -bridge, atol=1e-12)


@given(SEEDS, st.integers(1, 40))
@quick(30)
def test_the_rank_one_neuron_points_down_the_gradient_and_is_sparse(seed, count):
    bridge = generator(seed).standard_normal((5, 8))
    w_in, w_out = rank_one_neuron(bridge, count, generator(seed))
    path = np.outer(w_out, w_in)
    assert np.count_nonzero(w_in) == max(1, min(8, round(count / 5)))
    assert (path * bridge).sum() < 0
    full = np.outer(*reversed(rank_one_neuron(bridge, 40, generator(seed))))
    left, values, right = np.linalg.svd(-bridge)
    np.testing.assert_allclose(full, values[0] * np.outer(left[:, 0], right[0]))
    np.testing.assert_allclose(path[path != 0], full[path != 0])


def test_ties_in_the_bridging_gradient_respect_the_count():
    w_in, w_out = paper_neuron(np.ones((4, 6)), 1, generator())
    assert (np.count_nonzero(w_in), np.count_nonzero(w_out)) == (1, 1)
    w_in, _ = rank_one_neuron(np.ones((4, 6)), 4, generator())
    assert np.count_nonzero(w_in) == 1


@pytest.mark.parametrize("rule", ["paper", "rank_one"])
def test_a_neuron_is_born_with_the_strength_asked_for(rule):
    network, rng = wide(), generator(3)
    evidence = only(network, "fc1", rng.standard_normal((7, 9)))
    grown = NeuronGrowth(alpha=0.3, beta=0.1, rule=rule).propose(network, evidence, rng).apply(network).network
    assert len(grown.units("fc1")) == 5
    for name, born in (("input_to_fc1", np.s_[4]), ("fc1_to_fc2", np.s_[:, 4])):
        old, new = network.connection_columns(name), grown.connection_columns(name)
        sizes = np.abs(new.weight[born][new.mask[born]])
        assert sizes.mean() == pytest.approx(0.3 * np.abs(old.weight[old.mask]).mean(), rel=1e-5)
        assert (sizes > 0).all()


def test_neurons_of_one_edit_do_not_add_to_each_other_s_strength():
    network, rng = wide(), generator(3)
    evidence = evidence_for(network, rng)
    grown = NeuronGrowth(alpha=50.0, units=3).propose(network, evidence, rng).apply(network).network
    old, new = network.connection_columns("fc2_to_output"), grown.connection_columns("fc2_to_output")
    for born in range(7, 10):
        sizes = np.abs(new.weight[:, born][new.mask[:, born]])
        assert sizes.mean() == pytest.approx(50 * np.abs(old.weight[old.mask]).mean(), rel=1e-5)


def test_several_neurons_bridge_different_pairs():
    network = wide()
    bridge = np.zeros((7, 9))
    bridge[[1, 2, 3], [4, 5, 6]] = (3, 2, 1)
    edit = NeuronGrowth(units=5, beta=0.001).propose(network, only(network, "fc1", bridge), generator())
    grown = edit.apply(network).network
    assert len(edit.edits) == 3  # there are no more pairs to bridge
    into, out = grown.connection_columns("input_to_fc1").mask[4:], grown.connection_columns("fc1_to_fc2").mask[:, 4:]
    assert np.argwhere(into).tolist() == [[0, 4], [1, 5], [2, 6]]
    assert np.argwhere(out.T).tolist() == [[0, 1], [1, 2], [2, 3]]


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_gradmax_keeps_the_output_and_has_the_largest_gradient_of_incoming_weights(activation, batch_norm):
    network, rng = mlp((9, 4, 7, 5), 0.5, 0, activation, batch_norm), generator(3)
    bridge = rng.standard_normal((7, 9))
    policy = NeuronGrowth(rule="gradmax", beta=1.0)
    applied = check_laws(network, policy.propose(network, only(network, "fc1", bridge), rng), preserves=1e-5)
    into, out = (applied.network.connection_columns(name) for name in ("input_to_fc1", "fc1_to_fc2"))
    assert into.mask[4].all()
    assert not into.weight[4].any()
    w_out = out.weight[:, 4].astype(float)
    reached = np.linalg.norm(w_out @ bridge)
    assert reached == pytest.approx(np.linalg.norm(w_out) * np.linalg.norm(bridge, 2), rel=1e-5)
    others = rng.standard_normal((200, 7))
    assert (
        np.linalg.norm(others @ bridge, axis=1) / np.linalg.norm(others, axis=1) * np.linalg.norm(w_out) < reached
    ).all()


def test_one_budget_for_all_layers_goes_to_the_strongest_bridge():
    network = wide()
    bridges = {"fc1": generator(1).standard_normal((7, 9)), "fc2": generator(2).standard_normal((5, 4))}
    for best in bridges:
        evidence = Evidence(bridges=bridges | {best: 50 * bridges[best]})
        grown = NeuronGrowth(units=2, beta=0.1, scope="global").propose(network, evidence, generator())
        assert {part.layer for part in grown.edits} == {best}
        limited = NeuronGrowth(units=2, beta=0.1, scope="global", limit=len(network.units(best)))
        assert all(part.layer != best for part in limited.propose(network, evidence, generator()).edits)


def test_a_skip_does_not_end_the_growth_of_the_layers_beside_it():
    network = wide()
    evidence = evidence_for(network, generator())
    skipped = SkipGrowth(connections=2).propose(network, evidence, generator()).apply(network).network
    assert len(skipped.projection_names) == 4
    assert bridged_layers(skipped) == bridged_layers(network)
    edit = NeuronGrowth().propose(skipped, evidence_for(skipped, generator()), generator())
    assert check_laws(skipped, edit).network.unit_count == network.unit_count + 2


@given(st.integers(1, 6), st.integers(1, 4), st.floats(0.1, 1))
@quick(20)
def test_growth_stops_at_the_limit(limit, units, scale):
    network = wide(hidden=4)
    edit = NeuronGrowth(units=units, limit=limit).propose(
        network, evidence_for(network, generator()), generator(), scale
    )
    grown = edit.apply(network).network
    for name, before in (("fc1", 4), ("fc2", 7)):
        assert len(grown.units(name)) == max(before, min(limit, before + max(1, round(units * scale))))


def test_layers_without_one_dense_way_in_and_out_are_left_alone():
    shallow = mlp((4, 3))
    assert bridged_layers(shallow) == {}
    assert NeuronGrowth().propose(shallow, Evidence(), generator()).edits == ()


@pytest.mark.parametrize("rule", ["paper", "rank_one", "gradmax"])
def test_feed_forward_units_over_tokens_grow_where_they_lower_the_loss(rule):
    network, ids = characters()
    wanted = torch.randint(0, 7, ids.shape, generator=torch.Generator().manual_seed(1))

    def loss(outputs, targets):
        return torch.nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    assert list(bridged_layers(network)) == ["blocks_0_up", "blocks_1_up"]
    evidence = gather(network, [(ids, wanted)], loss, {"bridges", "trial"})
    policy = NeuronGrowth(units=2, rule=rule, scope="global", alpha=0.05)
    edit = policy.propose(network, evidence, generator())
    assert edit == policy.propose(network, evidence, generator())
    grown = check_laws(network, edit).network
    (layer,) = {part.layer for part in edit.edits}
    assert len(grown.units(layer)) == len(network.units(layer)) + 2
    if rule == "gradmax":  # nothing changes but what can be learned: the step that it makes is the steepest
        np.testing.assert_allclose(predict(grown, ids.numpy()), predict(network, ids.numpy()), rtol=0, atol=1e-5)
        (read,) = grown.incoming(layer)
        assert np.abs(evidence.slopes(grown)[read.name][-2:]).max() > 0
    assert bridged_layers(characters(gated=True)[0]) == {}


def test_maps_that_a_pooling_makes_smaller_are_not_bridged():
    module = torch.nn.Sequential(
        torch.nn.Conv1d(3, 4, 1), torch.nn.Conv1d(4, 5, 1), torch.nn.AvgPool1d(2), torch.nn.Conv1d(5, 2, 1)
    )
    network = import_module(module, torch.randn(2, 3, 4))
    assert list(bridged_layers(network)) == [network.layer_names[1]]


def test_a_layer_that_mixes_its_units_is_not_bridged(monkeypatch):
    assert list(bridged_layers(wide())) == ["fc1", "fc2"]
    monkeypatch.setattr(Activation, "facts", Facts())
    assert bridged_layers(wide()) == {}


def test_proposals_say_what_they_do():
    network = wide()
    evidence = evidence_for(network, generator())
    edit = ConnectionGrowth(fraction=0.01).propose(network, evidence, generator())
    total = sum(len(part.entries) for part in edit.edits if isinstance(part, SetMask))
    assert edit.words == f"grow {total} connections"
    assert NeuronGrowth(units=2).propose(network, evidence, generator()).words == "grow 4 neurons"
