"""What stands side by side in a layer is put together once: a concatenation costs no sum, a run of units no copy."""

from collections import Counter

import pytest
import torch
from torch import nn

import nestgraph as ng
from nestgraph.edits import remove_units
from nestgraph.graph.reference import forward
from nestgraph.lowering import lower


class Paths(nn.Module):
    """Two paths as in dual path networks: some maps add up, others are carried along beside them."""

    def __init__(self, order):
        super().__init__()
        self.order = order
        self.first, self.one, self.two = (nn.Conv2d(n, 6, 3, padding=1) for n in (2, 6, 8))
        self.before, self.after = nn.BatchNorm2d(8), nn.BatchNorm2d(10)
        self.end = nn.Conv2d(10, 3, 1)

    def forward(self, x):
        a = self.first(x)
        b = self.one(a)
        sums, beside = a[:, :4] + b[:, :4], [a[:, 4:], b[:, 4:]]
        c = self.two(torch.relu(self.before(torch.cat([sums, *beside], 1))))
        parts = [sums + c[:, :4], *beside, c[:, 4:]]
        return self.end(torch.relu(self.after(torch.cat([parts[place] for place in self.order], 1))))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_a_concatenation_is_no_sum_of_padded_parts(order):
    torch.manual_seed(0)
    module, x = Paths(order).eval(), torch.randn(2, 2, 5, 5)
    network = ng.import_module(module, x)
    lowered = lower(network).eval()
    torch.testing.assert_close(lowered(x), module(x), rtol=1e-5, atol=1e-5)
    calls = Counter(getattr(node.target, "__name__", "") for node in lowered.graph.nodes if node.op == "call_function")
    assert calls["cat"] == 2
    assert calls["add"] == 2
    assert calls["pad"] == 0
    assert calls["index_select"] <= (0 if order == (0, 1, 2, 3) else 1)


@pytest.mark.parametrize("unit", range(6))
def test_where_a_part_loses_a_unit_the_rest_stays_in_its_place(unit):
    torch.manual_seed(0)
    x = torch.randn(2, 2, 5, 5)
    network = ng.import_module(Paths((3, 1, 0, 2)).eval(), x)
    layer = next(name for name in network.layer_names if len(network.units(name)) == 6)
    edited = remove_units(network, layer, [int(network.units(layer)[unit])]).apply(network).network
    got = lower(edited).eval()(x)
    expected = forward(edited, x.numpy())[edited.output_names[0]]
    torch.testing.assert_close(got.detach().numpy(), expected, rtol=1e-5, atol=1e-5, check_dtype=False)
