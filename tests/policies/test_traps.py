"""The traps of growing by gradient (method.md, section 2), each on a small network.

It is not trained: which units are dead, which decides some traps, must not hang on the rounding of a processor.
"""

from functools import cache

import numpy as np
import pytest

from nestgraph.data.datasets import load_dataset
from nestgraph.loop.trainer import Trainer
from nestgraph.policies import ConnectionGrowth, Evidence, NeuronGrowth
from nestgraph.recipes.recipe import TrainingOptions
from nestgraph.seeds import mlp
from tests.loop.tasks import loss_of

DRAWS = 20
RULES = {"paper": NeuronGrowth(beta=0.001, alpha=0.3), "rank_one": NeuronGrowth(beta=0.02, alpha=0.3, rule="rank_one")}


@cache
def young(activation):
    """A network with an activation, its evidence, and its loss on the training split."""
    data = load_dataset("digits")
    trainer = Trainer(data, TrainingOptions())
    network = mlp((64, 16, 12, 10), 0.3, 0, activation, batch_norm=False)
    evidence = trainer.evidence(network, {"gradients", "bridges"}, None, 0)
    return network, evidence, data.train, loss_of(network, data.train)


def changes(activation, layer, policy, sign=1):
    """How much one neuron changes the loss, in several draws, with the bridging gradient times `sign`."""
    network, evidence, part, before = young(activation)
    bridges = {name: sign * values * (name == layer) for name, values in evidence.bridges.items()}
    edits = [policy.propose(network, Evidence(bridges=bridges), np.random.default_rng(n)) for n in range(DRAWS)]
    return np.array([loss_of(edit.apply(network).network, part) - before for edit in edits])


@pytest.mark.parametrize("layer", ["fc1", "fc2"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("activation", ["tanh", "leaky_relu"])
def test_a_bridge_lowers_the_loss_and_with_the_wrong_sign_raises_it(activation, rule, layer):
    assert (changes(activation, layer, RULES[rule]) < 0).all()
    assert (changes(activation, layer, RULES[rule], sign=-1) > 0).all()


@pytest.mark.parametrize("layer", ["fc1", "fc2"])
@pytest.mark.parametrize("rule", RULES)
def test_with_relu_about_half_are_born_dead_and_the_others_lower_the_loss(rule, layer):
    right, wrong = (changes("relu", layer, RULES[rule], sign) for sign in (1, -1))
    dead = (right == 0).mean()  # outputs of ReLU and pixels are not negative: the sign decides alone
    assert 0.2 <= dead <= 0.8
    assert (right <= 0).all()
    assert (wrong >= 0).all()
    assert (wrong > 0).any()


@pytest.mark.parametrize("activation", ["tanh", "leaky_relu"])
def test_rank_one_bridges_have_no_cross_terms_where_the_paper_s_do(activation):
    rank_one, paper = (
        changes(activation, "fc1", NeuronGrowth(beta=0.5, alpha=0.1, rule=rule)) for rule in ("rank_one", "paper")
    )
    assert (rank_one < 0).all()
    assert (paper > 0).any()


def test_waking_at_zero_keeps_the_loss_and_one_gradient_step_lowers_it():
    for activation in ("tanh", "leaky_relu", "relu"):
        network, evidence, part, before = young(activation)
        for weight, expected in (("zero", 0), ("gradient", -1)):
            rate = {"rate": 0.01} if weight == "gradient" else {}
            policy = ConnectionGrowth(fraction=0.05, weight=weight, **rate)
            edit = policy.propose(network, evidence, np.random.default_rng(0))
            change = loss_of(edit.apply(network).network, part) - before
            assert np.sign(change) == expected
        uphill = Evidence({name: -values for name, values in evidence.gradients.items()})
        edit = policy.propose(network, uphill, np.random.default_rng(0))
        assert loss_of(edit.apply(network).network, part) > before
