"""Light and dark: pictures are made in the colours of `style`, and recoloured as a whole for a dark page."""

# Matplotlib's keyword arguments are untyped.
# pyright: reportUnknownMemberType=false

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np
from matplotlib.artist import Artist
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from nestgraph.errors import RenderError
from nestgraph.render.scene import Mark, Raster, Scene
from nestgraph.render.style import BLUE, FAINT, GREY, HEAT, INK, MUTED, OFF, ON, PANEL, PAPER, PURPLE, SHADES, VERMILION
from nestgraph.spec.arrays import AnyArray

Theme = Literal["light", "dark"]
DARK: Mapping[str, str] = {
    PAPER: "#13171C",
    PANEL: "#1D232A",
    FAINT: "#39414B",
    GREY: "#77818D",
    MUTED: "#A9B2BD",
    INK: "#EEF1F4",
    BLUE: "#56B4E9",
    VERMILION: "#F28C4B",
    PURPLE: "#DB9BC2",
    ON: "#56B4E9",
    OFF: "#2E363F",
    SHADES["seed"]: "#20262D",
    SHADES["grow"]: "#17293A",
    SHADES["shift"]: "#32232F",
    SHADES["prune"]: "#352519",
}
"""What each colour of a light picture is on a dark page: as far from the page, and from the other colours."""

INKS = ("fill", "stroke", "colour")
PAINTS = ("facecolor", "edgecolor", "color", "markerfacecolor", "markeredgecolor")


def check_theme(theme: str) -> None:
    """Refuse what is no theme.

    Raises:
        RenderError: it is neither `light` nor `dark`.
    """
    if theme not in ("light", "dark"):
        raise RenderError(f"a picture expected the theme 'light' or 'dark', got {str(theme)[:40]!r}")


def shaded(scene: Scene, theme: Theme) -> Scene:
    """A scene in the colours of a theme."""
    if theme == "light":
        return scene
    return replace(scene, paper=DARK[scene.paper], marks=tuple(_shaded(mark) for mark in scene.marks))


def _shaded(mark: Mark) -> Mark:
    if isinstance(mark, Raster):
        return replace(mark, stops=tuple(DARK.get(ink, ink) for ink in mark.stops))
    inks = {name: getattr(mark, name) for name in INKS if hasattr(mark, name)}
    return cast(Mark, replace(cast(Any, mark), **{name: DARK.get(ink, ink) for name, ink in inks.items()}))


def shaded_dot(text: str, theme: Theme) -> str:
    r"""DOT text in the colours of a theme.

    A colour is `"#RRGGBB"` with its quotes. A label cannot hold that: in quoted text a quote is `\"`, in HTML-like
    text it is `&quot;`.
    """
    if theme == "light":
        return text
    return re.sub(r'(?<!\\)"(#[0-9A-F]{6})"', lambda found: f'"{DARK.get(found[1], found[1])}"', text)


def shade_figure(figure: Figure, theme: Theme) -> None:
    """Recolour a chart in place: what is drawn in a colour of `style`, and scales of heat, which then begin dark."""
    if theme == "light":
        return
    artists: list[Artist] = figure.findobj()
    for artist in artists:
        for paint in PAINTS:
            _shade(artist, paint)
        image = artist.get_array() if isinstance(artist, AxesImage) else None
        if isinstance(artist, AxesImage) and image is not None and image.ndim == 3:
            artist.set_data(_shaded_pixels(image))
        elif isinstance(artist, ScalarMappable) and artist.get_cmap() == HEAT:
            artist.set_cmap(HEAT.reversed())


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


def _shaded_pixels(pixels: AnyArray) -> AnyArray:
    """An image (rows, columns, 3) of colours of `style` and of heat on a dark page."""
    heat = np.rint(HEAT(np.arange(256))[:, :3] * 255).astype(np.uint8)
    light, dark = (
        np.array([list(bytes.fromhex(c[1:])) for c in colours], np.uint8) for colours in zip(*DARK.items(), strict=True)
    )
    known, later = np.concatenate([light, heat]), np.concatenate([dark, heat[::-1]])
    codes = _packed(known)
    order = np.argsort(codes, kind="stable")
    place = np.searchsorted(codes[order], _packed(pixels)).clip(max=len(codes) - 1)
    found = codes[order][place] == _packed(pixels)
    return np.where(found[..., None], later[order][place], pixels)


def _packed(colours: AnyArray) -> AnyArray:
    return colours.astype(np.int64) @ np.array([65536, 256, 1])
