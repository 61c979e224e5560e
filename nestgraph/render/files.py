"""Writing pictures: the format from the suffix, whole or not at all."""

import io
import os
import zlib
from collections.abc import Collection
from pathlib import Path

from PIL import Image

from nestgraph.errors import RenderError, SnapshotError
from nestgraph.snapshot import check_own, write_own

PICTURE_FORMATS = ("svg", "png", "pdf")
FORMATS = ("dot", *PICTURE_FORMATS)
COLOURS = 256
MARK = b"Drawn by nestgraph"
"""What tells our pictures from others."""

PNG, AFTER_HEADER = b"\x89PNG\r\n\x1a\n", 33


def picture_path(path: str | os.PathLike[str], overwrite: bool, allowed: Collection[str] = FORMATS) -> tuple[Path, str]:
    """A path and the picture format that its suffix names, before anything is drawn.

    Raises:
        RenderError: it names none; or another's file is there, and it is not to be overwritten.
    """
    target = Path(path)
    suffix = target.suffix.lower().removeprefix(".")
    if suffix not in allowed:
        endings = ", ".join(f".{ending}" for ending in allowed)
        raise RenderError(f"a picture expected a path that ends in one of {endings}, got {str(target)[:200]!r}")
    try:
        check_own(target, MARK, overwrite)
    except SnapshotError as error:
        raise _unwritten(error) from error
    return target, suffix


def small_png(image: Image.Image) -> bytes:
    """An image as PNG in few colours, which makes small files."""
    picture = io.BytesIO()
    image.quantize(COLOURS, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(picture, "png")
    return picture.getvalue()


def write_whole(path: Path, picture: str | bytes, overwrite: bool = False) -> Path:
    """Write a picture so that no reader ever sees half of one, with the mark of our pictures.

    Args:
        path: of the picture.
        picture: its content.
        overwrite: replace a file that is no picture of ours; one of ours is replaced without it.

    Raises:
        RenderError: another file is there, or the folder is missing or cannot be written.
    """
    data = picture.encode() if isinstance(picture, str) else picture
    try:
        write_own(path, marked(data), MARK, overwrite)
    except SnapshotError as error:
        raise _unwritten(error) from error
    return path


def _unwritten(error: SnapshotError) -> RenderError:
    return RenderError(f"a picture could not be written: {error}")


def marked(data: bytes) -> bytes:
    """A picture with a comment that says whose it is: of SVG, PNG, PDF or DOT, told by its content."""
    if data.startswith(PNG):
        chunk = b"tEXtSoftware\0" + MARK
        length = (len(chunk) - 4).to_bytes(4, "big")
        return data[:AFTER_HEADER] + length + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[AFTER_HEADER:]
    if data.startswith(b"%PDF"):
        end = data.rfind(b"%%EOF")
        return data[:end] + b"% " + MARK + b"\n" + data[end:]
    end = data.rfind(b"</svg>")
    if end >= 0 and not data[end + 6 :].strip():
        return data[:end] + b"<!-- " + MARK + b" -->\n" + data[end:]
    return data.rstrip(b"\n") + b"\n// " + MARK + b"\n"
