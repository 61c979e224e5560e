"""A body that works unit by unit is found by trying, and its layer is edited with those that it reads."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import nestgraph as ng
from nestgraph.edits.islands import island_edits
from nestgraph.graph.reference import predict
from nestgraph.interop.unitwise import works_by_unit
from nestgraph.lowering import Workbench
from nestgraph.lowering.compact import compact
from tests.laws import check_laws


class Around(nn.Module):
    """A function between two linear maps, or two convolutions."""

    def __init__(self, function, maps=False):
        super().__init__()
        self.function = function
        self.first = nn.Conv2d(2, 6, 3) if maps else nn.Linear(4, 6)
        self.last = nn.Conv2d(6, 3, 1) if maps else nn.Linear(6, 2)

    def forward(self, x):
        return self.last(self.function(self.first(x)))


class Learned(nn.Module):
    """Control flow on values, which nothing traces, and one trained number for all units."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.7))

    def forward(self, x):
        return torch.special.i0e(x * self.scale) if x.sum() > -1e9 else x


FUNCTIONS = {
    "special": torch.special.ndtr,
    "of two": lambda x: torch.maximum(x, x.tanh()),
    "a power": lambda x: x.abs() ** x.sigmoid(),
    "where": lambda x: torch.where(x > 0.1, x, torch.special.i1e(x)),
    "not a number": torch.nan_to_num,
    "learned": Learned(),
}


def imported(function, maps=False):
    torch.manual_seed(0)
    module = Around(function, maps).eval()
    x = torch.randn(3, 2, 6, 5) if maps else torch.randn(3, 4)
    return module, x, ng.import_module(module, x)


def unitwise(network):
    return [name for name in network.layer_names if network.layer(name).unitwise]


@pytest.mark.parametrize("maps", [False, True], ids=["neurons", "maps"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_foreign_functions_of_each_element_stay_editable(name, maps):
    module, x, network = imported(FUNCTIONS[name], maps)
    assert unitwise(network)
    assert [layer for layer in network.layer_names if network.layer(layer).opaque] == unitwise(network)
    assert {row.kind for row in ng.import_report(network).rows if row.name in unitwise(network)} == {"unitwise"}
    assert all(row.editable for row in ng.import_report(network).rows if row.name in unitwise(network))
    edit = ng.edits.remove_units(network, "first", [1, 4])
    assert check_laws(network, edit)
    smaller = edit.apply(network).network
    with torch.no_grad():
        module.last.weight[:, [1, 4]] = 0
        wanted = module(x)
        for lowered in (ng.lower(smaller).eval(), compact(smaller).eval()):
            torch.testing.assert_close(lowered(x), wanted, atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(predict(smaller, x.numpy()), wanted, atol=1e-5)
    for name in unitwise(smaller):
        assert smaller.units(name).tolist() == [0, 2, 3, 5]


@pytest.mark.parametrize("name", ["special", "of two"])
def test_a_unit_goes_with_the_unit_that_its_body_reads(name):
    _, _, network = imported(FUNCTIONS[name])
    after, _ = ng.edits.RemoveUnits(layer="first", units=np.array([1, 4])).change(network)
    edit = ng.edits.Batch(edits=(ng.edits.RemoveUnits(layer="first", units=np.array([1, 4])), *island_edits(after)))
    assert check_laws(network, edit)
    assert edit.apply(network).network == ng.edits.remove_units(network, "first", [1, 4]).apply(network).network


def test_units_are_added_and_the_body_trains_on():
    _, x, network = imported(Learned())
    (name,) = unitwise(network)
    edit = ng.edits.duplicate_unit(network, "first", 2)
    assert check_laws(network, edit, preserves=1e-6)
    bench = Workbench(network, lambda module: torch.optim.SGD(module.parameters(), lr=0.1))
    bench.apply(edit)
    bench.module(x).square().sum().backward()
    bench.optimizer.step()
    trained = bench.network
    assert trained.units(name).tolist() == trained.units("first").tolist() == list(range(7))
    assert trained.bodies[name].values("body0") != network.bodies[name].values("body0")
    assert ng.edits.narrow(network, 0.5).apply(network).network.units(name).size == 3


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.softmax(1),
        lambda x: x.cumsum(1),
        lambda x: functional.normalize(torch.special.ndtr(x), dim=1),
        lambda x: torch.special.ndtr(x).view(-1, 2, 3).flip(1).cummax(1).values.flatten(1),
    ],
)
def test_what_looks_at_other_units_is_frozen_as_ever(function):
    _, _, network = imported(function)
    assert not [name for name in unitwise(network) if "ndtr" not in network.layer(name).opaque]
    (last,) = [name for name in network.layer_names if network.layer(name).opaque and not network.layer(name).unitwise]
    with pytest.raises(ng.NestgraphError, match=r"all of which the opaque layer|frozen"):
        ng.edits.remove_units(network, network.arguments(last)[0].source, [1]).apply(network)


@pytest.mark.parametrize(
    ("function", "apart"),
    [
        (lambda x: x.sin(), True),
        (lambda x: x.flip(1), False),
        (lambda x: x + x.roll(1, 1) * 1e-2, False),
        (lambda x: x - x.mean(), False),
        (lambda x: x.view(-1, 5, 4).tanh(), False),
        (lambda x: x * torch.arange(5.0)[:, None], False),
        (lambda x: x + torch.rand_like(x), False),
        (lambda x: x.mean(2, keepdim=True).expand_as(x).log(), True),
        (lambda x: torch.cat([x[:, :1].tanh(), x[:, 1:]], 1), False),
    ],
)
def test_a_body_is_tried_with_other_units(function, apart):
    class Body(nn.Module):
        def forward(self, x):
            return function(x)

    assert works_by_unit(Body(), [(5, 4)], (5, 4)) == apart


@pytest.mark.usefixtures("one_registry")
@pytest.mark.slow
def test_it_leaves_as_onnx_where_onnx_can(tmp_path):
    _, _, network = imported(FUNCTIONS["of two"])
    smaller = ng.edits.remove_units(network, "first", [1, 4]).apply(network).network
    assert ng.export(smaller, tmp_path / "net.onnx").difference < 1e-4
