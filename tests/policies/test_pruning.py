"""Pruning takes what is weakest, keeps every output joined to the inputs, and ends in peace."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nestgraph.edits import RemoveUnits, SetMask, SetValues, coupled, fold_batch_norm
from nestgraph.edits.coupling import held_units
from nestgraph.errors import EditError
from nestgraph.graph import violations
from nestgraph.graph.pinning import pinned
from nestgraph.policies import Evidence, MagnitudePruning, RandomPruning, Snip, UnitPruning, effective_weight
from nestgraph.policies.policy import plastic_projections
from nestgraph.seeds import mlp
from nestgraph.spec import BatchNorm
from tests.laws import check_laws, quick
from tests.policies.evidence import evidence_for
from tests.strategies import SEEDS, columns_for, networks

FRACTIONS = st.floats(0.01, 1)
MAGNITUDES = st.builds(MagnitudePruning, fraction=FRACTIONS, scope=st.sampled_from(("projection", "global")))
SCOPES = st.sampled_from(("projection", "global"))
BASELINES = (st.builds(kind, fraction=FRACTIONS, scope=SCOPES) for kind in (RandomPruning, Snip))
PRUNINGS = st.one_of(MAGNITUDES, *BASELINES, st.builds(UnitPruning, threshold=st.floats(0, 2), fraction=FRACTIONS))


def generator(seed=0):
    return np.random.default_rng(seed)


def proposed(policy, network, evidence=None, scale=1.0):
    """The proposal, or None where the policy would cut an output off."""
    try:
        return policy.propose(network, evidence or Evidence(), generator(), scale)
    except EditError:
        return None


def pruned_entries(edit):
    """(projection, position) of the connections that a proposal names."""
    return {
        (part.projection, place) for part in edit.edits if isinstance(part, SetMask) for place in part.entries.tolist()
    }


def folded(network):
    """The network without the batch normalisations that the edit can fold."""
    for name in network.layer_names:
        try:
            network = fold_batch_norm(network, name).apply(network).network
        except EditError:
            continue
    return network


def protected(network):
    """The strongest connection into each unit that must stay fed, by projection and position."""
    found = set()
    for p in plastic_projections(network):
        strength = np.abs(effective_weight(network, p.name))
        if (network.layer(p.target).output or p.target in pinned(network)) and p.kind != "one_to_one":
            rows = np.where(network.connection_columns(p.name).mask, strength, -1).reshape(len(strength), -1)
            found |= {(p.name, row * rows.shape[1] + int(place)) for row, place in enumerate(rows.argmax(axis=1))}
        for follower in (network.projection(name) for name in (network.tied.get(p.name),) if name):
            table = np.where(network.connection_columns(p.name).mask, strength, -1)[:, 0]
            best = {of: int(table[:, of].argmax()) for of in network.units(follower.target) if table[:, of].max() >= 0}
            found |= {(p.name, unit * table.shape[1] + int(of)) for of, unit in best.items()}
    return found


@given(networks(), PRUNINGS, st.floats(0.1, 1), SEEDS)
@quick(80)
def test_proposals_are_legal_and_pure(network, policy, scale, seed):
    evidence = evidence_for(network, generator(seed))
    edit = proposed(policy, network, evidence, scale)
    assume(edit is not None)
    assert edit == proposed(policy, network, evidence, scale)
    applied = check_laws(network, edit)
    assert applied is not None
    assert applied.network.connection_count <= network.connection_count
    assert bool(edit.edits) == (applied.network != network)


@given(networks(), MAGNITUDES, st.sampled_from((1.0, 0.5)))
@quick(100)
def test_pruned_are_the_smallest_weights_after_folding_batch_normalisation(network, policy, scale):
    edit = proposed(policy, network, scale=scale)
    assume(edit is not None)
    plain, kept = folded(network), protected(network)
    names = [p.name for p in plastic_projections(network)]
    assume(all(_starts_plainly(plain, p) for p in plastic_projections(network)))
    expected = set()
    for group in [names] if policy.scope == "global" else [[name] for name in names]:
        live = []
        for name in group:
            columns = plain.connection_columns(name)
            live += [(abs(columns.weight.flat[i]), name, i) for i in np.flatnonzero(columns.mask).tolist()]
        count = max(1, round(policy.fraction * scale * len(live)))
        expected |= {(name, i) for _, name, i in sorted(e for e in live if e[1:] not in kept)[:count]}
    assert pruned_entries(edit) == expected


def _starts_plainly(network, projection):
    """Whether folding left a projection's target without normalisation at its start."""
    operations = network.layer(projection.target).operations
    return not operations or not isinstance(operations[0], BatchNorm)


def test_batch_normalisation_changes_the_ranking():
    network = mlp((8, 6, 3), 1.0)
    rng = generator(1)
    values = columns_for(network.layer("fc1"), 6, rng)
    network = SetValues(units={"fc1": values}).apply(network).network
    weights = np.abs(network.connection_columns("input_to_fc1").weight).ravel()
    effective = np.abs(effective_weight(network, "input_to_fc1")).ravel()
    assert not np.array_equal(np.argsort(weights)[:10], np.argsort(effective)[:10])
    factor = values["gamma"] / np.sqrt(values["variance"] + 1e-5)
    np.testing.assert_allclose(effective.reshape(6, 8), np.abs(factor)[:, None] * weights.reshape(6, 8), rtol=1e-5)


@given(networks(), MAGNITUDES)
@quick(60)
def test_the_strongest_connection_into_each_output_is_never_pruned(network, policy):
    edit = proposed(policy, network)
    assume(edit is not None)
    assert not pruned_entries(edit) & protected(network)


