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
SAMPLE = 2**16  # scores that are looked at to guess a bound for the largest of many


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
    flat = {name: values.ravel() for name, values in scores.items()}
    places = _candidates(flat, count)
    picked = top(np.concatenate([flat[name][place] for name, place in places.items()]), count)
    starts = np.cumsum([0] + [len(place) for place in places.values()])[:-1]
    parts = np.split(picked, np.searchsorted(picked, starts[1:]))
    found = {name: places[name][part - start] for name, start, part in zip(flat, starts, parts, strict=True)}
    return {name: entries for name, entries in found.items() if len(entries)}


def _candidates(flat: Mapping[str, AnyArray], count: int) -> dict[str, AnyArray]:
    """Positions by projection among which the `count` largest scores are; all that may be chosen where those are few.

    Partitioning millions of scores costs more than looking at each once: a sample tells a bound that leaves few.
    """
    total = sum(values.size for values in flat.values())
    step = total // SAMPLE
    if step > 1:
        sample = np.concatenate([values[::step] for values in flat.values()])
        rank = min(len(sample) - 1, int(1.2 * count / step) + 64)
        bound = np.partition(sample, len(sample) - 1 - rank)[len(sample) - 1 - rank]
        places = {name: np.flatnonzero(values >= bound) for name, values in flat.items()} if bound > NEVER else {}
        if sum(map(len, places.values())) >= count:
            return places
    return {name: np.flatnonzero(values > NEVER) for name, values in flat.items()}


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
