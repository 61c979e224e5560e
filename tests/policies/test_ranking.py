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


@given(st.lists(SCORES.filter(len), min_size=1, max_size=4), st.floats(0.001, 1))
@quick(100)
def test_projections_have_budgets_of_their_own_or_compete_for_one(arrays, fraction):
    scores = {f"p{number}": array for number, array in enumerate(arrays)}
    sizes = {name: 2 * array.size for name, array in scores.items()}
    own = largest(scores, sizes, fraction, "projection")
    picks = {name: by_hand(array, max(1, round(fraction * 2 * array.size))) for name, array in scores.items()}
    assert {name: entries.tolist() for name, entries in own.items()} == {n: p for n, p in picks.items() if p}

    shared = largest(scores, sizes, fraction, "global")
    pool = np.concatenate(arrays)
    places = [(name, place) for name, array in scores.items() for place in range(array.size)]
    chosen = [places[place] for place in by_hand(pool, max(1, round(fraction * 2 * pool.size)))]
    assert [(name, place) for name, entries in shared.items() for place in entries.tolist()] == chosen


@given(st.lists(SCORES.filter(len), min_size=1, max_size=4), st.floats(0.001, 1), st.integers(1, 4))
@quick(100)
def test_a_bound_guessed_from_a_sample_changes_no_choice(arrays, fraction, sample):
    scores = {f"p{number}": array for number, array in enumerate(arrays)}
    sizes = {name: array.size for name, array in scores.items()}
    in_full = largest(scores, sizes, fraction, "global")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "SAMPLE", sample)
        by_sample = largest(scores, sizes, fraction, "global")
    assert {name: list(entries) for name, entries in by_sample.items()} == {n: list(e) for n, e in in_full.items()}


def test_of_many_scores_few_are_partitioned():
    scores = {"p": np.random.default_rng(0).random(2**19), "q": np.random.default_rng(1).random(2**19) - 0.1}
    candidates = ranking._candidates(scores, 10_000)
    assert 10_000 <= sum(map(len, candidates.values())) < 20_000
