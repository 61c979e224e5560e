"""The chart of a run's curves, by matplotlib: a file whose bytes depend on nothing but its content."""

# Matplotlib's keyword arguments are untyped.
# pyright: reportUnknownMemberType=false

import io
import math
import warnings
from collections.abc import Sequence
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.style import context
from matplotlib.ticker import LogLocator, NullLocator, PercentFormatter, StrMethodFormatter

from nestgraph.render.curve_points import Point, spans_of
from nestgraph.render.style import BLUE, FAINT, GREY, INK, MUTED, PANEL, PAPER, PURPLE, SHADES, VERMILION
from nestgraph.render.theme import DARK, Theme
from nestgraph.spec.metrics import Metric

MARKERS = {"seed": ("s", GREY), "grow": ("^", BLUE), "shift": ("D", PURPLE), "prune": ("v", VERMILION)}
OTHER = ("o", INK)
WIDE = 80.0  # characters that a panel is wide
SIZE = (11.0, 5.2)
EDGES: dict[str, float] = {"left": 0.085, "right": 0.985, "bottom": 0.115, "top": 0.895, "wspace": 0.19, "hspace": 0.28}
"""Inches of a picture, and where its panels lie in it, with room for 12 characters beside them: to ask each label how
long it is, as matplotlib's layouts do, takes as long as to draw it."""

PAINTS = ("facecolor", "edgecolor", "color", "markerfacecolor", "markeredgecolor")
STYLE: dict[str, Any] = {
    "svg.hashsalt": "nestgraph",
    "svg.fonttype": "none",
    "font.sans-serif": ["DejaVu Sans"],
    "text.parse_math": False,
}
METADATA: dict[str, dict[str, None]] = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
}


def chart(points: Sequence[Point], kind: Metric, picture_format: str, theme: Theme = "light") -> bytes:
    """The bytes of a picture of points, by a metric."""
    picture = io.BytesIO()
    with context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a label in a script the font lacks is drawn as boxes
        figure = _figure(points, kind)
        _shade_figure(figure, theme)
        figure.canvas.print_figure(picture, format=picture_format, dpi=160, metadata=METADATA[picture_format])
    return picture.getvalue()


def _figure(points: Sequence[Point], kind: Metric) -> Figure:
    figure = Figure(figsize=SIZE, facecolor=PAPER)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2, width_ratios=(1.5, 1), **EDGES)
    connections = figure.add_subplot(grid[0, 0])
    scores = figure.add_subplot(grid[1, 0], sharex=connections)
    _against_step(connections, points, [point.connections for point in points], "Connections", BLUE)
    _against_step(scores, points, [point.score for point in points], f"Validation {kind.words}", VERMILION)
    _logarithmic(connections, "y")
    connections.tick_params(labelbottom=False)
    scores.set_xlabel("Step", color=MUTED)
    _scaled(scores, points, kind)
    _name_spans(connections, points)
    _against_size(figure.add_subplot(grid[:, 1]), points, kind)
    return figure


def _against_step(axes: Axes, points: Sequence[Point], values: Sequence[float], name: str, colour: str) -> None:
    for span in spans_of(points):
        axes.axvspan(span.start, span.end, color=SHADES.get(span.phase, PANEL), linewidth=0, zorder=0)
        axes.axvline(span.start, color=FAINT, linewidth=0.6, zorder=1)
    steps = [point.step for point in points]
    marker = "o" if len(points) <= 80 else ""
    axes.plot(steps, values, color=colour, linewidth=1.6, marker=marker, markersize=3, zorder=3)
    axes.margins(x=0)
    axes.set_title(name, loc="left", fontsize=10, fontweight="bold", color=INK, pad=18 if name == "Connections" else 6)
    _quiet(axes)


