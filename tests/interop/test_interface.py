"""Models of several inputs and outputs: position by position equal in every form, there and back."""

import runpy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nestgraph.edits import Editor, SetInterface, SetValues, narrow, remove_projection
from nestgraph.errors import EditError, InteropError
from nestgraph.graph.extents import fits, sample_shape
from nestgraph.interop.export import export
from nestgraph.interop.exporting import exported_program
from nestgraph.interop.importing import import_module
from nestgraph.interop.onnx_model import onnx_runner
from nestgraph.lowering import lower
from nestgraph.lowering.compact import compact
from nestgraph.snapshot import load, save
from nestgraph.spec import InputPort, Interface


class PolicyAndValue(nn.Module):
    """The heads of an actor and its critic; the value is one number a sample."""

    def __init__(self):
        super().__init__()
        self.body, self.policy, self.value = nn.Linear(12, 16), nn.Linear(16, 5), nn.Linear(16, 1)

    def forward(self, state):
        hidden = torch.relu(self.body(state))
        return self.policy(hidden), torch.tanh(self.value(hidden)).squeeze(-1)


class Segmentation(nn.Module):
    """A map of classes, an auxiliary one of an earlier layer, and a verdict on the whole."""

    def __init__(self):
        super().__init__()
        self.stem, self.deep = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.auxiliary, self.classes, self.whole = nn.Conv2d(8, 4, 1), nn.Conv2d(12, 4, 1), nn.Linear(12, 2)

    def forward(self, image):
        early = torch.relu(self.stem(image))
        late = torch.relu(self.deep(early))
        wide = functional.interpolate(self.classes(late), scale_factor=2, mode="bilinear")
        return {"out": wide, "aux": self.auxiliary(early), "whole": self.whole(late.mean((2, 3)))}


class TimedUNet(nn.Module):
    """An encoder and decoder with a skip, told the time of each sample as one number."""

    def __init__(self):
        super().__init__()
        self.down, self.middle, self.up = nn.Conv2d(1, 6, 3, 2, 1), nn.Conv2d(6, 6, 3, 1, 1), nn.Conv2d(7, 1, 3, 1, 1)
        self.time = nn.Linear(4, 6)

    def forward(self, x, t):
        frequencies = torch.tensor([1.0, 2.0, 4.0, 8.0])
        when = self.time(torch.sin(t[:, None] * frequencies))
        low = torch.relu(self.down(x)) + when[:, :, None, None]
        high = functional.interpolate(torch.relu(self.middle(low)), scale_factor=2.0)
        return self.up(torch.cat([high, x], 1))


class NoisyVariational(nn.Module):
    """A variational encoder and decoder whose noise is an input, so that nothing in it is random."""

    def __init__(self):
        super().__init__()
        self.encode, self.mean, self.spread, self.decode = (
            nn.Linear(10, 8),
            nn.Linear(8, 3),
            nn.Linear(8, 3),
            nn.Linear(3, 10),
        )

    def forward(self, x, noise):
        hidden = torch.relu(self.encode(x))
        mean, spread = self.mean(hidden), self.spread(hidden)
        return self.decode(mean + noise * torch.sigmoid(spread)), mean, spread


class Dictionary(nn.Module):
    """Names in no alphabetical order, some inside others."""

    def __init__(self):
        super().__init__()
        self.z, self.a, self.m = nn.Linear(6, 2), nn.Linear(6, 3), nn.Linear(6, 4)

    def forward(self, x):
        return {"z": self.z(x), "inner": {"b": self.a(x), "a": self.m(x)}}


class Repeated(nn.Module):
    """One result twice, and one that is read on the way to another."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 4), nn.Linear(4, 4)

    def forward(self, x):
        hidden = self.first(x)
        last = self.second(hidden)
        return last, hidden, last


class Reversed(nn.Module):
    """Inputs against the alphabet, of which equal shapes would tell nothing."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.out = nn.Linear(7, 9), nn.Linear(7, 9), nn.Linear(9, 2)

    def forward(self, query, key, bias):
        return self.out(torch.relu(self.query(query) - 2 * self.key(key)) + bias)


class Unread(nn.Module):
    """Inputs that nothing reads, before, between and behind."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(4, 2)

    def forward(self, unused, x, image, y, last):  # noqa: ARG002
        return self.out(x) - self.out(y)


class Tokens(nn.Module):
    """Whole numbers that choose rows of a table, beside a mask of them."""

    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(20, 3), nn.Linear(18, 4)

    def forward(self, mask, ids):
        return self.out((self.table(ids) * mask[:, :, None]).flatten(1))


class Sequence(nn.Module):
    """Three axes in, three axes and one out."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(12, 6), nn.Linear(6, 1)

    def forward(self, x):
        hidden = torch.tanh(self.a(x.flatten(1)))
        return hidden.view(-1, 2, 3), self.b(hidden)[:, 0]


