"""Series, volumes and tokens come in as maps of one and three extents, are narrowed and leave again."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import nestgraph as ng
from nestgraph.errors import InteropError
from nestgraph.graph.extents import given_out
from nestgraph.graph.reference import forward


class Tokens(nn.Module):
    """A stream of tokens, to which a map of each of them is added; read token by token."""

    def __init__(self):
        super().__init__()
        self.wide, self.narrow, self.gate = nn.Linear(6, 8), nn.Linear(8, 6), nn.Linear(6, 6)
        self.scale, self.head = nn.Parameter(torch.rand(6)), nn.Linear(6, 3)

    def forward(self, x):
        x = x + self.narrow(functional.gelu(self.wide(x))) * self.scale
        return self.head(x * torch.sigmoid(self.gate(x)))


class Patches(nn.Module):
    """An image as a row of tokens with a stream of their own, and back as an image."""

    def __init__(self):
        super().__init__()
        self.cut, self.wide, self.narrow = nn.Conv2d(1, 6, 2, stride=2), nn.Linear(6, 8), nn.Linear(8, 6)
        self.around, self.head = nn.Conv2d(6, 4, 3, padding=1), nn.Linear(36, 2)

    def forward(self, x):
        tokens = torch.relu(self.cut(x)).flatten(2).transpose(1, 2)
        tokens = tokens + self.narrow(functional.silu(self.wide(tokens)))
        return self.head(self.around(tokens.transpose(1, 2).unflatten(2, (3, 3))).flatten(1))


class Spoken(nn.Module):
    """A series as tokens and back, and given as a row of tokens of an image at the end."""

    def __init__(self):
        super().__init__()
        self.first, self.wide, self.last = nn.Conv1d(2, 4, 3, padding=1), nn.Linear(4, 6), nn.Conv1d(6, 3, 3)

    def forward(self, x):
        x = -self.wide(self.first(x).transpose(1, 2))
        return self.last(torch.tanh(x).transpose(1, 2)).transpose(1, 2)


class Row(nn.Module):
    """Maps that leave as a row of tokens."""

    def __init__(self):
        super().__init__()
        self.cut, self.wide = nn.Conv2d(1, 6, 2, stride=2), nn.Linear(6, 5)

    def forward(self, x):
        return self.wide(torch.relu(self.cut(x)).flatten(2).transpose(1, 2)) * 2


class Mixed(nn.Module):
    """Reads its input along both axes."""

    def __init__(self):
        super().__init__()
        self.across, self.along, self.head = nn.Linear(6, 6), nn.Conv1d(5, 5, 3, padding=1), nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.across(x) + self.along(x))


def series():
    layers = (
        nn.Conv1d(3, 6, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv1d(6, 6, 3, padding="same", dilation=2, groups=6),
    )
    return nn.Sequential(*layers, nn.Tanh(), nn.Conv1d(6, 4, 1), nn.Flatten(), nn.Linear(20, 2)), (3, 10)


def volumes():
    layers = (nn.Conv3d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv3d(6, 4, (1, 2, 2), dilation=(1, 2, 1)), nn.ReLU())
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(96, 2)), (2, 4, 4, 4)


def pooled_series():
    """Normalised, pooled, dropped and interpolated."""
    layers = (nn.Conv1d(2, 6, 2), nn.BatchNorm1d(6), nn.ReLU(), nn.MaxPool1d(2, ceil_mode=True), nn.Dropout1d(0.3))
    ends = (nn.LocalResponseNorm(3), nn.AdaptiveAvgPool1d(2), nn.Upsample(scale_factor=2, mode="linear"), nn.Flatten())
    return nn.Sequential(*layers, *ends, nn.Linear(24, 2)), (2, 9)


def pooled_volumes():
    layers = (nn.Conv3d(2, 6, 2), nn.BatchNorm3d(6), nn.ReLU(), nn.AvgPool3d(2, 1, padding=1), nn.Dropout3d(0.3))
    ends = (nn.AdaptiveMaxPool3d((1, 2, None)), nn.Upsample(scale_factor=2.0, mode="trilinear"), nn.Flatten())
    return nn.Sequential(*layers, *ends, nn.Linear(6 * 2 * 4 * 8, 2)), (2, 4, 4, 4)


class Rows(nn.Module):
    """The rows of an image, each reduced to one token."""

    def __init__(self):
        super().__init__()
        self.cut, self.wide, self.head = nn.Conv2d(1, 6, 2), nn.Linear(6, 5), nn.Linear(25, 2)

    def forward(self, x):
        return self.head(self.wide(torch.relu(self.cut(x)).mean(3).transpose(1, 2)).flatten(1))


class Reduced(nn.Module):
    """What a module gives, reduced."""

    def __init__(self, module, reduce):
        super().__init__()
        self.module, self.reduce = module, reduce

    def forward(self, x):
        return self.reduce(torch.relu(self.module(x)))


def grid_of_tokens():
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4)), (2, 3, 5)


CASES = {
    "series": series,
    "volumes": volumes,
    "tokens": lambda: (Tokens(), (5, 6)),
    "patches": lambda: (Patches(), (1, 6, 6)),
    "spoken": lambda: (Spoken(), (2, 9)),
    "a row": lambda: (Row(), (1, 6, 6)),
    "a grid of tokens": grid_of_tokens,
    "pooled series": pooled_series,
    "pooled volumes": pooled_volumes,
}
REDUCTIONS = {
    "mean of tokens": (lambda: nn.Linear(4, 6), lambda x: x.mean(1), (5, 4)),
    "sum of tokens": (lambda: nn.Linear(4, 6), lambda x: x.sum(1, keepdim=True), (5, 4)),
    "largest of tokens": (lambda: nn.Linear(4, 6), lambda x: x.amax(-2), (5, 4)),
    "mean of a grid of tokens": (lambda: nn.Linear(4, 6), lambda x: x.mean((1, 2)), (2, 5, 4)),
    "mean of a series": (lambda: nn.Conv1d(2, 4, 2), lambda x: x.mean(-1), (2, 6)),
    "mean of a volume": (lambda: nn.Conv3d(1, 4, 2), lambda x: x.mean((2, 3, 4)), (1, 3, 4, 3)),
    "largest of a row of tokens": (
        lambda: nn.Conv2d(1, 4, 2),
        lambda x: x.flatten(2).transpose(1, 2).amax(1),
        (1, 4, 5),
    ),
}


def made(case):
    torch.manual_seed(3)
    module, shape = CASES[case]()
    module = module.eval()
    return module, torch.randn(3, *shape), ng.import_module(module, torch.randn(2, *shape))


def agrees(network, samples, expected):
    for form in (ng.lower, ng.compact):
        torch.testing.assert_close(form(network).eval()(samples), expected, rtol=1e-4, atol=1e-5)
    (port,) = network.outputs
    layer = given_out(port, forward(network, samples.numpy())[port.layer])
    torch.testing.assert_close(torch.tensor(layer).float(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_modules_become_networks_without_an_opaque_layer(case):
    module, samples, network = made(case)
    assert not network.bodies
    with torch.no_grad():
        agrees(network, samples, module(samples))


@pytest.mark.parametrize("case", REDUCTIONS)
def test_extents_are_reduced_by_poolings(case):
    torch.manual_seed(5)
    make, reduce, shape = REDUCTIONS[case]
    module, samples = Reduced(make(), reduce).eval(), torch.randn(3, *shape)
    network = ng.import_module(module, samples)
    assert not network.bodies
    with torch.no_grad():
        agrees(network, samples, module(samples))


def test_some_extents_are_reduced_alone():
    torch.manual_seed(6)
    module, samples = Rows().eval(), torch.randn(3, 1, 6, 6)
    network = ng.import_module(module, samples)
    with torch.no_grad():
        agrees(network, samples, module(samples))


@pytest.mark.parametrize("case", CASES)
def test_what_is_narrowed_computes_the_module_with_those_weights_at_0(case):
    module, samples, network = made(case)
    imported = ng.Imported(module, samples)
    assert imported.network == network
    editor = ng.Editor(network)
    editor.apply(ng.edits.narrow(network, 0.3))
    assert editor.network.connection_count < network.connection_count
    module.load_state_dict(imported.state_dict(editor.network))
    with torch.no_grad():
        agrees(editor.network, samples, module(samples))
    editor.undo()
    assert editor.network.digest == network.digest


@pytest.mark.usefixtures("one_registry")
@pytest.mark.parametrize("case", ["series", "volumes", "tokens"])
def test_exports_take_and_give_what_the_module_does(case, tmp_path):
    _, samples, network = made(case)
    ng.save(network, tmp_path / "net.json")
    assert ng.load(tmp_path / "net.json") == network
    for suffix in (".onnx", ".py"):
        ng.export(network, tmp_path / f"net{suffix}", inputs=samples.numpy())


def test_where_units_stand_is_asked_of_readers():
    ports = {case: made(case)[2].inputs[0] for case in CASES}
    assert {case: port.axis for case, port in ports.items() if port.axis > 1} == {"tokens": 2, "a grid of tokens": 3}
    assert ports["tokens"].free == (True,)  # tokens, of which there may be more


def test_readers_that_disagree_are_told_apart_by_the_caller():
    module, samples = Mixed().eval(), torch.randn(2, 5, 6)
    with pytest.raises(InteropError, match=r"along the axes \[1, 2\]: give axes="):
        ng.import_module(module, samples)
    for axis in (1, 2):
        network = ng.import_module(module, samples, axes=[axis])
        assert network.inputs[0].axis == axis
        with torch.no_grad():
            torch.testing.assert_close(ng.lower(network).eval()(samples), module(samples), rtol=1e-4, atol=1e-5)
    for wrong in ([3], [0], [1, 1]):
        with pytest.raises(InteropError, match="expected axes of inputs"):
            ng.import_module(module, samples, axes=wrong)