def _name_spans(axes: Axes, points: Sequence[Point]) -> None:
    """Names above shades: of those that are wide enough, and of each other phase above its widest."""
    start, reach = points[0].step, (points[-1].step - points[0].step) or 1.0
    spans = list(spans_of(points))
    fitting = [span for span in spans if (span.end - span.start) / reach * WIDE > len(span.phase)]
    for phase in dict.fromkeys(span.phase for span in spans):
        if all(span.phase != phase for span in fitting):
            fitting.append(max((s for s in spans if s.phase == phase), key=lambda span: span.end - span.start))
    named = sorted(fitting, key=lambda span: span.start)
    middles = [((span.start + span.end) / 2 - start) / reach * WIDE for span in named]
    halves = [len(span.phase) / 2 + 1 for span in named]
    for span, place in zip(named, _spread(list(zip(middles, halves, strict=True))) or (), strict=False):
        words: dict[str, Any] = {"ha": "center", "color": MUTED, "fontsize": 8.5}
        axes.text(start + place / WIDE * reach, 1.02, span.phase, transform=axes.get_xaxis_transform(), **words)


def _spread(things: Sequence[tuple[float, float]]) -> list[float] | None:
    """Middles of things of half a width each, in their order, on a line of `WIDE`: None where they do not fit."""
    places: list[float] = []
    edge = 0.0
    for middle, half in things:
        places.append(max(middle, edge + half))
        edge = places[-1] + half
    edge = WIDE
    for place, (_, half) in reversed(list(enumerate(things))):
        places[place] = min(places[place], edge - half)
        edge = places[place] - half
    return places if edge > -1e-6 else None


def _against_size(axes: Axes, points: Sequence[Point], kind: Metric) -> None:
    sizes, values = [point.connections for point in points], [point.score for point in points]
    axes.plot(sizes, values, color=GREY, linewidth=1.0, zorder=2)
    for phase in dict.fromkeys(point.phase for point in points):
        marker, colour = MARKERS.get(phase, OTHER)
        chosen = [index for index, point in enumerate(points) if point.phase == phase]
        look: dict[str, Any] = {
            "marker": marker,
            "color": colour,
            "markersize": 5,
            "markeredgecolor": PAPER,
            "markeredgewidth": 0.6,
        }
        axes.plot([sizes[i] for i in chosen], [values[i] for i in chosen], linestyle="", label=phase, zorder=3, **look)
    _note_ends(axes, points, kind)
    _logarithmic(axes, "x")
    _scaled(axes, points, kind)
    axes.set_xlabel("Connections", color=MUTED)
    axes.set_title(f"{kind.title} against size", loc="left", fontsize=10, fontweight="bold", color=INK, pad=18)
    axes.legend(loc="lower right", frameon=False, fontsize=8.5, labelcolor=MUTED)
    _quiet(axes)


def _note_ends(axes: Axes, points: Sequence[Point], kind: Metric) -> None:
    sizes = [point.connections for point in points]
    middle = math.sqrt(min(sizes) * max(sizes))
    for word, point, lift in (("start", points[0], -13), ("end", points[-1], 8)):
        text = f"{word}: {point.connections:,.0f}, {f'{point.score:.1%}' if kind.percent else kind.shown(point.score)}"
        side = "left" if point.connections <= middle else "right"
        place: dict[str, Any] = {"xytext": (0, lift), "textcoords": "offset points", "horizontalalignment": side}
        axes.annotate(text, (point.connections, point.score), fontsize=8.5, color=INK, zorder=4, **place)


def _logarithmic(axes: Axes, which: str) -> None:
    axis = axes.yaxis if which == "y" else axes.xaxis
    axes.set_yscale("log") if which == "y" else axes.set_xscale("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _scaled(axes: Axes, points: Sequence[Point], kind: Metric) -> None:
    """The scale of the metric, in percent where that is what people say."""
    values = [point.score for point in points]
    if not kind.percent:
        return
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None if max(values) > min(values) else 1))


def _quiet(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(colors=MUTED, labelsize=8.5, length=3, which="both")
    axes.grid(axis="y", color=FAINT, linewidth=0.6, zorder=1)
    axes.set_axisbelow(True)


def _shade_figure(figure: Figure, theme: Theme) -> None:
    """Recolour a chart in place: what is drawn in a colour of `style`."""
    if theme == "light":
        return
    artists: list[Artist] = figure.findobj()
    for artist in artists:
        for paint in PAINTS:
            _shade(artist, paint)


def _shade(artist: Any, paint: str) -> None:
    getter, setter = getattr(artist, f"get_{paint}", None), getattr(artist, f"set_{paint}", None)
    if getter is None or setter is None:
        return
    try:
        given = to_hex(getter()).upper()
    except (ValueError, TypeError):  # several colours, or none
        return
    if given in DARK:
        setter(DARK[given])
