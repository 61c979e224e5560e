"""Choosing entries by score: exactly as many as asked for, and the same ones each time."""

from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from nestgraph.spec.arrays import AnyArray

Fraction = Annotated[float, Field(gt=0, le=1)]
Scope = Literal["projection", "global"]
NEVER = -np.inf
"""The score of an entry that is never chosen."""


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
    above, equal = np.flatnonzero(flat > threshold), np.flatnonzero(flat == threshold)
    return np.sort(np.concatenate([above, equal[: count - len(above)]]))


def groups(names: Collection[str], shared: bool) -> list[list[str]]:
    """What has one budget: all names where it is shared, else each name."""
    return [list(names)] if shared and names else [[name] for name in names]


def chosen(scores: Mapping[str, AnyArray], count: int) -> dict[str, AnyArray]:
    """The `count` entries with the largest scores of all projections together, as `largest` returns them."""
    picked = top(np.concatenate([values.ravel() for values in scores.values()]), count)
    starts = np.cumsum([0] + [values.size for values in scores.values()])[:-1]
    parts = np.split(picked, np.searchsorted(picked, starts[1:]))
    return {name: part - start for name, start, part in zip(scores, starts, parts, strict=True) if len(part)}


def largest(
    scores: Mapping[str, AnyArray], sizes: Mapping[str, int], fraction: float, scope: Scope
) -> dict[str, AnyArray]:
    """The entries with the largest scores: a fraction of each projection or of all together, and at least one.

    Args:
        scores: by projection, in the shape of its weights.
        sizes: by projection, of how many connections `fraction` is taken.
        fraction: of the sizes.
        scope: whether projections have budgets of their own, or compete for one.

    Returns:
        Row-major positions by projection, for those where there are some.
    """
    found: dict[str, AnyArray] = {}
    for group in groups(scores, scope == "global"):
        found |= chosen({name: scores[name] for name in group}, budget(sizes, group, fraction))
    return found


def budget(sizes: Mapping[str, int], group: Iterable[str], fraction: float) -> int:
    """How many entries a fraction of a group is; at least one."""
    return max(1, round(fraction * sum(sizes[name] for name in group)))
