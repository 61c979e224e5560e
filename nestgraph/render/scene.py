"""A picture as a list of marks with computed places, before it becomes SVG, PNG or PDF.

Lengths are points, x runs to the right and y downward. Marks are drawn in order.
"""

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from nestgraph.render.style import INK, PAPER
from nestgraph.spec.arrays import AnyArray

Dashes = tuple[float, ...]
"""Lengths of dashes and gaps in turn; none is a solid line."""
DASHED: Dashes = (4.0, 2.5)
DOTTED: Dashes = (1.0, 2.5)
DASH_DOTTED: Dashes = (6.0, 2.0, 1.0, 2.0)
DASH_DOT_DOTTED: Dashes = (6.0, 2.0, 1.0, 2.0, 1.0, 2.0)


@dataclass(frozen=True)
class Box:
    """A rectangle with its upper left corner at (x, y)."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    stroke: str = "none"
    stroke_width: float = 1.0
    radius: float = 0.0
    dashes: Dashes = ()
    title: str = ""


@dataclass(frozen=True)
class Disc:
    """A filled circle around (x, y)."""

    x: float
    y: float
    radius: float
    fill: str
    stroke: str
    stroke_width: float = 1.0
    dashes: Dashes = ()
    title: str = ""


@dataclass(frozen=True)
class Curve:
    """A line from (x1, y1) to (x2, y2), straight or drawn over the level `via`."""

    x1: float
    y1: float
    x2: float
    y2: float
    via: float | None = None
    title: str = ""

    @property
    def controls(self) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """The inner points of the cubic whose middle lies at `via`; None for a straight line."""
        if self.via is None:
            return None
        level = (8 * self.via - self.y1 - self.y2) / 6
        reach = (self.x2 - self.x1) / 5
        return (self.x1 + reach, level), (self.x2 - reach, level)


@dataclass(frozen=True)
class Curves:
    """Lines of one style."""

    colour: str
    width: float
    opacity: float
    dashes: Dashes
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Squares:
    """Squares given as (x, y, side) around their centres, filled or in outline."""

    colour: str
    filled: bool
    squares: tuple[tuple[float, float, float], ...]


@dataclass(frozen=True)
class Words:
    """A line of text whose baseline starts, is centred or ends at (x, y)."""

    x: float
    y: float
    text: str
    size: float
    colour: str = INK
    bold: bool = False
    italic: bool = False
    anchor: Literal["start", "middle", "end"] = "start"


@dataclass(frozen=True, eq=False)
class Raster:
    """An image stretched over a rectangle, pixel by pixel.

    Attributes:
        x: the left edge.
        y: the upper edge.
        width: of the rectangle.
        height: of the rectangle.
        pixels: uint8 (rows, columns): places on the scale.
        stops: colours at equal distances along the scale, to 255.
        title: a tooltip.
        apart: colours of the first numbers, which lie outside the scale; it begins behind them.
    """

    x: float
    y: float
    width: float
    height: float
    pixels: AnyArray
    stops: tuple[str, ...]
    title: str = ""
    apart: tuple[str, ...] = ()

    @property
    def palette(self) -> AnyArray:
        """The colours of all numbers: uint8 (256, 3)."""
        apart, stops = (
            np.array([list(bytes.fromhex(colour[1:])) for colour in colours], float).reshape(-1, 3)
            for colours in (self.apart, self.stops)
        )
        places, given = np.linspace(0, len(stops) - 1, 256 - len(apart)), np.arange(len(stops))
        ramps: list[AnyArray] = [np.interp(places, given, channel) for channel in stops.T]
        return np.rint(np.concatenate([apart, np.stack(ramps, axis=1)])).astype(np.uint8)

    @property
    def png(self) -> bytes:
        """The pixels as a PNG file."""
        image = Image.fromarray(self.pixels).convert("P")
        image.putpalette(self.palette.tobytes())
        picture = io.BytesIO()
        image.save(picture, "png")
        return picture.getvalue()


Mark = Box | Disc | Curves | Squares | Words | Raster


@dataclass(frozen=True)
class Scene:
    """A whole picture; title and description are for readers that do not see it."""

    width: float
    height: float
    title: str
    description: str
    marks: tuple[Mark, ...]
    paper: str = PAPER
