"""What is left of a model of Hugging Face is saved in its own format, or a width that this cannot say is named."""

import functools
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import nestgraph as ng
from nestgraph.errors import InteropError

pytest.importorskip("transformers")

import safetensors.torch
import transformers

from tests.interop.surgery import HEADS, MODELS, PADDING, WORDS, built, by_hand, keys_of

ENCODER = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
VISION = ENCODER | {"image_size": 16, "patch_size": 8}
ENCODERS = {
    "BERT": lambda: transformers.BertModel(transformers.BertConfig(**ENCODER, vocab_size=50)),
    "DistilBERT": lambda: transformers.DistilBertModel(
        transformers.DistilBertConfig(dim=24, n_layers=2, n_heads=4, hidden_dim=32, vocab_size=50)
    ),
    "ViT": lambda: transformers.ViTForImageClassification(transformers.ViTConfig(**VISION)),
}
DECODERS = tuple(MODELS)
LLAMA = "Llama, 12 heads on 4 keys"
OWN_HEADS = [name for name in MODELS if name.startswith(("Llama", "Qwen"))]
"""Those of configurations that say the width of heads."""


def marked(names, quick):
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


class Cut:
    """A model as it was imported, and edits of it."""

    def __init__(self, name):
        torch.manual_seed(0)
        if name in ENCODERS:
            self.model = ENCODERS[name]().eval()
            self.given = {"pixel_values": torch.randn(2, 3, 16, 16)} if name == "ViT" else {"input_ids": self.ids(50)}
            self.imported = ng.Imported(self.model, self.given)
        else:
            self.model, self.given = built(name, 48), {"input_ids": self.ids(WORDS)}
            self.imported = ng.Imported(self.model, self.given, "logits")
        self.network = self.imported.network
        self.heads = [layer for layer in self.network.layer_names if self.network.matches(layer)]
        feed_forward = ("_mlp_", "_ffn_", "_intermediate_")
        hidden = [layer for layer in self.network.layer_names if any(part in layer for part in feed_forward)]
        self.hidden = [next(layer for layer in hidden if f"_{block}_" in layer) for block in range(2)]

    def ids(self, words):
        return torch.randint(PADDING + 1, words, (2, 9))

    def without(self, heads=((), ()), hidden=((), ())):
        """The network without heads and hidden units, by block."""
        editor = ng.Editor(self.network)
        for remove, layers, gone in (
            (ng.edits.remove_heads, self.heads, heads),
            (ng.edits.remove_units, self.hidden, hidden),
        ):
            for layer, chosen in zip(layers, gone, strict=True):
                if chosen:
                    editor.apply(remove(editor.network, layer, chosen))
        return editor.network


@functools.lru_cache(maxsize=1)
def cut_of(name):
    return Cut(name)


HIDDEN = [[3, 7, 8], [0, 5, 9]]


def outputs_of(model, given):
    with torch.no_grad():
        found = model(**given)
    return [found.logits] if "logits" in found else [part for part in found.values() if isinstance(part, torch.Tensor)]


