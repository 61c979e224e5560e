"""Evidence is what numbers say that are computed without autograd, and gathering it leaves no trace."""

import numpy as np
import pytest
import torch

from nestgraph.edits import AddProjection, Block, SetMask, SetValues
from nestgraph.graph.reference import forward, predict
from nestgraph.interop import import_module
from nestgraph.loop.evidence import gather
from nestgraph.lowering import lower, slots
from nestgraph.policies import bridged_layers, possible_skips
from nestgraph.policies.policy import plastic_projections
from nestgraph.spec import Conv
from tests.laws import fresh_digest
from tests.loop.tasks import conv_network, dense_network, images_for, loss_of, sample_losses, toy, toy_trainer

DATA = toy()


def off_the_kink(network):
    """The network with random biases: at a sum of exactly 0 leaky ReLU has no derivative."""
    rng = np.random.default_rng(5)
    names = [name for name in network.layer_names if network.layer(name).bias and network.layer(name).kind != "input"]
    biases = {name: {"bias": 0.3 * rng.standard_normal(len(network.units(name)))} for name in names}
    return SetValues(units=biases).apply(network).network


NETWORKS = {
    "dense": off_the_kink(dense_network()),
    "dense, leaky": off_the_kink(dense_network("leaky_relu")),
    "maps": off_the_kink(conv_network()),
}
STEP = 1e-3


def gathered(network, *needs, batches=None, index=0, **options):
    return toy_trainer(DATA, **options).evidence(network, needs, batches, index)


def with_weight(network, name, place, change):
    """The network with one weight of a projection changed, woken if it slept."""
    columns = network.connection_columns(name)
    weight = columns.weight.flat[place] + np.float32(change)
    edit = SetMask(projection=name, entries=[place], active=[True], weights=[weight])
    return edit.apply(network).network


@pytest.mark.parametrize("kind", NETWORKS)
def test_gradients_are_finite_differences_of_the_loss_for_dormant_entries_too(kind):
    network = NETWORKS[kind]
    evidence = gathered(network, "gradients")
    assert evidence.samples == len(DATA.train)
    assert set(evidence.gradients) == set(network.projection_names)
    rng = np.random.default_rng(0)
    for name in network.projection_names:
        mask, gradient = network.connection_columns(name).mask, evidence.gradients[name]
        assert gradient.shape == mask.shape
        assert np.abs(gradient).max() > 1e-3
        for state in (True, False):
            for place in rng.permutation(np.flatnonzero(mask.ravel() == state))[:6]:
                ends = [with_weight(network, name, place, change) for change in (STEP, -STEP)]
                moved = [float(end.connection_columns(name).weight.flat[place]) for end in ends]
                slope = (loss_of(ends[0], DATA.train) - loss_of(ends[1], DATA.train)) / (moved[0] - moved[1])
                assert gradient.flat[place] == pytest.approx(slope, abs=2e-5, rel=1e-3)


@pytest.mark.parametrize(
    "network", [dense_network(batch_norm=True), conv_network(batch_norm=True)], ids=["dense", "maps"]
)
def test_gradients_with_batch_normalisation_are_those_of_the_training_pass(network):
    evidence = gathered(network, "gradients", batch_size=len(DATA.train), label_smoothing=0.1)
    module = lower(network, masked=False).double().train()
    inputs = torch.tensor(images_for(network, DATA.train.inputs))
    labels = torch.tensor(DATA.train.targets)

    def loss():
        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(module(inputs), labels, label_smoothing=0.1))

    for slot in slots(network):
        if slot.is_weight:
            flat = slot.tensor(module).data.view(-1)
            for place in np.random.default_rng(1).permutation(len(flat))[:6]:
                old = float(flat[place])
                values = []
                for change in (1e-5, -1e-5):
                    flat[place] = old + change
                    values.append(loss())
                flat[place] = old
                slope = (values[0] - values[1]) / 2e-5
                assert evidence.gradients[slot.owner].flat[place] == pytest.approx(slope, abs=2e-5, rel=1e-3)


def sum_gradients(network, layer):
    """(samples, units): the derivative of each sample's loss by each unit's sum, by moving its bias."""
    bias = network.unit_columns(layer).values["bias"]
    columns = []
    for place in range(len(bias)):
        losses, moved = [], []
        for change in (STEP, -STEP):
            values = bias.copy()
            values[place] += np.float32(change)
            moved.append(float(values[place]))
            end = SetValues(units={layer: {"bias": values}}).apply(network).network
            losses.append(sample_losses(end, DATA.train))
        columns.append((losses[0] - losses[1]) / (moved[0] - moved[1]))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("kind", NETWORKS)
def test_bridges_are_the_mean_of_products(kind):
    network = NETWORKS[kind]
    evidence = gathered(network, "bridges")
    assert set(evidence.bridges) == set(bridged_layers(network)) != set()
    outputs = forward(network, images_for(network, DATA.train.inputs))
    for layer, (before, after) in bridged_layers(network).items():
        source = outputs[before.source].reshape(len(DATA.train), -1)  # maps flattened
        gradients = sum_gradients(network, after.target)
        products = gradients.T @ source / len(source)
        assert evidence.bridges[layer].shape == products.shape
        np.testing.assert_allclose(evidence.bridges[layer], products, atol=3e-5, rtol=1e-3)
        product_of_means = np.outer(gradients.mean(axis=0), source.mean(axis=0))
        assert np.abs(products - product_of_means).max() > 0.1 * np.abs(products).max()


