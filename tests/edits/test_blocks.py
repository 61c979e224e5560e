"""Blocks of a stream are copied: of transformers before and behind normalisation, of residual networks, as drawn."""

import numpy as np
import pytest
import torch
from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

import nestgraph as ng
from nestgraph.edits import bypass_layer, copy_block, freeze, remove_projection
from nestgraph.errors import EditError
from nestgraph.graph.reference import predict
from tests.laws import quick, unless_refused
from tests.strategies import networks
from tests.strategies.recipes import RECIPE_CASES


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        each = (part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value))
        mixed = functional.scaled_dot_product_attention(*each, is_causal=True)
        return self.out(mixed.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    def __init__(self, width, heads, hidden, gated=False, scaled=False):
        super().__init__()
        self.gate = nn.Linear(width, hidden) if gated else None
        self.scale = nn.Parameter(torch.full((width,), 0.1)) if scaled else None
        self.norm1, self.attend = nn.LayerNorm(width), Attention(width, heads)
        self.norm2, self.up, self.down = nn.RMSNorm(width), nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        x = x + self.scaled(self.attend(self.norm1(x)))
        read = self.norm2(x)
        up = functional.silu(self.up(read))
        return x + self.scaled(self.down(up if self.gate is None else up * self.gate(read)))

    def scaled(self, x):
        return x if self.scale is None else x * self.scale


class Characters(nn.Module):
    """Two blocks over characters; the last normalisation is a part of the stream's last layer."""

    def __init__(self, **kinds):
        super().__init__()
        self.table, self.places = nn.Embedding(7, 8), nn.Parameter(torch.randn(6, 8))
        self.blocks = nn.Sequential(*(Block(8, 2, 12, **kinds) for _ in range(2)))
        self.norm, self.output = nn.LayerNorm(8), nn.Linear(8, 7)

    def forward(self, ids):
        return self.output(self.norm(self.blocks(self.table(ids) + self.places)))


def characters(**kinds):
    torch.manual_seed(0)
    ids = torch.randint(0, 7, (3, 6))
    return ng.import_module(Characters(**kinds).eval(), ids), ids


STREAM = ("add", "blocks_0_add_2", "blocks_1_add_2")
"""The layers of the stream before, between and behind the blocks."""


def step(network, x):
    """The network after one step of training, on what is not symmetric."""
    bench = ng.Workbench(network, lambda module: torch.optim.SGD(module.parameters(), 0.5))
    weight = torch.randn(bench.module(x).shape, generator=torch.Generator().manual_seed(0))
    (bench.module(x) * weight).mean().backward()
    bench.optimizer.step()
    bench.take_in()
    return bench.network


@pytest.mark.parametrize("kinds", [{}, {"gated": True}, {"scaled": True}], ids=lambda kinds: "-".join(kinds) or "plain")
@pytest.mark.parametrize("which", [0, 1])
def test_a_copied_block_gives_the_same_and_trains(kinds, which):
    network, ids = characters(**kinds)
    applied = copy_block(network, *STREAM[which : which + 2], "copied").apply(network)
    deep = applied.network
    assert applied.inverse.apply(deep).network == network
    copied = [name for name in deep.layer_names if name.startswith("copied_")]
    assert copied == [
        "copied_" + name.removeprefix(f"blocks_{which}_")
        for name in network.layer_names
        if name.startswith(f"blocks_{which}_")
    ]
    np.testing.assert_array_equal(predict(deep, ids.numpy()), predict(network, ids.numpy()))
    with torch.no_grad():
        same = ng.lower(network).eval()(ids)
        for module in (ng.lower(deep).eval(), ng.compact(deep).eval()):
            torch.testing.assert_close(module(ids), same, rtol=0, atol=1e-5)
    trained = step(step(deep, ids), ids)
    for layer in copied:  # all that can train does, in two steps
        for projection in deep.incoming(layer):
            if projection.learns:
                before, after = (each.connection_columns(projection.name).weight for each in (deep, trained))
                assert (before != after).any(), projection.name


def test_blocks_stack_and_what_normalises_the_stream_stays_at_its_end():
    network, ids = characters()
    first, _, last = STREAM
    deep = network
    for name in ("two", "three"):
        deep = copy_block(deep, STREAM[1], last, name).apply(deep).network
    whole = copy_block(deep, first, "two_add_2", "all").apply(deep).network
    np.testing.assert_array_equal(predict(whole, ids.numpy()), predict(network, ids.numpy()))
    ends = [
        name
        for name in whole.layer_names
        if whole.layer(name).operations and whole.outgoing(name)[0].target == "output"
    ]
    assert ends == ["all_two_add_2"]
    assert not whole.layer(last).operations


def test_the_way_back_takes_the_branches_out():
    network, ids = characters()
    _, source, target = STREAM
    deep = copy_block(network, source, target, "copied").apply(network).network
    for branch in ("copied_attend_out_to_copied_add", "copied_down_to_copied_add_2"):
        deep = remove_projection(deep, branch).apply(deep).network
    deep = bypass_layer(deep, "copied_add").apply(deep).network
    assert len(deep.layer_names) == len(network.layer_names) + 1
    np.testing.assert_allclose(predict(deep, ids.numpy()), predict(network, ids.numpy()), rtol=0, atol=1e-12)


def test_pruned_blocks_are_copied_with_what_is_left():
    network, ids = characters()
    first, source, target = STREAM
    rng = np.random.default_rng(0)
    for projection in list(network.projection_names):
        columns = network.connection_columns(projection)
        if network.projection(projection).kind == "conv":
            chosen = rng.choice(columns.mask.size, columns.mask.size // 3, replace=False)
            network = ng.edits.prune_connections(network, {projection: chosen}).apply(network).network
    for begin in (first, source):
        deep = copy_block(network, begin, target, "copied").apply(network).network
        np.testing.assert_array_equal(predict(deep, ids.numpy()), predict(network, ids.numpy()))


def test_residual_blocks_of_images_end_in_their_normalisation():
    network = ng.seeds.resnet((4, 6), (2, 2), size=8, classes=3, seed=0)
    x = np.random.default_rng(0).standard_normal((2, 3, 8, 8))
    links = [p for p in network.projections_by_name.values() if p.couples and not p.learns and p.window is None]
    made = [unless_refused(lambda p=p: copy_block(network, p.source, p.target, "copied")) for p in links]
    assert sum(edit is not None for edit in made) >= 2
    for edit in filter(None, made):
        deep = edit.apply(network).network
        np.testing.assert_allclose(predict(deep, x), predict(network, x), rtol=0, atol=1e-12)


def test_what_is_no_block_is_refused_in_words():
    network, _ = characters()
    _, source, target = STREAM
    frozen = ["blocks_1_down", "blocks_1_up", "blocks_1_norm2"]
    refused = {
        "got none: a stream leads past": lambda: copy_block(network, target, source, "copied"),
        "a stream leads past": lambda: copy_block(network, "blocks_0_norm1", source, "copied"),
        "expected a name that no layer has in the place of 'blocks_1'": lambda: copy_block(
            network, source, target, "blocks_0"
        ),
        "'nowhere'": lambda: copy_block(network, "nowhere", target, "copied"),
        "expected branches that end in weights that train": lambda: copy_block(
            freeze(network, frozen).apply(network).network, source, target, "copied"
        ),
    }
    for words, attempt in refused.items():
        with pytest.raises(EditError, match=words):
            attempt()
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)  # normalised behind each sum
    post = ng.import_module(nn.Sequential(nn.Linear(8, 8), layer, nn.Linear(8, 2)).eval(), torch.randn(2, 5, 8))
    with pytest.raises(EditError, match="that is summed up alone, got 'layer_1' with layer norm"):
        copy_block(post, "layer_0", "layer_1_2", "copied")


@pytest.mark.parametrize("family", ["blocks", "skip", "residual"])
def test_legal_cases_are_drawn(family):
    def made(case):
        network, data = case
        return unless_refused(lambda: RECIPE_CASES[copy_block](data.draw, network, None)) is not None

    find(
        st.tuples(networks((family,)), st.data()),
        made,
        settings=settings(quick(60), max_examples=60, phases=[Phase.generate]),
    )
