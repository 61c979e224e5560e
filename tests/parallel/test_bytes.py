"""What is sent for an edit is in proportion to the edit."""

import numpy as np
import pytest

from nestgraph.policies import ConnectionGrowth, Evidence, MagnitudePruning
from nestgraph.seeds import alexnet, lenet_300_100
from nestgraph.snapshot import Proposal

RNG = np.random.default_rng(0)
SIZES = [
    pytest.param(lenet_300_100, 15e3, 30e3, id="LeNet-300-100"),
    pytest.param(alexnet, 3e6, 6.5e6, id="AlexNet", marks=pytest.mark.slow),
]


def sent(policy, network, evidence=None):
    """The bytes of a plan, and how many connections it turns on or off."""
    edit = policy.propose(network, evidence or Evidence(), RNG)
    changed = sum(len(each.entries) for each in edit.edits)
    return len(Proposal(policy=policy.kind, scale=1.0, edit=edit).model_dump_json()), changed


@pytest.mark.parametrize(("make", "pruned", "grown"), SIZES)
def test_one_percent_of_the_connections_takes_few_bytes(make, pruned, grown):
    whole, half = make(density=1.0), make(density=0.5)
    told, changed = sent(MagnitudePruning(fraction=0.01), whole)
    assert changed == pytest.approx(whole.connection_count / 100, rel=0.01)
    assert told < pruned
    gradients = {
        name: RNG.standard_normal(half.connection_columns(name).weight.shape, np.float32)
        for name in half.projection_names
    }
    for weight in ("zero", "gradient"):
        told, changed = sent(ConnectionGrowth(fraction=0.01, weight=weight), half, Evidence(gradients=gradients))
        assert changed >= whole.connection_count / 101
        assert told < grown, weight


def test_twice_the_edit_takes_at_most_twice_the_bytes_and_a_little():
    network = lenet_300_100(density=1.0)
    one, two = (sent(MagnitudePruning(fraction=share), network)[0] for share in (0.01, 0.02))
    assert two <= 2 * one + 500
