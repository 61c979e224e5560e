"""A picture as a list of marks with computed places, before it becomes SVG, PNG or PDF.

Lengths are points, x runs to the right and y downward. Marks are drawn in order.
"""

from dataclasses import dataclass
from typing import Literal

from nestgraph.render.style import INK


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
    dashed: bool = False
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
    dashed: bool
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


Mark = Box | Disc | Curves | Squares | Words


@dataclass(frozen=True)
class Scene:
    """A whole picture; title and description are for readers that do not see it."""

    width: float
    height: float
    title: str
    description: str
    marks: tuple[Mark, ...]
