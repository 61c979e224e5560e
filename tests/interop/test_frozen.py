"""What of a module does not train is a fact of the network, through files, edits and modules lowered from it."""

import pytest
import torch
from torch import nn

from nestgraph.edits import diff, freeze, insert_batch_norm, remove_units, thaw
from nestgraph.errors import EditError
from nestgraph.graph.reference import predict
from nestgraph.interop import import_module
from nestgraph.lowering import Workbench, carry_optimizer, lower, slots
from nestgraph.seeds import mlp
from nestgraph.snapshot import from_bytes, to_bytes

NET = mlp((8, 6, 5, 3), density=0.5, seed=0)


class Scaled(nn.Module):
    """Every place of a parameter: linear maps, convolutions by group, normalisation, a factor and a constant."""

    def __init__(self):
        super().__init__()
        self.wide = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.depthwise = nn.Conv2d(4, 4, 3, padding=1, groups=4)
        self.grouped = nn.Conv2d(4, 4, 1, groups=2)
        self.head = nn.Linear(4 * 9, 3)
        self.factor, self.shift = nn.Parameter(torch.randn(3)), nn.Parameter(torch.randn(3))

    def forward(self, x):
        x = torch.relu(self.norm(self.wide(x)))
        return self.head(self.grouped(self.depthwise(x)).flatten(1)) * self.factor + self.shift


def trains(network):
    module = lower(network)
    return {(slot.owner, slot.column) for slot in slots(network) if slot.tensor(module).requires_grad}


@pytest.mark.parametrize("frozen", [name for name, _ in Scaled().named_parameters()])
def test_each_parameter_is_frozen_where_it_went(frozen):
    module, inputs = Scaled().eval(), torch.randn(2, 2, 3, 3)
    before = import_module(module, inputs)
    module.get_parameter(frozen).requires_grad_(False)
    network = import_module(module, inputs)
    gone = trains(before) - trains(network)
    assert trains(network) < trains(before)
    assert len(gone) == 1
    assert network.digest != before.digest
    assert from_bytes(to_bytes(network)) == network
    assert trains(from_bytes(to_bytes(network))) == trains(network)


def test_a_module_of_which_none_trains_is_one_for_inference():
    module, inputs = Scaled().eval(), torch.randn(2, 2, 3, 3)
    assert import_module(module, inputs) == import_module(module.requires_grad_(False), inputs)


def test_freezing_and_thawing_are_edits():
    frozen = freeze(NET, ["fc1", "fc2"]).apply(NET)
    assert {owner for owner, _ in trains(frozen.network)} == {"output", "fc2_to_output"}
    assert frozen.inverse.apply(frozen.network).network == NET
    assert thaw(frozen.network, ["fc2", "fc1"]).apply(frozen.network).network == NET
    assert diff(NET, frozen.network).apply(NET).network == frozen.network
    with pytest.raises(EditError, match="frozen already: fc1"):
        freeze(frozen.network, "fc1")
    with pytest.raises(EditError, match="got an input"):
        freeze(NET, "input")


def test_a_frozen_layer_stays_frozen_through_other_edits():
    network = freeze(NET, "fc1").apply(NET).network
    for edit in (remove_units(network, "fc1", [2]), remove_units(network, "fc2", [1])):
        assert ("input_to_fc1", "weight") not in trains(edit.apply(network).network)
    plain = freeze(mlp((8, 6, 3), 1.0, 0, batch_norm=False), "fc1").apply(mlp((8, 6, 3), 1.0, 0, batch_norm=False))
    normed = insert_batch_norm(plain.network, "fc1").apply(plain.network).network
    assert ("fc1", "bias") not in trains(normed)
    assert ("fc1", "gamma") in trains(normed)


def test_an_optimizer_keeps_its_state_of_what_is_frozen_and_thawed():
    module = lower(NET)
    adam = torch.optim.Adam(module.parameters())
    module(torch.randn(16, 8)).square().sum().backward()
    adam.step()
    network = freeze(NET, "fc1").apply(NET).network
    after = lower(network)
    carried = carry_optimizer(adam, (NET, module), (network, after))
    assert len(carried.state) == len(adam.state)
    weight = next(slot for slot in slots(network) if slot.owner == "input_to_fc1")
    assert not weight.tensor(after).requires_grad
    bench = Workbench(NET, lambda m: torch.optim.SGD([p for p in m.parameters() if p.requires_grad], lr=0.1))
    bench.apply(freeze(bench.network, "fc1"))
    assert {p.requires_grad for p in bench.module.parameters()} == {True, False}
    bench.undo()
    assert {p.requires_grad for p in bench.module.parameters()} == {True}
    bench.apply(freeze(bench.network, "fc1"))
    bench.apply(thaw(bench.network, "fc1"))
    assert {p.requires_grad for p in bench.module.parameters()} == {True}
    assert predict(network, torch.zeros(1, 8).numpy()).shape == (1, 3)
