"""Light and dark: pictures are made in the colours of `style`, and recoloured as a whole for a dark page."""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, cast

from nestgraph.errors import RenderError
from nestgraph.render.scene import Mark, Raster, Scene
from nestgraph.render.style import BLUE, FAINT, GREY, HEAT, INK, MUTED, OFF, ON, PANEL, PAPER, PURPLE, SHADES, VERMILION

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
        apart, stops = (tuple(DARK.get(ink, ink) for ink in inks) for inks in (mark.apart, mark.stops))
        return replace(mark, apart=apart, stops=HEAT[::-1] if mark.stops == HEAT else stops)
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
