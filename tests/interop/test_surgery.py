"""Heads and hidden units of decoders of Hugging Face go as they do by hand, by slices of the same weights."""

import functools

import numpy as np
import onnxruntime
import pytest
import torch

import nestgraph as ng
from nestgraph.errors import InteropError

pytest.importorskip("transformers")

from tests.interop.surgery import HEADS, MODELS, PADDING, WORDS, built, by_hand, keys_of

LENGTH, OTHERS, PROMPT, SHARE = 10, (17, 6), 4, 0.3
ALL = [(name, width, whole) for width in (48, 768) for name in MODELS for whole in (True, False)]
QUICK = ("Llama, 12 heads on 4 keys", 48, False), ("GPT-2", 48, True)


def each(quick=QUICK):
    """Name, width, and whether heads that share a key go together, or some of them, so that groups are ragged."""
    cases = [case for case in ALL if case[2] or "4 keys" in case[0]]
    marked = [pytest.param(*case, marks=[] if case in quick else pytest.mark.slow) for case in cases]
    return pytest.mark.parametrize(("name", "width", "whole"), marked, scope="module")


def heads_to_go(model, whole):
    """By block two groups of heads, which are two heads where each has a key; or two heads of groups of three."""
    group = HEADS // keys_of(model)
    if whole:
        return [[group * key + at for key in keys for at in range(group)] for keys in ((1, 3), (0, 2))]
    return [[1, 7], [6, 8]]


def hidden_to_go(network):
    """By layer of hidden units, 30% of them, others in each block."""
    rng, chosen = np.random.default_rng(0), {}
    for block in range(2):
        layer = next(name for name in network.layer_names if f"_{block}_mlp" in name)
        units = len(network.units(layer))
        chosen[layer] = rng.permutation(units)[: round(SHARE * units)].tolist()
    return chosen


def samples(length):
    """Ids of words, and which of them count: the second sample ends early."""
    ids = torch.randint(PADDING + 1, WORDS, (2, length), generator=torch.Generator().manual_seed(length))
    counts = torch.ones_like(ids)
    counts[1, length - 3 :] = 0
    return ids, counts


class Surgery:
    """A model and its network, both without the same heads and hidden units."""

    def __init__(self, name, width, whole):
        self.model = built(name, width)
        self.network = self.imported(*samples(LENGTH))
        gone, hidden = heads_to_go(self.model, whole), hidden_to_go(self.network)
        heads = [name for name in self.network.layer_names if self.network.matches(name)]
        self.editor = ng.Editor(self.network)
        for layer, chosen in zip(heads, gone, strict=True):
            self.editor.apply(ng.edits.remove_heads(self.editor.network, layer, chosen))
        for layer, chosen in hidden.items():
            self.editor.apply(ng.edits.remove_units(self.editor.network, layer, chosen))
        self.by_hand = by_hand(self.model, gone, list(hidden.values()))

    def imported(self, ids, counts):
        return ng.import_module(self.model, {"input_ids": ids, "attention_mask": counts}, outputs="logits")

    def logits(self, ids, counts):
        with torch.no_grad():
            return self.by_hand(ids, attention_mask=counts).logits


@functools.lru_cache(maxsize=1)
def surgery(name, width, whole):
    return Surgery(name, width, whole)


def assert_close(got, wanted, where=None):
    """Within 1e-5 of the largest, at those places of samples that count."""
    apart = np.abs(np.asarray(got) - wanted.numpy()).max(-1)
    assert (apart if where is None else apart * where.numpy()).max() <= 1e-5 * float(wanted.abs().max())


@each()
def test_what_is_left_is_what_is_left_by_hand(name, width, whole):
    cut = surgery(name, width, whole)
    network, given = cut.editor.network, samples(LENGTH)
    assert not [layer for layer in network.layer_names if network.layer(layer).opaque]
    wanted = cut.logits(*given)
    modules = [ng.lower(network).eval(), ng.compact(network).eval()]
    with torch.no_grad():
        for module in modules:
            assert_close(module(*given), wanted)
    editor = ng.Editor(cut.network)
    editor.replay(cut.editor.history)
    assert editor.network.digest == network.digest
    for _ in cut.editor.history:
        editor.undo()
    assert editor.network.digest == cut.network.digest


@pytest.mark.usefixtures("one_registry")
@each(QUICK[:1])
def test_what_is_left_is_exported_as_it_is_left_by_hand(name, width, whole, tmp_path):
    cut, given = surgery(name, width, whole), samples(LENGTH)
    ng.export(cut.editor.network, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    feed = {port.name: tensor.numpy() for port, tensor in zip(session.get_inputs(), given, strict=True)}
    assert_close(session.run(None, feed)[0], cut.logits(*given))


@each()
def test_any_padding_hides_what_it_hid(name, width, whole):
    cut = surgery(name, width, whole)
    module, (ids, _) = ng.compact(cut.editor.network).eval(), samples(LENGTH)
    for hidden in (slice(0, 4), slice(3, 6), slice(6, None)):  # before, between and behind
        counts = torch.ones_like(ids)
        counts[0, hidden] = 0
        with torch.no_grad():
            assert_close(module(ids, counts), cut.logits(ids, counts), counts)


def test_an_example_whose_words_see_nothing_is_refused_with_the_way_round():
    ids, counts = samples(LENGTH)
    with pytest.raises(InteropError, match="pad behind them in the example"):
        ng.import_module(built("GPT-2", 48), {"input_ids": ids, "attention_mask": counts.flip(1)}, outputs="logits")


@pytest.mark.parametrize(
    "length", [OTHERS[0], *(pytest.param(length, marks=pytest.mark.slow) for length in OTHERS[1:])]
)
@each()
def test_the_same_edits_cut_the_network_of_another_length(name, width, whole, length):
    cut, given = surgery(name, width, whole), samples(length)
    network = ng.Editor(cut.imported(*given)).replay(cut.editor.history)
    with torch.no_grad():
        assert_close(ng.compact(network)(*given), cut.logits(*given))


@each()
def test_words_are_generated_as_by_hand_from_a_cache(name, width, whole):
    """What is lowered has no cache: it reads each prefix anew, padded to the length of the import."""
    cut = surgery(name, width, whole)
    prompt = samples(LENGTH)[0][:, :PROMPT]
    by_hand = cut.by_hand.generate(
        prompt,
        max_new_tokens=LENGTH - PROMPT,
        do_sample=False,
        use_cache=True,
        output_logits=True,
        return_dict_in_generate=True,
    )
    assert by_hand.past_key_values.get_seq_length() == LENGTH - 1
    module, words = ng.lower(cut.editor.network).eval(), prompt
    for wanted in by_hand.logits:
        ids = torch.nn.functional.pad(words, (0, LENGTH - words.shape[1]), value=PADDING)
        counts = (torch.arange(LENGTH) < words.shape[1]).long().expand(len(ids), -1)
        with torch.no_grad():
            given = module(ids, counts)[:, words.shape[1] - 1]
        assert_close(given, wanted)
        words = torch.cat([words, given.argmax(-1, keepdim=True)], 1)
    assert torch.equal(words, by_hand.sequences)
