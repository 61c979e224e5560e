"""A scene as PNG or PDF through matplotlib, which carries its fonts and needs nothing else on the machine."""

# Matplotlib's keyword arguments are untyped.
# pyright: reportUnknownMemberType=false

import io
import warnings
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Circle, FancyBboxPatch
from matplotlib.path import Path
from matplotlib.style import context
from PIL import Image

from nestgraph.render.files import small_png
from nestgraph.render.scene import Box, Curve, Curves, Disc, Mark, Raster, Scene, Squares, Words

POINTS_PER_INCH = 72
SHARPNESS = 2.0  # pixels a point
MOST_PIXELS = 12_000  # along one side


def painted(scene: Scene, picture_format: Literal["png", "pdf"]) -> bytes:
    """The scene as the bytes of a picture, the same for the same scene."""
    with context("default"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a label in a script the font lacks is drawn as boxes
        figure = Figure(figsize=(scene.width / POINTS_PER_INCH, scene.height / POINTS_PER_INCH), facecolor=scene.paper)
        axes = figure.add_axes((0, 0, 1, 1), xlim=(0, scene.width), ylim=(scene.height, 0))
        axes.set_axis_off()
        for order, mark in enumerate(scene.marks):
            _draw(mark, axes, order)
        return _png(figure, scene) if picture_format == "png" else _pdf(figure)


def _png(figure: Figure, scene: Scene) -> bytes:
    figure.set_dpi(POINTS_PER_INCH * min(SHARPNESS, MOST_PIXELS / max(scene.width, scene.height)))
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return small_png(Image.fromarray(np.asarray(canvas.buffer_rgba())[:, :, :3]))


def _pdf(figure: Figure) -> bytes:
    picture = io.BytesIO()
    undated = {"CreationDate": None, "Creator": None, "Producer": None}
    FigureCanvasPdf(figure).print_figure(picture, format="pdf", metadata=undated)
    return picture.getvalue()


def _draw(mark: Mark, axes: Axes, order: int) -> None:
    if isinstance(mark, Box):
        _draw_box(mark, axes, order)
    elif isinstance(mark, Disc):
        _draw_disc(mark, axes, order)
    elif isinstance(mark, Curves):
        _draw_curves(mark, axes, order)
    elif isinstance(mark, Squares):
        _draw_squares(mark, axes, order)
    elif isinstance(mark, Raster):
        extent = (mark.x, mark.x + mark.width, mark.y + mark.height, mark.y)
        image = AxesImage(axes, extent=extent, interpolation="nearest", origin="upper", zorder=order)
        image.set_data(mark.palette[mark.pixels])
        axes.add_artist(image)
    else:
        _draw_words(mark, axes, order)


def _draw_box(mark: Box, axes: Axes, order: int) -> None:
    style = f"round,pad=0,rounding_size={mark.radius}" if mark.radius else "square,pad=0"
    patch = FancyBboxPatch((mark.x, mark.y), mark.width, mark.height, boxstyle=style, zorder=order)
    patch.set(facecolor=mark.fill, edgecolor=mark.stroke, linewidth=mark.stroke_width)
    if mark.dashes:
        patch.set_linestyle((0, mark.dashes))
    axes.add_artist(patch)


def _draw_disc(mark: Disc, axes: Axes, order: int) -> None:
    patch = Circle((mark.x, mark.y), mark.radius, zorder=order)
    patch.set(facecolor=mark.fill, edgecolor=mark.stroke, linewidth=mark.stroke_width)
    if mark.dashes:
        patch.set_linestyle((0, mark.dashes))
    axes.add_artist(patch)


def _draw_curves(mark: Curves, axes: Axes, order: int) -> None:
    lines = PathCollection([_path(curve) for curve in mark.curves], facecolors="none", edgecolors=mark.colour)
    lines.set(linewidth=mark.width, alpha=mark.opacity, zorder=order)
    if mark.dashes:
        lines.set_linestyle((0, tuple(length / mark.width for length in mark.dashes)))
    axes.add_collection(lines, autolim=False)


def _path(curve: Curve) -> Path:
    ends = (curve.x1, curve.y1), (curve.x2, curve.y2)
    if curve.controls is None:
        return Path(ends)
    return Path((ends[0], *curve.controls, ends[1]), (Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4))


def _draw_squares(mark: Squares, axes: Axes, order: int) -> None:
    paths = [_outline(*square) for square in mark.squares]
    fill = mark.colour if mark.filled else "none"
    squares = PathCollection(paths, facecolors=fill, edgecolors="none" if mark.filled else mark.colour)
    squares.set(linewidth=1.0, zorder=order)
    axes.add_collection(squares, autolim=False)


def _outline(x: float, y: float, side: float) -> Path:
    half = side / 2
    corners = ((-half, -half), (half, -half), (half, half), (-half, half), (-half, -half))
    return Path([(x + across, y + down) for across, down in corners], closed=True)


def _draw_words(mark: Words, axes: Axes, order: int) -> None:
    align = {"start": "left", "middle": "center", "end": "right"}[mark.anchor]
    words = axes.text(mark.x, mark.y, "", fontsize=mark.size, color=mark.colour, zorder=order)
    words.set(parse_math=False, horizontalalignment=align, verticalalignment="baseline")
    words.set(fontweight="bold" if mark.bold else "normal", fontstyle="italic" if mark.italic else "normal")
    words.set_fontfamily("DejaVu Sans")
    words.set_text(mark.text)
