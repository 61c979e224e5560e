"""Encoders come in whole: class tokens, registers, masks and biases of scores among what is edited."""

import numpy as np
import pytest
import torch
from torch import nn

import nestgraph as ng
from nestgraph.graph import Network
from nestgraph.spec import Series
from tests.interop.agreeing import assert_all_agree, assert_edits_are_the_modules, edits_of
from tests.interop.vocabulary import Encoder, PatchVit, heads_of, joined

TOKENS = {"registers behind": (1, 2), "tokens behind": (0, 1), "several before": (3, 0)}


@pytest.mark.parametrize("case", TOKENS)
def test_tokens_of_their_own_are_places_of_a_series(case):
    torch.manual_seed(0)
    before, after = TOKENS[case]
    module, x = PatchVit(before, after).eval(), torch.randn(3, 3, 8, 8)
    network = assert_edits_are_the_modules(module, [x])
    (series,) = [op for name in network.layer_names for op in network.layer(name).operations if isinstance(op, Series)]
    assert (series.before, series.after) == (before, after)


def test_tokens_train_as_the_module_s_and_frozen_ones_do_not():
    torch.manual_seed(0)
    module, x = PatchVit().eval(), torch.randn(3, 3, 8, 8)
    lowered = ng.lower(ng.import_module(module, x))
    lowered(x).square().sum().backward()
    module(x).square().sum().backward()
    ends = [parameter for name, parameter in lowered.named_parameters() if name.endswith("ends")]
    np.testing.assert_allclose(ends[0].grad[:, 0], module.first.grad[0, 0], rtol=1e-4, atol=1e-5)
    frozen = ng.lower(ng.import_module(PatchVit(trained=False).eval(), x))
    assert [p.requires_grad for name, p in frozen.named_parameters() if name.endswith("ends")] == [False]


def test_a_token_that_differs_between_samples_is_left_opaque():
    class Drawn(PatchVit):
        def forward(self, x):
            token = torch.arange(x.size(0)).reshape(-1, 1, 1).expand(-1, 1, 16).float()
            return self.head(torch.cat([token, self.patches(x).flatten(2).transpose(1, 2)], 1).mean(1))

    module, x = Drawn().eval(), torch.randn(2, 3, 8, 8)
    network = ng.import_module(module, x)
    reasons = " ".join(network.layer(name).opaque or "" for name in network.layer_names)
    assert "constants that differ between samples" in reasons


# -- masks and biases of scores ------------------------------------------------------------------------


class Masked(nn.Module):
    """Two layers of attention under a mask of padding, (batch, tokens): 1 where a token counts."""

    def __init__(self, how):
        super().__init__()
        self.how, self.stem, self.head = how, nn.Linear(8, 8), nn.Linear(8, 3)
        self.first, self.second = Encoder(8, 2), Encoder(8, 2)

    def forward(self, x, mask):
        seen = self.how(mask, x)
        return self.head(self.second(self.first(self.stem(x), seen), seen))


class WrittenOut(nn.Module):
    """The same by products of matrices, a softmax and a fill."""

    def __init__(self, scaled_first=True):
        super().__init__()
        self.scaled_first = scaled_first
        self.q, self.k, self.v, self.out = (nn.Linear(8, 8) for _ in range(4))

    def forward(self, x, mask):
        q, k, v = (heads_of(layer(x), 2) for layer in (self.q, self.k, self.v))
        scores = q @ k.transpose(-2, -1)
        scores = scores / 2 if self.scaled_first else scores
        scores = scores.masked_fill(mask[:, None, None, :] == 0, -torch.inf)
        return self.out(joined(scores.softmax(-1) @ v))


class OfPyTorch(nn.Module):
    """PyTorch's own layers under its own masks, by which true says that a token does not count."""

    def __init__(self, causal=False):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head, self.causal = nn.Linear(8, 3), causal

    def forward(self, x, mask):
        ahead = torch.ones(5, 5, dtype=torch.bool).triu(1) if self.causal else None
        return self.head(self.encoder(x, mask=ahead, src_key_padding_mask=mask == 0))


def causal_too(mask, _):
    return mask[:, None, None, :].bool() & torch.ones(5, 5, dtype=torch.bool).tril()


def from_table(mask, x):
    bias = (torch.arange(5)[:, None] - torch.arange(5)).float() / 3
    return torch.where(mask[:, None, None, :].bool(), bias, torch.finfo(x.dtype).min)


MASKS = {
    "true of what counts": lambda: Masked(lambda mask, _: mask.bool()[:, None, None]),
    "compared": lambda: Masked(lambda mask, _: (mask != 0)[:, None, None, :]),
    "an inverted one": lambda: Masked(lambda mask, _: ~(mask == 0)[:, None, None, :].expand(-1, 1, 5, -1)),
    "causal, too": lambda: Masked(causal_too),
    "with what is added": lambda: Masked(from_table),
    "filled in": WrittenOut,
    "filled in, without a scale": lambda: WrittenOut(scaled_first=False),
    "of PyTorch's layers": OfPyTorch,
    "of PyTorch's layers, causal, too": lambda: OfPyTorch(causal=True),
}
PADDED = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 0, 1, 1, 0]])


