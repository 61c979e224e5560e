"""Blocks of rasters under titles: what matrices of connections, and differences of maps, are drawn as."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from nestgraph.render.encoding import LOOKS, Fate
from nestgraph.render.scene import Box, Mark, Raster, Scene, Words
from nestgraph.render.style import FAINT, INK, MUTED, PAPER, fitted
from nestgraph.spec.arrays import AnyArray

MOST_BLOCKS = 24
MOST_PIXELS = 2_000_000  # of all rasters of a picture together
SIDE = 512  # pixels of a raster along its longer side
LONGEST, SHORTEST = 300.0, 26.0  # points that a raster takes, along either side
GAP, MARGIN, HEAD, TITLE, FOOT = 18.0, 28.0, 52.0, 74.0, 52.0
ROW = 1320.0  # points


@dataclass(frozen=True, eq=False)
class Panel:
    """One raster: what it shows, its values as uint8 (rows, columns), and the colours of 0 to 255."""

    caption: str
    values: AnyArray
    stops: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Block:
    """Rasters of one thing, side by side."""

    title: str
    words: str
    panels: tuple[Panel, ...]

    @property
    def size(self) -> tuple[float, float]:
        """The width and height of each raster, in points."""
        rows, columns = self.panels[0].values.shape
        scale = LONGEST / max(rows, columns)
        return max(columns * scale, SHORTEST), max(rows * scale, SHORTEST)

    @property
    def width(self) -> float:
        """Of the whole block; rasters keep a distance that their captions need."""
        return max(len(self.panels) * (max(self.size[0], 110.0) + GAP), 280.0)


def raster_side(count: int) -> int:
    """How many pixels each of `count` rasters may have along its longer side."""
    return max(16, min(SIDE, int((MOST_PIXELS / max(count, 1)) ** 0.5)))


def reduced(values: AnyArray, side: int, combine: np.ufunc, kind: type[np.generic] | None = None) -> AnyArray:
    """A matrix of at most `side` rows and columns, where cells of several rows and columns are combined into one."""
    rows, columns = (_starts(extent, side) for extent in values.shape)
    return combine.reduceat(combine.reduceat(values, rows, axis=0, dtype=kind), columns, axis=1)


def shares(marks: AnyArray, side: int) -> AnyArray:
    """The share of cells that are marked, as uint8 of its square root, so that few are seen, too."""
    cells = np.outer(*(np.diff(np.append(_starts(extent, side), extent)) for extent in marks.shape))
    return np.ceil(255 * np.sqrt(reduced(marks, side, np.add, np.int32) / cells)).astype(np.uint8)


def _starts(extent: int, side: int) -> AnyArray:
    return np.arange(0, extent, -(-extent // side))


def fate_panel(fate: Fate, count: int, values: AnyArray) -> Panel:
    """What has one fate, told by sign and word."""
    look = LOOKS[fate]
    return Panel(f"{look.sign} {fate}: {count:,}".strip(), values, (PAPER, look.colour))


def panel_scene(title: str, words: str, blocks: Sequence[Block], notes: Sequence[str]) -> Scene:
    """Blocks from left to right in rows, and notes below them."""
    marks: list[Mark] = [Words(MARGIN, 34, title, 17, bold=True), Words(MARGIN, 53, words, 11, MUTED)]
    top, widest = TITLE, 600.0
    for row in _rows(blocks):
        left = MARGIN
        for block in row:
            marks.extend(_block(block, left, top))
            left += block.width
        widest = max(widest, left - MARGIN)
        top += HEAD + max(block.size[1] for block in row) + 26
    marks.append(Box(MARGIN, top, widest, 1, FAINT))
    marks.extend(Words(MARGIN, top + 20 + 16 * place, line, 10, MUTED) for place, line in enumerate(notes))
    height = top + FOOT + 16 * (len(notes) - 1)
    return Scene(widest + 2 * MARGIN, height, title, "; ".join((words, *notes)), tuple(marks))


def _rows(blocks: Sequence[Block]) -> Iterator[Sequence[Block]]:
    """Blocks in rows that are no wider than `ROW`, or hold one block."""
    row: list[Block] = []
    for block in blocks:
        if row and sum(other.width for other in row) + block.width > ROW:
            yield row
            row = []
        row.append(block)
    yield row


def _block(block: Block, left: float, top: float) -> Iterator[Mark]:
    wide, high = block.size
    yield Words(left, top + 14, fitted(block.title, 12, block.width, bold=True), 12, bold=True)
    yield Words(left, top + 29, fitted(block.words, 9.5, block.width - GAP), 9.5, MUTED)
    for place, panel in enumerate(block.panels):
        x, y = left + place * (max(wide, 110.0) + GAP), top + HEAD
        yield Words(x, y - 6, panel.caption, 9.5, INK)
        yield Raster(x, y, wide, high, panel.values, panel.stops, panel.caption)
        yield Box(x, y, wide, high, "none", FAINT)