@given(networks(), PRUNINGS, SEEDS)
@quick(40)
def test_pruning_to_exhaustion_ends_with_a_network(network, policy, seed):
    rng = generator(seed)
    for _ in range(10_000):
        edit = proposed(policy, network, evidence_for(network, rng))
        if edit is None or not edit.edits:
            break
        smaller = edit.apply(network).network
        assert smaller.unit_count + smaller.connection_count < network.unit_count + network.connection_count
        network = smaller
    else:
        pytest.fail("pruning did not end")
    assert violations(network.replace()) == ()


@pytest.mark.parametrize("fraction", [0.05, 1.0])
def test_a_layer_of_outputs_is_pruned_to_one_connection_each(fraction):
    network = mlp((12, 5), 1.0)
    strongest = protected(network)
    while (edit := proposed(MagnitudePruning(fraction=fraction), network)).edits:
        network = edit.apply(network).network
    assert network.connection_count == 5
    assert len(strongest) == 5


def test_snip_prunes_what_moves_the_loss_least():
    network = mlp((12, 6, 4), 0.7)
    evidence = evidence_for(network, generator(2))
    edit = proposed(Snip(fraction=0.3, scope="global"), network, evidence)
    saliency = {n: np.abs(network.connection_columns(n).weight * evidence.gradients[n]) for n in evidence.gradients}
    pruned = pruned_entries(edit)
    strongest = {("fc1_to_output", r * 6 + int(row.argmax())) for r, row in enumerate(saliency["fc1_to_output"])}
    live = {
        (n, int(i)): saliency[n].flat[i] for n in saliency for i in np.flatnonzero(network.connection_columns(n).mask)
    }
    kept = live.keys() - pruned - strongest
    assert len(pruned) == round(0.3 * network.connection_count)
    assert not pruned & strongest
    assert max(live[e] for e in pruned) <= min(live[e] for e in kept)


def test_random_pruning_takes_every_connection_alike():
    network, rng, counts = mlp((6, 5, 2), 1.0), generator(), np.zeros(30)
    for _ in range(600):
        edit = RandomPruning(fraction=0.2).propose(network, Evidence(), rng)
        counts[next(part.entries for part in edit.edits if part.projection == "input_to_fc1")] += 1
    np.testing.assert_allclose(counts, 120, rtol=0.35)


def test_equal_weights_respect_the_count():
    network = mlp((10, 8, 3), 1.0)
    zero = {name: np.zeros(network.connection_columns(name).active) for name in network.projection_names}
    network = SetValues(weights=zero).apply(network).network
    edit = proposed(MagnitudePruning(fraction=0.1), network)
    assert sorted(len(part.entries) for part in edit.edits) == [2, 8]


def test_a_halved_scale_halves_the_step():
    network = mlp((40, 30, 10), 1.0)
    for scale in (1.0, 0.5, 0.25):
        edit = proposed(MagnitudePruning(fraction=0.2), network, scale=scale)
        assert len(pruned_entries(edit)) == round(0.2 * scale * 1200) + round(0.2 * scale * 300)
        activity = {name: np.arange(len(network.units(name))) / 100 for name in network.layer_names}
        edit = proposed(UnitPruning(threshold=1.0, fraction=0.4), network, Evidence(activity=activity), scale)
        assert network.unit_count - edit.apply(network).network.unit_count == int(30 * 0.4 * scale)


@given(networks(), st.floats(0, 2), FRACTIONS, SEEDS)
@quick(60)
def test_units_fall_only_below_the_threshold_and_the_quietest_first(network, threshold, fraction, seed):
    activity = evidence_for(network, generator(seed)).activity
    edit = proposed(UnitPruning(threshold=threshold, fraction=fraction), network, Evidence(activity=activity))
    assume(edit is not None)
    after = edit.apply(network).network
    remaining = {name: after.units(name) for name in after.layer_names}
    for part in edit.edits:
        first = part.edits[0]
        assert isinstance(first, RemoveUnits)
        layer, sizes, ids = network.layer(first.layer), activity[first.layer], network.units(first.layer)
        assert layer.kind != "input"
        assert not layer.output
        strands = {tuple(sorted(coupled(network, layer.name, [unit])[layer.name])) for unit in first.units}
        quietest = np.array([sizes[np.isin(ids, strand)].min() for strand in strands])
        assert (quietest < threshold * sizes.mean()).all()
        assert len(strands) <= fraction * len(sizes)
        fallen = np.isin(ids, first.units) | ~np.isin(ids, remaining.get(layer.name, ()))
        kept = np.isin(ids, held_units(network).get(layer.name, ()))
        below = np.count_nonzero(sizes < threshold * sizes.mean())
        assert (fallen | kept).sum() >= min(int(len(sizes) * fraction), below)
        assert not (quietest[:, None] > sizes[~fallen & ~kept]).any()


def test_a_silent_unit_goes_and_nothing_changes():
    network = mlp((6, 5, 3), 1.0, batch_norm=False)
    columns = network.connection_columns("fc1_to_output")
    weight = columns.weight.copy()
    weight[:, 2] = 0
    network = SetValues(weights={"fc1_to_output": weight[columns.mask]}).apply(network).network
    activity = {"input": np.ones(6), "fc1": np.array([1, 1, 0, 1, 1.0]), "output": np.zeros(3)}
    edit = proposed(UnitPruning(threshold=0.1, fraction=0.2), network, Evidence(activity=activity))
    applied = check_laws(network, edit, preserves=1e-6)
    assert applied.network.units("fc1").tolist() == [0, 1, 3, 4]
    assert edit.words == "prune 1 units"
