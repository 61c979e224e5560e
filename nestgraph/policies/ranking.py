"""Choosing entries by score: exactly as many as asked for, and the same ones each time."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from nestgraph.spec.arrays import AnyArray

Fraction = Annotated[float, Field(gt=0, le=1)]
Scope = Literal["projection", "global"]
Scores = Iterable[AnyArray]
"""The scores of a projection, a block of rows at a time: as many as its weights have entries, in row-major order."""
NEVER = -np.inf
"""The score of an entry that is never chosen."""
BLOCK = 2**18
"""About how many entries are looked at at once: what is computed of them stays near the processor."""
SLACK = 2**16
"""How many more than are wanted may be held before the best of them are picked; a quarter of them if that is more."""


def row_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    """The rows of an array, as many at a time as have about `BLOCK` entries.

    >>> list(row_blocks((3, BLOCK // 2)))
    [slice(0, 2, None), slice(2, 3, None)]
    """
    step = max(1, BLOCK * shape[0] // max(1, int(np.prod(shape))))
    return (slice(first, min(first + step, shape[0])) for first in range(0, shape[0], step))


def top(scores: AnyArray, count: int) -> AnyArray:
    """Row-major positions of the `count` largest scores, ascending; of equal ones the first are taken.

    >>> top(np.array([1.0, 3.0, NEVER, 1.0]), 2).tolist()
    [0, 1]
    """
    flat = scores.ravel()
    count = min(count, int(np.count_nonzero(flat > NEVER)))
    if count < 1:
        return np.zeros(0, np.int64)
    threshold = np.partition(flat, flat.size - count)[flat.size - count]
    kept = flat > threshold
    kept[np.flatnonzero(flat == threshold)[: count - np.count_nonzero(kept)]] = True
    return np.flatnonzero(kept)


@dataclass(frozen=True, eq=False)
class Ranked:
    """Entries of a projection that were chosen.

    Attributes:
        entries: their row-major positions, int64, ascending.
        scores: what they were chosen by.
    """

    entries: AnyArray
    scores: AnyArray


class Best:
    """The largest of scores that are told one after the other; of equal ones the first.

    Memory is that of what is wanted, not of what is told: once that many are held, only what is larger than the
    least of them is looked at.
    """

    def __init__(self, count: int) -> None:
        """Ask for `count` scores."""
        self.told, self._count, self._held = 0, count, 0
        self._least: AnyArray | float = NEVER
        self._places: list[AnyArray] = []
        self._scores: list[AnyArray] = []

    def tell(self, scores: AnyArray) -> None:
        """Take the next scores into account."""
        flat = np.ravel(scores)
        if self._count > 0:
            larger = np.flatnonzero(flat > self._least)
            self._places.append(larger + self.told)
            self._scores.append(flat[larger])
            self._held += len(larger)
            if self._held > self._count + max(SLACK, self._count // 4):
                self._pick()
        self.told += flat.size

    def ranked(self) -> Ranked:
        """The largest so far, by their places among all that was told."""
        self._pick()
        return Ranked(self._places[0], self._scores[0])

    def _pick(self) -> None:
        scores = np.concatenate(self._scores) if self._scores else np.zeros(0)
        kept = top(scores, self._count)
        scores = scores[kept]
        places = np.concatenate([np.zeros(0, np.int64), *self._places])[kept]
        self._places, self._scores, self._held = [places], [scores], len(kept)
        if 0 < self._count == len(kept):
            self._least = scores.min()


def chosen(scores: Mapping[str, Scores], count: int) -> dict[str, Ranked]:
    """The `count` entries with the largest scores of all projections together, of each that has some."""
    best, ends = Best(count), [0]
    for blocks in scores.values():
        for block in blocks:
            best.tell(block)
        ends.append(best.told)
    return _apart(best.ranked(), list(scores), ends)


def fewer(ranked: Mapping[str, Ranked], count: int) -> dict[str, Ranked]:
    """The best of what was chosen, of all projections together."""
    best = chosen({name: [each.scores] for name, each in ranked.items()}, count)
    return {name: Ranked(ranked[name].entries[each.entries], each.scores) for name, each in best.items()}


def _apart(ranked: Ranked, names: list[str], ends: list[int]) -> dict[str, Ranked]:
    """What was chosen of all projections together, by projection; `ends` is where each begins and the last ends."""
    cuts = np.searchsorted(ranked.entries, ends)
    parts = zip(names, ends, pairwise(cuts), strict=False)
    return {
        name: Ranked(ranked.entries[first:last] - start, ranked.scores[first:last])
        for name, start, (first, last) in parts
        if last > first
    }


def groups(names: Collection[str], shared: bool) -> list[list[str]]:
    """What has one budget: all names where it is shared, else each name."""
    return [list(names)] if shared and names else [[name] for name in names]


def largest(scores: Mapping[str, Scores], sizes: Mapping[str, int], fraction: float, scope: Scope) -> dict[str, Ranked]:
    """The entries with the largest scores: a fraction of each projection or of all together, and at least one.

    Args:
        scores: by projection.
        sizes: by projection, of how many connections `fraction` is taken.
        fraction: of the sizes.
        scope: whether projections have budgets of their own, or compete for one.

    Returns:
        What was chosen, for projections where there is something.
    """
    found: dict[str, Ranked] = {}
    for group in groups(scores, scope == "global"):
        found |= chosen({name: scores[name] for name in group}, budget(sizes, group, fraction))
    return found


def budget(sizes: Mapping[str, int], group: Iterable[str], fraction: float) -> int:
    """How many entries a fraction of a group is; at least one."""
    return max(1, round(fraction * sum(sizes[name] for name in group)))
