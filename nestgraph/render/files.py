"""Writing pictures: the format from the suffix, whole or not at all."""

import io
import os
from collections.abc import Collection
from pathlib import Path

from PIL import Image

from nestgraph.errors import RenderError, SnapshotError
from nestgraph.snapshot import write_atomically

FORMATS = ("dot", "svg", "png", "pdf")
COLOURS = 256


def picture_path(path: str | os.PathLike[str], allowed: Collection[str] = FORMATS) -> tuple[Path, str]:
    """A path and the picture format that its suffix names.

    Raises:
        RenderError: it names none.
    """
    target = Path(path)
    suffix = target.suffix.lower().removeprefix(".")
    if suffix not in allowed:
        endings = ", ".join(f".{ending}" for ending in allowed)
        raise RenderError(f"a picture expected a path that ends in one of {endings}, got {str(target)[:200]!r}")
    return target, suffix


def small_png(image: Image.Image) -> bytes:
    """An image as PNG in few colours, which makes small files."""
    picture = io.BytesIO()
    image.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(picture, "png")
    return picture.getvalue()


def write_whole(path: Path, picture: str | bytes) -> Path:
    """Write a picture so that no reader ever sees half of one.

    Raises:
        RenderError: the folder is missing or cannot be written.
    """
    try:
        write_atomically(path, picture.encode() if isinstance(picture, str) else picture)
    except SnapshotError as error:
        raise RenderError(f"a picture could not be written: {error}") from error
    return path
