"""Tables of entries hold what they are made of, in the form that takes the fewest bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.chip.code import RANGES, smallest
from nestgraph.chip.entries import encoded, tabled
from nestgraph.chip.program import Value
from nestgraph.chip.terms import Segment, Swept
from tests.laws import quick


def term_of(rows, source=100_000):
    """A term of single sums, whose rows are {offset: weight}."""
    segments = [
        (Segment(-1, np.array(sorted(row), np.int64), np.array([row[at] for at in sorted(row)], float)),)
        for row in rows
    ]
    return Swept(Value("x", (source,)), (), (), tuple(segments), np.zeros((0, 1), bool))


def decoded(entries):
    """What is read, as C reads it: rows of {offset: weight}, weights of 0 left out."""
    rows, at = [], 0
    for count in entries.counts.tolist():
        here, row = 0, {}
        for place in range(count):
            if entries.form == "range":
                here = entries.first + place
            else:
                here += int(entries.steps[place if entries.form == "shared" else at])
            weight = float(entries.weights[at])
            row |= {here: weight} if weight else {}
            at += 1
        rows.append(row)
    assert at == len(entries.weights)
    return rows


places = st.one_of(st.integers(0, 40), st.integers(0, 700), st.integers(0, 99_999))
some_rows = st.lists(st.dictionaries(places, st.integers(1, 127), max_size=12), min_size=1, max_size=5)


@quick(200)
@given(some_rows, st.sampled_from((1, 4)))
def test_entries_are_read_as_they_were(rows, weight):
    entries = encoded(term_of(rows), weight)
    assert decoded(entries) == [{at: float(value) for at, value in row.items()} for row in rows]
    steps = entries.steps
    assert steps.size == 0 or RANGES[entries.element][0] <= steps.min() <= steps.max() <= RANGES[entries.element][1]


@quick(100)
@given(some_rows)
def test_no_form_is_longer_than_two_bytes_for_each_step(rows):
    far = max((at for row in rows for at in row), default=0)
    live = sum(map(len, rows))
    width = 2 if far < 2**16 else 4
    assert encoded(term_of(rows), 1).bytes(1) <= live * (1 + width) + len(rows)


@pytest.mark.parametrize(
    ("rows", "form", "element"),
    [
        ([dict.fromkeys(range(20), 1.0)] * 3, "range", "uint8_t"),
        ([dict.fromkeys(range(7, 20), 1.0)] * 3, "range", "uint8_t"),
        ([dict.fromkeys((1, 5, 30), 1.0)] * 9, "shared", "uint8_t"),
        ([{1: 1.0, 9: 1.0}, {3: 1.0}, {}, {200: 1.0}], "listed", "uint8_t"),
        ([{at + 1000 * step: 1.0 for step in range(9)} for at in (0, 500)], "listed", "uint16_t"),
        ([{70_000: 1.0}, {90_000: 1.0}], "listed", "uint32_t"),
    ],
)
def test_the_form_that_takes_the_fewest_bytes(rows, form, element):
    entries = encoded(term_of(rows), 1)
    assert (entries.form, entries.element) == (form, element)


@quick(200)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(0, 2**32 - 1), st.booleans())
def test_areas_are_read_as_they_are(count, height, width, seed, runs):
    rng = np.random.default_rng(seed)
    areas = rng.random((count, height, width)) < 0.6
    if runs:
        ends = np.sort(rng.integers(0, width + 1, (2, count, height, 1)), axis=0)
        areas = (np.arange(width) >= ends[0]) & (np.arange(width) < ends[1])
    table, by_runs = tabled(areas.reshape(count, -1), width)
    read = np.zeros_like(areas)
    for area, row, column in np.ndindex(*areas.shape):
        place = row * width + column
        if by_runs:
            first, last = table[area, 2 * row : 2 * row + 2]
            read[area, row, column] = first <= column < last
        else:
            read[area, row, column] = table[area, place >> 3] >> (place & 7) & 1
    np.testing.assert_array_equal(read, areas)
    assert table.min() >= 0
    assert table.max() <= 255


@pytest.mark.parametrize(
    ("low", "high", "element"),
    [(0, 255, "uint8_t"), (-1, 127, "int8_t"), (0, 256, "uint16_t"), (-200, 0, "int16_t"), (-1, 40_000, "int32_t")],
)
def test_the_smallest_type(low, high, element):
    assert smallest(np.array([low, high])) == element
