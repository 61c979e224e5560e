"""Where a convolution is computed, and how that is spelled.

An area is bool (out, in, *extents) by pair of maps, or (out, 1, *extents) by map, or None for everywhere. The spelling
says what becomes of a new source: by map its pairs are computed where the others of the map are, by pair everywhere
until it is said otherwise. With a single source the two are one.

What is recorded stays as it is spelled, to the bit of a digest. Whatever makes an area anew takes the shortest.
"""

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np

from nestgraph.spec.arrays import AnyArray, owned

Area = AnyArray | None


def fits(area: AnyArray, pairs: tuple[int, int], extents: Sequence[int]) -> bool:
    """Whether an area is one of so many (out, in) pairs of maps, or of their maps, of the extents."""
    return area.shape in ((*pairs, *extents), (pairs[0], 1, *extents))


def paired(area: Area) -> TypeGuard[AnyArray]:
    """Whether an area is by pair and could not as well be by map."""
    return area is not None and area.shape[1] != 1


def of_pairs(area: AnyArray, targets: Any, sources: Any) -> AnyArray:
    """The areas of pairs of maps, by their places, of which the shapes broadcast; with the extents behind.

    By map they are those of the targets, whatever the shape of the places of sources.
    """
    return area[targets, sources if paired(area) else 0]


def shortest(area: Area, like: Area = None) -> Area:
    """The area in its shortest spelling, or in one that is as long as that of another."""
    if area is None or (like is None and area.all()):
        return None
    by_map = area[:, :1]
    return by_map if not paired(like) and by_map.size and (area == by_map).all() else area


def spelled_alike(one: Area, other: Area, sources: tuple[int, int]) -> bool:
    """Whether two areas are spelled alike, of blocks that have so many sources: of a single one either way."""
    if one is None or other is None:
        return one is other
    return 1 in sources or paired(one) == paired(other)


def laid_out(area: Area, pairs: tuple[int, int], extents: Sequence[int]) -> AnyArray:
    """The area in the shape (out, in or 1, *extents), without a copy."""
    return np.broadcast_to(np.True_ if area is None else area, (*pairs, *extents))


def to_join(here: Area, part: AnyArray, end: int, known: AnyArray, pairs: tuple[int, int]) -> tuple[Area, Area]:
    """The area of a block and that of a part for it, spelled so that they can be joined.

    Args:
        here: of the block.
        part: of the part, bool (targets, sources or 1, *extents).
        end: at which the units of the part are new.
        known: bool, for the units at the other end, whether the part says something of them.
        pairs: (out, in) of the block.
    """
    extents = part.shape[2:]
    if end == 1:
        rows = laid_out(here, (pairs[0], 1), extents)
        if (part == rows)[known].all():
            return here, None
        return owned(np.repeat(rows, pairs[1], 1)), part
    if paired(here):
        marks = known.reshape(1, -1, *(1 for _ in extents))
        return here, part if paired(part) else owned(np.where(marks, part, np.True_))
    by_map = _by_map(part, known)
    if by_map is None:
        return owned(np.repeat(laid_out(here, (pairs[0], 1), extents), pairs[1], 1)), part
    if here is None and by_map.all():
        return None, None
    return owned(laid_out(here, (pairs[0], 1), extents).copy()) if here is None else here, by_map


def _by_map(part: AnyArray, known: AnyArray) -> Area:
    """The area of new targets by map, where the sources agree of which it says something."""
    if not paired(part):
        return part
    said = part[:, known]
    first = said[:, :1] if said.shape[1] else np.ones((len(part), 1, *part.shape[2:]), bool)
    return owned(first.copy()) if (said == first).all() else None
