"""Convolutions whose mask has blocks hold and train the weights of their groups, and compute what the whole would."""

from itertools import product

import numpy as np
import pytest
import torch

from nestgraph.edits import SetMask
from nestgraph.graph import reference
from nestgraph.lowering import carry_optimizer, collect, lower, slots
from nestgraph.lowering.blocks import blocks_of
from nestgraph.lowering.states import OptimizerState
from tests.lowering.running import close, results, tensors, train, trained
from tests.lowering.test_collect import OPTIMIZERS
from tests.lowering.test_compact import blocks, convolution
from tests.strategies import inputs_for

SHUFFLED = np.kron(np.eye(3, dtype=bool), np.ones((2, 2), bool))[:, [0, 2, 4, 1, 3, 5]]
AREA = np.random.default_rng(2).random((6, 1, 5, 5)) < 0.7

GROUPED = {
    "in order": (blocks((2, 2), (2, 2), (2, 2)), None, 6 * 2),
    "wide": (blocks((1, 3), (1, 3), (1, 3)), None, 3 * 3),
    "depthwise": (np.eye(6, dtype=bool), None, 6),
    "sources shuffled": (SHUFFLED, None, 6 * 2),
    "both shuffled": (SHUFFLED[[3, 0, 5, 2, 1, 4]], None, 6 * 2),
    "of unequal sizes": (blocks((2, 1), (1, 2), (2, 2), (1, 1)), None, 8 * 2),
    "within an area of each map": (SHUFFLED, AREA, 6 * 2),
    "one block": (np.ones((4, 3), bool), None, 12),
    "not worth it": (blocks((5, 5), (1, 1)), None, 36),
}
"""Edges, areas, and the pairs of maps that a module holds a kernel for."""


def network_of(case):
    edges, area, pairs = GROUPED[case]
    return convolution(edges, area), pairs


@pytest.mark.parametrize("case", GROUPED)
def test_the_module_holds_its_groups_and_computes_the_whole(case):
    network, pairs = network_of(case)
    inputs = inputs_for(network, 3, np.random.default_rng(0))
    module, whole = lower(network), lower(network, masked=False)
    (slot,) = (slot for slot in slots(network) if slot.is_weight)
    assert slot.tensor(module).numel() == 9 * pairs
    assert slot.tensor(whole).shape == slot.values(network).shape
    close(results(module, network, inputs)["y"], reference.forward(network, inputs)["y"])
    for part in (module, whole):
        part.train()(*tensors(network, inputs)).square().sum().backward()
    wanted = slot.tensor(whole).grad * torch.tensor(network.connection_columns(slot.owner).mask)
    close(slot.spread(slot.tensor(module).grad, network), wanted.numpy(), scale=float(wanted.abs().max()))


@pytest.mark.parametrize(
    ("case", "optimizer"),
    [*product(GROUPED, ("sgd", "adamw")), *product(["both shuffled"], sorted(OPTIMIZERS.keys() - {"sgd", "adamw"}))],
)
def test_a_trained_module_is_collected_and_its_state_is_the_networks(case, optimizer):
    network, _ = network_of(case)
    inputs = inputs_for(network, 3, np.random.default_rng(0))
    module, held = trained(network, inputs, OPTIMIZERS[optimizer], steps=2)
    after = collect(network, module)
    assert collect(after, lower(after)) == after != network
    close(results(module, after, inputs)["y"], reference.forward(after, inputs)["y"])

    state = OptimizerState.of(held, network, module)
    again = lower(after)
    other = OPTIMIZERS[optimizer](again.parameters())
    state.restore(other, after, again)
    assert OptimizerState.of(other, after, again).same(state)
    for part, moved in ((module, held), (again, other)):
        train(part, moved, after, inputs, 2)
    assert collect(after, module) == collect(after, again)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_state_follows_a_connection_between_groups_and_back(optimizer):
    network, _ = network_of("in order")
    inputs = inputs_for(network, 3, np.random.default_rng(0))
    module, held = trained(network, inputs, OPTIMIZERS[optimizer], steps=2)
    before = collect(network, module)
    (slot,) = (slot for slot in slots(network) if slot.is_weight)
    first = np.array([5 * 9])  # of the kernel from the last input map to the first output map
    waking = SetMask(projection=slot.owner, entries=first, active=np.array([True]), weights=np.ones(1, np.float32))
    joined = waking.apply(before)
    grown = lower(joined.network)
    assert joined.network.connection_columns(slot.owner).edges[0, 5]
    carried = carry_optimizer(held, (before, module), (joined.network, grown))
    back = lower(before)
    returned = carry_optimizer(carried, (joined.network, grown), (before, back))
    assert OptimizerState.of(returned, before, back).same(OptimizerState.of(held, before, module))


def test_groups_that_an_edit_left_alone_stay_the_same_tensors():
    network, _ = network_of("of unequal sizes")
    module = lower(network)
    again = lower(network, like=(network, module))
    assert [id(p) for p in module.parameters()] == [id(p) for p in again.parameters()]
    masks = [[id(b) for n, b in part.named_buffers() if n.endswith(".mask")] for part in (module, again)]
    assert masks[0] == masks[1]
    assert len(masks[0]) == 1


def test_a_convolution_without_an_active_connection_has_no_blocks():
    assert blocks_of(np.zeros((3, 2), bool)) is None
    assert blocks_of(np.zeros((0, 0), bool)) is None
