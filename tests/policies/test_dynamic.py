"""Dynamic sparse training moves connections: the weakest go, others come, and their count stays."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nestgraph.edits import SetMask
from nestgraph.policies import RigL, SparseEvolution
from nestgraph.seeds import mlp
from tests.laws import check_laws, quick, unless_refused
from tests.policies.evidence import evidence_for
from tests.strategies import SEEDS, networks
from tests.strategies.networks import EVERY

KINDS = st.sampled_from((RigL, SparseEvolution))
POLICIES = st.builds(
    lambda kind, **options: kind(**options),
    KINDS,
    fraction=st.floats(0.01, 1),
    scope=st.sampled_from(("projection", "global")),
    weight=st.sampled_from(("zero", "random")),
)


def generator(seed=0):
    return np.random.default_rng(seed)


def moved(edit):
    """The entries (projection, place) that the edit wakes, and those that it prunes."""
    found = {True: set(), False: set()}
    for part in edit.edits:
        if isinstance(part, SetMask):
            for place, active in zip(part.entries.tolist(), part.active.tolist(), strict=True):
                found[active].add((part.projection, place))
    return found[True], found[False]


def own_connections(network):
    """The connections, of tables at both ends those of the lookup."""
    own = (p.name for p in network.projections_by_name.values() if p.follows is None)
    return sum(network.connection_columns(name).active for name in own)


@given(networks(EVERY), POLICIES, SEEDS)
@quick(100)
def test_as_many_come_as_go_and_none_comes_back(network, policy, seed):
    evidence = evidence_for(network, generator(seed))
    edit = unless_refused(lambda: policy.propose(network, evidence, generator(seed)))
    assume(edit is not None)
    assert edit == policy.propose(network, evidence, generator(seed))
    woken, pruned = moved(edit)
    assert len(woken) == len(pruned)
    assert not woken & pruned
    applied = check_laws(network, edit)
    assert applied is not None
    if applied.network.unit_count == network.unit_count:
        assert own_connections(applied.network) == own_connections(network)
    else:
        assert applied.network.connection_count <= network.connection_count


@given(SEEDS, st.floats(0.05, 0.3), st.sampled_from((1.0, 0.5)))
@quick(30)
def test_rigl_drops_the_smallest_weights_and_wakes_the_largest_gradients(seed, fraction, scale):
    network = mlp((20, 12, 5), 0.4, seed % 100, batch_norm=False)
    evidence = evidence_for(network, generator(seed))
    woken, pruned = moved(RigL(fraction=fraction).propose(network, evidence, generator(), scale))
    columns, name = network.connection_columns("input_to_fc1"), "input_to_fc1"
    count = max(1, round(fraction * scale * columns.active))
    live, dormant = np.flatnonzero(columns.mask), np.flatnonzero(~columns.mask)
    weights, gradients = np.abs(columns.weight.ravel()), np.abs(evidence.gradients[name].ravel())
    assert {place for owner, place in pruned if owner == name} == set(live[np.argsort(weights[live])[:count]].tolist())
    assert {place for owner, place in woken if owner == name} == set(
        dormant[np.argsort(-gradients[dormant])[:count]].tolist()
    )


def test_what_is_full_stays_as_it_is_and_what_is_nearly_full_moves_as_much_as_has_room():
    full = mlp((6, 5, 3), 1.0)
    evidence = evidence_for(full, generator())
    assert RigL(fraction=0.5).propose(full, evidence, generator()).edits == ()
    entry = SetMask(projection="input_to_fc1", entries=[3], active=[False], weights=[0.0])
    woken, pruned = moved(RigL(fraction=0.5).propose(entry.apply(full).network, evidence, generator()))
    assert woken == {("input_to_fc1", 3)}
    assert len(pruned) == 1


@pytest.mark.parametrize("scope", ["projection", "global"])
def test_one_budget_lets_connections_move_to_another_layer(scope):
    network = mlp((20, 12, 5), 0.4, batch_norm=False)
    evidence = evidence_for(network, generator())
    evidence.gradients["fc1_to_output"][:] *= 100
    edit = RigL(fraction=0.1, scope=scope).propose(network, evidence, generator())
    woken, pruned = moved(edit)
    into_output = [sum(owner == "fc1_to_output" for owner, _ in entries) for entries in (woken, pruned)]
    assert (into_output[0] > into_output[1]) == (scope == "global")


def test_set_wakes_at_random_and_rigl_does_not():
    network = mlp((20, 12, 5), 0.4)
    evidence = evidence_for(network, generator())
    for kind, alike in ((RigL, True), (SparseEvolution, False)):
        first, second = (moved(kind().propose(network, evidence, generator(seed)))[0] for seed in (1, 2))
        assert (first == second) == alike
