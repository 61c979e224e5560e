"""How a difference is drawn: each fate has a colour, a line and a sign, so that none is told by colour alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nestgraph.render.scene import DASHED, DOTTED, Dashes
from nestgraph.render.style import BLUE, FAINT, GREY, PURPLE, VERMILION

Fate = Literal["added", "removed", "changed", "unchanged", "dormant"]
SEAMED: Dashes = (8.0, 1.5)


@dataclass(frozen=True)
class Look:
    """How units and edges of one fate look."""

    sign: str
    colour: str
    dashes: Dashes


LOOKS: Mapping[Fate, Look] = {
    "added": Look("+", BLUE, ()),
    "removed": Look("-", VERMILION, DASHED),
    "changed": Look("~", PURPLE, SEAMED),
    "unchanged": Look("", GREY, ()),
    "dormant": Look("", FAINT, DOTTED),
}


def signed(added: int, removed: int, changed: int = 0) -> str:
    """Counts with their signs, such as `+12 -3 ~40`; those of 0 are left out."""
    counts: dict[Fate, int] = {"added": added, "removed": removed, "changed": changed}
    return " ".join(f"{LOOKS[fate].sign}{count:,}" for fate, count in counts.items() if count)
