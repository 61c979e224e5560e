"""Every edit kind and every recipe function keeps the laws."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import Phase, event, find, given, settings
from hypothesis import strategies as st

import nestgraph.edits as edits_package
from nestgraph.edits import PRESERVING, AnyEdit, Batch
from tests.laws import check_laws, quick, unless_refused
from tests.strategies import EDIT_CASES, SEEDS, edits_for, networks
from tests.strategies.recipes import RECIPE_CASES

NO_RECIPES = {"coupled", "diff", "merge", "normalisation_factor", "side_by_side", "way_over"}


def test_every_edit_kind_and_recipe_has_a_case():
    assert set(EDIT_CASES) == set(get_args(get_args(AnyEdit)[0]))
    functions = {name for name in edits_package.__all__ if name.islower()}
    recipes = {recipe.__name__ for recipe in RECIPE_CASES}
    assert recipes == functions - NO_RECIPES
    assert PRESERVING.keys() <= recipes


@pytest.mark.parametrize("kind", EDIT_CASES, ids=lambda kind: kind.__name__)
@quick(30)
@given(network=networks(), data=st.data())
def test_edits_keep_the_laws(kind, network, data):
    applied = check_laws(network, data.draw(edits_for(network, (kind,))))
    event("legal" if applied else "refused")


@pytest.mark.parametrize("kind", EDIT_CASES, ids=lambda kind: kind.__name__)
def test_every_kind_has_legal_cases(kind):
    def legal(case):
        network, edit = case
        kinds = {type(part) for part in edit.edits} if isinstance(edit, Batch) else {type(edit)}
        wanted = kind in kinds | {Batch if isinstance(edit, Batch) else None}
        return wanted and unless_refused(lambda: edit.apply(network)) is not None

    cases = networks().flatmap(lambda network: st.tuples(st.just(network), edits_for(network, (kind,))))
    find(cases, legal, settings=settings(quick(40), phases=[Phase.generate]))


@pytest.mark.parametrize("recipe", RECIPE_CASES, ids=lambda recipe: recipe.__name__)
@quick(30)
@given(network=networks(), data=st.data())
def test_recipes_keep_the_laws(recipe, network, data):
    """Those declared function-preserving keep the reference outputs, too."""
    rng = np.random.default_rng(data.draw(SEEDS))
    edit = unless_refused(lambda: RECIPE_CASES[recipe](data.draw, network, rng))
    event("refused" if edit is None else "made")
    if edit is not None:
        assert check_laws(network, edit, PRESERVING.get(recipe.__name__)), (
            "a recipe gives a legal edit or refuses itself"
        )


@quick(10)
@given(network=networks())
def test_an_empty_batch_changes_nothing(network):
    applied = check_laws(network, Batch(edits=()), preserves=0.0)
    assert applied.network is network
