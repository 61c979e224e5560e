"""How notebooks show networks, editors and edits: a slot that the package's face fills, as drawing is a layer above."""

from collections.abc import Callable
from typing import Any

show: Callable[[Any], dict[str, str]] | None = None


def shown(thing: object) -> dict[str, str]:
    """What a notebook shows of a thing by media type; its text alone where nothing draws."""
    return show(thing) if show else {"text/plain": repr(thing)}