def normal(*shapes):
    return [torch.randn(3, *shape) for shape in shapes]


MODELS = {
    PolicyAndValue: lambda: normal((12,)),
    Segmentation: lambda: normal((3, 16, 16)),
    TimedUNet: lambda: normal((1, 8, 8), ()),
    NoisyVariational: lambda: normal((10,), (3,)),
    Dictionary: lambda: normal((6,)),
    Repeated: lambda: normal((5,)),
    Reversed: lambda: normal((7,), (7,), (9,)),
    Unread: lambda: normal((4,), (4,), (3, 5, 5), (4,), (2,)),
    Tokens: lambda: [torch.randint(0, 2, (3, 6)), torch.randint(0, 20, (3, 6))],
    Sequence: lambda: normal((4, 3)),
}


pytestmark = pytest.mark.usefixtures("one_registry")


@pytest.fixture(scope="module", params=MODELS, ids=lambda kind: kind.__name__)
def case(request):
    """A module, samples for it, what it gives by position, and its network."""
    torch.manual_seed(3)
    module = request.param().eval()
    samples = MODELS[request.param]()
    with torch.no_grad():
        given = module(*samples)
    return module, samples, list(flat(given)), import_module(module, samples)


def flat(given):
    if isinstance(given, torch.Tensor):
        yield given
    else:
        for part in given.values() if isinstance(given, dict) else given:
            yield from flat(part)


def assert_positions(given, wanted):
    given = list(given) if isinstance(given, list | tuple) else [given]
    assert [tuple(x.shape) for x in given] == [tuple(x.shape) for x in wanted]
    for got, expected in zip(given, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=0, atol=1e-5)


@pytest.mark.parametrize("form", [lower, compact])
def test_lowered_modules_agree_by_position(case, form):
    _, samples, wanted, network = case
    with torch.no_grad():
        assert_positions(form(network).eval()(*samples), wanted)


def test_exported_files_agree_by_position(case, tmp_path):
    _, samples, wanted, network = case
    export(network, tmp_path / "net.onnx")
    run = onnx_runner((tmp_path / "net.onnx").read_bytes())
    assert_positions(run([sample.numpy() for sample in samples]), wanted)
    assert_positions(exported_program(network).module()(*samples), wanted)
    export(network, tmp_path / "net.py")
    assert_positions(runpy.run_path(str(tmp_path / "net.py"))["load"]()(*samples), wanted)


def test_a_snapshot_keeps_positions(case, tmp_path):
    _, samples, wanted, network = case
    save(network, tmp_path / "net.json")
    read = load(tmp_path / "net.json")
    assert (read, read.interface) == (network, network.interface)
    with torch.no_grad():
        assert_positions(lower(read.with_bodies(network.bodies)).eval()(*samples), wanted)


def test_an_edit_and_its_undo_keep_positions(case):
    _, samples, wanted, network = case
    editor = Editor(network)
    try:
        editor.apply(narrow(network, 0.3))
    except EditError:  # opaque layers hold the units of two of them
        name = next(name for name in network.projection_names if network.connection_columns(name).weight.size)
        columns = network.connection_columns(name)
        weights = -columns.weight[columns.mask]
        editor.apply(SetValues(weights={name: weights}))
    given = lower(editor.network).eval()(*samples)
    assert [x.shape for x in (given if isinstance(given, tuple) else (given,))] == [x.shape for x in wanted]
    editor.undo()
    assert editor.network == network
    with torch.no_grad():
        assert_positions(lower(editor.network).eval()(*samples), wanted)


def test_an_input_that_loses_its_last_reader_keeps_its_place():
    torch.manual_seed(0)
    module, samples = Reversed().eval(), MODELS[Reversed]()
    nn.init.zeros_(module.key.bias)
    network = import_module(module, samples)
    (reading,) = network.outgoing("key")
    cut = remove_projection(network, reading.name).apply(network).network
    assert (cut.input_names, len(cut.units("key"))) == (("query", "key", "bias"), 0)
    with torch.no_grad():
        module.key.weight.zero_()
        for form in (lower, compact):
            assert_positions(form(cut).eval()(*samples), [module(*samples)])


def test_extents_are_free_where_module_and_network_agree_at_other_sizes():
    module = Segmentation().eval()
    network = import_module(module, torch.randn(2, 3, 16, 16))
    assert network.inputs[0].free == (True, True)
    sample = torch.randn(2, 3, 20, 28)
    for form in (lower, compact):
        with torch.no_grad():
            assert_positions(form(network).eval()(sample), list(flat(module(sample))))


