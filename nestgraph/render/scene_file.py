"""A scene as a file: SVG by its own text, PNG and PDF through matplotlib, which is imported only for them."""

import os
from collections.abc import Callable
from pathlib import Path

from nestgraph.render.files import PICTURE_FORMATS, picture_path, write_whole
from nestgraph.render.scene import Scene
from nestgraph.render.svg import svg
from nestgraph.render.theme import Theme, check_theme, shaded


def write_scene(
    path: str | os.PathLike[str], make: Callable[[], Scene], theme: Theme = "light", overwrite: bool = False
) -> Path:
    """Make a scene and write it as .svg, .png or .pdf in the colours of a theme; returns the path.

    Raises:
        RenderError: the suffix or theme is unknown, or the file cannot be written.
    """
    check_theme(theme)
    target, picture_format = picture_path(path, overwrite, PICTURE_FORMATS)
    toned = shaded(make(), theme)
    if picture_format == "svg":
        return write_whole(target, svg(toned), overwrite)
    from nestgraph.render.canvas import painted

    return write_whole(target, painted(toned, "png" if picture_format == "png" else "pdf"), overwrite)
