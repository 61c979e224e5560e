"""Edits and recipes keep the laws on networks with attention, and its lowered forms agree with the reference."""

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from nestgraph.edits import PRESERVING
from nestgraph.graph.verify import fed_units
from tests.laws import check_laws, quick, unless_refused
from tests.strategies import SEEDS, edits_for, networks
from tests.strategies.edits import EDIT_CASES
from tests.strategies.networks import HEADS
from tests.strategies.recipes import RECIPE_CASES


@pytest.mark.parametrize("kind", EDIT_CASES, ids=lambda kind: kind.__name__)
@quick(15)
@given(network=networks(HEADS), data=st.data())
def test_edits_keep_the_laws(kind, network, data):
    applied = check_laws(network, data.draw(edits_for(network, (kind,))))
    event("legal" if applied else "refused")


@pytest.mark.parametrize("recipe", RECIPE_CASES, ids=lambda recipe: recipe.__name__)
@quick(10)
@given(network=networks(HEADS), data=st.data())
def test_recipes_keep_the_laws(recipe, network, data):
    rng = np.random.default_rng(data.draw(SEEDS))
    edit = unless_refused(lambda: RECIPE_CASES[recipe](data.draw, network, rng))
    event("refused" if edit is None else "made")
    if edit is not None:
        assert check_laws(network, edit, PRESERVING.get(recipe.__name__))


@quick(10)
@given(network=networks(("heads",)), side=st.sampled_from(("query", "key")))
def test_a_head_of_which_nothing_feeds_one_side_is_not_fed(network, side):
    match = next(match for match in network.matches("s") if match.side == side)
    columns = {p.name: network.connection_columns(p.name) for p in network.incoming(match.source)}
    cut = {name: c.with_weight(np.zeros_like(c.weight), np.zeros_like(c.mask)) for name, c in columns.items()}
    assert fed_units(network)["s"].all()
    assert not fed_units(network.replace(connections=cut))["s"].any()