def test_bridges_over_tokens_are_finite_differences_by_the_reference_for_maps_of_each_place():
    torch.manual_seed(0)
    x, wanted = torch.randn(5, 4, 3), torch.randn(5, 4, 2)
    module = torch.nn.Sequential(*(torch.nn.Linear(*each) for each in ((3, 6), (6, 5))), torch.nn.Tanh())
    network = import_module(torch.nn.Sequential(module, torch.nn.Linear(5, 6), torch.nn.Linear(6, 2)), x)
    evidence = gather(network, [(x[:3], wanted[:3]), (x[3:], wanted[3:])], torch.nn.functional.mse_loss, {"bridges"})
    assert set(evidence.bridges) == set(bridged_layers(network)) != set()

    def loss(changed):
        return float(np.mean((predict(changed, x.numpy()) - wanted.mT.numpy()) ** 2))

    for layer, (before, after) in bridged_layers(network).items():
        bridge = Conv(source=before.source, target=after.target, name="bridge", kernel=(1,))
        shape = (len(network.units(after.target)), len(network.units(before.source)))
        assert evidence.bridges[layer].shape == shape
        asleep = Block(weight=np.zeros((*shape, 1)), mask=np.zeros((*shape, 1), bool))
        joined = AddProjection(projection=bridge, connections=asleep).apply(network).network
        for place in np.random.default_rng(0).permutation(np.prod(shape))[:6]:
            ends = [with_weight(joined, "bridge", place, change) for change in (STEP, -STEP)]
            slope = (loss(ends[0]) - loss(ends[1])) / (2 * STEP)
            assert evidence.bridges[layer].flat[place] == pytest.approx(slope, abs=1e-5, rel=1e-3)


@pytest.mark.parametrize("kind", NETWORKS)
def test_skips_are_finite_differences_of_the_loss_for_projections_that_are_not_there(kind):
    network = NETWORKS[kind]
    evidence = gathered(network, "skips")
    assert set(evidence.skips) == {skip.name for skip in possible_skips(network)} != set()
    rng = np.random.default_rng(0)
    for skip in possible_skips(network):
        gradient = evidence.skips[skip.name]
        asleep = Block(weight=np.zeros(gradient.shape), mask=np.zeros(gradient.shape, bool))
        joined = AddProjection(projection=skip, connections=asleep).apply(network).network
        for place in rng.permutation(gradient.size)[:4]:
            ends = [with_weight(joined, skip.name, place, change) for change in (STEP, -STEP)]
            slope = (loss_of(ends[0], DATA.train) - loss_of(ends[1], DATA.train)) / (2 * STEP)
            assert gradient.flat[place] == pytest.approx(slope, abs=2e-5, rel=1e-3)


@pytest.mark.parametrize("kind", NETWORKS)
def test_a_trial_is_the_loss_of_any_network_on_the_same_batches(kind):
    network = NETWORKS[kind]
    evidence = gathered(network, "trial", batches=3)
    other = with_weight(network, network.projection_names[0], 0, 0.5)
    assert evidence.loss(network) == pytest.approx(loss_of(network, DATA.train), rel=1e-5)  # three batches are all
    assert evidence.loss(other) == pytest.approx(loss_of(other, DATA.train), rel=1e-5)
    part = gathered(network, "trial", batches=1)
    assert part.loss(network) == part.loss(network) != evidence.loss(network)


def test_a_trial_of_dropout_draws_the_same_each_time_and_leaves_no_trace():
    network = conv_network(batch_norm=True, dropout=0.5)
    evidence, state = gathered(network, "trial"), torch.get_rng_state()
    assert evidence.loss(network) == evidence.loss(network)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("kind", NETWORKS)
def test_activity_is_the_mean_size_of_the_output(kind):
    network = NETWORKS[kind]
    evidence = gathered(network, "activity")
    outputs = forward(network, images_for(network, DATA.train.inputs))
    assert set(evidence.activity) == set(network.layer_names)
    for name, values in outputs.items():
        expected = np.abs(values).mean(axis=(0, *range(2, values.ndim)))
        np.testing.assert_allclose(evidence.activity[name], expected, rtol=1e-4, atol=1e-6)


def test_uneven_batches_are_weighted_by_their_samples():
    whole, parts = (gathered(NETWORKS["dense"], "gradients", batch_size=size) for size in (60, 17))
    for name, gradient in whole.gradients.items():
        np.testing.assert_allclose(parts.gradients[name], gradient, atol=1e-6)


def test_only_what_is_needed_is_gathered_from_as_many_batches_as_asked_for():
    network = NETWORKS["dense"]
    assert gathered(network).samples == 0
    some = gathered(network, "activity", batches=2)
    assert some.samples == 40
    assert not some.gradients
    assert not some.bridges
    others = gathered(network, "activity", batches=2, index=1)
    assert any((some.activity[name] != others.activity[name]).any() for name in network.layer_names)


def test_gathering_leaves_no_trace_and_repeats():
    network = conv_network(batch_norm=True, dropout=0.5)
    start, state, numpy_state = fresh_digest(network), torch.get_rng_state(), np.random.get_state()[1].copy()
    needs = ("gradients", "bridges", "skips", "activity")
    first, second = gathered(network, *needs), gathered(network, *needs)
    assert fresh_digest(network) == start
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    for kind in needs:
        for name, values in getattr(first, kind).items():
            np.testing.assert_array_equal(values, getattr(second, kind)[name])


def test_every_projection_that_can_grow_has_a_gradient():
    for network in NETWORKS.values():
        evidence = gathered(network, "gradients")
        assert {p.name for p in plastic_projections(network)} <= set(evidence.gradients)
