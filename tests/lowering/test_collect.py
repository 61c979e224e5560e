"""Trained values come back to the connections and units they belong to, or not at all."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.edits import SetMask, remove_units
from nestgraph.errors import LoweringError
from nestgraph.graph import Network, reference
from nestgraph.lowering import collect, lower, network_of, slots, trained_values
from nestgraph.seeds import mlp
from tests.laws import quick
from tests.lowering.running import close, results, train, trained, without_dropout
from tests.lowering.test_masked import two_maps
from tests.strategies import SEEDS, inputs_for, networks
from tests.strategies.networks import EVERY

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda parameters: torch.optim.SGD(parameters, lr=0.02, momentum=0.9, nesterov=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.02),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.02, weight_decay=0.1, amsgrad=True),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.01, momentum=0.5, centered=True),
}


@quick(60)
@given(networks(EVERY), st.booleans())
def test_what_was_lowered_is_collected_to_the_bit(network, masked):
    assert collect(network, lower(network, masked=masked)) == network


@quick(25)
@given(networks(EVERY), SEEDS, st.sampled_from(sorted(OPTIMIZERS)))
def test_pruned_weights_stay_dead_and_the_rest_is_collected(network, seed, optimizer):
    inputs = inputs_for(network, 6, np.random.default_rng(seed))
    module, _ = trained(network, inputs, OPTIMIZERS[optimizer], steps=4)
    for slot in slots(network):
        if slot.is_weight:
            mask = torch.tensor(network.connection_columns(slot.owner).mask)
            assert not slot.spread(slot.tensor(module), network)[~mask].any()
    after = collect(network, module)
    expected = reference.forward(after, inputs)
    for name, got in results(module.double(), network, {n: x.astype(np.float64) for n, x in inputs.items()}).items():
        close(got, expected[name], tolerance=1e-10)


def test_a_revived_weight_is_neither_computed_nor_collected():
    network, x = two_maps(), torch.randn(2, 2, 4, 4)
    module = lower(network)
    before = module(x)
    with torch.no_grad():
        for slot in slots(network):
            if slot.is_weight:
                slot.tensor(module)[torch.tensor(~network.connection_columns(slot.owner).mask)] = 7.0
    assert torch.equal(module(x), before)
    assert collect(network, module) == network


def test_training_changes_what_is_collected():
    network = two_maps()
    module, _ = trained(network, {"x": np.ones((2, 2, 4, 4), np.float32)}, OPTIMIZERS["sgd"])
    edit = trained_values(network, module)
    assert collect(network, module) == edit.apply(network).network != network
    assert edit.units.keys() == {"c", "d", "y"}
    assert edit.weights.keys() == set(network.projection_names)


@pytest.mark.parametrize(
    "wrap",
    [
        copy.deepcopy,
        lambda module: torch.nn.Sequential(module),
        lambda module: torch.compile(module, backend="eager"),
        lambda module: torch.nn.DataParallel(module),
        lambda module: module.double(),
    ],
)
def test_wrapped_and_converted_modules(wrap):
    network = two_maps()
    assert collect(network, wrap(lower(network))) == network_of(wrap(lower(network))) == network


@quick(25)
@given(networks(EVERY), SEEDS)
def test_a_trained_module_alone_gives_its_network(network, seed):
    inputs = inputs_for(network, 4, np.random.default_rng(seed))
    module, _ = trained(network, inputs, OPTIMIZERS["sgd"], steps=2)
    fresh = lower(network)
    fresh.load_state_dict(module.state_dict())
    moved = copy.deepcopy(module).double().float()
    assert network_of(module) == network_of(fresh) == network_of(moved) == collect(network, module)
    again = lower(network_of(module), like=(collect(network, module), module))
    assert network_of(again) == collect(network, again)


def test_a_module_that_was_not_lowered_has_no_network():
    for module in (torch.nn.Linear(2, 2), torch.fx.symbolic_trace(torch.nn.Linear(2, 2))):
        with pytest.raises(LoweringError, match=r"expected a module that nestgraph\.lower made"):
            network_of(module)


def smaller(network):
    return remove_units(network, "d", [1]).apply(network).network


def without(path):
    def changed(module):
        parent, _, name = path.rpartition(".")
        delattr(module.get_submodule(parent), name)
        return module

    return changed


def filled(path, entry, value):
    def changed(module):
        with torch.no_grad():
            module.get_parameter(path)[entry] = value
        return module

    return changed


def resized(module):
    module.layer2.bias = torch.nn.Parameter(torch.zeros(4))
    return module


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda module: torch.nn.Linear(2, 2), r"expected a module that nestgraph\.lower made, got Linear"),  # noqa: ARG005
        (lambda module: lower(smaller(two_maps())), r"layer 'c': expected a module of the same 3 units"),  # noqa: ARG005
        (without("projection0.weight"), r"'x_to_c': expected its weight"),
        (without("layer1.bias"), r"'c': expected its bias"),
        (resized, r"'d': expected its bias .* shape \(3,\), got \(4,\)"),
        (filled("layer2.bias", 1, float("nan")), r"unit \('d', 1\): expected finite values, got nan in the bias"),
        (filled("projection1.weight", (2, slice(None)), float("inf")), r"unit \('d', 2\).*got inf in the weight"),
        (filled("projection0.weight", 1, float("-inf")), r"unit \('c', 1\).*got -inf in the weight"),
    ],
)
def test_modules_that_do_not_fit(change, message):
    network = two_maps()
    with pytest.raises(LoweringError, match=message):
        collect(network, change(lower(network)))


def test_a_network_of_other_parts():
    network = two_maps()
    columns = network.connection_columns("c_to_d")
    crossed = np.stack([columns.links[[1, 0, 2], 0], columns.links[:, 1]], 1)
    other = columns.relinked(crossed)
    with pytest.raises(LoweringError, match="projection 'c_to_d': expected a module of the same links"):
        collect(Network.of(network.replace(connections={"c_to_d": other})), lower(network))
    with pytest.raises(LoweringError, match="expected a module with the layers"):
        collect(mlp([4, 2]), lower(network))


def test_a_broken_weight_that_is_dormant_does_no_harm_after_pruning():
    network = two_maps()
    slot = slots(network)[0]
    entry = int(np.flatnonzero(network.connection_columns(slot.owner).mask)[0])
    pruned = SetMask(projection=slot.owner, entries=[entry], active=[False], weights=[0.0]).apply(network).network
    module = lower(pruned)
    with torch.no_grad():
        slot.tensor(module).view(-1)[entry] = float("nan")
    assert collect(pruned, module) == pruned


def test_training_goes_on_through_collect_and_lower():
    """Without momentum nothing but the network is needed to go on."""
    network, inputs = two_maps(), {"x": np.ones((2, 2, 4, 4), np.float32)}

    def plain(parameters):
        return torch.optim.SGD(parameters, lr=0.05)

    whole, _ = trained(network, inputs, plain, steps=4)
    half = collect(network, trained(network, inputs, plain, steps=2)[0])
    module = without_dropout(lower(half))
    train(module, plain(module.parameters()), half, inputs, 2)
    assert collect(half, module) == collect(network, whole)
