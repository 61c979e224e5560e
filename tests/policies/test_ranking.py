"""Choosing entries: exactly as many as asked for, the largest ones, the same each time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.policies import ranking
from nestgraph.policies.ranking import NEVER, largest, top
from tests.laws import quick

SCORES = st.lists(st.sampled_from([NEVER, -2.0, 0.0, 0.5, 0.5, 3.0]) | st.floats(-5, 5), max_size=30).map(np.array)


def by_hand(scores, count):
    """Positions of the largest scores, the first of equals, as a person would pick them."""
    ranked = sorted((-score, place) for place, score in enumerate(scores.ravel()) if score > NEVER)
    return sorted(place for _, place in ranked[: max(count, 0)])


@given(SCORES, st.integers(-1, 40))
@quick(200)
def test_top_is_what_one_picks_by_hand(scores, count):
    assert top(scores, count).tolist() == by_hand(scores, count)


def test_equal_scores_do_not_overshoot():
    assert top(np.zeros((4, 5)), 3).tolist() == [0, 1, 2]
    assert top(np.full(6, NEVER), 3).tolist() == []


def cut(array, size):
    """An array as the blocks that scores come in."""
    return [array[first : first + size] for first in range(0, len(array), size)]


@given(st.lists(SCORES.filter(len), min_size=1, max_size=4), st.floats(0.001, 1), st.integers(1, 8))
@quick(100)
def test_projections_have_budgets_of_their_own_or_compete_for_one(arrays, fraction, size):
    named = {f"p{number}": array for number, array in enumerate(arrays)}
    scores, sizes = (
        {name: make(array) for name, array in named.items()} for make in (lambda a: cut(a, size), lambda a: 2 * a.size)
    )
    own = largest(scores, sizes, fraction, "projection")
    picks = {name: by_hand(array, max(1, round(fraction * 2 * array.size))) for name, array in named.items()}
    assert {name: each.entries.tolist() for name, each in own.items()} == {n: p for n, p in picks.items() if p}

    shared = largest(scores, sizes, fraction, "global")
    pool = np.concatenate(arrays)
    places = [(name, place) for name, array in named.items() for place in range(array.size)]
    chosen = [places[place] for place in by_hand(pool, max(1, round(fraction * 2 * pool.size)))]
    assert [(name, place) for name, each in shared.items() for place in each.entries.tolist()] == chosen
    for found in (own, shared):
        for name, each in found.items():
            np.testing.assert_array_equal(each.scores, named[name][each.entries])


@given(st.lists(SCORES.filter(len), min_size=1, max_size=4), st.integers(0, 20), st.integers(0, 20), st.integers(1, 4))
@quick(100)
def test_what_is_held_meanwhile_changes_no_choice(arrays, count, fewest, slack):
    scores = {f"p{number}": cut(array, 2) for number, array in enumerate(arrays)}
    in_full = ranking.chosen(scores, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "SLACK", slack)
        by_parts = ranking.chosen(scores, count)
    best, few = ranking.fewer(in_full, fewest), ranking.chosen(scores, min(count, fewest))
    for one, other in ((by_parts, in_full), (best, few)):
        assert {name: each.entries.tolist() for name, each in one.items()} == {
            name: each.entries.tolist() for name, each in other.items()
        }


def test_of_many_scores_few_are_held():
    best, held = ranking.Best(10_000), 0
    for block in np.split(np.sort(np.random.default_rng(0).random(2**20)), 64):  # each larger than all before it
        best.tell(block)
        held = max(held, sum(map(len, best._scores)))
    assert held <= 10_000 + ranking.SLACK
    assert best.ranked().entries.tolist() == list(range(2**20 - 10_000, 2**20))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 100))
@quick(100)
def test_blocks_of_rows_are_all_rows(rows, row, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "BLOCK", block)
        found = list(ranking.row_blocks((rows, row)))
    assert [place for each in found for place in range(rows)[each]] == list(range(rows))
    assert all((each.stop - each.start) * row <= max(block, row) for each in found)
