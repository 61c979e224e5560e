"""The user's own data as the three splits of a run, and as batches for a loop of the user's own."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from nestgraph.data.batches import Batches, SampledBatches
from nestgraph.data.loaded import OwnBatches, OwnSamples, own
from nestgraph.data.samples import Dataset, Samples, Split
from nestgraph.data.splitting import SplitKind, split_places
from nestgraph.data.tables.frames import is_frame, table_of
from nestgraph.data.tables.options import TableReading
from nestgraph.data.tables.table import Table
from nestgraph.errors import DataError
from nestgraph.spec.arguments import AtLeastOne, checked, sized
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.facts import AllWanted
from nestgraph.spec.parts import are_several, each_of, named
from nestgraph.spec.randomness import Seed
from nestgraph.spec.wording import quoted


@checked(DataError)
def as_batches(data: Any, size: AtLeastOne = 128, *, steps: AtLeastOne | None = None) -> Batches:
    """Data as batches that can be read again, an epoch of one seed the same each time.

    Args:
        data: arrays `(X, y)` or `(X, y, weights)`, where X may be a tuple or a dict of arrays for several inputs, and y
            for several outputs; a torch Dataset or DataLoader; an iterable of batches that can be read again, such as a
            list; a function of a seed that gives one.
        size: samples of a batch, at most, of arrays and Datasets.
        steps: batches of an epoch of a stream, which has no end.

    Raises:
        DataError: it is none of these, can be read once only, gives nothing, or gives what is no batch.
    """
    found = _split(data, size, steps, "data")
    if isinstance(found, Samples):
        return SampledBatches(found, size, torch.device("cpu"))
    return OwnBatches(cast(OwnSamples, found))


@checked(DataError)
def dataset(
    train: Any,
    validation: Any,
    test: Any = None,
    *,
    size: AtLeastOne = 128,
    steps: AtLeastOne | None = None,
    names: tuple[str, ...] = (),
    name: str = "own",
) -> Dataset:
    """The splits of a run, each given for itself: see `as_batches`.

    Args:
        train: what is trained with.
        validation: what decisions are made by; also of a stream it has an end.
        test: what the result is measured on; by default the validation split, whose figures then are no result.
        size: see `as_batches`.
        steps: batches of an epoch where `train` is a stream.
        names: of the classes, else of the numbers of a target.
        name: of the data.

    Raises:
        DataError: see `as_batches`; or the splits have samples of several shapes.
    """
    splits = [
        _split(each, size, steps if use == "train" else None, f"{name}, {use}")
        for use, each in (("train", train), ("validation", validation), ("test", validation if test is None else test))
    ]
    return _dataset(name, splits, names)


@checked(DataError)
def split(
    data: Any,
    *,
    target: str | tuple[str, ...] | Mapping[str, str | tuple[str, ...]] | None = None,
    validation: float = 0.2,
    test: float = 0.2,
    kind: SplitKind = "stratified",
    by: Any = None,
    wanted: AllWanted = None,
    seed: Seed = 0,
    names: tuple[str, ...] = (),
    name: str = "own",
) -> Dataset:
    """The splits of a run, drawn from arrays or the rows of a frame.

    Args:
        data: `(X, y)` or `(X, y, weights)`, as `as_batches` takes them, or a frame of pandas, polars or Arrow, whose
            columns become numbers as those of a CSV file do.
        target: the column of a frame that is to be told, or several; for several outputs those of each, by name; none
            with `wanted="inputs"`.
        validation: share of the samples that decisions are made by.
        test: share of the samples that the result is measured on.
        kind: `stratified`, of each class its share; `group`, samples with one value of `by` together; `last`, the last
            ones, in the order of `by` if there is one.
        by: a value for each sample, (samples,); of a frame the name of a column.
        wanted: of a frame, whether its target holds classes, numbers or labels, for several outputs by name, by default
            as it looks; or "inputs".
        seed: which samples are drawn.
        names: of the classes, else of the numbers of a target.
        name: of the data.

    Raises:
        DataError: they are neither, or hold what cannot be learned from, or are too few.
    """
    if is_frame(data) or isinstance(data, Table):
        if target is None and wanted != "inputs":
            remedy = 'give target=, or wanted="inputs" to learn the rows themselves'
            raise DataError(f"split expected the name of a frame's target column, got none: {remedy}")
        named: Any = dict(target) if isinstance(target, Mapping) else target
        reading = TableReading(target=named, validation=validation, test=test, split=kind, by=by)
        return reading.dataset(name, data if isinstance(data, Table) else table_of(data, name), seed, wanted)
    if not _are_arrays(data):
        remedy = "give the splits of loaders, iterables and functions each for itself: dataset(train, validation)"
        if target is not None or wanted is not None:
            remedy = "collect a lazy frame, make a frame of other tables"
        raise DataError(f"split expected arrays (X, y) or a frame, got {quoted(data)}: {remedy}")
    if target is not None or wanted is not None:
        raise DataError(f"split expected no target beside arrays, which give it themselves, got {target!r}")
    whole = _samples(data, name)
    groups = None if by is None else _array(by, f"{name}, by")
    if groups is not None and groups.shape != (len(whole),):
        raise DataError(f"split expected a value of by for each of {len(whole):,} samples, got {groups.shape}")
    places = split_places(name, whole.targets, validation, test, np.random.default_rng(seed), kind, groups)
    return _dataset(name, [whole.part(chosen) for chosen in places], names)


def _dataset(name: str, splits: list[Split], names: tuple[str, ...]) -> Dataset:
    classes = 0
    if are_several(splits[0].targets):
        if names:
            got = f"several targets and names ({', '.join(names[:4])})"
            raise DataError(f"{name}: expected names beside one target, got {got}: leave them out")
    elif all(not are_several(part.targets) and _whole(part.targets) for part in splits):
        classes = max(len(names), *(int(part.targets.max()) + 1 for part in splits))
    return Dataset(name, *splits, classes=classes, names=names)


def _split(data: Any, size: int, steps: int | None, name: str) -> Split:
    if isinstance(data, Samples | OwnSamples):
        return data
    if _are_arrays(data):
        return _samples(data, name)
    if is_frame(data):
        raise DataError(f"{name}: expected arrays, got a frame: split(frame, target=...) makes numbers of its columns")
    return OwnSamples(own(data, size, steps), name)


def _are_arrays(data: Any) -> bool:
    """Whether data are (X, y[, weights]) and no batches: their parts have shapes, or are several inputs."""
    parts = [*cast("tuple[Any, ...]", data)] if isinstance(data, tuple) else []
    if len(parts) not in (2, 3):
        return False
    told = list(each_of(parts[1]))
    if are_several(parts[1]):
        return bool(told) and all(hasattr(each, "shape") for _, each in told)
    return hasattr(parts[1], "shape") or (isinstance(parts[1], list) and not isinstance(parts[0], tuple))


def _samples(data: Any, name: str) -> Samples:
    first = data[0]
    if isinstance(first, Mapping):
        first = tuple(cast("Mapping[str, Any]", first).values())
    several = isinstance(first, tuple)
    given = cast("tuple[Any, ...]", first if several else (first,))
    found = [_floats(each, f"{name}, inputs") for each in given]
    parts = tuple(part[:, None] if part.ndim == 1 else part for part in found)
    weights = _floats(data[2], f"{name}, weights") if len(data) > 2 else None
    targets = named(lambda key, each: _targets(each, f"{name}, {key}" if key else name), data[1])
    return Samples(parts if several else parts[0], targets, weights)


def _floats(given: Any, place: str) -> NDArray[np.float32]:
    array = _array(given, place)
    if array.dtype.kind not in "biuf":
        remedy = "make numbers of words (a frame's columns become numbers: split(frame, target=...))"
        raise DataError(f"{place}: expected numbers, got {quoted(array.reshape(-1)[:1].tolist())}: {remedy}")
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(array, np.float32)


def _targets(given: Any, name: str) -> NDArray[Any]:
    """Whole numbers as classes, others as they are."""
    array = _array(given, f"{name}, targets")
    if array.dtype.kind not in "biuf":
        got = ", ".join(map(quoted, array.reshape(-1)[:1].tolist())) or str(array.dtype)
        remedy = "number the classes from 0: classes, y = numpy.unique(y, return_inverse=True)"
        raise DataError(f"{name}: expected targets that are numbers, got {got}: {remedy}")
    whole = array.dtype.kind in "biu" and array.ndim == 1
    return np.ascontiguousarray(array, np.int64 if whole else np.float32)


def _whole(targets: NDArray[Any]) -> bool:
    """Whether targets are classes, of samples or of their places."""
    return targets.dtype == np.int64


def _array(given: Any, place: str) -> AnyArray:
    try:
        detached = given.detach().cpu() if isinstance(given, torch.Tensor) else given
        return np.asarray(sized(detached))
    except Exception as error:  # whatever a stranger's `__array__` does
        raise DataError(f"{place}: expected an array, got {quoted(given)}") from error
