"""Norms of every kind and place come in as the operation that they are, and go out again."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import nestgraph as ng
from nestgraph.interop import import_module
from nestgraph.lowering import lower
from nestgraph.spec import BatchNorm, Norm


class ChannelsLast(nn.LayerNorm):
    """A layer normalisation of (batch, channels, height, width)."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Called(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def randomised(module):
    torch.manual_seed(0)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.is_floating_point():
            with torch.no_grad():
                tensor.uniform_(0.5, 1.5) if "var" in name else tensor.normal_(0.3, 0.8)
    return module.eval()


IMAGES = (3, 6, 5)
CASES = {
    "layer": (nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2)), (4,), {"over": "units", "count": 6}),
    "tokens": (nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 2)), (5, 4), {"over": "units"}),
    "rms": (nn.Sequential(nn.Linear(4, 6), nn.RMSNorm(6), nn.Linear(6, 2)), (5, 4), {"center": False, "beta": False}),
    "plain": (
        nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6, elementwise_affine=False), nn.ReLU()),
        (4,),
        {"gamma": False},
    ),
    "maps": (nn.Sequential(nn.Conv2d(3, 6, 3), ChannelsLast(6), nn.Conv2d(6, 2, 3)), IMAGES, {"over": "units"}),
    "group": (nn.Sequential(nn.Conv2d(3, 6, 3), nn.GroupNorm(3, 6), nn.ReLU()), IMAGES, {"over": "both", "groups": 3}),
    "neurons": (
        nn.Sequential(nn.Linear(4, 6), nn.GroupNorm(2, 6), nn.Linear(6, 2)),
        (4,),
        {"over": "both", "groups": 2},
    ),
    "each": (nn.Sequential(nn.Conv2d(3, 6, 3), nn.GroupNorm(6, 6), nn.ReLU()), IMAGES, {"over": "places"}),
    "instance": (nn.Sequential(nn.Conv2d(3, 6, 3), nn.InstanceNorm2d(6, affine=True)), IMAGES, {"over": "places"}),
    "series": (nn.Sequential(nn.Conv1d(3, 6, 3), nn.InstanceNorm1d(6)), (3, 8), {"over": "places", "gamma": False}),
    "volume": (nn.Sequential(nn.Conv3d(3, 6, 3), nn.InstanceNorm3d(6)), (3, 4, 5, 4), {"over": "places"}),
    "function": (
        nn.Sequential(nn.Linear(4, 6), Called(lambda x: functional.layer_norm(x, (6,))), nn.ReLU()),
        (4,),
        {"count": 6},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_norms_come_in_and_go_out(case):
    module, shape, fields = CASES[case]
    module, x = randomised(module), torch.randn(2, *shape)
    network = import_module(module, x)
    assert not [name for name in network.layer_names if network.layer(name).opaque]
    (norm,) = (op for name in network.layer_names for op in network.layer(name).operations if isinstance(op, Norm))
    assert {name: getattr(norm, name) for name in fields} == fields
    wanted = module(x).detach()
    for lowered in (lower(network).eval(), ng.compact(network)):
        np.testing.assert_allclose(lowered(x).detach(), wanted, atol=1e-5)


def test_running_statistics_of_an_instance_normalisation_are_a_batch_normalisation():
    module = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, affine=True, track_running_stats=True)))
    x = torch.randn(2, *IMAGES)
    network = import_module(module, x)
    (operation,) = network.layer(network.output_names[0]).operations
    assert isinstance(operation, BatchNorm)
    np.testing.assert_allclose(lower(network).eval()(x).detach(), module(x).detach(), atol=1e-5)


def test_elements_of_several_axes_are_told_why_they_stay_whole():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.LayerNorm((4, 4, 3)))
    network = import_module(module.eval(), torch.randn(2, *IMAGES))
    reasons = [network.layer(name).opaque for name in network.layer_names if network.layer(name).opaque]
    assert reasons
    assert "over several axes" in reasons[0]
