"""Skip projections lead where the gradient of the connections that are not there is largest."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.edits import AddProjection, Block
from nestgraph.policies import Evidence, SkipGrowth, possible_skips
from nestgraph.seeds import lenet_5, mlp
from nestgraph.spec import Dense
from tests.laws import check_laws, quick
from tests.policies.evidence import evidence_for
from tests.strategies import SEEDS, networks

GENERATOR = np.random.default_rng(0)


def proposed(policy, network, evidence, scale=1.0):
    return policy.propose(network, evidence, GENERATOR, scale)


@given(networks(), st.integers(1, 6), SEEDS)
@quick(60)
def test_the_best_pair_gets_the_largest_gradients_and_the_output_stays(network, connections, seed):
    evidence = evidence_for(network, np.random.default_rng(seed))
    edit = proposed(SkipGrowth(connections=connections), network, evidence)
    assert bool(edit.edits) == bool(possible_skips(network))
    ranked = {name: np.sort(np.abs(values).ravel())[::-1][:connections] for name, values in evidence.skips.items()}
    check_laws(network, edit, preserves=0.0)
    for part in edit.edits:
        name, block = part.projection.name, part.connections
        assert ranked[name].sum() >= max(values.sum() for values in ranked.values()) * (1 - 1e-6)
        assert not block.weight.any()
        sizes = np.abs(evidence.skips[name])
        assert sorted(sizes[block.mask], reverse=True) == ranked[name].tolist()


@given(networks())
@quick(60)
def test_skips_lead_forward_to_neurons_where_no_dense_projection_leads(network):
    joined = {(p.source, p.target) for p in network.projections_by_name.values() if isinstance(p, Dense)}
    names = [skip.name for skip in possible_skips(network)]
    assert len(set(names) | set(network.projection_names)) == len(names) + len(network.projection_names)
    for skip in possible_skips(network):
        assert (skip.source, skip.target) not in joined
        assert network.layer_names.index(skip.source) < network.layer_names.index(skip.target)
        assert network.layer(skip.target).size is None


def test_every_pair_past_a_layer_is_possible_also_from_maps():
    pairs = {(p.source, p.target) for p in possible_skips(lenet_5(0.2))}
    assert pairs == {(a, b) for a in ("input", "conv1") for b in ("fc1", "output")} | {("conv2", "output")}


def test_a_name_that_is_taken_is_not_taken_again():
    network = mlp((4, 3, 2), 1.0)
    taken = Dense(source="fc1", target="output", name="input_to_output_skip")
    block = Block(weight=np.ones((2, 3)), mask=np.ones((2, 3), bool))
    network = AddProjection(projection=taken, connections=block).apply(network).network
    assert [skip.name for skip in possible_skips(network)] == ["input_to_output_skip1"]


def test_a_step_a_scale_and_a_limit_are_kept():
    network = mlp((6, 5, 4, 3), 0.5)
    evidence = evidence_for(network, np.random.default_rng(0))
    (edit,) = proposed(SkipGrowth(connections=4, weight="gradient", rate=0.5), network, evidence, 0.5).edits
    mask = edit.connections.mask
    assert mask.sum() == 2
    np.testing.assert_allclose(edit.connections.weight[mask], -0.5 * evidence.skips[edit.projection.name][mask])
    assert proposed(SkipGrowth(limit=1), network, evidence).edits == ()
    policy, grown = SkipGrowth(limit=2), network
    while edit := proposed(policy, grown, evidence_for(grown, np.random.default_rng(1))).edits:
        grown = edit[0].apply(grown).network
    assert {name: len(grown.incoming(name)) for name in grown.layer_names} == {
        "input": 0, "fc1": 1, "fc2": 2, "output": 2,
    }  # fmt: skip


def test_nothing_grows_where_all_are_joined():
    edit = proposed(SkipGrowth(), mlp((4, 3)), Evidence())
    assert edit.edits == ()
    assert edit.words == "dense projections join all pairs of layers that they could join"
