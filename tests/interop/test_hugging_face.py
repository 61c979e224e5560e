"""Small models of Hugging Face with random weights come over whole: equal outputs, all parameters, no refusal."""

import pytest
import torch

import nestgraph as ng
from nestgraph.interop.calling import call_of
from nestgraph.interop.capturing import captured
from nestgraph.interop.imported import Imported
from nestgraph.interop.importing import import_module
from nestgraph.interop.report import import_report
from nestgraph.lowering.evaluating import evaluated

transformers = pytest.importorskip("transformers")

WIDTHS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
WORDS = {"vocab_size": 40, "max_position_embeddings": 32, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def ids():
    return {"input_ids": torch.randint(3, 40, (3, 7))}


def images():
    return {"pixel_values": torch.randn(3, 3, 16, 16)}


MODELS = {
    "bert": (lambda t: t.BertModel(t.BertConfig(**WIDTHS, **WORDS)), ids),
    "vit": (lambda t: t.ViTModel(t.ViTConfig(**WIDTHS, image_size=16, patch_size=8)), images),
    "llama": (lambda t: t.LlamaModel(t.LlamaConfig(**WIDTHS, **WORDS, num_key_value_heads=1)), ids),
    "qwen3": (lambda t: t.Qwen3Model(t.Qwen3Config(**WIDTHS, **WORDS, num_key_value_heads=1, head_dim=8)), ids),
    "gpt2": (lambda t: t.GPT2LMHeadModel(t.GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=32, **WORDS)), ids),
    "t5 encoder": (
        lambda t: t.T5EncoderModel(t.T5Config(d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, vocab_size=40)),
        ids,
    ),
    "whisper encoder": (
        lambda t: t.models.whisper.modeling_whisper.WhisperEncoder(
            t.WhisperConfig(
                d_model=16,
                encoder_layers=2,
                encoder_attention_heads=2,
                encoder_ffn_dim=24,
                num_mel_bins=8,
                max_source_positions=16,
                **WORDS,
            )
        ),
        lambda: {"input_features": torch.randn(3, 8, 32)},
    ),
    "convnext": (
        lambda t: t.ConvNextModel(t.ConvNextConfig(hidden_sizes=[8, 8, 12, 12], depths=[1, 1, 1, 1], image_size=32)),
        lambda: {"pixel_values": torch.randn(3, 3, 32, 32)},
    ),
    "mobilenet": (
        lambda t: t.MobileNetV2Model(t.MobileNetV2Config(image_size=32, depth_multiplier=0.25)),
        lambda: {"pixel_values": torch.randn(3, 3, 32, 32)},
    ),
    "resnet": (
        lambda t: t.ResNetModel(t.ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1])),
        lambda: {"pixel_values": torch.randn(3, 3, 32, 32)},
    ),
}
QUICK = ("vit", "llama")
EACH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
WITHOUT_OPAQUE = ("mobilenet", "resnet")
"""Those of layers that have a kind."""


def several(given):
    return [given] if isinstance(given, torch.Tensor) else given


@pytest.mark.parametrize("name", EACH)
def test_a_model_of_hugging_face_is_read_whole(name):
    torch.manual_seed(0)
    build, samples = MODELS[name]
    model, given = build(transformers).eval(), samples()
    network = import_module(model, given)
    with torch.no_grad():
        wanted = [tensor for tensor in model(**given).values() if isinstance(tensor, torch.Tensor)]
        got = ng.lower(network).eval()(*given.values())
    for one, other in zip(several(got), wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    double = [tensor if tensor.dtype == torch.int64 else tensor.double() for tensor in given.values()]
    again = (ng.compact(network)(*given.values()), ng.lower(network, dtype=torch.float64).eval()(*double))
    for one, other in ((one, other) for each in again for one, other in zip(several(each), wanted, strict=True)):
        torch.testing.assert_close(one.float(), other, rtol=1e-4, atol=1e-5)
    report = import_report(network)
    notes = " ".join(row.note for row in report.rows)
    assert "read by torch.export" in notes
    caches = name in ("llama", "qwen3", "gpt2")
    assert ("of what it returns is left out" in notes) == caches
    assert 0 <= report.opaque_share <= 1
    assert name not in WITHOUT_OPAQUE or report.opaque_share == 0
    call, tensors = call_of(model, given, None)
    graph, _ = captured(evaluated(model), tensors, call)
    parameters = dict(model.named_parameters(remove_duplicate=False))
    named = {name for name, _ in graph.named_parameters(remove_duplicate=False)}
    assert named <= set(parameters)
    assert {id(parameters[name]) for name in named} == {id(parameter) for parameter in model.parameters()}


@pytest.mark.parametrize(
    "name", [name if name == "vit" else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)
def test_trained_values_go_back_into_a_model_of_hugging_face(name):
    torch.manual_seed(0)
    build, samples = MODELS[name]
    model, given = build(transformers).eval(), samples()
    imported = Imported(model, given)
    lowered = ng.lower(imported.network)
    with torch.no_grad():
        for parameter in lowered.parameters():
            parameter *= 1.01
    trained = ng.collect(imported.network, lowered)
    model.load_state_dict(imported.state_dict(trained))
    with torch.no_grad():
        wanted = [tensor for tensor in model(**given).values() if isinstance(tensor, torch.Tensor)]
        for one, other in zip(several(ng.lower(trained).eval()(*given.values())), wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
