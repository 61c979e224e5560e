"""Encoders come in whole: class tokens, registers, masks and biases of scores among what is edited."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import nestgraph as ng
from nestgraph.graph.reference import forward
from nestgraph.spec import Series


def several(given):
    return [given] if isinstance(given, torch.Tensor) else list(given)


def assert_all_agree(network, given, wanted):
    """Reference, lowered and compact module give what the module gave."""
    outputs = forward(network, tuple(tensor.numpy() for tensor in given))
    found = [
        ng.lower(network).eval()(*given),
        ng.lower(network, fuse=False).eval()(*given),
        ng.compact(network)(*given),
    ]
    for place, (port, expected) in enumerate(zip(network.outputs, wanted, strict=True)):
        scale = max(float(expected.abs().max()), 1e-3)
        for each in found:
            assert (several(each)[place] - expected).abs().max() <= 1e-5 * scale
        own = outputs[port.layer].reshape(-1)
        assert np.isclose(np.sort(own), np.sort(expected.numpy().reshape(-1)), atol=1e-5 * scale).all()


def assert_edits_are_the_modules(module, given):
    """What narrow and a removed head leave is the module with those weights at 0, and undo gives the digest."""
    imported = ng.Imported(module, given)
    network = imported.network
    assert not network.bodies
    with torch.no_grad():
        assert_all_agree(network, given, several(module(*given)))
        for edit in edits_of(network):
            editor = ng.Editor(network)
            editor.apply(edit)
            assert len(editor.network.topology) < len(network.topology)
            module.load_state_dict(imported.state_dict(editor.network))
            assert_all_agree(editor.network, given, several(module(*given)))
            editor.undo()
            assert editor.network.digest == network.digest
    return network


def edits_of(network):
    yield ng.edits.narrow(network, 0.3)
    for heads in [name for name in network.layer_names if network.matches(name)][:1]:
        yield ng.edits.remove_heads(network, heads, network.units(heads)[:1])


def heads_of(tensor, count):
    return tensor.unflatten(-1, (count, -1)).transpose(1, 2)


class Encoder(nn.Module):
    """Attention beside a stream, by a fused call under whatever mask is given."""

    def __init__(self, width=8, heads=2):
        super().__init__()
        self.heads, self.norm = heads, nn.LayerNorm(width)
        self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x, mask=None):
        y = self.norm(x)
        q, k, v = (heads_of(layer(y), self.heads) for layer in (self.q, self.k, self.v))
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return x + self.out(mixed.transpose(1, 2).flatten(2))


class Vision(nn.Module):
    """Patches of an image with tokens of their own before and behind, positions, and one token read at the end."""

    def __init__(self, before=1, after=0, trained=True):
        super().__init__()
        self.patches, self.encoder, self.head = nn.Conv2d(3, 8, 4, 4), Encoder(), nn.Linear(8, 3)
        make = nn.Parameter if trained else lambda tensor: tensor
        self.first, self.last = (make(torch.randn(1, count, 8)) for count in (before, after))
        self.positions = nn.Parameter(torch.randn(1, 4 + before + after, 8))

    def forward(self, x):
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        parts = [part.expand(x.size(0), -1, -1) for part in (self.first, self.last)]
        tokens = torch.cat([parts[0], tokens, parts[1]], 1) + self.positions
        return self.head(self.encoder(tokens)[:, 0])


TOKENS = {"a class token": (1, 0), "registers behind": (1, 2), "tokens behind": (0, 1), "several before": (3, 0)}


@pytest.mark.parametrize("case", TOKENS)
def test_tokens_of_their_own_are_places_of_a_series(case):
    torch.manual_seed(0)
    before, after = TOKENS[case]
    module, x = Vision(before, after).eval(), torch.randn(3, 3, 8, 8)
    network = assert_edits_are_the_modules(module, [x])
    (series,) = [op for name in network.layer_names for op in network.layer(name).operations if isinstance(op, Series)]
    assert (series.before, series.after, series.learned) == (before, after, True)


def test_tokens_train_as_the_module_s_and_frozen_ones_do_not():
    torch.manual_seed(0)
    module, x = Vision().eval(), torch.randn(3, 3, 8, 8)
    lowered = ng.lower(ng.import_module(module, x))
    lowered(x).square().sum().backward()
    module(x).square().sum().backward()
    ends = [parameter for name, parameter in lowered.named_parameters() if name.endswith("ends")]
    np.testing.assert_allclose(ends[0].grad[:, 0], module.first.grad[0, 0], rtol=1e-4, atol=1e-5)
    frozen = ng.lower(ng.import_module(Vision(trained=False).eval(), x))
    assert [p.requires_grad for name, p in frozen.named_parameters() if name.endswith("ends")] == [False]


def test_a_token_that_differs_between_samples_is_left_opaque():
    class Drawn(Vision):
        def forward(self, x):
            token = torch.arange(x.size(0)).reshape(-1, 1, 1).expand(-1, 1, 8).float()
            return self.head(torch.cat([token, self.patches(x).flatten(2).transpose(1, 2)], 1).mean(1))

    module, x = Drawn().eval(), torch.randn(2, 3, 8, 8)
    network = ng.import_module(module, x)
    reasons = " ".join(network.layer(name).opaque or "" for name in network.layer_names)
    assert "constants that differ between samples" in reasons
