"""What a terminal shows of a run: curves, the last edits, and nothing that a name could smuggle in."""

from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from nestgraph.cli.live_display import ASCII, BLOCKS, EDITS, LONGEST, RunDisplay, sparkline
from nestgraph.cli.output import plain
from nestgraph.runs.run import Measurement

GROWN_AND_PRUNED = """\
validation   92.50%  ▁▃▆██▇  80.00% to 93.50%
connections     950  ▄▆██▆▁  950 to 1,100
step 3  kept     wake 13
step 4  kept     prune 14
step 5  refused  prune [red]15[/red] :warning:
step 6  kept     prune 16
"""


def row(step, connections, accuracy, edit, accepted=True):
    values = {"units": 9, "connections": connections, "flops": 2 * connections, "loss": 0.5, "accuracy": accuracy}
    return Measurement(step=step, phase="prune", edit=edit, accepted=accepted, **values)


def shown(display, width=80, encoding="utf-8"):
    """What a terminal of so many columns gets, styles apart, blanks at the ends of lines removed."""
    screen = type("Screen", (StringIO,), {"encoding": encoding})()
    console = Console(file=screen, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    console.print(display)
    return "".join(f"{line.rstrip()}\n" for line in screen.getvalue().splitlines())


@pytest.fixture
def display():
    display = RunDisplay()
    curve = [(1010, 0.8), (1060, 0.84), (1090, 0.9), (1100, 0.935), (1050, 0.93)]
    for step, (connections, accuracy) in enumerate(curve):
        display.add(row(step, connections, accuracy, f"wake {step + 10}" if step < 4 else "prune 14"))
    display.add(row(5, 100, 0.1, "prune [red]15[/red] :warning:", accepted=False))
    display.add(row(6, 950, 0.925, "prune 16"))
    return display


def test_curves_are_of_what_was_kept_and_edits_are_the_last(display):
    assert shown(display) == GROWN_AND_PRUNED


def test_a_terminal_without_unicode_gets_other_characters(display):
    text = shown(display, encoding="ascii")
    assert text.isascii()
    assert text == GROWN_AND_PRUNED.translate(str.maketrans(BLOCKS, ASCII))


def test_no_line_is_longer_than_the_terminal_is_wide(display):
    for step in range(7, 100):
        display.add(row(step, 61_000_000 - step, 0.5, "a long story " * 19))
    for width in (20, 40, 56, 80, 200):
        lines = shown(display, width).splitlines()
        assert len(lines) == 2 + EDITS
        assert max(map(cell_len, lines)) <= width
        curves = [sum(character in BLOCKS for character in line) for line in lines[:2]]
        assert curves[0] == curves[1] <= LONGEST
    assert curves == [LONGEST, LONGEST]


def test_before_the_first_step_there_is_nothing():
    assert shown(RunDisplay()).strip() == ""


def test_a_resumed_run_whose_first_step_is_refused_shows_no_curve():
    display = RunDisplay()
    display.add(row(7, 100, 0.1, "prune 15", accepted=False))
    assert shown(display) == "step 7  refused  prune 15\n"


@given(st.text("[]/\\:@=abc 界é\u200b", max_size=30))
def test_names_are_text(name):
    display = RunDisplay()
    display.add(row(0, 10, 0.5, f"wake [red]{name}[/]"))
    assert shown(display, width=400).splitlines()[2:] == [f"step 0  kept  wake [red]{plain(name)}[/]"]


@given(st.lists(st.integers(0, 10**9) | st.floats(0, 1), min_size=1, max_size=200), st.integers(1, LONGEST))
def test_a_sparkline_keeps_the_order_of_what_it_shows(values, width):
    line = sparkline(values, width)
    assert len(line) == min(len(values), width)
    assert set(line) <= set(BLOCKS)
    if len(values) <= width:
        heights = [BLOCKS.index(character) for character in line]
        pairs = sorted(zip(values, heights, strict=True))
        assert [height for _, height in pairs] == sorted(heights)
        if len(set(values)) > 1:
            assert (pairs[0][1], pairs[-1][1]) == (0, len(BLOCKS) - 1)
    assert line[-1] == sparkline(values, len(values))[-1]  # the number now is always shown
