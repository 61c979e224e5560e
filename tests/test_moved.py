"""Old names and old ways to call go on for one version, with a warning that says what to write; others do not."""

import sys
from importlib import import_module

import pytest
import torch

from nestgraph.data import datasets, held
from nestgraph.edits import remove_units
from nestgraph.lowering import Workbench
from nestgraph.recipes import recipe
from nestgraph.seeds import mlp


@pytest.mark.parametrize(("name", "place"), [("recipe", recipe), ("data", datasets), ("sources", held)])
def test_modules_of_train_are_found_where_they_went(name, place, monkeypatch):
    monkeypatch.delitem(sys.modules, f"nestgraph.train.{name}", raising=False)
    with pytest.warns(FutureWarning, match=f"nestgraph.train.{name} is {place.__name__} now"):
        assert import_module(f"nestgraph.train.{name}") is place
    assert place.__spec__.name == place.__name__


def test_what_was_never_there_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"nestgraph\.train\.nothing"):
        import_module("nestgraph.train.nothing")


def test_a_bench_takes_a_maker_over_parameters():
    network = mlp((6, 5, 4), 0.6, 0)
    with pytest.warns(FutureWarning, match=r"expected make\(module\), got a function of parameters"):
        old = Workbench(network, lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9))
    new = Workbench(network, lambda module: torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9))
    for bench in (old, new):
        for _ in range(2):
            bench.optimizer.zero_grad()
            bench.module(torch.ones(3, 6)).square().mean().backward()
            bench.optimizer.step()
            bench.apply(remove_units(bench.network, "fc1", bench.network.unit_columns("fc1").ids[:1].tolist()))
    assert old.network.digest == new.network.digest


def test_the_error_of_a_maker_is_its_own():
    with pytest.raises(TypeError, match="unexpected keyword argument 'rate'"):
        Workbench(mlp((6, 4), 0.6, 0), lambda module: torch.optim.SGD(module.parameters(), rate=0.1))
