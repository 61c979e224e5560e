"""One place of a map is picked, and what differs from place to place is a column of its own."""

import numpy as np
import pytest
import torch
from torch import nn

import nestgraph as ng
from nestgraph.errors import EditError, StructureError
from nestgraph.graph import Cost
from nestgraph.graph.extents import given_out
from nestgraph.graph.reference import forward
from nestgraph.lowering.paths import projection_paths
from nestgraph.spec import Conv, InputPort, Lookup, Pick
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


@pytest.mark.usefixtures("one_registry")
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


class Sentences(nn.Module):
    """Tokens and their positions are looked up; a row is classified by its first."""

    def __init__(self, embedding=None):
        super().__init__()
        self.tokens = embedding or nn.Embedding(9, 6)
        self.positions, self.wide, self.head = nn.Embedding(7, 6), nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, ids):
        at = torch.arange(ids.shape[1]).unsqueeze(0).expand_as(ids)
        x = self.tokens(ids) + self.positions(at)
        return self.head(torch.relu(self.wide(x))[:, 0])


class Functional(nn.Module):
    """Looks up by the function, without positions, and gives numbers for each token."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Parameter(torch.randn(9, 6)), nn.Linear(6, 9)

    def forward(self, ids):
        return self.head(torch.tanh(nn.functional.embedding(ids, self.table)))


class Categories(nn.Module):
    """Two columns of categories, each a tensor of single ids, beside numbers."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Embedding(4, 3), nn.Embedding(6, 2), nn.Linear(7, 2)

    def forward(self, one, other, numbers):
        return self.head(torch.cat([self.first(one), self.second(other), numbers], 1))


def ids_below(classes, *shape):
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(1))


EMBEDDED = {
    "sentences": (Sentences, lambda count: (ids_below(9, count, 5),)),
    "padding": (lambda: Sentences(nn.Embedding(9, 6, padding_idx=0)), lambda count: (ids_below(9, count, 5),)),
    "functional": (Functional, lambda count: (ids_below(9, count, 5),)),
    "categories": (
        Categories,
        lambda count: (ids_below(4, count), ids_below(6, count), torch.linspace(0, 1, 2 * count).view(count, 2)),
    ),
}


@pytest.mark.usefixtures("one_registry")
@pytest.mark.parametrize("case", EMBEDDED)
def test_tables_are_looked_up(case, tmp_path):
    torch.manual_seed(3)
    make, draw = EMBEDDED[case]
    module, samples = make().eval(), draw(4)
    imported = ng.Imported(module, samples)
    network = imported.network
    assert not network.bodies
    assert any(isinstance(p, Lookup) for p in network.projections_by_name.values())
    with torch.no_grad():
        several_agree(network, samples, module(*samples))
    editor = ng.Editor(network)
    editor.apply(ng.edits.narrow(network, 0.4))
    module.load_state_dict(imported.state_dict(editor.network))
    with torch.no_grad():
        several_agree(editor.network, samples, module(*samples))
    editor.undo()
    assert editor.network.digest == network.digest
    for suffix in (".onnx", ".py"):
        ng.export(network, tmp_path / f"net{suffix}")
    ng.save(network, tmp_path / "net.json")
    assert ng.load(tmp_path / "net.json").digest == network.digest


def several_agree(network, samples, expected):
    for form in (ng.lower, ng.compact):
        torch.testing.assert_close(form(network).eval()(*samples), expected, rtol=1e-4, atol=1e-5)
    (port,) = network.outputs
    layer = given_out(port, forward(network, tuple(x.numpy() for x in samples))[port.layer])
    torch.testing.assert_close(torch.tensor(layer).float(), expected, rtol=1e-4, atol=1e-5)


def test_a_row_of_ids_has_any_length_and_its_table_is_pruned_by_row():
    torch.manual_seed(3)
    module, ids = Functional().eval(), ids_below(9, 4, 5)
    network = ng.import_module(module, ids)
    assert network.inputs[0] == InputPort(layer="ids", shape=(5,), free=(True,), integers=(0, 8))
    with torch.no_grad():
        several_agree(network, (longer := ids_below(9, 2, 11),), module(longer))
    (table,) = (p.name for p in network.projections_by_name.values() if isinstance(p, Lookup))
    assert ng.cost(network).by_projection[table] == Cost(connections=54, possible=54, parameters=54, flops=0)
    third = np.flatnonzero(np.arange(54) % 9 == 3)
    without = ng.edits.prune_connections(network, {table: third}).apply(network).network
    module.table.data[3] = 0
    with torch.no_grad():
        several_agree(without, (ids,), module(ids))
    lowered = ng.lower(without)
    lowered(ids).square().sum().backward()
    gradient = lowered.get_parameter(f"{projection_paths(without)[table]}.weight").grad
    assert gradient.abs().sum() > 0
    assert not gradient[..., 3].any()


def test_what_is_no_class_is_refused():
    network = ng.import_module(Functional().eval(), ids_below(9, 4, 5))
    for wrong in (9, -1, 0.5):
        with pytest.raises(StructureError, match="expected whole ids from 0 to 8"):
            forward(network, np.full((2, 5), wrong))


def test_ids_are_no_numbers():
    network = ng.import_module(Functional().eval(), ids_below(9, 4, 5))
    first, *_, last = network.layer_names
    for refused in (
        lambda: ng.edits.insert_skip(network, first, last),
        lambda: ng.edits.deepen(network, first, "new", None),
    ):
        with pytest.raises(EditError, match="got ids of classes"):
            refused()
    read = Conv(source=first, target=last, kernel=(1,))
    weight = np.ones((len(network.units(last)), 1, 1), np.float32)
    with pytest.raises(EditError, match="expected to read numbers, got ids of classes"):
        ng.edits.AddProjection(projection=read, connections={"weight": weight, "mask": weight != 0}).apply(network)
