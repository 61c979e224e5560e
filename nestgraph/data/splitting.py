"""Which samples train, which validate and which test: shares of each class, whole groups, or the last ones."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from nestgraph.data.stratified import stratified
from nestgraph.errors import DataError
from nestgraph.spec.parts import each_of

Share = Annotated[float, Field(gt=0, lt=1)]
SplitKind = Literal["stratified", "group", "last"]
Places = NDArray[np.int64]


class Splits(NamedTuple):
    """The places of samples by what they are for, each in ascending order but by time, and never in two."""

    train: Places
    validation: Places
    test: Places


def split_places(
    who: str,
    targets: Any,
    validation: float,
    test: float,
    rng: np.random.Generator,
    kind: SplitKind = "stratified",
    by: NDArray[Any] | None = None,
) -> Splits:
    """The places of samples in each split.

    Args:
        who: what messages call the data.
        targets: classes, int64, (samples,), of which each split has its share; or numbers, then samples are drawn. Of
            several the first that are classes count.
        validation: share of all samples.
        test: share of all samples; 0 for none.
        rng: draws.
        kind: `group` keeps samples of one value of `by` together; `last` takes the last samples as test split and those
            before them as validation split, in the order of `by` or, without, in theirs.
        by: a value for each sample, (samples,), words or numbers.

    Raises:
        DataError: a split would be empty.
    """
    several = [told for _, told in each_of(targets)]
    count = len(several[0])
    if kind == "group" and by is None:
        raise DataError(f"{who}: expected a value of each sample to group them by, got none: name a column with `by`")
    if not (0 < validation < 1 and 0 <= test < 1):
        raise DataError(f"{who}: expected shares of the samples from 0 to 1, got {validation} and {test}")
    if validation + test >= 1:
        raise DataError(f"{who}: expected samples to train with, got shares of {validation} and {test} for the others")
    sizes = [round(share * count) for share in (test, validation)]
    if kind == "last":
        order = np.arange(count) if by is None else np.argsort(by, kind="stable")
        ends = count - sizes[0] - sizes[1], count - sizes[0]
        found = Splits(order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :])
    else:
        draw = _drawn(several) if kind == "stratified" or by is None else _grouped(by)
        rest = np.arange(count)
        parts: list[Places] = []
        for size in sizes:
            chosen = draw(rest, size, rng)
            parts.append(rest[chosen])
            rest = rest[~chosen]
        found = Splits(rest, parts[1], parts[0])
    empty = [name for name, places in found._asdict().items() if not len(places) and (name != "test" or test)]
    if empty:
        whole = f"{count:,} samples" if kind != "group" or by is None else f"{len(np.unique(by)):,} groups"
        raise DataError(
            f"{who}: expected samples in each split, got none to {empty[0]} of {whole}: give more, or others"
        )
    return found


Draw = Callable[[Places, int, np.random.Generator], NDArray[np.bool_]]


def _drawn(several: Sequence[NDArray[Any]]) -> Draw:
    """Draws of each class its share, of numbers any."""
    whole = [told for told in several if told.dtype == np.int64 and told.ndim == 1]
    classes = whole[0] if whole else np.zeros(len(several[0]), np.int64)
    return lambda rest, size, rng: stratified(classes[rest], size, rng)


def _grouped(by: NDArray[Any]) -> Draw:
    """Draws whole groups, in random order, as long as they bring the split nearer to its size."""
    _, groups = np.unique(by, return_inverse=True)

    def draw(rest: Places, size: int, rng: np.random.Generator) -> NDArray[np.bool_]:
        counts = np.bincount(groups[rest], minlength=int(groups.max()) + 1)
        chosen, got = list[int](), 0
        for group in rng.permutation(np.flatnonzero(counts)).tolist():
            if abs(got + int(counts[group]) - size) < abs(got - size):
                chosen.append(group)
                got += int(counts[group])
        return np.isin(groups[rest], chosen)

    return draw