SIZED = {
    "a linear map of places": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2)),
    "an absolute size": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(size=(16, 16)), nn.Conv2d(4, 2, 1)),
    "a scale": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2), nn.Conv2d(4, 2, 1)),
    "a scale below one": nn.Sequential(nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=0.5), nn.Conv2d(4, 2, 1)),
    "an odd scale": nn.Sequential(nn.Upsample(scale_factor=(1.3, 2.7), mode="bilinear"), nn.Conv2d(3, 2, 1)),
    "a recomputed scale": nn.Sequential(
        nn.Upsample(scale_factor=1.3, mode="bilinear", recompute_scale_factor=True), nn.Conv2d(3, 2, 1)
    ),
    "aligned corners": nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=1.7, mode="bilinear", align_corners=True), nn.Conv2d(4, 2, 1)
    ),
    "an interpolation of no kind": nn.Sequential(nn.Upsample(scale_factor=2, mode="bicubic"), nn.Conv2d(3, 2, 1)),
    "pooling to the size that it has": nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(6), nn.Conv2d(4, 2, 1)),
    "pooling to one place": nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)),
    "pooling to places": nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(36, 2)),
    "rounded up windows": nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2, 1, ceil_mode=True)),
}


@pytest.mark.parametrize("kind", SIZED)
@pytest.mark.parametrize("size", [(8, 8), (9, 12), (16, 16), (7, 8), (40, 8)], ids=str)
def test_no_size_is_answered_otherwise_than_by_the_module(kind, size):
    """Either the module's own answer or a refusal."""
    torch.manual_seed(0)
    module, sample = SIZED[kind].eval(), torch.randn(2, 3, *size)
    network = import_module(module, torch.randn(2, 3, 8, 8))
    for form in (lower, compact):
        if fits(tuple(sample.shape[1:]), sample_shape(network, network.inputs[0])):
            with torch.no_grad():
                assert_positions(form(network).eval()(sample), [module(sample)])
        else:
            assert size != (8, 8)
            with pytest.raises(AssertionError, match=r"expected a tensor of shape \(batch, 3, "):
                form(network).eval()(sample)


class OnlyWide(nn.Module):
    """Reads rows of a fixed height, as a reader of lines of text does."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 4, (8, 3), padding=(0, 1))

    def forward(self, x):
        return self.a(x.view(-1, 1, 8, x.shape[3]))


def test_each_axis_is_free_by_itself():
    module = OnlyWide().eval()
    network = import_module(module, torch.randn(2, 1, 8, 10))
    assert network.inputs[0].free == (False, True)
    sample = torch.randn(2, 1, 8, 23)
    with torch.no_grad():
        assert_positions(compact(network)(sample), [module(sample)])
    with pytest.raises(AssertionError, match=r"\(batch, 1, 8, any\)"):
        compact(network)(torch.randn(2, 1, 9, 10))


def test_every_exported_form_refuses_a_size_that_is_fixed(tmp_path):
    torch.manual_seed(0)
    network = import_module(Segmentation().eval(), torch.randn(2, 3, 16, 16))
    fixed = Interface(inputs=(InputPort(layer=network.inputs[0].layer),), outputs=network.outputs)
    held = SetInterface(interface=fixed).apply(network).network
    export(held, tmp_path / "net.onnx")
    export(held, tmp_path / "net.py")
    run = onnx_runner((tmp_path / "net.onnx").read_bytes())
    written, program = runpy.run_path(str(tmp_path / "net.py"))["load"](), exported_program(held).module()
    for form in (lambda x: run([x.numpy()]), written, program):
        form(torch.randn(1, 3, 16, 16))
        for other in ((1, 3, 20, 16), (1, 3, 16, 8)):
            with pytest.raises(Exception, match=r"expected|size|dimension|shape|Expected"):
                form(torch.randn(other))


def test_what_an_input_may_hold_is_what_a_network_is_tried_with(tmp_path):
    module = Tokens().eval()
    samples = MODELS[Tokens]()
    network = import_module(module, samples)
    assert [port.integers for port in network.inputs] == [(0, int(s.max())) for s in samples[:1]] + [
        (int(samples[1].min()), int(samples[1].max()))
    ]
    export(network, tmp_path / "a.safetensors", inputs=tuple(sample.numpy() for sample in samples))


class Logarithm(nn.Module):
    """Gives nothing finite for most random numbers."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(3, 3)

    def forward(self, x):
        return self.a(torch.log(x - 100))


def test_given_samples_are_enough_where_random_ones_mean_nothing(tmp_path):
    samples = torch.rand(3, 3) + 101
    network = import_module(Logarithm().eval(), samples)
    export(network, tmp_path / "a.safetensors", inputs=samples.numpy())
    with pytest.raises(Exception, match="give some as inputs"):
        export(network, tmp_path / "b.safetensors")


def test_an_input_without_elements_is_refused():
    with pytest.raises(InteropError, match="expected inputs with elements"):
        import_module(Unread().eval(), [torch.zeros(3, 0), *normal((4,), (3, 5, 5), (4,), (2,))])