def assert_reloads(cut, network, folder):
    """The saved model, which gives what the network does, and has the names of the one that was imported."""
    cut.imported.save_pretrained(network, folder)
    again = type(cut.model).from_pretrained(folder).eval()
    assert set(again.state_dict()) == set(cut.model.state_dict())
    with torch.no_grad():
        wanted = ng.lower(network).eval()(*cut.given.values())
    wanted = [wanted] if isinstance(wanted, torch.Tensor) else wanted
    for one, other in zip(outputs_of(again, cut.given), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
    return again


@pytest.mark.parametrize("name", marked(ENCODERS, ("ViT",)))
def test_an_encoder_that_lost_hidden_units_reloads(name, tmp_path):
    cut = cut_of(name)
    again = assert_reloads(cut, cut.without(hidden=HIDDEN), tmp_path / "small")
    field = "hidden_dim" if name == "DistilBERT" else "intermediate_size"
    assert getattr(again.config, field) == 32 - 3


@pytest.mark.parametrize("name", marked(DECODERS, (LLAMA,)))
def test_a_decoder_that_lost_units_reloads_and_generates_from_a_cache_as_by_hand(name, tmp_path):
    cut = cut_of(name)
    group = HEADS // keys_of(cut.model)
    left = 6 if name in OWN_HEADS else HEADS  # a configuration of Llama takes what divides the stream's width
    heads = [list(range(left, HEADS)), list(range(group, group + HEADS - left))]
    cut.model.generation_config.max_new_tokens = 6
    again = assert_reloads(cut, cut.without(heads, HIDDEN), tmp_path / "small")
    prompt, counts = cut.ids(WORDS), torch.ones(2, 9, dtype=torch.long)
    counts[0, :4] = 0
    asked = {"do_sample": False, "use_cache": True, "output_logits": True, "return_dict_in_generate": True}
    wanted, got = (
        model.generate(prompt, attention_mask=counts, **asked) for model in (by_hand(cut.model, heads, HIDDEN), again)
    )
    assert torch.equal(got.sequences, wanted.sequences)
    assert got.sequences.shape[1] == 9 + 6
    torch.testing.assert_close(torch.stack(got.logits), torch.stack(wanted.logits), rtol=1e-5, atol=1e-5)


def t5_without(heads):
    """T5 as it was imported, and its network without a head of each layer of heads, in turn."""
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 4, "d_ff": 24, "num_layers": 2, "num_heads": 4, "vocab_size": 50}
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, decoder_start_token_id=0)).eval()
    ids = torch.randint(3, 50, (2, 9))
    given = {"input_ids": ids, "decoder_input_ids": ids[:, :5]}
    imported = ng.Imported(model, given, "logits")
    editor = ng.Editor(imported.network)
    layers = [name for name in editor.network.layer_names if editor.network.matches(name)]
    for place, layer in enumerate(layers):
        editor.apply(ng.edits.remove_heads(editor.network, layer, [heads[place % len(heads)]]))
    return imported, given, editor.network


