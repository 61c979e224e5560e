"""Tensors of fewer units or places beside those of more: each of the fewer goes for several."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import nestgraph as ng
from nestgraph.graph.reference import predict
from tests.laws import check_laws


class Timed(nn.Module):
    """A number of each sample, encoded by sines, is added to every place of a map, as in diffusion models."""

    def __init__(self):
        super().__init__()
        self.enter, self.time, self.leave = nn.Conv2d(2, 6, 3, padding=1), nn.Linear(8, 6), nn.Conv2d(6, 2, 3)
        self.register_buffer("steps", torch.linspace(0.1, 1, 4))

    def forward(self, x, t):
        angles = t[:, None] * self.steps[None]
        t = self.time(torch.cat([angles.sin(), angles.cos()], -1))
        return self.leave(torch.relu(self.enter(x) + t[:, :, None, None]))


class Words(nn.Module):
    """Kernels over windows of embedded words, which stand as rows of an image."""

    def __init__(self):
        super().__init__()
        self.embed, self.last = nn.Embedding(9, 6), nn.Linear(10, 3)
        self.convs = nn.ModuleList([nn.Conv2d(1, 5, (width, 6)) for width in (2, 3)])

    def forward(self, x):
        x = self.embed(x).unsqueeze(1)
        found = [functional.relu(conv(x)).squeeze(3) for conv in self.convs]
        return self.last(torch.cat([functional.max_pool1d(each, each.size(2)).squeeze(2) for each in found], 1))


class Rows(nn.Module):
    """A map of one row is added to each row of another, and one map weighs all maps."""

    def __init__(self):
        super().__init__()
        self.maps, self.row, self.one = nn.Conv2d(1, 4, 1), nn.Conv2d(1, 4, (5, 1)), nn.Conv2d(1, 1, 1)
        self.last = nn.Conv2d(4, 2, 1)

    def forward(self, x):
        return self.last(torch.relu(self.maps(x) + self.row(x)) * self.one(x).sigmoid())


class Experts(nn.Module):
    """Layers put together by weights of each sample."""

    def __init__(self):
        super().__init__()
        self.gate, self.last = nn.Linear(4, 3), nn.Linear(5, 2)
        self.experts = nn.ModuleList([nn.Linear(4, 5) for _ in range(3)])

    def forward(self, x):
        outputs = torch.stack([torch.relu(expert(x)) for expert in self.experts], 1)
        return self.last((self.gate(x).sigmoid().unsqueeze(-1) * outputs).sum(1))


CASES = {
    "time": (Timed, (torch.randn(3, 2, 5, 4), torch.tensor([0.0, 3.0, 11.0])), "enter"),
    "words": (Words, (torch.tensor([[1, 3, 5, 2, 8, 0], [4, 4, 7, 1, 6, 0]]),), "embed"),
    "rows": (Rows, (torch.randn(3, 1, 5, 4),), "maps"),
    "experts": (Experts, (torch.randn(3, 4),), "experts_0"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_has_fewer_goes_for_several(name):
    make, examples, layer = CASES[name]
    torch.manual_seed(0)
    module = make().eval()
    network = ng.import_module(module, examples)
    with torch.no_grad():
        wanted = module(*examples)
    assert not [each for each in network.layer_names if network.layer(each).opaque]
    inputs = {port.layer: x.numpy() for port, x in zip(network.inputs, examples, strict=True)}
    np.testing.assert_allclose(predict(network, inputs), wanted, atol=1e-5)
    edit = ng.edits.narrow(network, 0.4)
    assert check_laws(network, edit)
    smaller = edit.apply(network).network
    assert len(smaller.units(layer)) < len(network.units(layer))
    with torch.no_grad():
        masked, compact = ng.lower(smaller).eval()(*examples), ng.compact(smaller)(*examples)
    torch.testing.assert_close(masked, compact, atol=1e-5, rtol=1e-5)
