"""What all charts share: how a matplotlib figure becomes a file whose bytes depend on nothing but its content."""

# Matplotlib's keyword arguments are untyped.
# pyright: reportUnknownMemberType=false

import io
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.style import context

from nestgraph.render.files import picture_path, write_whole
from nestgraph.render.style import PANEL

HEAT = LinearSegmentedColormap.from_list("heat", ["#F3EFB0", "#A5D5B5", "#41A9BF", "#1E66A5", "#16295E"])
"""From little to much, by lightness alone, so that the colour-blind and a grey printer read it too."""
HOLE = PANEL
FORMATS = ("svg", "png", "pdf")
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


def write_chart(path: str | os.PathLike[str], make: Callable[[], Figure]) -> Path:
    """Make a figure in the style of all charts and write it as .svg, .png or .pdf; returns the path.

    Raises:
        RenderError: the suffix is unknown, or the file cannot be written.
    """
    target, picture_format = picture_path(path, FORMATS)
    picture = io.BytesIO()
    with context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a label in a script the font lacks is drawn as boxes
        figure = make()
        figure.canvas.print_figure(picture, format=picture_format, dpi=160, metadata=METADATA[picture_format])
    return write_whole(target, picture.getvalue())
