"""Attention as people write it becomes heads, queries, keys and values, of which none is opaque."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import nestgraph as ng
from nestgraph.graph.cost import cost
from nestgraph.graph.reference import predict
from nestgraph.spec import Softmax

TOKENS, WIDTH = 5, 8


class Written(nn.Module):
    """Queries, keys and values from tensors (batch, tokens, width), mixed, then projected and added to a stream."""

    def __init__(self, heads=2, groups=None, how="fused", causal=False):
        super().__init__()
        self.heads, self.groups, self.how, self.causal = heads, groups or heads, how, causal
        self.each = WIDTH // heads
        self.q = nn.Linear(WIDTH, WIDTH)
        self.k, self.v = (nn.Linear(WIDTH, self.each * self.groups) for _ in range(2))
        self.out, self.hidden, self.back = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 12), nn.Linear(12, WIDTH)

    def forward(self, x, other=None):
        memory = x if other is None else other
        q, k, v = (
            layer(of).view(x.size(0), -1, heads, self.each).transpose(1, 2)
            for layer, of, heads in (
                (self.q, x, self.heads),
                (self.k, memory, self.groups),
                (self.v, memory, self.groups),
            )
        )
        x = x + self.out(self.mixed(q, k, v).transpose(1, 2).reshape(x.size(0), -1, WIDTH))
        return x + self.back(functional.gelu(self.hidden(x)))

    def mixed(self, q, k, v):
        if self.how == "fused":
            return functional.scaled_dot_product_attention(
                q, k, v, is_causal=self.causal, enable_gqa=self.groups != self.heads
            )
        if self.how == "masked":
            seen = torch.ones(TOKENS, TOKENS, dtype=torch.bool).tril()
            return functional.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        scores = (q @ k.transpose(-2, -1)) * self.each**-0.5
        return HIDDEN[self.how](scores).softmax(-1) @ v


AHEAD = torch.ones(TOKENS, TOKENS, dtype=torch.bool).triu(1)
HIDDEN = {
    "spelled": lambda scores: scores,
    "filled": lambda scores: scores.masked_fill(AHEAD, -torch.inf),
    "chosen": lambda scores: torch.where(~AHEAD[None, None], scores, torch.finfo(scores.dtype).min),
    "added": lambda scores: scores + torch.zeros(TOKENS, TOKENS).masked_fill(AHEAD, -torch.inf),
    "near": lambda scores: scores.masked_fill(AHEAD | AHEAD.T.tril(-2), -torch.inf),
}
"""By name, which scores count, as people say it who write attention out: those of earlier places, or of near ones."""


class Packed(nn.Module):
    """One linear map for queries, keys and values."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        q, k, v = self.qkv(x).reshape(x.size(0), TOKENS, 3, 2, WIDTH // 2).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).reshape(x.size(0), TOKENS, WIDTH))


CASES = {
    "fused": lambda: Written(),
    "causal": lambda: Written(causal=True),
    "a mask that is causal": lambda: Written(how="masked"),
    "spelled out": lambda: Written(how="spelled"),
    **{f"{how} by hand": lambda how=how: Written(how=how) for how in ("filled", "chosen", "added")},
    "grouped": lambda: Written(heads=4, groups=2),
    "one key for all": lambda: Written(heads=4, groups=1),
    "packed": Packed,
}


def imported(case):
    torch.manual_seed(0)
    module, x = CASES[case]().eval(), torch.randn(2, TOKENS, WIDTH)
    return module, x, ng.import_module(module, x)


def heads_of(network):
    (heads,) = [name for name in network.layer_names if network.matches(name)]
    return heads