@pytest.mark.parametrize("case", MASKS)
def test_a_mask_that_an_input_holds_is_read(case):
    torch.manual_seed(0)
    module, x = MASKS[case]().eval(), torch.randn(3, 5, 8)
    network = ng.import_module(module, (x, torch.ones_like(PADDED)))
    assert not network.bodies
    with torch.no_grad():
        assert_all_agree(network, [x, PADDED], [module(x, PADDED)])
    heads = next(name for name in network.layer_names if network.matches(name))
    for edit in edits_of(network):
        applied = edit.apply(network)
        assert_all_agree(applied.network, [x, PADDED], [ng.lower(applied.network).eval()(x, PADDED).detach()])
        assert applied.inverse.apply(applied.network).network.digest == network.digest
    gone = ng.edits.remove_heads(network, heads, network.units(heads)[:1]).apply(network).network
    masks = [name for name in network.layer_names if name.endswith("_mask")]
    assert len(gone.units(heads)) == len(gone.units(masks[0])) == len(network.units(heads)) - 1


def test_what_a_mask_hides_changes_nothing():
    torch.manual_seed(0)
    module, x = MASKS["true of what counts"]().eval(), torch.randn(3, 5, 8)
    lowered = ng.lower(ng.import_module(module, (x, PADDED))).eval()
    other = torch.where(PADDED[:, :, None].bool(), x, torch.randn(3, 5, 8))
    seen = PADDED.bool()
    torch.testing.assert_close(lowered(other, PADDED)[seen], lowered(x, PADDED)[seen])


@pytest.mark.parametrize("case", ["true of what counts", "causal, too", "with what is added", "of PyTorch's layers"])
def test_a_new_head_sees_what_the_others_see(case):
    torch.manual_seed(0)
    module, x = MASKS[case]().eval(), torch.randn(3, 5, 8)
    network = ng.import_module(module, (x, PADDED))
    heads = next(name for name in network.layer_names if network.matches(name))
    grown = ng.edits.grow_head(network, heads, np.random.default_rng(0)).apply(network)
    assert grown.inverse.apply(grown.network).network == network
    (mask,) = [p.source for p in network.incoming(heads) if not p.matches]
    assert len(grown.network.units(mask)) == len(network.units(heads)) + 1
    (mix,) = network.outgoing(heads)
    (out,) = grown.network.outgoing(mix.target)
    columns = grown.network.connection_columns(out.name)
    heeded = columns.with_weight(np.where(columns.weight == 0, np.float32(0.5), columns.weight))
    louder = Network.of(grown.network.replace(connections={out.name: heeded}))
    lowered, seen = ng.lower(louder).eval(), PADDED.bool()
    before = ng.lower(network).eval()(x, PADDED)
    assert (lowered(x, PADDED) - before)[seen].abs().max() > 1e-3
    other = torch.where(seen[:, :, None], x, torch.randn(3, 5, 8))
    torch.testing.assert_close(lowered(other, PADDED)[seen], lowered(x, PADDED)[seen])


def test_the_edits_of_a_masked_module_are_the_module_s():
    torch.manual_seed(0)
    assert_edits_are_the_modules(MASKS["true of what counts"]().eval(), [torch.randn(3, 5, 8), PADDED])


class Biased(nn.Module):
    """Two layers that share a table of biases by distance, a column a head."""

    def __init__(self):
        super().__init__()
        self.table, self.stem, self.head = nn.Embedding(4, 2), nn.Linear(8, 8), nn.Linear(8, 3)
        self.first, self.second = Encoder(8, 2), Encoder(8, 2)

    def forward(self, x):
        apart = (torch.arange(5)[:, None] - torch.arange(5)).abs().clamp(max=3)
        bias = self.table(apart).permute(2, 0, 1).unsqueeze(0)
        return self.head(self.second(self.first(self.stem(x), bias), bias))


def test_biases_by_distance_are_values_by_place_of_heads():
    torch.manual_seed(0)
    module, x = Biased().eval(), torch.randn(3, 5, 8)
    network = assert_edits_are_the_modules(module, [x])
    biased = [name for name in network.layer_names if network.matches(name)]
    assert [network.unit_columns(name).values["places"].shape for name in biased] == [(2, 5, 5)] * 2
    assert all("places" not in network.layer(name).frozen for name in biased)


def test_a_constant_that_hides_a_row_is_left_opaque():
    hidden = torch.ones(5, 5, dtype=torch.bool)
    hidden[2] = False
    module, x = Masked(lambda *_: hidden).eval(), torch.randn(3, 5, 8)
    network = ng.import_module(module, (x, PADDED))
    reasons = " ".join(network.layer(name).opaque or "" for name in network.layer_names)
    assert "a mask that lets a row attend to nothing" in reasons
