"""How long an import takes, and how long `narrow` on what it gives, whatever share of the module is opaque."""

import statistics
import time

import pytest
import torch

import nestgraph as ng
from tests.bench.vision_transformer import VisionTransformer

MOST_SECONDS = 10
SHARE = 0.3
ROUNDS = 3


def median_seconds(call):
    """What a call gives, and the median seconds of processor time of several calls."""
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        given = call()
        taken.append(time.process_time() - began)
    spread = f"{min(taken):.1f} to {max(taken):.1f}"
    return given, statistics.median(taken), spread


@pytest.mark.slow
@pytest.mark.parametrize("width", [192, 768])
def test_a_vision_transformer_is_imported(width):
    torch.manual_seed(0)
    module, images = VisionTransformer(width=width, heads=width // 64).eval(), torch.randn(2, 3, 224, 224)
    network, seconds, spread = median_seconds(lambda: ng.import_module(module, images))
    print(f"import of 12 blocks of width {width} at 224 pixels: {seconds:.1f} s of processor time ({spread})")
    assert ng.cost(network).total.parameters > 0.9 * sum(parameter.numel() for parameter in module.parameters())
    assert seconds < MOST_SECONDS


MODELS = {
    "BERT-base": (lambda t: t.BertModel(t.BertConfig()), None, 10),
    "GPT-2": (lambda t: t.GPT2LMHeadModel(t.GPT2Config()), "logits", 30),
}
"""By name: what makes the model, of 12 blocks of width 768; outputs; the most seconds of an import."""


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_language_model_is_imported_and_narrowed(name):
    transformers = pytest.importorskip("transformers")
    build, outputs, most = MODELS[name]
    torch.manual_seed(0)
    model, ids = build(transformers).eval(), torch.randint(3, 30_000, (2, 16))
    network, importing, spread = median_seconds(lambda: ng.import_module(model, {"input_ids": ids}, outputs))
    print(f"import of {name}: {importing:.1f} s of processor time ({spread})")
    assert not [layer for layer in network.layer_names if network.layer(layer).opaque]
    narrowed, seconds, spread = median_seconds(lambda: ng.edits.narrow(network, SHARE).apply(network).network)
    print(f"narrow of {name} by {SHARE:.0%}: {seconds:.1f} s of processor time ({spread})")
    assert ng.cost(narrowed).total.parameters < 0.8 * ng.cost(network).total.parameters
    assert importing < most
    assert seconds < MOST_SECONDS
