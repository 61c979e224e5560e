"""Transposed convolutions come in as convolutions whose kernel sweeps the other way round, are edited and leave."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

import nestgraph as ng
from nestgraph.errors import RecordError
from nestgraph.graph import cost
from nestgraph.graph.extents import given_out
from nestgraph.graph.projections.sweeping import swept
from nestgraph.graph.reference import forward
from nestgraph.spec import Conv, OneToOne
from tests.laws import quick

FUNCTIONS = (functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)


@st.composite
def sweeps(draw):
    """A transposed convolution, and a size of maps of which it gives at least a place."""
    axes = draw(st.integers(1, 3))

    def extents(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(axes))

    sweep = {"kernel": extents(1, 3), "stride": extents(1, 3), "padding": extents(0, 2), "dilation": extents(1, 2)}
    room = zip(sweep["stride"], sweep["dilation"], strict=True)
    sweep["output_padding"] = tuple(draw(st.integers(0, max(most) - 1)) for most in room)
    record, size = Conv(source="a", target="b", transposed=True, **sweep), extents(2, 4)
    return (record, size) if min(record.swept_size(size)) >= 1 else draw(st.nothing() | sweeps())


@quick(60)
@given(sweeps())
def test_windows_of_a_transposed_kernel_are_what_pytorch_multiplies(drawn):
    record, size = drawn
    rng, given_size = np.random.default_rng(0), record.swept_size(size)
    x, weight = rng.standard_normal((2, 3, *size)), rng.standard_normal((3, 4, *record.kernel))
    axes, more = len(size), record.output_padding or 0
    arguments = (record.stride, record.padding, more, 1, record.dilation)
    expected = FUNCTIONS[axes - 1](torch.tensor(x), torch.tensor(weight), None, *arguments).numpy()
    windows = record.windows(x).reshape(2, 3, *given_size, -1)
    np.testing.assert_allclose(np.einsum("bi...k,iok->bo...", windows, weight.reshape(3, 4, -1)), expected, atol=1e-12)
    # What reads a place, counted, is the gradient of the sum of what is kept.
    kept = rng.random((1, 1, *given_size)) < 0.5
    source = torch.zeros(1, 3, *size, dtype=torch.float64, requires_grad=True)
    result = FUNCTIONS[axes - 1](source, torch.tensor(weight), None, *arguments)
    (gradient,) = torch.autograd.grad((result * torch.tensor(kept)).sum(), source)
    np.testing.assert_allclose(swept(record, weight.swapaxes(0, 1), kept, size), gradient[0], atol=1e-12)


WRONG = {
    "more than the stride": ({"transposed": True, "stride": (2, 2), "output_padding": (2, 0)}, "less than the stride"),
    "of no transposed one": ({"output_padding": (1, 0), "stride": (2, 2)}, "of a transposed kernel alone"),
    "of other extents": ({"transposed": True, "stride": (2, 2), "output_padding": (1,)}, "along each axis"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_output_padding_that_does_not_fit_is_refused(case):
    fields, words = WRONG[case]
    with pytest.raises(RecordError, match=words):
        Conv(source="a", target="b", kernel=(3, 3), **fields)


def test_what_is_not_said_is_not_written():
    with pytest.raises(RecordError, match="expected a kernel where a sweep is transposed"):
        OneToOne(source="a", target="b", transposed=True)
    plain = Conv(source="a", target="b", kernel=(3, 3))
    assert "transposed" not in plain.model_dump_json()
    record = Conv(source="a", target="b", kernel=(3, 3), transposed=True, output_padding=(0, 0))
    assert "output_padding" not in record.model_dump_json()
    assert record.words == "transposed conv 3x3"


def generator(maps=4):
    """The half of a DCGAN (Radford et al. 2016) that makes images of noise."""
    return nn.Sequential(
        nn.ConvTranspose2d(6, 2 * maps, 3, 1, 0, bias=False),
        nn.BatchNorm2d(2 * maps),
        nn.ReLU(True),
        nn.ConvTranspose2d(2 * maps, maps, 4, 2, 1, bias=False),
        nn.BatchNorm2d(maps),
        nn.ReLU(True),
        nn.ConvTranspose2d(maps, 2, 4, 2, 1, bias=False),
        nn.Tanh(),
    )


def discriminator(maps=4):
    """The half that tells images."""
    return nn.Sequential(
        nn.Conv2d(2, maps, 4, 2, 1, bias=False),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(maps, 2 * maps, 4, 2, 1, bias=False),
        nn.BatchNorm2d(2 * maps),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Conv2d(2 * maps, 1, 3, 1, 0, bias=False),
        nn.Sigmoid(),
        nn.Flatten(),
    )


class UNet(nn.Module):
    """Down and up again, beside what it was before (Ronneberger et al. 2015)."""

    def __init__(self, up):
        super().__init__()
        self.first, self.below = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.up, self.beside = up, nn.Conv2d(8, 4, 3, padding=1)
        self.norm, self.last = nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)

    def forward(self, x):
        first = torch.relu(self.norm(self.first(x)))
        below = torch.relu(self.below(functional.max_pool2d(first, 2)))
        return self.last(torch.relu(self.beside(torch.cat([self.up(below), first], 1))))


def bilinear():
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), nn.Conv2d(8, 4, 1))


CASES = {
    "generator": (generator, (6, 1, 1)),
    "discriminator": (discriminator, (2, 12, 12)),
    "transposed U-Net": (lambda: UNet(nn.ConvTranspose2d(8, 4, 2, 2)), (1, 8, 8)),
    "bilinear U-Net": (lambda: UNet(bilinear()), (1, 8, 8)),
    "series": (
        lambda: nn.Sequential(nn.Conv1d(2, 6, 3), nn.ELU(), nn.ConvTranspose1d(6, 4, 3, 2, 1, 1, 2, dilation=2)),
        (2, 7),
    ),
    "volumes": (
        lambda: nn.Sequential(nn.ConvTranspose3d(2, 4, 2, 2), nn.ReLU(), nn.ConvTranspose3d(4, 3, (1, 3, 2), 1, 1)),
        (2, 2, 3, 2),
    ),
    "depthwise": (
        lambda: nn.Sequential(nn.Conv2d(1, 6, 1), nn.ConvTranspose2d(6, 6, 4, 2, 1, groups=6), nn.Conv2d(6, 2, 3)),
        (1, 3, 4),
    ),
}


def made(case):
    torch.manual_seed(2)
    make, shape = CASES[case]
    module, samples = make(), torch.randn(3, *shape)
    for _ in range(2):
        module(samples)  # gives normalisations statistics
    return module.eval(), samples


def agrees(network, samples, expected):
    for form in (ng.lower, ng.compact):
        torch.testing.assert_close(form(network).eval()(samples), expected, rtol=1e-5, atol=1e-5)
    (port,) = network.outputs
    found = torch.tensor(given_out(port, forward(network, samples.numpy())[port.layer])).float()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_modules_are_narrowed_to_the_module_with_those_weights_at_0(case, tmp_path):
    module, samples = made(case)
    imported = ng.Imported(module, samples)
    network = imported.network
    assert not network.bodies
    with torch.no_grad():
        agrees(network, samples, module(samples))
        with FlopCounterMode(display=False) as counter:
            module(samples[:1])
    convolved = sum(cost(network).by_projection[p].flops for p in network.projection_names if _sweeps(network, p))
    assert convolved == counter.get_total_flops()
    editor = ng.Editor(network)
    editor.apply(ng.edits.narrow(network, 0.3))
    assert editor.network.connection_count < network.connection_count
    module.load_state_dict(imported.state_dict(editor.network))
    with torch.no_grad():
        agrees(editor.network, samples, module(samples))
    ng.save(editor.network, tmp_path / "net.json")
    assert ng.load(tmp_path / "net.json").digest == editor.network.digest
    ng.export(editor.network, tmp_path / "net.py", inputs=samples.numpy())
    editor.undo()
    assert editor.network.digest == network.digest


def _sweeps(network, name):
    return network.projection(name).window is not None


@pytest.mark.usefixtures("one_registry")
@pytest.mark.parametrize("case", ["series", "depthwise"])
def test_exports_to_onnx_agree(case, tmp_path):
    module, samples = made(case)
    network = ng.import_module(module, samples)
    ng.export(network, tmp_path / "net.onnx", inputs=samples.numpy())


def test_an_output_size_that_is_asked_for_is_an_output_padding():
    class Sized(nn.Module):
        def __init__(self):
            super().__init__()
            self.up = nn.ConvTranspose2d(2, 3, 3, 2, 1)

        def forward(self, x):
            return self.up(x, output_size=(6, 5))

    torch.manual_seed(0)
    module, samples = Sized().eval(), torch.randn(2, 2, 3, 3)
    network = ng.import_module(module, samples)
    (projection,) = network.projections_by_name.values()
    assert projection.output_padding == (1, 0)
    with torch.no_grad():
        agrees(network, samples, module(samples))


def test_the_function_of_aten_is_read():
    class Written(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 3, 2))

        def forward(self, x):
            up = torch.convolution(x, self.weight, None, [2], [0], [1], True, [0], 1)
            return torch.convolution(up, self.weight, None, [2], [1], [1], False, [0], 1)

    torch.manual_seed(0)
    module, samples = Written().eval(), torch.randn(2, 4, 5)
    network = ng.import_module(module, samples)
    assert not network.bodies
    with torch.no_grad():
        agrees(network, samples, module(samples))


def test_pictures_and_the_summary_show_which_way_a_kernel_sweeps(tmp_path):
    module, samples = made("transposed U-Net")
    network = ng.import_module(module, samples)
    assert "(transposed)" in network.summary()
    ng.draw(network, tmp_path / "net.dot", view="layers")
    assert "transposed conv 2x2" in (tmp_path / "net.dot").read_text()
