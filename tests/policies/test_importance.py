"""Units and heads that matter are kept, and those of no use go first."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nestgraph as ng
from nestgraph.errors import EditError
from nestgraph.graph import Network
from nestgraph.loop.evidence import gather
from nestgraph.policies import Evidence, ImportancePruning
from tests.interop.test_attention import heads_of, imported
from tests.laws import check_laws, quick
from tests.policies.evidence import evidence_for
from tests.strategies import SEEDS, networks
from tests.strategies.networks import EVERY

MEASURES = ("taylor", "activity", "magnitude")


@quick(20)
@given(networks(EVERY), st.sampled_from(MEASURES), st.sampled_from(("layer", "global")), SEEDS)
def test_what_is_proposed_keeps_the_laws(network, measure, scope, seed):
    rng = np.random.default_rng(seed)
    policy = ImportancePruning(measure=measure, scope=scope, fraction=0.5)
    try:
        edit = policy.propose(network, evidence_for(network, rng), rng)
    except EditError:
        return  # an output hangs on what would go
    assert check_laws(network, edit)
    assert len(edit.edits) <= len(edit.reasons)


def planted(case):
    """A network in which head 1 and the hidden unit 3 bring almost nothing, and what it is to compute."""
    _, x, network = imported(case)
    (mix,) = network.outgoing(heads_of(network))
    mixed = [unit for head, unit in network.connection_columns(mix.name).links.tolist() if head == 1]
    for layer, units in ((mix.target, mixed), ("hidden", [3])):
        (out,) = network.outgoing(layer)
        columns = network.connection_columns(out.name)
        weight = columns.weight.copy()
        weight[:, np.isin(network.units(layer), units)] *= 1e-3
        network = Network.of(network.replace(connections={out.name: columns.with_weight(weight)}))
    return x, network


@pytest.mark.parametrize("measure", ["taylor", "magnitude"])
def test_heads_and_units_of_no_use_go_first(measure):
    x, network = planted("fused")
    target = torch.zeros_like(x)
    evidence = gather(network, [(x, target)], torch.nn.functional.mse_loss, ImportancePruning.needs)
    edit = ImportancePruning(measure=measure, fraction=0.5).propose(network, evidence, np.random.default_rng(0))
    after = edit.apply(network).network
    assert after.units(heads_of(network)).tolist() == [0]
    first = ImportancePruning(measure=measure, fraction=0.1).propose(network, evidence, np.random.default_rng(0))
    assert [(reason.place, reason.unit) for reason in first.reasons] == [("hidden", 3)]


def test_saliency_is_the_derivative_by_a_factor_of_the_output():
    """Of one sample, so that no absolute values are averaged."""
    network = ng.seeds.mlp((3, 4, 2), density=1.0, seed=0, batch_norm=False)
    x, target = torch.randn(1, 3, generator=torch.Generator().manual_seed(0)), torch.zeros(1, 2)
    found = gather(network, [(x, target)], torch.nn.functional.mse_loss, {"saliency"}).saliency["fc1"]
    (out,) = network.outgoing("fc1")
    columns, losses = network.connection_columns(out.name), {}
    for unit in range(4):
        for factor in (1 - 1e-3, 1 + 1e-3):
            weight = columns.weight.copy()
            weight[:, unit] *= factor
            moved = Network.of(network.replace(connections={out.name: columns.with_weight(weight)}))
            losses[unit, factor] = float(np.square(ng.graph.reference.predict(moved, x.numpy())).mean())
        slope = (losses[unit, 1 + 1e-3] - losses[unit, 1 - 1e-3]) / 2e-3
        assert found[unit] == pytest.approx(abs(slope), rel=0.02, abs=1e-5)


def test_evidence_of_another_network_is_refused():
    with pytest.raises(EditError, match="saliency of 'fc1' of shape"):
        ImportancePruning().propose(ng.seeds.mlp((3, 4, 2)), Evidence(), np.random.default_rng(0))
