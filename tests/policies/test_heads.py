"""Heads and slots grow where the loss falls fastest, and change nothing when they come."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import mse_loss

import nestgraph as ng
from nestgraph.edits import grow_head, remove_heads, widen_heads
from nestgraph.errors import EditError
from nestgraph.graph import Network
from nestgraph.graph.reference import predict
from nestgraph.loop.evidence import gather
from nestgraph.policies import Evidence, HeadGrowth
from nestgraph.policies.heads import gain
from tests.interop.test_attention import imported
from tests.interop.test_decoders import imported as turned
from tests.laws import check_laws, quick
from tests.policies.attention import over_two
from tests.policies.evidence import evidence_for
from tests.strategies import SEEDS, networks


def generator(seed=0):
    return np.random.default_rng(seed)


@given(
    networks(("heads",)),
    st.builds(
        HeadGrowth,
        add=st.sampled_from(("heads", "slots")),
        units=st.integers(1, 2),
        width=st.none() | st.integers(1, 2),
        candidates=st.integers(1, 2),
        scope=st.sampled_from(("layer", "global")),
        limit=st.none() | st.integers(1, 5),
    ),
    SEEDS,
)
@quick(12)
def test_proposals_are_legal_and_pure(network, policy, seed):
    evidence = evidence_for(network, generator(seed))
    edit = policy.propose(network, evidence, generator(seed))
    assert edit == policy.propose(network, evidence, generator(seed))
    grown = check_laws(network, edit).network
    assert len(edit.edits) == len(edit.reasons)
    (heads,) = (name for name in network.layer_names if network.matches(name))
    added = len(grown.units(heads)) - len(network.units(heads))
    assert added == (len(edit.edits) if policy.add == "heads" else 0)
    assert policy.limit is None or not added or len(grown.units(heads)) <= policy.limit


def planted():
    """A network that lacks a head where its inputs matter, what it is to learn, and evidence of it."""
    teacher, inputs, (near, far) = over_two()
    target = ng.lower(teacher).eval()(*inputs).detach()
    network = remove_heads(teacher, near, [1]).apply(teacher).network
    return network, inputs, target, (near, far)


def evidence_of(network, inputs, target):
    return gather(network, [(inputs, target)], mse_loss, HeadGrowth.needs)


def trained_loss(network, inputs, target, steps=40):
    bench = ng.Workbench(network, lambda module: torch.optim.Adam(module.parameters(), 0.02))
    for _ in range(steps):
        bench.optimizer.zero_grad()
        mse_loss(bench.module(*inputs), target).backward()
        bench.optimizer.step()
    with torch.no_grad():
        return float(mse_loss(bench.module(*inputs), target))


def test_a_head_grows_where_it_lowers_the_loss():
    network, inputs, target, (near, far) = planted()
    policy = HeadGrowth(scope="global")
    edit = policy.propose(network, evidence_of(network, inputs, target), generator())
    (reason,) = edit.reasons
    assert reason.place == near
    assert reason.value > reason.bound > 0
    grown = edit.apply(network).network
    elsewhere = grow_head(network, far, generator()).apply(network).network
    samples = tuple(each.numpy() for each in inputs)
    for after in (grown, elsewhere):
        np.testing.assert_array_equal(predict(after, samples), predict(network, samples))
    losses = [trained_loss(after, inputs, target) for after in (grown, elsewhere)]
    assert losses[0] < 0.8 * losses[1]


def test_the_gain_is_what_a_step_takes_off_the_loss():
    network, inputs, target, layers = planted()
    evidence, rate, found = evidence_of(network, inputs, target), 1e-3, []
    for seed in range(2):
        for layer in layers:
            grown = grow_head(network, layer, generator(seed)).apply(network).network
            (mix,) = grown.outgoing(layer)
            (out,) = grown.outgoing(mix.target)
            columns, slopes = grown.connection_columns(out.name), evidence.slopes(grown)[out.name]
            new = np.isin(grown.units(mix.target), network.units(mix.target), invert=True)
            weight = columns.weight - rate * slopes * new[:, None]
            stepped = Network.of(grown.replace(connections={out.name: columns.with_weight(weight)}))
            size = gain(network, grown, evidence)
            assert size == pytest.approx(float(np.linalg.norm(slopes[:, new])), rel=1e-6)
            found.append((size, evidence.loss(network) - evidence.loss(stepped)))
    near = found[::2]
    for size, lower in near:
        assert lower == pytest.approx(rate * size**2, rel=0.1)
    assert min(size for size, _ in near) > 5 * max(size for size, _ in found[1::2])


@pytest.mark.parametrize("add", ["heads", "slots"])
def test_heads_whose_queries_are_turned_grow_in_pairs(add):
    _, x, network = turned("halves")
    evidence = gather(network, [(x, torch.zeros_like(x))], mse_loss, HeadGrowth.needs)
    edit = HeadGrowth(add=add, candidates=2).propose(network, evidence, generator())
    applied = edit.apply(network)
    np.testing.assert_array_equal(predict(applied.network, x.numpy()), predict(network, x.numpy()))
    assert applied.inverse.apply(applied.network).network.digest == network.digest
    (reason,) = edit.reasons
    assert reason.value == gain(network, applied.network, evidence) > 0
    assert len(applied.network.units("q")) == len(network.units("q")) + 4  # a head, or a pair of each of two heads
    capped = HeadGrowth(add=add, candidates=2, limit=5).propose(network, evidence, generator())
    assert bool(capped.edits) == (add == "heads")  # a head of 4 slots has no room for a pair


@pytest.mark.parametrize("case", ["fused", "grouped", "one key for all"])
def test_slots_come_to_the_heads_that_want_them_most(case):
    _, x, network = imported(case)
    (heads,) = (name for name in network.layer_names if network.matches(name))
    evidence = gather(network, [(x, torch.zeros_like(x))], mse_loss, HeadGrowth.needs)
    edit = HeadGrowth(add="slots", width=2, candidates=2).propose(network, evidence, generator())
    grown = edit.apply(network).network
    np.testing.assert_allclose(predict(grown, x.numpy()), predict(network, x.numpy()), rtol=0, atol=1e-12)
    (reason,) = edit.reasons
    assert reason.value == gain(network, grown, evidence) > 0
    query = next(p.source for p in network.matches(heads) if p.words == "query")
    assert len(grown.units(query)) > len(network.units(query))
    one = widen_heads(network, heads, 2, generator(), [reason.unit]).apply(network).network
    assert gain(network, one, evidence) > 0


def test_heads_that_cannot_grow_are_passed_by():
    _, _, network = turned("heads normed apart")  # whose queries are normed in groups
    edit = HeadGrowth().propose(network, evidence_for(network, generator()), generator())
    assert edit.title == "no layer of heads has queries, keys and values that convolutions feed"


def test_evidence_without_trials_is_refused():
    network, *_ = over_two()
    with pytest.raises(EditError, match="gradients of 'x_to_near_0' of shape"):
        HeadGrowth().propose(network, Evidence(), generator())
