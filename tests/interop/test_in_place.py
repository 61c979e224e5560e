"""What works in place: everything that reads the changed tensor later sees the change, and nothing before it does."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import nestgraph as ng

WRITERS = {
    "method": lambda y: y.tanh_(),
    "method of numbers": lambda y: y.mul_(2),
    "method of itself": lambda y: y.add_(y),
    "method without a kind": lambda y: y.cumsum_(1),
    "constant": lambda y: y.zero_(),
    "copy": lambda y: y.copy_(2 * y),
    "function": torch.tanh_,
    "relu": torch.relu_,
    "selu": torch.selu_,
    "exp": torch.exp_,
    "neg": torch.neg_,
    "square": torch.square_,
    "clamp": lambda y: torch.clamp_(y, -0.1, 0.1),
    "functional": functional.elu_,
    "threshold": lambda y: functional.threshold_(y, 0.0, 0.0),
    "option": lambda y: functional.hardswish(y, inplace=True),
    "option by place": lambda y: functional.silu(y, True),
    "out": lambda y: torch.tanh(y, out=y),
    "out of a sum": lambda y: torch.add(y, 1, out=y),
    "out of what has no kind": lambda y: torch.cumsum(y, 1, out=y),
    "module": nn.ReLU(inplace=True),
    "data": lambda y: y.data.mul_(2),
    "result unused": lambda y: (torch.tanh_(y), y)[1],
}


class ReadTwice(nn.Module):
    """Reads a tensor by a part of some name, changes it in place, and reads what came of it and the tensor again."""

    def __init__(self, function, name):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.function, self.name = nn.Linear(6, 5), function, name
        for part in (name, "second", "third"):
            setattr(self, part, nn.Linear(5, 3))

    def forward(self, x):
        y = self.first(x)
        before = getattr(self, self.name)(y)
        z = self.function(y)
        return before + self.second(y) * self.third(z)


@pytest.mark.parametrize("name", ["a", "zz"])  # layers that nothing orders are computed in the order of their names
@pytest.mark.parametrize("writer", WRITERS)
def test_what_is_changed_in_place_is_seen_later_and_not_before(writer, name):
    module, x = ReadTwice(WRITERS[writer], name).eval(), torch.randn(3, 6)
    with torch.no_grad():
        expected = module(x)
        network = ng.import_module(module, x)
        for form in (ng.lower(network).eval(), ng.compact(network, 3)):
            torch.testing.assert_close(form(x), expected, rtol=1e-4, atol=1e-5)


def test_an_opaque_layer_trains_what_it_reads_though_it_works_in_place():
    network = ng.import_module(ReadTwice(lambda y: y.tanh_().cumsum_(1), "a"), torch.randn(3, 6))
    module = ng.lower(network)
    module(torch.randn(3, 6)).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
