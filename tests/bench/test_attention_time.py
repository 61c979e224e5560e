"""What a block of attention costs beside PyTorch's own, in evaluation and in training."""

import pytest
import torch
from torch import nn

import nestgraph as ng
from tests.bench.timing import quartiles

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]
BOUND = 1.2


class Encoder(nn.Module):
    """A block of a transformer between two linear maps."""

    def __init__(self):
        super().__init__()
        block = nn.TransformerEncoderLayer(256, 8, 1024, 0.0, "gelu", batch_first=True, norm_first=True)
        self.first, self.block, self.last = nn.Linear(32, 256), block, nn.Linear(256, 10)

    def forward(self, x):
        return self.last(self.block(self.first(x)).mean(1))


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # what trains, too
    module, x = Encoder().eval(), torch.randn(8, 128, 32)
    yield module, x, ng.import_module(module, x)
    torch.backends.mha.set_fastpath_enabled(fast)


@pytest.mark.parametrize("form", [ng.lower, ng.compact], ids=["masked", "compact"])
def test_evaluation_costs_what_pytorchs_own_block_does(encoder, form, record_property):
    module, x, network = encoder
    ours = form(network).eval()
    with torch.no_grad():
        _, found, _ = quartiles(lambda: ours(x), lambda: module(x))
    record_property("ratio", found)
    print(f"evaluation, {form.__name__}: {found:.2f}")
    assert found <= BOUND


def test_a_training_step_costs_what_pytorchs_own_block_does(encoder, record_property):
    module, x, network = encoder
    ours = ng.lower(network).train()
    module.train()
    _, found, _ = quartiles(lambda: ours(x).square().sum().backward(), lambda: module(x).square().sum().backward())
    record_property("ratio", found)
    print(f"training step: {found:.2f}")
    assert found <= BOUND
