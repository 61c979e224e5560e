"""Token mixing (MLP-Mixer, Tolstikhin et al. 2021): linear maps over tokens work channel by channel and are edited."""

import numpy as np
import pytest
import torch
from torch import nn

import nestgraph as ng
from nestgraph.errors import InteropError
from nestgraph.graph.extents import given_out
from nestgraph.graph.reference import forward

CHANNELS, TOKENS = 8, 9


class Mlp(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.wide, self.narrow = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        return self.narrow(nn.functional.gelu(self.wide(x)))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.tokens = nn.LayerNorm(CHANNELS), Mlp(TOKENS, 5)
        self.between, self.channels = nn.LayerNorm(CHANNELS), Mlp(CHANNELS, 16)

    def forward(self, x):
        x = x + self.tokens(self.before(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.between(x))


class Mixer(nn.Module):
    """Patches of an image, two blocks with norms around, a norm and the mean over tokens."""

    def __init__(self):
        super().__init__()
        self.patches, self.blocks = nn.Conv2d(1, CHANNELS, 2, 2), nn.Sequential(Block(), Block())
        self.norm, self.head = nn.LayerNorm(CHANNELS), nn.Linear(CHANNELS, 3)

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.patches(x).flatten(2).transpose(1, 2))).mean(1))


def agrees(network, samples, expected):
    (port,) = network.outputs
    found = torch.tensor(given_out(port, forward(network, samples.numpy())[port.layer])).float()
    for got in (found, *(form(network).eval()(samples) for form in (ng.lower, ng.compact))):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)


def silence(module, network):
    """Let what went of a mixer's channels and hidden units be 0 wherever the module computes it."""

    def keep(part, name, count, axis):
        alive = torch.tensor(np.isin(np.arange(count), network.units(name))).float()
        part.register_forward_hook(lambda _, __, given: given * alive.view(-1, *[1] * (-1 - axis)))

    keep(module.patches, "patches", CHANNELS, -3)
    keep(module.norm, "patches", CHANNELS, -1)
    for place, block in enumerate(module.blocks):
        keep(block.tokens, "patches", CHANNELS, -2)
        keep(block.channels.wide, f"blocks_{place}_channels_wide", 16, -1)
        for part in (block.before, block.between, block.channels):
            keep(part, "patches", CHANNELS, -1)


def test_channels_beside_token_mixing_are_narrowed_and_agree():
    torch.manual_seed(0)
    module, samples = Mixer().eval(), torch.randn(3, 1, 6, 6)
    imported = ng.Imported(module, samples)
    network = imported.network
    with torch.no_grad():
        agrees(network, samples, module(samples))
    opaque = [network.layer(name) for name in network.layer_names if network.layer(name).opaque]
    assert opaque
    assert all(layer.unitwise for layer in opaque)
    editor = ng.Editor(network)
    editor.apply(ng.edits.narrow(network, 0.3))
    kept = editor.network.units("patches")
    assert len(kept) == 6
    with pytest.raises(InteropError, match="which went, to be 0 in the module before layer norm"):
        imported.state_dict(editor.network)  # as biases of tokens are left in channels that went
    silence(module, editor.network)
    with torch.no_grad():
        agrees(editor.network, samples, module(samples))
    editor.undo()
    assert editor.network.digest == network.digest
