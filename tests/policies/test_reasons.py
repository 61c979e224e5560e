"""What a proposal says it chose by is what the evidence has."""

import numpy as np
import pytest
from hypothesis import given

from nestgraph.edits import EDIT, AddUnits, RemoveUnits, SetMask
from nestgraph.policies import (
    AreaPruning,
    ConnectionGrowth,
    MagnitudePruning,
    MapGrowth,
    NeuronGrowth,
    RigL,
    SkipGrowth,
    Snip,
    SparseEvolution,
    UnitPruning,
    effective_weight,
)
from nestgraph.policies.pruning import lamp
from nestgraph.seeds import cnn, mlp
from tests.laws import quick
from tests.policies.evidence import any_loss, evidence_for
from tests.strategies import SEEDS


@pytest.fixture
def network():
    return mlp((6, 5, 4, 3), 0.5, 0)


def generator(seed=0):
    return np.random.default_rng(seed)


def entries(edit, projection, active):
    found = [part for part in edit.edits if isinstance(part, SetMask) and part.projection == projection]
    return np.concatenate([part.entries[part.active == active] for part in found])


def measured(edit, projection):
    return {reason.measure: reason.value for reason in edit.reasons if reason.place == projection}


@given(SEEDS)
@quick(20)
def test_woken_connections_have_at_least_the_gradient_that_is_named(seed):
    network = mlp((6, 5, 4, 3), 0.5, 0)
    evidence = evidence_for(network, generator(seed))
    for policy in (ConnectionGrowth(fraction=0.1), RigL(fraction=0.2)):
        edit = policy.propose(network, evidence, generator(seed))
        for name in {part.projection for part in edit.edits if isinstance(part, SetMask) and part.active.any()}:
            gradient = np.abs(evidence.gradients[name]).reshape(-1)
            woken = entries(edit, name, active=True)
            assert measured(edit, name)["|gradient|"] == gradient[woken].min()
            dormant = np.setdiff1d(np.flatnonzero(~network.connection_columns(name).mask), woken)
            assert not len(dormant) or gradient[dormant].max() <= measured(edit, name)["|gradient|"]


@pytest.mark.parametrize("score", ["weight", "lamp"])
def test_pruned_connections_have_at_most_the_weight_that_is_named(network, score):
    policy = MagnitudePruning(fraction=0.3, score=score, scope="projection" if score == "weight" else "global")
    edit = policy.propose(network, evidence_for(network, generator()), generator())
    for name in network.projection_names:
        size = np.abs(effective_weight(network, name))
        size = (size if score == "weight" else lamp(size)).reshape(-1)
        measure = "|effective weight|" if score == "weight" else "LAMP score"
        assert measured(edit, name) == {measure: size[entries(edit, name, active=False)].max()}


def test_each_way_to_choose_connections_names_its_measure(network):
    evidence = evidence_for(network, generator())
    for policy, measures in (
        (Snip(), {"|weight x gradient|"}),
        (SparseEvolution(), {"a random number", "|effective weight|"}),
        (RigL(), {"|gradient|", "|effective weight|"}),
        (SkipGrowth(), {"|bridging gradient|"}),
    ):
        edit = policy.propose(network, evidence, generator())
        assert {reason.measure for reason in edit.reasons} == measures
        assert all(reason.unit is None and reason.value > 0 for reason in edit.reasons)


def test_areas_end_at_the_response_that_is_named():
    network = cnn((4,), (6,), size=8, classes=3)
    evidence = evidence_for(network, generator())
    edit = AreaPruning(quantile=0.2).propose(network, evidence, generator())
    (reason,) = edit.reasons
    assert reason.measure == "mean |response|"
    assert 0 < reason.value < evidence.responses[reason.place].max()


def test_removed_units_are_quieter_than_the_threshold_that_is_named(network):
    evidence = evidence_for(network, generator(3))
    edit = UnitPruning(threshold=0.9, fraction=0.5).propose(network, evidence, generator())
    assert edit.reasons
    for reason in edit.reasons:
        activity = evidence.activity[reason.place]
        assert reason.value == activity[network.unit_columns(reason.place).position[reason.unit]]
        assert reason.bound == pytest.approx(0.9 * activity.mean())
        assert reason.value < reason.bound
    first = {(part.layer, unit) for batch in edit.edits for part in batch.edits[:1] for unit in part.units.tolist()}
    assert {(reason.place, reason.unit) for reason in edit.reasons} == first
    assert all(isinstance(batch.edits[0], RemoveUnits) for batch in edit.edits)


@pytest.mark.parametrize("rule", ["paper", "rank_one", "gradmax"])
def test_a_new_neuron_bridges_more_than_the_next_would(network, rule):
    evidence = evidence_for(network, generator())
    edit = NeuronGrowth(units=2, beta=0.2, rule=rule).propose(network, evidence, generator())
    born = [(part.layer, int(part.ids[0])) for part in edit.edits if isinstance(part, AddUnits)]
    assert [(reason.place, reason.unit) for reason in edit.reasons] == born
    first = edit.reasons[0]
    bridge = np.sort(np.abs(evidence.bridges[first.place]), axis=None)
    count = round(0.2 * bridge.size)
    assert first.measure == f"sum of {count} |bridging gradients|"
    assert first.value == pytest.approx(bridge[-count:].sum())
    assert edit.reasons[1].value == first.bound < first.value


def test_a_new_map_has_a_lower_loss_than_the_next_best():
    network = cnn((4,), (6,), size=8, classes=3)
    evidence = evidence_for(network, generator())
    edit = MapGrowth(candidates=4).propose(network, evidence, generator())
    (reason,) = edit.reasons
    assert reason.value == any_loss(edit.apply(network).network)
    assert reason.value < reason.bound < 1
    assert (reason.place, reason.unit) == (edit.edits[0].layer, edit.edits[0].ids[0])
    assert MapGrowth(candidates=1).propose(network, evidence, generator()).reasons[0].bound is None


def test_reasons_change_nothing_and_are_kept_in_files(network):
    edit = ConnectionGrowth().propose(network, evidence_for(network, generator()), generator())
    assert EDIT.validate_json(EDIT.dump_json(edit)) == edit
    bare = edit.model_copy(update={"reasons": ()})
    assert b"reasons" not in EDIT.dump_json(bare)
    assert bare.apply(network).network == edit.apply(network).network


def test_what_is_not_finite_is_no_reason(network):
    evidence = evidence_for(network, generator())
    for activity in evidence.activity.values():
        activity[0] = np.inf
    edit = UnitPruning(threshold=0.9, fraction=0.2).propose(network, evidence, generator())
    assert edit.edits
    assert edit.reasons == ()
