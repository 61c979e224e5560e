"""Places around maps come in by every mode that PyTorch pads by, stay editable and leave."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import nestgraph as ng
from nestgraph.errors import RecordError, StructureError
from nestgraph.graph.geometry import output_size
from nestgraph.spec import Layer, Pad
from tests.interop.odd_modules import written
from tests.interop.test_transposed import agrees
from tests.laws import check_laws


class Style(nn.Module):
    """A style transfer net (Johnson et al. 2016): reflected borders, a residual block, nearest upsampling."""

    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(
            nn.ReflectionPad2d(2), nn.Conv2d(1, 4, 5), nn.InstanceNorm2d(4, affine=True), nn.ReLU()
        )
        self.down = nn.Conv2d(4, 8, 3, 2, 1, padding_mode="reflect")
        self.inner = nn.Sequential(
            *(nn.ReflectionPad2d(1), nn.Conv2d(8, 8, 3), nn.ReLU()), *(nn.ReflectionPad2d(1), nn.Conv2d(8, 8, 3))
        )
        self.last = nn.Conv2d(8, 1, 3)

    def forward(self, x):
        x = torch.relu(self.down(self.first(x)))
        x = functional.interpolate(x + self.inner(x), scale_factor=2, mode="nearest")
        return self.last(functional.pad(x, (1, 1, 1, 1), mode="reflect"))


MODELS = {
    "style": (Style, (1, 8, 8)),
    "modes of convolutions": (
        lambda: nn.Sequential(
            nn.Conv1d(2, 4, 3, padding=2, padding_mode="circular"),
            nn.Conv1d(4, 4, 4, padding="same", dilation=3),
            nn.Conv1d(4, 3, 4, padding="same", padding_mode="replicate"),
        ),
        (2, 7),
    ),
    "volumes": (
        lambda: nn.Sequential(
            nn.ZeroPad3d((1, 0, 0, 1, 2, 0)),
            nn.Conv3d(2, 4, 2),
            nn.ReplicationPad3d((0, 1, 0, 0, 1, 0)),
            nn.Conv3d(4, 2, 1),
        ),
        (2, 2, 3, 2),
    ),
    "others": (
        lambda: nn.Sequential(
            *(
                nn.Conv2d(1, 4, 3),
                nn.ReLU(),
                nn.ConstantPad2d((1, 0, -1, 2), 0.5),
                nn.Conv2d(4, 4, 2),
                nn.CircularPad2d(1),
            ),
            *(nn.Conv2d(4, 4, 3), nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 3, 2, 2), nn.Flatten(), nn.Linear(27, 2)),
        ),
        (1, 7, 7),
    ),
    "tokens": (
        lambda: nn.Sequential(
            nn.Linear(3, 6),
            nn.GELU(),
            written(lambda self, x: self.one(functional.pad(x, (0, 0, 2, 1))), one=nn.Linear(6, 2)),
        ),
        (5, 3),
    ),
}


def made(case):
    torch.manual_seed(4)
    make, shape = MODELS[case]
    return make().eval(), torch.randn(3, *shape)


@pytest.mark.parametrize("case", MODELS)
def test_padded_modules_are_narrowed_to_those_with_these_weights_at_0(case, tmp_path):
    module, samples = made(case)
    imported = ng.Imported(module, samples)
    network = imported.network
    assert not network.bodies
    with torch.no_grad():
        agrees(network, samples, module(samples))
    editor = ng.Editor(network)
    editor.apply(ng.edits.narrow(network, 0.3))
    assert editor.network.connection_count < network.connection_count
    module.load_state_dict(imported.state_dict(editor.network))
    with torch.no_grad():
        agrees(editor.network, samples, module(samples))
    ng.export(editor.network, tmp_path / "net.py", inputs=samples.numpy())
    editor.undo()
    assert editor.network.digest == network.digest


@pytest.mark.usefixtures("one_registry")
def test_padding_is_exported_to_onnx(tmp_path):
    module, samples = nn.Sequential(nn.ReflectionPad1d((1, 2)), nn.Conv1d(1, 2, 3)).eval(), torch.randn(2, 1, 4)
    ng.export(ng.import_module(module, samples), tmp_path / "net.onnx", inputs=samples.numpy())


def test_a_padded_network_takes_images_of_any_size():
    module, samples = made("style")
    network = ng.import_module(module, samples)
    assert network.inputs[0].free == (True, True)
    larger = torch.randn(2, 1, 12, 10)
    with torch.no_grad():
        torch.testing.assert_close(ng.lower(network).eval()(larger), module(larger), rtol=1e-4, atol=1e-5)


def test_a_padding_of_units_or_samples_is_opaque():
    for amounts in ((0, 0, 0, 0, 1, 0), (0, 0, 0, 0, 0, 0, 1, 0)):
        module = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU())
        module = written(lambda self, x, by=amounts: functional.pad(self.one(x), by), one=module)
        try:
            network = ng.import_module(module, torch.randn(2, 1, 3, 3))
        except ng.errors.InteropError:
            continue
        assert network.bodies


SIZES = {
    "reflects more than there is": (Pad(before=(3,), after=(0,), mode="reflect"), (3,), "by places that maps of"),
    "repeats more than there is": (Pad(before=(0,), after=(4,), mode="circular"), (3,), "by places that maps of"),
    "cuts all": (Pad(before=(-2,), after=(-1,)), (3,), "leaves a place"),
    "other extents": (Pad(before=(1, 1), after=(0, 0)), (3,), "an extent for each"),
}


@pytest.mark.parametrize("case", SIZES)
def test_what_does_not_fit_maps_is_told(case):
    operation, size, words = SIZES[case]
    with pytest.raises(StructureError, match=words):
        output_size(Layer(name="a", kind="feature_maps", size=size, operations=(operation,)))


def test_records_that_mean_nothing_are_refused():
    with pytest.raises(RecordError, match="as many extents before as after"):
        Pad(before=(1, 0), after=(1,))
    for fields in ({"before": (-1,), "after": (0,)}, {"before": (1,), "after": (0,), "value": 1.0}):
        with pytest.raises(RecordError, match="without a value in mode reflect"):
            Pad(mode="reflect", **fields)


class Cut(nn.Module):
    """Padding whose end is cut off, as causal convolutions have it, and maps beside the same moved by a place."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = nn.Conv1d(2, 5, 3, padding=2), nn.Conv1d(5, 5, 1), nn.Conv1d(5, 2, 1)

    def forward(self, x):
        x = torch.relu(self.first(x)[:, :, :-2])
        return self.last(self.second(x)[:, :, 1:] - x[:, :, :-1])


def test_maps_that_are_cut_are_cropped():
    torch.manual_seed(0)
    module, x = Cut().eval(), torch.randn(3, 2, 9)
    network = ng.import_module(module, x)
    assert not [name for name in network.layer_names if network.layer(name).opaque]
    edit = ng.edits.remove_units(network, "first", [1, 3])
    assert check_laws(network, edit)
    smaller = edit.apply(network).network
    with torch.no_grad():
        torch.testing.assert_close(ng.lower(network).eval()(x), module(x), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ng.compact(smaller)(x), ng.lower(smaller).eval()(x), atol=1e-5, rtol=1e-5)