@pytest.mark.slow
def test_biases_by_distance_lose_the_columns_of_heads_that_went(tmp_path):
    """Distances that the example has not are no part of the network, but of the table."""
    imported, given, network = t5_without([1])
    imported.save_pretrained(network, tmp_path / "small")
    again = transformers.T5ForConditionalGeneration.from_pretrained(tmp_path / "small").eval()
    assert again.config.num_heads == 3
    with torch.no_grad():
        wanted = ng.lower(network).eval()(*given.values())
        torch.testing.assert_close(again(**given).logits, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_layers_that_share_biases_lose_the_same_heads_or_none(tmp_path):
    imported, _, network = t5_without([1, 2])
    with pytest.raises(InteropError, match="save_pretrained expected"):
        imported.save_pretrained(network, tmp_path / "none")
    assert not (tmp_path / "none").exists()


REFUSED = {
    "heads that are worked out of the stream": (
        "GPT-2",
        lambda cut: cut.without([[1], [2]]),
        "GPT2Config can say, got 132 along axis 1 of 'transformer.h.0.attn.c_attn.weight', where 144 is said by n_embd",
    ),
    "heads of BERT": (
        "BERT",
        lambda cut: cut.without([[1], [2]]),
        "BertConfig can say, got 18 along axis 0 of 'encoder.layer.0.attention.self.query.weight', where 24 is said "
        "by hidden_size",
    ),
    "heads of DistilBERT": (
        "DistilBERT",
        lambda cut: cut.without([[1], [2]]),
        "got 18 along axis 0 of 'transformer.layer.0.attention.q_lin.weight', where 24 is said by dim",
    ),
    "heads of ViT": (
        "ViT",
        lambda cut: cut.without([[1], [2]]),
        "got 18 along axis 0 of 'vit.layers.0.attention.q_proj.weight', where 24 is said by hidden_size",
    ),
    "heads of GPT-J": (
        "GPT-J",
        lambda cut: cut.without([[1], [2]]),
        "got 44 along axis 0 of 'transformer.h.0.attn.k_proj.weight', where 48 is said by n_embd",
    ),
    "blocks that differ": (
        LLAMA,
        lambda cut: cut.without(hidden=([1], [1, 2])),
        "one for all layers, got 126 along axis 0 of 'model.layers.1.mlp.gate_proj.weight', where 127 is said by "
        "intermediate_size, and 127 of 'model.layers.0.mlp.gate_proj.weight'",
    ),
    "ragged groups": (
        LLAMA,
        lambda cut: cut.without([[1], [4]]),
        "expected as many heads for each key in layer .*, got groups of 2 and 3 heads",
    ),
    "heads that do not divide the stream": (
        LLAMA,
        lambda cut: cut.without([[0, 1, 2], [3, 4, 5]]),
        r"some that it refuses: ValueError: The hidden size \(48\) is not a multiple of the number of attention heads",
    ),
    "a stream that norms count": (
        LLAMA,
        lambda cut: ng.edits.narrow(cut.network, 0.25, ["model_embed_tokens"]).apply(cut.network).network,
        "it divides by another number of units",
    ),
    "slots of heads that differ": (
        "Qwen3, 12 heads on 4 keys",
        lambda cut: (
            ng.edits.narrow(cut.network, 0.5, [cut.network.matches(cut.heads[0])[0].source]).apply(cut.network).network
        ),
        "one for all layers, got 24 along axis 0 of 'model.layers.0.self_attn.q_proj.weight', where 48 is said by "
        "num_attention_heads and head_dim, and 48 of 'model.layers.1.self_attn.q_proj.weight'",
    ),
}


@pytest.mark.parametrize(
    "case",
    [case if REFUSED[case][0] in (LLAMA, "ViT") else pytest.param(case, marks=pytest.mark.slow) for case in REFUSED],
)
def test_a_width_that_the_format_cannot_say_is_named(case, tmp_path):
    name, edit, words = REFUSED[case]
    cut = cut_of(name)
    with pytest.raises(InteropError, match=words):
        cut.imported.save_pretrained(edit(cut), tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.slow
def test_words_that_went_keep_their_rows(tmp_path):
    cut = cut_of("BERT")
    (table,) = [p.name for p in cut.network.outgoing("input_ids")]
    columns = cut.network.connection_columns(table)
    last = np.flatnonzero(np.broadcast_to(np.arange(50) == 49, columns.mask.shape))
    gone = ng.edits.SetMask(projection=table, entries=last, active=np.zeros(24, bool), weights=np.zeros(24))
    without = gone.apply(cut.network).network
    again = assert_reloads(cut, without, tmp_path / "small")
    assert again.config.vocab_size == 50


@pytest.mark.slow
def test_it_reloads_where_nestgraph_is_not_installed(tmp_path):
    cut = cut_of(LLAMA)
    network = cut.without([list(range(6)), list(range(3, 9))], HIDDEN)
    cut.imported.save_pretrained(network, tmp_path / "small")
    code = (
        "import sys; sys.modules['nestgraph'] = None\n"
        "import numpy, torch, transformers\n"
        f"model = transformers.LlamaForCausalLM.from_pretrained({str(tmp_path / 'small')!r}).eval()\n"
        f"ids = torch.tensor({cut.given['input_ids'].tolist()})\n"
        f"numpy.save({str(tmp_path / 'logits.npy')!r}, model(ids).logits.detach().numpy())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
    with torch.no_grad():
        wanted = ng.lower(network).eval()(*cut.given.values())
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), wanted, atol=1e-5)


class Configured(nn.Module):
    """A module with a configuration that another width suits, with which it cannot be called."""

    def __init__(self, config):
        super().__init__()
        self.config, self.first, self.last = config, nn.Linear(3, config.width), nn.Linear(config.width, 2)

    def forward(self, x):
        if self.config.width % 2:
            raise ValueError("odd")
        return self.last(torch.relu(self.first(x)))

    def save_pretrained(self, folder):
        raise AssertionError(folder)


class Config:
    width = 0

    def __init__(self, width):
        self.width = width

    def to_dict(self):
        return vars(self)


def test_a_module_that_its_configuration_does_not_suit_is_not_saved(tmp_path):
    imported = ng.Imported(Configured(Config(6)), torch.randn(2, 3))
    fewer = ng.edits.remove_units(imported.network, "first", [1]).apply(imported.network).network
    with pytest.raises(InteropError, match="to give what the network does, got a relative difference of inf"):
        imported.save_pretrained(fewer, tmp_path)


def test_a_module_without_a_configuration_has_no_format_of_its_own(tmp_path):
    imported = ng.Imported(nn.Linear(3, 2), torch.randn(2, 3))
    with pytest.raises(InteropError, match="expected a module with a config, as those of Hugging Face, got Linear"):
        imported.save_pretrained(imported.network, tmp_path / "none")


TABLES = {
    "GPT-2": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=50, n_positions=16, n_embd=24, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=1
        )
    ),
    "BERT": lambda: transformers.BertForMaskedLM(
        transformers.BertConfig(**ENCODER, vocab_size=50, max_position_embeddings=16)
    ),
}


