"""Where Graphviz comes from: `dot` on the path, else the one inside the pygraphviz wheel."""

import io
import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from nestgraph.errors import RenderError
from nestgraph.render.files import small_png

SECONDS = 120
LARGE_PNG = 1_000_000  # bytes, above which few colours do
BUNDLED = Path(__file__).with_name("bundled.py")


class NoEngineError(RenderError):
    """There is no Graphviz on this machine."""


def laid_out(dot_text: str, picture_format: str) -> bytes:
    """Lay DOT text out with `dot` as `svg`, `png` or `pdf`; the same text gives the same bytes.

    Raises:
        NoEngineError: neither `dot` nor pygraphviz is there.
        RenderError: Graphviz failed.
    """
    command = _command(picture_format)
    environment = os.environ | {"SOURCE_DATE_EPOCH": "0"}
    try:
        done = subprocess.run(command, input=dot_text.encode(), capture_output=True, timeout=SECONDS, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RenderError(f"Graphviz expected to lay out a diagram within {SECONDS} s, got: {error}") from error
    if done.returncode or not done.stdout:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no message"]
        raise RenderError(f"Graphviz expected to draw {picture_format}, got exit {done.returncode}: {said[0][:200]}")
    return _undated(done.stdout, picture_format)


def version() -> str:
    """Which Graphviz lays out: its version, that of the wheel that holds it, or `none`."""
    dot = shutil.which("dot")
    if dot is None:
        return f"in pygraphviz {metadata.version('pygraphviz')}" if find_spec("pygraphviz") is not None else "none"
    try:
        done = subprocess.run([dot, "-V"], capture_output=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    found = re.search(rb"version ([\w.~+-]{1,40})", done.stderr + done.stdout)
    return found[1].decode() if found else "unknown"


def _command(picture_format: str) -> list[str]:
    dot = shutil.which("dot")
    if dot is not None:
        return [dot, f"-T{picture_format}"]
    if find_spec("pygraphviz") is not None:
        return [sys.executable, "-P", str(BUNDLED), picture_format]
    raise NoEngineError("expected Graphviz, got neither `dot` on the path nor the package pygraphviz")


def _undated(picture: bytes, picture_format: str) -> bytes:
    """Without what a picture says of the machine that drew it, and without what an SVG repeats in every line."""
    if picture_format == "svg":
        bare = re.sub(
            rb"<!--.*?-->\s*|<!DOCTYPE[^>]*>\s*| standalone=\"no\"| xml:space=\"preserve\"", b"", picture, flags=re.S
        )
        family = re.search(rb' font-family="[^"]*"', bare)
        return bare if family is None else bare.replace(family[0], b"").replace(b"<svg", b"<svg" + family[0], 1)
    if picture_format == "pdf":
        return re.sub(rb"(/CreationDate \(D:)[0-9]{14}", rb"\g<1>19700101000000", picture)
    if len(picture) <= LARGE_PNG:
        return picture
    with Image.open(io.BytesIO(picture)) as image:
        return small_png(image.convert("RGB"))
