"""What a terminal shows of a run as it goes: curves as sparklines, and the last edits."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from nestgraph.cli.output import plain
from nestgraph.spec.metrics import metric

if TYPE_CHECKING:
    from nestgraph.runs.run import Measurement

BLOCKS, ASCII = "▁▂▃▄▅▆▇█", "_.-=+*%#"
"""Heights from the lowest to the highest; the second for terminals that know no Unicode."""

SHORTEST, LONGEST = 8, 40
"""Characters of a sparkline."""

BESIDE = 48
"""Columns of a line that names, numbers and gaps beside its sparkline take."""

METRICS = 3
"""How many metrics are shown, that of the goal first."""

EDITS, WIDEST = 4, 80
"""How many edits are shown, and how much of their words: more would take the room of what stands before them."""

Line = tuple[str, Text, str]
"""The step of an edit or of none, what was decided, and the words."""


class RunDisplay:
    """A rich renderable of the steps of a run: what was kept as curves, and the last edits, kept, refused or none."""

    def __init__(self) -> None:
        self._kept = list["Measurement"]()
        self._last: tuple[Line, ...] = ()

    def add(self, row: "Measurement") -> None:
        """Take in a measurement."""
        if row.accepted:
            self._kept.append(row)
        found = ((Text("left out" if each.left_out else "nothing", style="dim"), each.words) for each in row.idle)
        idle = (("", what, plain(words)) for what, words in found)
        decision = Text("kept", style="green") if row.accepted else Text("refused", style="yellow")
        self._last = (*self._last, *idle, (f"step {row.step}", decision, plain(row.edit)))[-EDITS:]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it, from copies: rich draws in a thread of its own."""
        kept, last = list(self._kept), self._last
        if kept:
            room = min(max(options.max_width - BESIDE, SHORTEST), LONGEST)
            yield _curves(kept, room, ASCII if options.ascii_only else BLOCKS)
        if last:
            yield _edits(last)


def sparkline(values: Sequence[float], width: int, blocks: str = BLOCKS) -> str:
    """Numbers as characters of different height, from the least to the greatest.

    Args:
        values: finite, at least one.
        width: how many characters at most; of more numbers each character shows the last of its share.
        blocks: the characters, the lowest first.
    """
    low, span, count = min(values), max(values) - min(values), min(len(values), width)
    shown = (values[(place + 1) * len(values) // count - 1] for place in range(count))
    top = len(blocks) - 1
    return "".join(blocks[round((value - low) / span * top) if span else 0] for value in shown)


def _curves(kept: Sequence["Measurement"], room: int, blocks: str) -> Table:
    """A line each for what metrics are on the validation split and for connections: now, as a curve, the range."""
    grid = _grid("left", "right", "left", "left")
    lines: list[tuple[str, list[float], Callable[[float], str]]] = []
    for name in [*kept[-1].scores][:METRICS]:
        title = "validation" if list(kept[-1].scores) == ["accuracy"] else metric(name).words
        lines.append((title, [row.scores[name] for row in kept], metric(name).shown))
    lines.append(("connections", [row.connections for row in kept], "{:,}".format))
    for name, values, form in lines:
        now, low, high = map(form, (values[-1], min(values), max(values)))
        grid.add_row(name, now, Text(sparkline(values, room, blocks), style="cyan"), f"{low} to {high}")
    return grid


def _edits(lines: Sequence[Line]) -> Table:
    """A line for each edit, the newest last. Its words may hold a layer's name, so nothing in them is markup."""
    grid = _grid("right", "left", "left")
    for step, decision, words in lines:
        grid.add_row(step, decision, Text(words[:WIDEST]))
    return grid


def _grid(*sides: str) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for side in sides:
        grid.add_column(justify="right" if side == "right" else "left", no_wrap=True)
    return grid
