"""One place of a map is picked, and what differs from place to place is a column of its own."""

import pytest
import torch
from torch import nn

import nestgraph as ng
from nestgraph.spec import Pick
from tests.interop.test_axes import agrees


class Picker(nn.Module):
    """Reads tokens through a linear map, and of what it gives what a function takes of it."""

    def __init__(self, take):
        super().__init__()
        self.take, self.wide, self.head = take, nn.Linear(4, 6), nn.LazyLinear(3)

    def forward(self, x):
        return self.head(self.take(torch.relu(self.wide(x))))


def both_ends(x):
    return torch.cat([x[:, 0], x[:, -1]], 1) - torch.cat([x[:, 0], x[:, 0]], 1)


TAKES = {
    "the first token": (lambda x: x[:, 0], {(0,)}),
    "the last token": (lambda x: x[:, -1], {(-1,)}),
    "select": (lambda x: x.select(1, 2), {(2,)}),
    "narrow": (lambda x: x.narrow(1, 1, 1), {(1,)}),
    "squeezed": (lambda x: x[:, 3:4].squeeze(1), {(3,)}),
    "of maps": (lambda x: x.transpose(1, 2)[:, :, 0], {(0,)}),
    "some units of one": (lambda x: x[:, 0, 1:4], {(0,)}),
    "both ends": (both_ends, {(0,), (-1,)}),
    "a nonlinearity of one": (lambda x: torch.tanh(x[:, 0]) * torch.sigmoid(x[:, -1]), {(0,), (-1,)}),
    "a square": (lambda x: x.unflatten(1, (1, 5))[:, 0, 1], {(1,)}),
}


def made(module, *shape):
    torch.manual_seed(3)
    samples = torch.randn(3, *shape)
    module = module.eval()
    with torch.no_grad():
        return module, samples, module(samples)


@pytest.mark.parametrize("take", TAKES)
def test_one_place_is_picked(take):
    function, places = TAKES[take]
    module, samples, expected = made(Picker(function), 5, 4)
    imported = ng.Imported(module, samples)
    network = imported.network
    assert not network.bodies
    chains = [network.layer(name).operations for name in network.layer_names]
    assert {op.place for chain in chains for op in chain if isinstance(op, Pick)} == places
    agrees(network, samples, expected)
    editor = ng.Editor(network)
    editor.apply(ng.edits.narrow(network, 0.4))
    module.load_state_dict(imported.state_dict(editor.network))
    with torch.no_grad():
        agrees(editor.network, samples, module(samples))
    editor.undo()
    assert editor.network.digest == network.digest


def test_a_picked_place_ends_what_a_free_extent_reaches():
    module, samples, _ = made(Picker(both_ends), 5, 4)
    network = ng.import_module(module, samples)
    assert network.inputs[0].free == (True,)
    longer = torch.randn(2, 9, 4)
    with torch.no_grad():
        agrees(network, longer, module(longer))


def test_the_places_together_are_the_map():
    """Each place is cut off, and all are put together again: nothing is picked, as a linear map reads maps."""
    module, samples, expected = made(Picker(lambda x: torch.cat([x[:, :2], x[:, 2:]], 1)), 5, 4)
    network = ng.import_module(module, samples)
    assert not any(layer.operations[1:] for layer in map(network.layer, network.layer_names))
    assert not network.bodies
    agrees(network, samples, expected)
