"""What modules spell out in several calls is the one function that it is, traced or exported, and nothing else is."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import nestgraph as ng
from nestgraph.interop.front_ends import EXPORT, FX, Subject, read_by
from nestgraph.interop.importing import import_module
from nestgraph.interop.report import import_report
from nestgraph.lowering.evaluating import evaluated
from tests.interop.odd_modules import written

NORMS = {
    "as Llama has it": lambda w, x: w * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    "with conversions": lambda w, x: w * (x.to(torch.float32) * torch.rsqrt(x.float().pow(2).mean(-1, True) + 1e-6)),
    "the square as a product": lambda w, x: x * torch.rsqrt((x * x).mean(dim=-1, keepdim=True) + 1e-6) * w,
    "with a weight around 1": lambda w, x: x * torch.rsqrt(torch.mean(x**2, -1, keepdim=True) + 1e-6) * (1.0 + w),
    "without a weight": lambda _, x: torch.rsqrt(1e-6 + x.pow(2).mean([-1], keepdim=True)) * x,
}
OTHERS = {
    "over another axis": lambda w, x: w * (x * torch.rsqrt(x.pow(2).mean(1, keepdim=True) + 1e-6)),
    "over all axes": lambda w, x: w * (x * torch.rsqrt(x.pow(2).mean((1, 2), keepdim=True) + 1e-6)),
    "another power": lambda w, x: w * (x * torch.rsqrt(x.pow(4).mean(-1, keepdim=True) + 1e-6)),
    "of another tensor": lambda w, x: w * (x.exp() * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    "with an epsilon that trains": lambda w, x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + w[0]),
}


def read(front, module, *samples):
    with torch.no_grad():
        return read_by(front, Subject(evaluated(module), samples))


def reasons(network):
    return [row.reason for row in import_report(network).rows if row.kind == "opaque"]


def normed(function):
    torch.manual_seed(0)
    return written(lambda self, x: function(self.weight, x), weight=nn.Parameter(torch.rand(8))), torch.randn(3, 5, 8)


def agree(network, module, x):
    torch.testing.assert_close(ng.lower(network).eval()(x), module.eval()(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("front", [FX, EXPORT])
@pytest.mark.parametrize("name", NORMS)
def test_a_root_mean_square_norm_is_one_call(name, front):
    module, x = normed(NORMS[name])
    network = read(front, module, x)
    assert len(network.layer_names) == 2 or network.layer(network.layer_names[1]).opaque == "rms_norm has no kind"
    agree(network, module, x)
    bodies = [body.module.inner for body in network.bodies.values()]
    called = [node for body in bodies for node in body.graph.nodes if node.target is functional.rms_norm]
    assert len(called) == len(bodies)
    assert name == "without a weight" or all(node.args[2] is not None for node in called)


@pytest.mark.parametrize("name", OTHERS)
def test_what_only_looks_like_a_norm_stays_what_it_is(name):
    module, x = normed(OTHERS[name])
    network = read(FX, module, x)
    assert not any(reason.startswith("rms_norm") for reason in reasons(network))
    agree(network, module, x)


ROOT, FACTOR = 2**0.5, (2 / torch.pi) ** 0.5
GELUS = {
    "as GPT-2 has it": lambda x: 0.5 * x * (1.0 + torch.tanh(FACTOR * (x + 0.044715 * torch.pow(x, 3.0)))),
    "as BERT had it": lambda x: x * 0.5 * (1.0 + torch.erf(x / ROOT)),
    "with products": lambda x: x * (0.5 * (torch.erf(x * 2**-0.5) + 1)),
}
NO_GELUS = {
    "another factor": lambda x: 0.5 * x * (1.0 + torch.tanh(0.8 * (x + 0.044715 * torch.pow(x, 3.0)))),
    "another tensor": lambda x: 0.5 * x.abs() * (1.0 + torch.erf(x / ROOT)),
    "another share": lambda x: 0.25 * x * (1.0 + torch.erf(x / ROOT)),
}


@pytest.mark.parametrize("front", [FX, EXPORT])
@pytest.mark.parametrize("name", [*GELUS, *NO_GELUS])
def test_a_gelu_is_an_activation(name, front):
    torch.manual_seed(0)
    function = (GELUS | NO_GELUS)[name]
    module, x = nn.Sequential(nn.Linear(5, 4), written(lambda _, x: function(x)), nn.Linear(4, 2)), torch.randn(3, 5)
    network = read(front, module, x)
    agree(network, module, x)
    activations = [operation.function for layer in network.layer_names for operation in network.layer(layer).operations]
    assert (activations in (["gelu"], ["gelu_tanh"])) == (name in GELUS)


class Transposing(nn.Module):
    """A linear map as GPT-2 has it: (in, out), over rows."""

    def __init__(self, into, out):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(into, out)), nn.Parameter(torch.randn(out))

    def forward(self, x):
        size = (*x.size()[:-1], self.bias.shape[0])
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(size)


@pytest.mark.parametrize("front", [FX, EXPORT])
def test_addmm_is_a_linear_map(front):
    torch.manual_seed(0)
    weight, bias = nn.Parameter(torch.rand(6, 4)), nn.Parameter(torch.rand(4))
    module = nn.Sequential(nn.Linear(5, 6), written(lambda s, x: torch.addmm(s.b, x, s.w), w=weight, b=bias))
    x = torch.randn(3, 5)
    network = read(front, module, x)
    assert reasons(network) == []
    agree(network, module, x)


@pytest.mark.parametrize("front", [FX, EXPORT])
def test_addmm_over_merged_axes_is_a_linear_map_over_the_last(front):
    torch.manual_seed(0)
    module, x = nn.Sequential(nn.Tanh(), Transposing(8, 6), nn.ReLU()), torch.randn(3, 5, 8)
    network = read(front, module, x)
    agree(network, module, x)
    assert not any("mixed" in reason for reason in reasons(network))


def test_addmm_whose_rows_do_not_come_back_as_they_were_stays_what_it_is():
    torch.manual_seed(0)
    weight, bias = nn.Parameter(torch.rand(8, 6)), nn.Parameter(torch.rand(6))
    module = written(lambda s, x: torch.addmm(s.b, x.view(-1, 8), s.w).view(-1, 3, 10), w=weight, b=bias)
    x = torch.randn(3, 5, 8)
    network = read(FX, module, x)
    agree(network, module, x)
    assert reasons(network)


@pytest.mark.parametrize("trains", [True, False])
def test_a_parameter_that_is_only_moved_trains_as_it_does(trains):
    torch.manual_seed(0)
    scale = nn.Parameter(torch.rand(4), requires_grad=trains)
    module = written(lambda s, x: s.conv(x) * s.scale.view(1, -1, 1, 1), conv=nn.Conv2d(3, 4, 1), scale=scale)
    network = import_module(module, torch.randn(2, 3, 5, 5))
    (projection,) = [network.projection(name) for name in network.projection_names if name.startswith("conv_to")]
    assert projection.trained
    assert projection.frozen == (not trains)


def test_a_cache_that_holds_nothing_yet_joins_nothing():
    torch.manual_seed(0)
    module = written(
        lambda s, x: torch.cat([torch.tensor([]), s.linear(x), s.linear(x) * 2], 1), linear=nn.Linear(5, 4)
    )
    x = torch.randn(3, 5)
    network = read(EXPORT, module, x)
    assert reasons(network) == []
    agree(network, module, x)
