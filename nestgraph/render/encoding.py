"""How a difference is drawn: each fate has a colour, a line and a sign, so that none is told by colour alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from nestgraph.graph.tally import Counts, Tally
from nestgraph.graph.tally import Fate as Became
from nestgraph.render.scene import DASHED, DOTTED, Dashes
from nestgraph.render.style import BLUE, FAINT, GREY, PURPLE, VERMILION

Fate = Became | Literal["dormant"]
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


def growth_words(counts: Counts) -> str:
    """Units and connections before and after, such as `8 → 7 units (-1), 20 → 18 connections (-2)`."""
    return ", ".join((_grown(counts.units, "units"), _grown(counts.connections, "connections")))


def _grown(tally: Tally, what: str) -> str:
    return f"{tally.before:,} → {tally.after:,} {what} ({signed(tally.added, tally.removed) or 'the same'})"
