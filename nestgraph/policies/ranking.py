"""Choosing entries by score: exactly as many as asked for, and the same ones each time."""

from collections.abc import Mapping
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
    chosen: dict[str, AnyArray] = {}
    for group in [list(scores)] if scope == "global" else [[name] for name in scores]:
        pool = np.concatenate([scores[name].ravel() for name in group])
        picked = top(pool, max(1, round(fraction * sum(sizes[name] for name in group))))
        starts = np.cumsum([0] + [scores[name].size for name in group[:-1]])
        parts = np.split(picked, np.searchsorted(picked, starts[1:]))
        chosen |= {name: part - start for name, start, part in zip(group, starts, parts, strict=True) if len(part)}
    return chosen
