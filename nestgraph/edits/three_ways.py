"""What two sides made of one thing, merged: what only one of them changed is taken from it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nestgraph.errors import ConflictError
from nestgraph.spec.arrays import AnyArray

MOST_NAMED = 32
"""Units that a conflict names; of others it says how many there are."""


@dataclass(frozen=True)
class Conflict:
    """What both sides changed, each otherwise.

    Attributes:
        place: the layer or projection.
        what: of it that both changed, such as `weight`.
        units: ids of the units of the layer, or of the target, for up to 32 entries; empty where it is the whole place.
        edit: what the edit makes of it, in words; of the first unit.
        here: what it is in the network that the edit is mapped to.
        count: how many entries both changed.
        reasons: what policies chose them by, in words: those of the edit, then those of what is here.
    """

    place: str
    what: str
    units: tuple[int, ...]
    edit: str
    here: str
    count: int = 1
    reasons: tuple[tuple[str, ...], ...] = ()

    def told(self, edit: str, here: str) -> str:
        """The conflict in a line, both sides under names such as `theirs` and `ours`."""
        units = ", ".join(map(str, self.units[:5])) + (" and more" if self.count > 5 else "")
        whose = f" at unit{'s' if len(self.units) > 1 else ''} {units}" if self.units else ""
        given = ("".join(f" ({reason})" for reason in side[:1]) for side in (self.reasons or ((), ())))
        one, other = (f"{value}{why}" for value, why in zip((self.edit, self.here), given, strict=True))
        return f"{self.what} of {self.place!r}{whose}: {one} in {edit}, {other} in {here}"

    def __str__(self) -> str:
        return self.told("the edit", "the network")


@dataclass(frozen=True)
class Merging:
    """Where an edit merges values, to name what clashes.

    Attributes:
        words: of the edit.
        place: the layer or projection.
        units: gives the ids of the units of entries, by their flat positions in the arrays.
    """

    words: str
    place: str
    units: Callable[[AnyArray], AnyArray]

    def __call__(self, what: str, base: AnyArray, here: AnyArray, ours: AnyArray) -> AnyArray:
        """`ours` where it differs from the base, else what is `here`; all of one shape.

        Raises:
            ConflictError: both differ from the base, and from each other.
        """
        mine = ours != base
        clash = np.flatnonzero(mine & (here != base) & (ours != here))
        if len(clash):
            units = tuple(dict.fromkeys(self.units(clash[:MOST_NAMED]).tolist()))
            one, other = (str(array.reshape(-1)[clash[0]]) for array in (ours, here))
            raise ConflictError(self.words, (Conflict(self.place, what, units, one, other, len(clash)),))
        return np.where(mine, ours, here)
