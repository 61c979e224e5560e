"""Decoders as people write them are units throughout: rotary positions, grouped heads, norms per head, tied tables."""

import copy
import functools

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import nestgraph as ng
from nestgraph.edits import coupled
from nestgraph.errors import EditError
from nestgraph.graph.reference import predict

TOKENS, WIDTH, EACH = 5, 16, 4


def angles(count):
    return torch.arange(TOKENS)[:, None] * 10.0 ** -torch.arange(count)


def halves(x, count=EACH):
    """As Llama turns (..., tokens, width): unit i with unit i + count / 2; what is behind `count` stays."""
    turned, left = x[..., :count], x[..., count:]
    cos, sin = (wave(angles(count // 2)).repeat(1, 2) for wave in (torch.cos, torch.sin))
    other = torch.cat([-turned[..., count // 2 :], turned[..., : count // 2]], -1)
    return torch.cat([turned * cos + other * sin, left], -1)


def interleaved(x):
    """As GPT-J turns it: unit 2i with unit 2i + 1."""
    cos, sin = (wave(angles(EACH // 2)).repeat_interleave(2, 1) for wave in (torch.cos, torch.sin))
    other = torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    return x * cos + other * sin


def complex_numbers(x):
    """The same by complex numbers, as Llama was published."""
    turns = torch.polar(torch.ones(TOKENS, EACH // 2), angles(EACH // 2))
    return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2))) * turns).flatten(-2)


class Decoder(nn.Module):
    """A block of a norm, grouped queries and keys that are turned, values, and a gated feed-forward layer."""

    def __init__(self, turn, normed=False):
        super().__init__()
        self.turn, self.first, self.second = turn, nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.q, self.k, self.v = (nn.Linear(WIDTH, EACH * heads, bias=False) for heads in (4, 2, 2))
        self.qn, self.kn = (nn.RMSNorm(EACH) if normed else nn.Identity() for _ in range(2))
        self.out, self.down = nn.Linear(WIDTH, WIDTH), nn.Linear(20, WIDTH)
        self.gate, self.up = nn.Linear(WIDTH, 20), nn.Linear(WIDTH, 20)

    def forward(self, x):
        y = self.first(x)
        q, k, v = (layer(y).unflatten(-1, (-1, EACH)) for layer in (self.q, self.k, self.v))
        q, k, v = (part.transpose(1, 2) for part in (self.qn(q), self.kn(k), v))
        heads = functional.scaled_dot_product_attention(self.turn(q), self.turn(k), v, is_causal=True, enable_gqa=True)
        x = x + self.out(heads.transpose(1, 2).flatten(2))
        y = self.second(x)
        return x + self.down(functional.silu(self.gate(y)) * self.up(y))


CASES = {
    "halves": lambda: Decoder(halves),
    "interleaved": lambda: Decoder(interleaved),
    "complex numbers": lambda: Decoder(complex_numbers),
    "half of a head": lambda: Decoder(lambda x: halves(x, EACH // 2)),
    "heads normed apart": lambda: Decoder(halves, normed=True),
}


@functools.cache
def imported(case):
    torch.manual_seed(0)
    module, x = CASES[case]().eval(), torch.randn(2, TOKENS, WIDTH)
    for norm in (part for part in module.modules() if isinstance(part, nn.RMSNorm)):
        nn.init.normal_(norm.weight)
    return module, x, ng.import_module(module, x)


def heads_of(network):
    (heads,) = [name for name in network.layer_names if network.matches(name)]
    return heads


def source_of(network, side):
    return next(p.source for p in network.matches(heads_of(network)) if p.words == side)


def zeroed(module, rows, heads=()):
    """The module with rows of its linear maps, and what heads give, at 0: the same surgery by hand."""
    module = copy.deepcopy(module)
    with torch.no_grad():
        for name, chosen in rows.items():
            module.get_submodule(name).weight[chosen] = 0
        for head in heads:
            module.out.weight[:, EACH * head : EACH * (head + 1)] = 0
    return module


def assert_all_agree(network, x, expected):
    modules = (ng.lower(network), ng.lower(network, fuse=False), ng.compact(network))
    np.testing.assert_allclose(predict(network, x.numpy()).transpose(0, 2, 1), expected.detach(), atol=1e-5)
    for module in modules:
        np.testing.assert_allclose(module.eval()(x).detach(), expected.detach(), atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_a_decoder_is_imported_as_units_that_are_turned_in_pairs(case):
    module, x, network = imported(case)
    assert not [name for name in network.layer_names if network.layer(name).opaque]
    assert_all_agree(network, x, module(x))
    query = source_of(network, "query")
    placed = [p for p in network.incoming(query) if getattr(p, "placed", False)]
    assert len(placed) == 2  # by the cosine and by the sine, straight from the linear map
    assert {p.source for p in placed} == {"q"}
    turned = EACH // 2 if case == "half of a head" else EACH
    tied = [len(coupled(network, "q", [unit])["q"]) for unit in range(EACH)]
    assert tied == [4] * turned + [2] * (EACH - turned)  # with those of the other head that reads the same keys
    assert len(network.projections_by_name) < 30


@pytest.mark.parametrize("case", CASES)
def test_a_pair_goes_as_one_and_comes_back(case):
    module, x, network = imported(case)
    pair = coupled(network, "q", [0])
    removed = ng.edits.remove_units(network, "q", [0]).apply(network)
    assert_all_agree(removed.network, x, zeroed(module, {"q": pair["q"], "k": pair["k"]})(x))
    assert removed.inverse.apply(removed.network).network.digest == network.digest


@pytest.mark.parametrize("case", CASES)
def test_heads_go_singly_and_in_groups(case):
    module, x, network = imported(case)
    heads = heads_of(network)
    single = ng.edits.remove_heads(network, heads, network.units(heads)[:1]).apply(network)
    assert [len(single.network.units(layer)) for layer in ("q", "k", "v")] == [3 * EACH, 2 * EACH, 2 * EACH]
    group = ng.edits.remove_heads(network, heads, network.units(heads)[:2]).apply(network)
    assert [len(group.network.units(layer)) for layer in ("q", "k", "v")] == [2 * EACH, EACH, EACH]
    assert_all_agree(single.network, x, zeroed(module, {}, [0])(x))
    assert_all_agree(group.network, x, zeroed(module, {}, [0, 1])(x))
    for applied in (single, group):
        assert applied.inverse.apply(applied.network).network.digest == network.digest


@pytest.mark.parametrize("case", [case for case in CASES if case != "heads normed apart"])
def test_heads_and_pairs_come_and_change_nothing(case):
    module, x, network = imported(case)
    heads, rng = heads_of(network), np.random.default_rng(0)
    for edit in (ng.edits.grow_head(network, heads, rng), ng.edits.widen_heads(network, heads, 2, rng, values=1)):
        applied = edit.apply(network)
        assert len(applied.network.units("q")) == len(network.units("q")) + {0: EACH, 1: 8}["widen" in edit.title]
        np.testing.assert_array_equal(predict(applied.network, x.numpy()), predict(network, x.numpy()))
        assert_all_agree(applied.network, x, module(x))
        assert applied.inverse.apply(applied.network).network.digest == network.digest
    fewest = 1 if case == "half of a head" else 2
    for count in (1, 3):
        if fewest == 2:
            with pytest.raises(EditError, match=rf"widen_heads on .*expected slots in whole pairs, .* got {count}"):
                ng.edits.widen_heads(network, heads, count, rng)
        else:
            assert len(ng.edits.widen_heads(network, heads, count, rng).apply(network).network.units("q")) > 16


def test_new_pairs_have_each_angle_in_turn():
    _, _, network = imported("halves")
    heads, rng = heads_of(network), np.random.default_rng(0)
    wide = ng.edits.widen_heads(network, heads, 2, rng).apply(network).network
    wider = ng.edits.widen_heads(wide, heads, 2, rng).apply(wide).network
    for side in ("query", "key"):
        own = next(p.name for p in network.incoming(source_of(network, side)))
        weights = wider.connection_columns(own).weight
        kinds, counts = np.unique(weights, axis=0, return_counts=True)
        assert len(kinds) == 2
        assert counts[0] == counts[1] == len(weights) / 2


def test_heads_that_are_normed_apart_do_not_grow():
    _, _, network = imported("heads normed apart")
    with pytest.raises(EditError, match=r"expected layers that do not mix their units, .* got 'q' with norm"):
        ng.edits.grow_head(network, heads_of(network), np.random.default_rng(0))


def test_what_a_norm_has_in_common_for_all_heads_goes_back_with_those_that_are_left():
    module, x, _ = imported("heads normed apart")
    known = ng.Imported(copy.deepcopy(module), x)
    heads = heads_of(known.network)
    for gone in ([0, 1], [2, 3], [3]):
        left = ng.edits.remove_heads(known.network, heads, gone).apply(known.network).network
        again = copy.deepcopy(module)
        again.load_state_dict(known.state_dict(left))
        assert torch.equal(again.qn.weight, module.qn.weight)
        assert_all_agree(left, x, again(x))


@pytest.mark.parametrize("case", CASES)
def test_widths_are_narrowed(case, tmp_path):
    _, x, network = imported(case)
    applied = ng.edits.narrow(network, 0.3).apply(network)
    narrowed = applied.network
    assert ng.cost(narrowed).total.parameters < 0.7 * ng.cost(network).total.parameters
    assert_all_agree(narrowed, x, ng.lower(narrowed).eval()(x))
    assert applied.inverse.apply(narrowed).network.digest == network.digest
    ng.save(narrowed, tmp_path / "net.json")
    assert ng.load(tmp_path / "net.json").digest == narrowed.digest


@pytest.mark.usefixtures("one_registry")
@pytest.mark.parametrize(
    "case", [case if case == "halves" else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_what_is_left_is_exported(case, tmp_path):
    _, _, network = imported(case)
    heads = heads_of(network)
    single = ng.edits.remove_heads(network, heads, network.units(heads)[:1]).apply(network).network
    narrowed = ng.edits.narrow(single, 0.3).apply(single).network
    for name in ("net.py", "net.onnx"):  # held to the network's own outputs
        ng.export(narrowed, tmp_path / name)


# -- models of Hugging Face, as they are ---------------------------------------------------------------------------

WORDS = {"vocab_size": 40, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
SMALL |= {"intermediate_size": 24, "max_position_embeddings": 32, **WORDS}
MODELS = {
    "gpt2": lambda t: t.GPT2LMHeadModel(t.GPT2Config(n_embd=16, n_layer=2, n_head=4, n_positions=32, **WORDS)),
    "llama": lambda t: t.LlamaForCausalLM(t.LlamaConfig(**SMALL)),
    "qwen3": lambda t: t.Qwen3ForCausalLM(t.Qwen3Config(**SMALL, head_dim=8)),
    "gptj": lambda t: t.GPTJForCausalLM(t.GPTJConfig(n_embd=32, n_layer=2, n_head=4, rotary_dim=4, **WORDS)),
}
OUT = {"gpt2": "transformer.h.0.attn.c_proj", "gptj": "transformer.h.0.attn.out_proj"}
HIDDEN = {"gpt2": ("transformer.h.0.mlp.c_fc",), "gptj": ("transformer.h.0.mlp.fc_in",)}
FIRST = "model.layers.0."


def by_hand(name, model, heads, hidden):
    """The model without what some heads of its first block give, and without some hidden units of its second half."""
    model = copy.deepcopy(model)
    out = model.get_submodule(OUT.get(name, f"{FIRST}self_attn.o_proj"))
    with torch.no_grad():
        columns = out.weight if name == "gpt2" else out.weight.T  # of a Conv1D, its matrix is transposed
        columns.unflatten(0, (4, -1))[heads] = 0
        for path in HIDDEN.get(name, (f"{FIRST}mlp.gate_proj", f"{FIRST}mlp.up_proj")):
            part = model.get_submodule(path)
            (part.weight.T if name == "gpt2" else part.weight)[hidden] = 0
            if part.bias is not None:
                part.bias[hidden] = 0
    return model


@pytest.mark.usefixtures("one_registry")
@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_decoder_of_hugging_face_is_cut_as_by_hand(name, tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model, ids = MODELS[name](transformers).eval(), torch.randint(3, 40, (2, 7))
    network = ng.import_module(model, ids)
    assert not [layer for layer in network.layer_names if network.layer(layer).opaque]
    np.testing.assert_allclose(ng.lower(network).eval()(ids).detach(), model(ids).logits.detach(), atol=1e-5)
    heads = next(layer for layer in network.layer_names if network.matches(layer))
    unit = next(layer for layer in network.layer_names if "mlp" in layer)
    for gone in ([1], [0, 1]):
        edit = ng.edits.remove_heads(network, heads, gone).apply(network)
        cut = ng.edits.remove_units(edit.network, unit, [3, 7]).apply(edit.network)
        wanted = by_hand(name, model, gone, [3, 7])(ids).logits.detach()
        for module in (ng.lower(cut.network).eval(), ng.compact(cut.network)):
            np.testing.assert_allclose(module(ids).detach(), wanted, atol=1e-5)
        ng.export(cut.network, tmp_path / "net.onnx")
        assert cut.inverse.apply(cut.network).network.digest == edit.network.digest
        assert edit.inverse.apply(edit.network).network.digest == network.digest
    narrowed = ng.edits.narrow(network, 0.3).apply(network)
    assert ng.cost(narrowed.network).total.parameters < 0.75 * ng.cost(network).total.parameters
    np.testing.assert_allclose(
        ng.lower(narrowed.network).eval()(ids).detach(), ng.compact(narrowed.network)(ids).detach(), atol=1e-5
    )
    ng.export(narrowed.network, tmp_path / "narrow.onnx")
    assert narrowed.inverse.apply(narrowed.network).network.digest == network.digest
