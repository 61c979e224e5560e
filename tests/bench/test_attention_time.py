"""What a block of attention costs beside PyTorch's own, in evaluation and in training."""

import statistics
import time

import pytest
import torch
from torch import nn

import nestgraph as ng

pytestmark = pytest.mark.slow
BOUND, PAIRS = 1.2, 30


class Encoder(nn.Module):
    """A block of a transformer between two linear maps."""

    def __init__(self):
        super().__init__()
        block = nn.TransformerEncoderLayer(256, 8, 1024, 0.0, "gelu", batch_first=True, norm_first=True)
        self.first, self.block, self.last = nn.Linear(32, 256), block, nn.Linear(256, 10)

    def forward(self, x):
        return self.last(self.block(self.first(x)).mean(1))


def ratio(one, other):
    """The median over pairs, taken in turn, of the processor time of one over that of the other."""
    found = []
    for _ in range(PAIRS):
        began = time.process_time()
        one()
        between = time.process_time()
        other()
        found.append((between - began) / (time.process_time() - between))
    return statistics.median(found)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    fast, threads = torch.backends.mha.get_fastpath_enabled(), torch.get_num_threads()
    torch.backends.mha.set_fastpath_enabled(False)  # what trains, too
    torch.set_num_threads(1)
    module, x = Encoder().eval(), torch.randn(8, 128, 32)
    yield module, x, ng.import_module(module, x)
    torch.backends.mha.set_fastpath_enabled(fast)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("form", [ng.lower, ng.compact], ids=["masked", "compact"])
def test_evaluation_costs_what_pytorchs_own_block_does(encoder, form, record_property):
    module, x, network = encoder
    ours = form(network).eval()
    with torch.no_grad():
        found = ratio(lambda: ours(x), lambda: module(x))
    record_property("ratio", found)
    print(f"evaluation, {form.__name__}: {found:.2f}")
    assert found <= BOUND


def test_a_training_step_costs_what_pytorchs_own_block_does(encoder, record_property):
    module, x, network = encoder
    ours = ng.lower(network).train()
    module.train()
    found = ratio(lambda: ours(x).square().sum().backward(), lambda: module(x).square().sum().backward())
    record_property("ratio", found)
    print(f"training step: {found:.2f}")
    assert found <= BOUND
