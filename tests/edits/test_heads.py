"""Edits and recipes keep the laws on networks with attention, and its lowered forms agree with the reference."""

import numpy as np
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from nestgraph.edits import PRESERVING, grow_head, widen_heads
from nestgraph.errors import EditError
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


@pytest.mark.parametrize("recipe", [grow_head, widen_heads])
@quick(20)
@given(network=networks(("turned heads",)), pairs=st.integers(1, 3), values=st.integers(0, 1), seed=SEEDS)
def test_what_is_turned_comes_in_pairs_by_angles_that_are_there(recipe, network, pairs, values, seed):
    rng, count = np.random.default_rng(seed), 2 * pairs
    if recipe is grow_head:
        grown = check_laws(network, grow_head(network, "s", rng, count, values + 1), 1e-5).network
    else:
        grown = check_laws(network, widen_heads(network, "s", count, rng, values=values), 1e-12).network
    for side in "qk":
        born = [np.setdiff1d(grown.units(name), network.units(name)) for name in (side, f"{side}_turned")]
        assert len(born[0]) == len(born[1]) >= count
        own, other = (grown.connection_columns(f"{side}_turned_{name}") for name in ("own", "other"))
        here = np.isin(own.ids(0), born[1])
        assert sorted(own.ids(1)[here]) == born[0].tolist()
        assert all(
            (own.weight[here][:, None] == own.weight[~here]).all(axis=tuple(range(2, own.weight.ndim + 1))).any(1)
        )
        partners = {tuple(sorted(link)) for link in zip(other.ids(1).tolist(), own_of(own, other.ids(0)), strict=True)}
        assert all(partner in born[0] for pair in partners for partner in pair if set(pair) & set(born[0]))


def own_of(own, targets):
    """The unit that each turned one reads as its own."""
    read = dict(zip(own.ids(0).tolist(), own.ids(1).tolist(), strict=True))
    return [read[unit] for unit in targets.tolist()]


@quick(10)
@given(network=networks(("turned heads",)), seed=SEEDS)
def test_half_a_pair_is_refused(network, seed):
    rng, own = np.random.default_rng(seed), network.connection_columns("q_turned_own")
    assume(len(own.links) == len(network.connection_columns("q_turned_other").links))
    with pytest.raises(EditError, match=r"grow_head on 's': expected slots in whole pairs, .* got 3: it has such of 2"):
        grow_head(network, "s", rng, 3)
    with pytest.raises(EditError, match=r"widen_heads on 's': expected slots in whole pairs, .* got 1: it has"):
        widen_heads(network, "s", 1, rng)


@quick(10)
@given(network=networks(("heads",)), side=st.sampled_from(("query", "key")))
def test_a_head_of_which_nothing_feeds_one_side_is_not_fed(network, side):
    match = next(match for match in network.matches("s") if match.side == side)
    columns = {p.name: network.connection_columns(p.name) for p in network.incoming(match.source)}
    cut = {name: c.with_weight(np.zeros_like(c.weight), np.zeros_like(c.mask)) for name, c in columns.items()}
    assert fed_units(network)["s"].all()
    assert not fed_units(network.replace(connections=cut))["s"].any()