@pytest.mark.parametrize("name", marked(TABLES, ["BERT"]))
def test_a_table_that_is_the_output_matrix_too_trains_narrows_and_is_saved_as_one(name, tmp_path):
    torch.manual_seed(0)
    model, ids = TABLES[name]().eval(), torch.randint(PADDING + 1, 50, (2, 9))
    given = {"input_ids": ids} | ({"token_type_ids": torch.zeros_like(ids)} if name == "BERT" else {})
    imported = ng.Imported(model, given, "logits")
    (follower,) = (p for p in imported.network.projections_by_name.values() if p.follows)
    bench = imported.bench(torch.optim.AdamW(model.parameters(), 0.01))
    read = [given[port.layer] for port in imported.network.inputs]
    for _ in range(2):
        loss = nn.functional.cross_entropy(bench.module(*read).flatten(0, 1), ids.flatten())
        bench.optimizer.zero_grad()
        loss.backward()
        bench.optimizer.step()
    hidden = [
        layer for layer in bench.network.layer_names if any(part in layer for part in ("_mlp_c_fc", "_intermediate_"))
    ]
    bench.apply(ng.edits.narrow(bench.network, 0.25, layers=hidden))
    model.load_state_dict(imported.state_dict(bench.network))
    logits = ng.lower(bench.network).eval()(*read)
    torch.testing.assert_close(model(**given).logits, logits, rtol=1e-4, atol=1e-4)
    small = imported.save_pretrained(bench.network, tmp_path)
    assert small.config.tie_word_embeddings
    saved = safetensors.torch.load_file(tmp_path / "model.safetensors")
    assert [key for key, tensor in saved.items() if tensor.shape == (50, 24)] == [imported_table(name)]
    back = type(model).from_pretrained(tmp_path).eval()
    torch.testing.assert_close(back(**given).logits, logits, rtol=1e-4, atol=1e-4)
    assert follower.follows in bench.network.projection_names
    half = ng.edits.narrow(bench.network, 0.5, layers=[follower.source]).apply(bench.network).network
    table = half.projection(follower.follows).target
    assert half.units(table).tolist() == half.units(follower.source).tolist()
    assert len(half.units(table)) == 12


def imported_table(name):
    return {"GPT-2": "transformer.wte.weight", "BERT": "bert.embeddings.word_embeddings.weight"}[name]


@pytest.mark.slow
def test_of_an_encoder_and_a_decoder_by_one_table_the_output_layer_has_the_decoders():
    torch.manual_seed(0)
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2, "vocab_size": 50}
    model = transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes, tie_word_embeddings=True)).eval()
    words = {name: torch.randint(PADDING + 1, 50, (2, 7)) for name in ("input_ids", "decoder_input_ids")}
    imported = ng.Imported(model, words, "logits")
    (follower,) = (p for p in imported.network.projections_by_name.values() if p.follows)
    assert imported.network.projection(follower.follows).source == "decoder_input_ids"
    model.load_state_dict(imported.state_dict(imported.network))  # while the encoder's copy agrees
