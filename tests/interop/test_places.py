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


class Positioned(nn.Module):
    """Adds a parameter, which gives each place its own value, to what it reads."""

    def __init__(self, first, parameter, head, turned=False):
        super().__init__()
        self.first, self.head, self.turned = first, head, turned
        self.position = nn.Parameter(torch.randn(parameter))

    def forward(self, x):
        x = self.first(x)
        x = (x.flatten(2).transpose(1, 2) if self.turned else x) + self.position
        return self.head(torch.relu(x))


POSITIONS = {
    "tokens": (lambda: Positioned(nn.Linear(4, 6), (1, 5, 6), nn.Linear(6, 3)), (5, 4), (6, 5)),
    "tokens of an image": (
        lambda: Positioned(nn.Conv2d(2, 6, 2, stride=2), (4, 6), nn.Linear(6, 3), turned=True),
        (2, 4, 4),
        (6, 2, 2),
    ),
    "a series": (lambda: Positioned(nn.Conv1d(2, 3, 3), (3, 4), nn.Conv1d(3, 2, 1)), (2, 6), (3, 4)),
    "an image": (lambda: Positioned(nn.Conv2d(2, 3, 3), (1, 3, 2, 3), nn.Conv2d(3, 2, 1)), (2, 4, 5), (3, 2, 3)),
    "a volume": (lambda: Positioned(nn.Conv3d(1, 3, 2), (3, 2, 1, 2), nn.Conv3d(3, 2, 1)), (1, 3, 2, 3), (3, 2, 1, 2)),
}


@pytest.mark.parametrize("case", POSITIONS)
def test_a_parameter_by_place_is_a_column(case):
    make, shape, form = POSITIONS[case]
    module, samples, expected = made(make(), *shape)
    imported = ng.Imported(module, samples)
    network = imported.network
    (name,) = (name for name in network.layer_names if network.layer(name).places)
    values = network.unit_columns(name).values["places"]
    assert not network.bodies
    assert values.shape == form
    assert "places" not in network.layer(name).frozen
    agrees(network, samples, expected)
    assert ng.lower(network).get_parameter(f"layer{network.layer_names.index(name)}.places").requires_grad
    editor = ng.Editor(network)
    editor.apply(ng.edits.narrow(network, 0.4))
    assert len(editor.network.units(name)) < form[0]
    module.load_state_dict(imported.state_dict(editor.network))
    with torch.no_grad():
        agrees(editor.network, samples, module(samples))
    editor.undo()
    assert editor.network.digest == network.digest


def test_a_mask_is_added_and_does_not_train():
    mask = torch.full((5, 6), 0.0).masked_fill(torch.rand(5, 6) > 0.5, -1e9)
    module, samples, expected = made(Picker(lambda x: torch.sigmoid(x + mask).flatten(1)), 5, 4)
    network = ng.import_module(module, samples)
    (layer,) = (layer for layer in map(network.layer, network.layer_names) if layer.places)
    assert layer.frozen == ("places",)
    agrees(network, samples, expected)


def test_positions_hold_the_extent_and_train_and_travel(tmp_path):
    module, samples, _ = made(POSITIONS["tokens"][0](), 5, 4)
    network = ng.import_module(module, samples)
    assert network.inputs[0].free == ()
    lowered = ng.lower(network)
    lowered(samples).square().sum().backward()
    with torch.no_grad():
        for parameter in lowered.parameters():
            parameter -= 0.01 * parameter.grad
    trained = ng.collect(network, lowered)
    (name,) = (name for name in network.layer_names if network.layer(name).places)
    before, after = (net.unit_columns(name).values["places"] for net in (network, trained))
    assert (before != after).any()
    assert ng.diff(network, trained).apply(network).network == trained
    for above in (0, 10**6):
        ng.save(trained, tmp_path / f"{above}.json", sidecar_above=above)
        assert ng.load(tmp_path / f"{above}.json").digest == trained.digest
    for suffix in (".onnx", ".py"):
        ng.export(trained, tmp_path / f"net{suffix}", inputs=samples.numpy())