def assert_all_agree(network, x):
    expected = predict(network, x.numpy()).transpose(0, 2, 1)
    modules = (ng.lower(network), ng.lower(network, fuse=False), ng.lower(network, masked=False), ng.compact(network))
    for module in modules:
        np.testing.assert_allclose(module.eval()(x).detach().numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_attention_is_imported_without_an_opaque_layer(case):
    module, x, network = imported(case)
    assert not [name for name in network.layer_names if network.layer(name).opaque]
    np.testing.assert_allclose(ng.lower(network).eval()(x).detach(), module(x).detach(), atol=1e-5)
    assert "scaled_dot_product_attention" in ng.lower(network).code
    assert_all_agree(network, x)
    assert sum(p.numel() for p in module.parameters()) == cost(network).total.parameters


@pytest.mark.parametrize(
    "case", ["causal", "a mask that is causal", "filled by hand", "chosen by hand", "added by hand"]
)
def test_what_lets_a_place_see_earlier_ones_alone_is_said_in_a_word(case):
    _, _, network = imported(case)
    heads = network.layer(heads_of(network))
    assert heads.operations == (Softmax(causal=True),)
    assert not heads.places


def test_a_report_says_which_edits_heads_have():
    _, _, network = imported("fused")
    rows = {row.name: row for row in ng.import_report(network).rows}
    row = rows[heads_of(network)]
    assert (row.kind, row.state, row.editable) == ("heads", "whole", False)
    named = {word.strip(",") for word in row.reason.split() if "_head" in word}
    assert named == {"remove_heads", "grow_head", "split_head", "widen_heads"} <= set(ng.edits.__all__)
    assert rows["q"].state == "editable"


def test_a_summary_says_what_heads_compare_and_at_how_many_slots():
    _, _, network = imported("grouped")
    heads = heads_of(network)
    ragged = ng.edits.remove_units(network, "q", [0]).apply(network).network
    for each, words in ((network, "2 slots, softmax"), (ragged, "1 to 2 slots, softmax")):
        (line,) = [line for line in each.summary().splitlines() if line.startswith(f"{heads} ")]
        assert "key k, query q" in line
        assert words in line


def test_what_lets_a_place_see_near_ones_alone_is_a_value_by_place_that_does_not_train():
    torch.manual_seed(0)
    module, x = Written(how="near").eval(), torch.randn(2, TOKENS, WIDTH)
    network = ng.import_module(module, x)
    heads = network.layer(heads_of(network))
    assert (network.bodies, heads.places, heads.frozen) == ({}, True, ("places",))
    np.testing.assert_allclose(predict(network, x.numpy()).transpose(0, 2, 1), module(x).detach(), atol=1e-5)
    assert_all_agree(network, x)


def test_what_is_filled_into_other_tensors_stays_opaque():
    module = nn.Sequential(nn.Linear(WIDTH, WIDTH), Filled(), nn.Linear(WIDTH, 3)).eval()
    network = ng.import_module(module, torch.randn(2, TOKENS, WIDTH))
    assert [network.layer(name).opaque for name in network.bodies] == [FILLED]


FILLED = "what a mask leaves out of other tensors than scores has no kind"


class Filled(nn.Module):
    """The largest of some places."""

    def forward(self, x):
        return x.masked_fill(torch.arange(TOKENS)[:, None] > 2, -1e9).amax(1)


@pytest.mark.parametrize("case", CASES)
def test_heads_go_and_come_and_widths_are_narrowed(case):
    _, x, network = imported(case)
    heads = heads_of(network)
    removed = ng.edits.remove_heads(network, heads, [0]).apply(network)
    assert len(removed.network.units(heads)) == len(network.units(heads)) - 1
    narrowed = ng.edits.narrow(network, 0.3).apply(network)
    query = next(p.source for p in network.matches(heads) if p.words == "query")
    ragged = ng.edits.remove_units(network, query, [0]).apply(network)
    for applied in (removed, narrowed, ragged):
        assert_all_agree(applied.network, x)
        assert applied.inverse.apply(applied.network).network.digest == network.digest


@pytest.mark.parametrize("case", CASES)
def test_a_new_head_changes_nothing_and_trains(case):
    _, x, network = imported(case)
    heads = heads_of(network)
    grown = ng.edits.grow_head(network, heads, np.random.default_rng(0)).apply(network).network
    assert len(grown.units(heads)) == len(network.units(heads)) + 1
    np.testing.assert_array_equal(predict(grown, x.numpy()), predict(network, x.numpy()))
    bench = ng.Workbench(grown, lambda module: torch.optim.Adam(module.parameters(), 0.02))
    for _ in range(3):
        bench.optimizer.zero_grad()
        (bench.module(x) ** 2).mean().backward()
        bench.optimizer.step()
    bench.take_in()
    trained = bench.network
    out = next(p.name for p in trained.projections_by_name.values() if p.source == p_mixed(trained, heads))
    new = trained.connection_columns(out).weight[:, -1]
    assert np.abs(new).max() > 0.005


def p_mixed(network, heads):
    (mix,) = network.outgoing(heads)
    return mix.target


def test_attention_across_inputs_has_rows_and_columns_of_its_own():
    torch.manual_seed(0)
    module, x, memory = Written().eval(), torch.randn(2, TOKENS, WIDTH), torch.randn(2, 3, WIDTH)
    network = ng.import_module(module, (x, memory))
    assert not [name for name in network.layer_names if network.layer(name).opaque]
    for lowered in (ng.lower(network).eval(), ng.lower(network, fuse=False).eval(), ng.compact(network)):
        np.testing.assert_allclose(lowered(x, memory).detach(), module(x, memory).detach(), atol=1e-5)


def test_a_mask_that_the_inputs_decide_stays_opaque():
    class Masked(Written):
        def mixed(self, q, k, v):
            return functional.scaled_dot_product_attention(q, k, v, attn_mask=q @ k.transpose(-2, -1))

    module, x = Masked().eval(), torch.randn(2, TOKENS, WIDTH)
    network = ng.import_module(module, x)
    reasons = [network.layer(name).opaque for name in network.layer_names if network.layer(name).opaque]
    assert "attention under a mask that the inputs decide" in reasons
    np.testing.assert_allclose(ng.lower(network).eval()(x).detach(), module(x).detach(), atol=1e-5)


class Beside(nn.Module):
    """PyTorch's own attention between linear maps."""

    def __init__(self):
        super().__init__()
        self.attention, self.last = nn.MultiheadAttention(WIDTH, 2, batch_first=True), nn.Linear(WIDTH, 3)

    def forward(self, x):
        return self.last(self.attention(x, x, x)[0])


def encoder_layer(**options):
    return nn.TransformerEncoderLayer(WIDTH, 2, 12, batch_first=True, **options)


@pytest.mark.parametrize(
    "made",
    [
        Beside,
        lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), encoder_layer(norm_first=True), nn.Linear(WIDTH, 3)),
        lambda: nn.Sequential(nn.Linear(WIDTH, WIDTH), encoder_layer(activation="gelu"), nn.Linear(WIDTH, 3)),
        lambda: nn.Sequential(
            nn.TransformerEncoder(encoder_layer(), 2, enable_nested_tensor=False), nn.Linear(WIDTH, 3)
        ),
    ],
    ids=["attention", "norm first", "norm last", "encoder"],
)
def test_modules_of_transformers_have_no_opaque_layer(made):
    torch.manual_seed(0)
    module, x = made().eval(), torch.randn(2, TOKENS, WIDTH)
    network = ng.import_module(module, x)
    assert not [name for name in network.layer_names if network.layer(name).opaque]
    np.testing.assert_allclose(ng.lower(network).eval()(x).detach(), module(x).detach(), atol=1e-5)
    assert_all_agree(network, x)
