"""Networks of attention over two inputs, of which one says what the outputs are to be."""

from functools import cache

import torch
from torch import nn
from torch.nn import functional

import nestgraph as ng

WIDTH, TOKENS = 8, 5


class OverTwo(nn.Module):
    """The sum of what heads make of each of two inputs (batch, tokens, width)."""

    def __init__(self):
        super().__init__()
        self.near, self.far = (nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4)) for _ in range(2))

    def forward(self, x, z):
        return self.mixed(self.near, x) + self.mixed(self.far, z)

    def mixed(self, maps, x):
        q, k, v = (one(x).view(x.size(0), TOKENS, 2, WIDTH // 2).transpose(1, 2) for one in maps[:3])
        return maps[3](functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape))


@cache
def over_two(seed=0):
    """The network, inputs of it of which the second is hardly more than 0, and its layers of heads."""
    generator = torch.Generator().manual_seed(seed)
    module = OverTwo().eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    x, z = (torch.randn(32, TOKENS, WIDTH, generator=generator) * size for size in (1, 0.05))
    network = ng.import_module(module, (x, z))
    near, far = (name for name in network.layer_names if network.matches(name))
    return network, (x, z), (near, far)
