"""Modules of 0.1 are found where they went, with a warning; others are not."""

import sys
from importlib import import_module

import pytest

from nestgraph.data import datasets
from nestgraph.recipes import recipe


@pytest.mark.parametrize(("name", "place"), [("recipe", recipe), ("data", datasets)])
def test_modules_of_train_are_found_where_they_went(name, place, monkeypatch):
    monkeypatch.delitem(sys.modules, f"nestgraph.train.{name}", raising=False)
    with pytest.warns(FutureWarning, match=f"nestgraph.train.{name} is {place.__name__} now"):
        assert import_module(f"nestgraph.train.{name}") is place
    assert place.__spec__.name == place.__name__


def test_what_was_never_there_is_not_found():
    with pytest.raises(ModuleNotFoundError, match=r"nestgraph\.train\.nothing"):
        import_module("nestgraph.train.nothing")
