"""How long an import takes, whatever share of the module is opaque."""

import time

import pytest
import torch

import nestgraph as ng
from tests.bench.vision_transformer import VisionTransformer

MOST_SECONDS = 10


@pytest.mark.slow
@pytest.mark.parametrize("width", [192, 768])
def test_a_vision_transformer_is_imported(width):
    torch.manual_seed(0)
    module, images = VisionTransformer(width=width, heads=width // 64).eval(), torch.randn(2, 3, 224, 224)
    began = time.process_time()
    network = ng.import_module(module, images)
    seconds = time.process_time() - began
    print(f"import of 12 blocks of width {width} at 224 pixels: {seconds:.1f} s of processor time")
    assert ng.cost(network).total.parameters > 0.9 * sum(parameter.numel() for parameter in module.parameters())
    assert seconds < MOST_SECONDS
