"""A module with zeros in the place of what went computes what is left, or it is said why it cannot."""

import contextlib

import numpy as np
import pytest
import torch
from torch import nn

import nestgraph as ng
from nestgraph.errors import EditError, InteropError
from tests.interop.vocabulary import VOCABULARY, Encoder, LlamaLike, between_linear_maps, made
from tests.strategies.recipes import hidden_layers


class Squashed(nn.Module):
    """What went is a half behind the sigmoid, which no weight changes, and is counted by the norm."""

    def __init__(self):
        super().__init__()
        self.stem, self.beside, self.norm, self.head = (
            nn.Linear(4, 6),
            nn.Linear(4, 6),
            nn.LayerNorm(6),
            nn.Linear(6, 2),
        )

    def forward(self, x):
        return self.head(self.norm(torch.sigmoid(self.stem(x)) + self.beside(x)))


class Plain(nn.Module):
    """Queries and keys that are normed without a weight: what went is not 0 where they meet."""

    def __init__(self):
        super().__init__()
        self.block = Encoder()
        self.block.q, self.block.k = (
            nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16, elementwise_affine=False)) for _ in range(2)
        )

    def forward(self, x):
        return self.block(x)


MODULES = {
    **{case: lambda case=case: made(case) for case in VOCABULARY},
    "a norm of inputs": lambda: (Encoder().eval(), torch.randn(2, 5, 16)),
    "a root mean square of inputs": lambda: (LlamaLike().eval(), torch.randn(2, 5, 16)),
    "squashed before a norm": lambda: (Squashed().eval(), torch.randn(3, 4)),
    "meeting at slots": lambda: (between_linear_maps(Plain()).eval(), torch.randn(2, 5, 16)),
}
REFUSED = {
    "a norm of inputs": "layer 'norm', which went, to be 0 in the module before layer norm, which counts it",
    "a root mean square of inputs": "'first', which went, to be 0 in the module before rms norm, which counts it",
    "squashed before a norm": "layer 'add', which went, to be 0 in the module before layer norm, which counts it",
    "meeting at slots": "reads unit [0-9]+ of 'layer_1_block_k_0' without weights that could be 0",
}
"""What narrowing alone is refused for; where a whole projection went that has no weights any module is."""


def removals(network, rng):
    """Narrowed widths, a unit of each hidden layer with what is tied to it, and each projection."""
    yield lambda: ng.edits.narrow(network, 0.3)
    for name in hidden_layers(network):
        yield lambda name=name: ng.edits.remove_units(network, name, rng.permutation(network.units(name))[:1])
    for name in network.projection_names:
        yield lambda name=name: ng.edits.remove_projection(network, name)


@pytest.mark.parametrize("case", MODULES)
def test_a_module_computes_what_is_left_or_says_why_not(case):
    torch.manual_seed(0)
    module, x = MODULES[case]()
    imported = ng.Imported(module, x)
    network, same = imported.network, 0
    for attempt in removals(network, np.random.default_rng(0)):
        try:
            left = attempt().apply(network).network
            module.load_state_dict(imported.state_dict(left))
        except (EditError, InteropError):
            continue
        with torch.no_grad():
            torch.testing.assert_close(ng.lower(left).eval()(x), module(x), rtol=1e-5, atol=1e-5)
        same += 1
    assert same
    narrowed = ng.edits.narrow(network, 0.3).apply(network).network
    with pytest.raises(InteropError, match=REFUSED[case]) if case in REFUSED else contextlib.nullcontext():
        imported.state_dict(narrowed)
