"""What all charts share: how a matplotlib figure becomes a file whose bytes depend on nothing but its content."""

# Matplotlib's keyword arguments are untyped.
# pyright: reportUnknownMemberType=false

import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.style import context

from nestgraph.render.files import PICTURE_FORMATS, picture_path, write_whole
from nestgraph.render.theme import DARK, Theme, check_theme

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


def write_chart(
    path: str | os.PathLike[str], make: Callable[[], Figure], theme: Theme = "light", overwrite: bool = False
) -> Path:
    """Make a figure in the style of all charts and write it as .svg, .png or .pdf; returns the path.

    Raises:
        RenderError: the suffix or theme is unknown, or the file cannot be written.
    """
    target, picture_format = picture_path(path, overwrite, PICTURE_FORMATS)
    return write_whole(target, chart(make, picture_format, theme), overwrite)


def chart(make: Callable[[], Figure], picture_format: str, theme: Theme = "light") -> bytes:
    """The bytes of a figure in the style of all charts.

    Raises:
        RenderError: the theme is unknown.
    """
    check_theme(theme)
    picture = io.BytesIO()
    with context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a label in a script the font lacks is drawn as boxes
        figure = make()
        _shade_figure(figure, theme)
        figure.canvas.print_figure(picture, format=picture_format, dpi=160, metadata=METADATA[picture_format])
    return picture.getvalue()


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
