"""Data of the user's own: loaders, datasets and functions that give batches, read again as often as a loop asks.

An epoch of one seed is the same whenever it is read: while the user's code runs, the global generators of torch, NumPy
and Python stand where that seed puts them, and whoever trains finds them again as they were.
"""

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data import Dataset as TorchDataset

from nestgraph.data.batches import Prepare
from nestgraph.data.minibatch import Minibatch
from nestgraph.data.share import WHOLE, Share
from nestgraph.errors import DataError
from nestgraph.spec.arguments import AtLeastOne, Count, checked
from nestgraph.spec.facts import Shape
from nestgraph.spec.parts import each_of, mapped
from nestgraph.spec.randomness import Seed, derived_seed
from nestgraph.spec.wording import foreign, quoted

Reader = Callable[[int], Iterable[Any]]
"""Gives the batches of a seed."""

FIRST = 64
"""Batches of a stream that say what its targets are like."""

Form = tuple[tuple[Shape, ...], tuple[tuple[str, Shape], ...], int]
"""The shapes of a sample's inputs and targets, and how many things a batch says of its samples."""


@dataclass(frozen=True)
class Own:
    """A split of the user's own.

    Attributes:
        read: gives its batches, shuffled by a seed where they are to train with.
        steps: batches of an epoch of a stream; None for what has an end.
        shuffled: whether seeds matter at all.
    """

    read: Reader
    steps: int | None = None
    shuffled: bool = True


def own(data: Any, size: int, steps: int | None = None) -> Own:
    """What a user gives as data, as what gives batches of (inputs, targets[, weights]).

    Args:
        data: a torch DataLoader; a torch Dataset of (input, target) samples, which is read in batches of `size`; a
            function of a seed that gives an iterable of batches; or an iterable of batches that can be read again.
        size: samples of a batch.
        steps: see `Own`.

    Raises:
        DataError: it is none of these, can be read once only, or has workers that keep a generator from before.
    """
    if isinstance(data, DataLoader):
        return Own(_of_loader(cast("DataLoader[Any]", data)), steps)
    if isinstance(data, TorchDataset):
        return Own(_of_loader(_loader(cast("TorchDataset[Any]", data), size)), steps)
    if isinstance(data, Iterator):
        remedy = "give a function of a seed that makes one, a list of batches, or a DataLoader"
        got = f"{type(cast(object, data)).__name__}, which is read once"
        raise DataError(f"expected batches that can be read again, got {got}: {remedy}")
    if isinstance(data, Iterable):
        return Own(lambda _: cast("Iterable[Any]", data), steps, shuffled=False)
    if callable(data):
        return Own(cast(Reader, data), steps)
    expected = "arrays (X, y), a frame, a torch Dataset or DataLoader, an iterable of batches or a function of a seed"
    raise DataError(f"expected data as {expected}, got {quoted(data)}")


def _loader(data: "TorchDataset[Any]", size: int) -> "DataLoader[Any]":
    shuffle = None if isinstance(data, IterableDataset) else True
    return DataLoader(data, size, shuffle=shuffle)


def _of_loader(loader: "DataLoader[Any]") -> Reader:
    """A loader whose generators a seed sets: its own and its sampler's, where they have some."""
    if loader.persistent_workers:
        expected = "a DataLoader whose workers begin anew with each epoch"
        raise DataError(f"expected {expected}, got one that keeps them: set persistent_workers=False")
    sampler, batched = cast(Any, loader.sampler), cast(Any, loader.batch_sampler)
    parts: tuple[Any, ...] = (loader, sampler, batched, getattr(batched, "sampler", None))
    generators = [each for part in parts if isinstance(each := getattr(part, "generator", None), torch.Generator)]

    def read(seed: int) -> Iterable[Any]:
        for number, generator in enumerate({id(each): each for each in generators}.values()):
            generator.manual_seed(derived_seed(seed, "loader", number))
        if hasattr(sampler, "set_epoch"):
            sampler.set_epoch(seed % 2**31)
        return loader

    return read


class OwnSamples:
    """A split of the user's own, which was read once: what its batches are like, which are checked in each reading.

    Attributes:
        shapes: of a sample of each input.
        targets: of all samples, or of the first batches of a stream, as they come; several by name or in a tuple.
        weights: of these, (samples,), where they have some.
        count: of the batches of an epoch.
        samples: how many there are; None for a stream.
        sha256: of all batches; of the first one where a seed draws them.
    """

    def __init__(self, data: Own, name: str = "data") -> None:
        """Read it once, or the first batches of a stream.

        Args:
            data: what gives batches.
            name: what messages call it.

        Raises:
            DataError: it gives nothing, or batches that are none, of several shapes or with numbers that are infinite.
        """
        self.name, self._own, self._form = name, data, cast("Form | None", None)
        digest, told, samples = hashlib.sha256(), list[tuple[Any, ...]](), 0
        for batch in self.read(0, min(data.steps, FIRST) if data.steps else None):
            if not (data.shuffled and told):
                for each in batch.tensors:
                    digest.update(np.ascontiguousarray(each.numpy()).data)
            told.append(tuple(mapped(np.asarray, each) for each in batch.told))
            samples += batch.samples
        if not told:
            remedy = "does the loader or function give something for any seed?"
            raise DataError(f"{name}: expected batches, got none: {remedy}")
        parts = [joined(each) for each in zip(*told, strict=True)]
        self.shapes: tuple[Shape, ...] = self._form[0] if self._form else ()
        self.targets, self.weights = parts[0], parts[1] if len(parts) > 1 else None
        self.samples = None if data.steps else samples
        self.count, self.sha256 = data.steps or len(told), digest.hexdigest()

    def __len__(self) -> int:
        return len(next(each_of(self.targets))[1])

    def read(self, seed: int, most: int | None = None) -> Iterator[Minibatch]:
        """So many batches of a seed, or an epoch.

        Raises:
            DataError: a stream ends before, or a batch is not as the others are.
        """
        wanted = self._own.steps if most is None else most
        given, count = Kept(self._own.read, seed, self.name), 0
        for count, batch in enumerate(islice(given, wanted), 1):
            yield self._checked(batch, f"{self.name}, batch {count}")
        if self._own.steps and wanted is not None and count < wanted:
            expected = f"a stream of at least {wanted} batches"
            raise DataError(f"{self.name}: expected {expected}, got {count}: lower steps, or let it go on")

    def _checked(self, given: Any, place: str) -> Minibatch:
        batch = Minibatch.of_data(given, place)
        parts = batch.tensors
        if len({len(each) for each in parts}) != 1 or not batch.samples:
            got = ", ".join(str(len(each)) for each in parts)
            raise DataError(f"{place}: expected a target for each of at least one sample, got lengths {got}")
        shapes = tuple(tuple(each.shape[1:]) for each in batch.inputs)
        told = tuple(sorted((name, tuple(each.shape[1:])) for name, each in each_of(batch.told[0])))
        form: Form = (shapes, told, len(batch.told))
        self._form = self._form or form
        if form != self._form:
            expected, got = (f"inputs {one[0]} and targets {_shapes(one[1])}" for one in (self._form, form))
            raise DataError(f"{place}: expected samples as in the first, {expected}, got {got}: give all one shape")
        if not all(map(_finite, parts)):
            remedy = "leave such samples out, or fill them in"
            raise DataError(f"{place}: expected finite numbers, got NaN or infinity: {remedy}")
        return batch


def joined(lots: Sequence[Any]) -> Any:
    """Targets or weights of batches one after the other; several each for itself, in their form."""
    first = lots[0]
    if isinstance(first, Mapping):
        return {name: np.concatenate([lot[name] for lot in lots]) for name in cast("Mapping[str, Any]", first)}
    if isinstance(first, tuple):
        return tuple(np.concatenate(each) for each in zip(*lots, strict=True))
    return np.concatenate(lots)


def _shapes(told: Sequence[tuple[str, Shape]]) -> str:
    return " and ".join(f"{name} {shape}".strip() for name, shape in told)


def _finite(numbers: torch.Tensor) -> bool:
    """Whether all are, without an array of answers, which would be a quarter of a batch beside it."""
    if not numbers.is_floating_point() or not numbers.numel():
        return True
    return bool(torch.isfinite(torch.stack(torch.aminmax(numbers))).all())


class OwnBatches:
    """Data of the user's own, as a loop reads them. See `Batches`."""

    together = 1

    def __init__(self, samples: OwnSamples, device: torch.device | None = None, prepare: Prepare | None = None) -> None:
        """Nothing is read yet.

        Args:
            samples: the split.
            device: where to compute; by default on the CPU.
            prepare: of the targets of each batch.
        """
        self.samples, self.held = samples.samples, samples
        self._device, self._prepare = device or torch.device("cpu"), prepare

    @checked(DataError)
    def epoch(self, seed: Seed, share: Share = WHOLE) -> "OwnEpoch":
        """See `Batches`."""
        return OwnEpoch(self, seed, share)

    @checked(DataError)
    def drawn(self, seed: Seed, count: Count | None, share: Share = WHOLE) -> Iterator[Minibatch]:
        """See `Batches`; a share of each batch is taken when it was read."""
        for batch in self.held.read(seed, count):
            share.check(batch.samples)
            yield self._ready(batch.part(share))

    @checked(DataError)
    def ordered(self, most: AtLeastOne | None = None, share: Share = WHOLE) -> Iterator[Minibatch]:
        """See `Batches`: in the user's own batches, cut where they are larger than `most`."""
        own = (batch.part(share) for batch in self.held.read(0))
        return (part for batch in own for part in self._ready(batch).cut(most))

    @checked(DataError)
    def told(self, most: Count | None = None) -> Any:
        """See `Batches`."""
        found = mapped(lambda one: one[:most], self.held.targets)
        return found if self._prepare is None else self._prepare(found)

    def _ready(self, batch: Minibatch) -> Minibatch:
        if self._prepare is not None:
            told = self._prepare(mapped(np.asarray, batch.told[0]))
            told = mapped(lambda one: torch.from_numpy(np.ascontiguousarray(one)), told)
            batch = Minibatch(batch.inputs, (told, *batch.told[1:]))
        return batch.to(self._device).aligned()


class OwnEpoch:
    """A pass over data of the user's own."""

    def __init__(self, batches: OwnBatches, seed: int, share: Share) -> None:
        self.count = batches.held.count
        self._batches, self._seed, self._share = batches, seed, share

    @checked(DataError)
    def rest(self, start: Count = 0) -> Iterator[Minibatch]:
        """See `Epoch`: what comes before is read and let go."""
        return islice(self._batches.drawn(self._seed, None, self._share), start, None)


class Kept:
    """An iterator over the user's batches that has global generators of its own, which a seed set."""

    def __init__(self, read: Reader, seed: int, name: str) -> None:
        self._read, self._seed, self._name = read, seed, name
        self._states: Any = None
        self._batches: Iterator[Any] | None = None

    def __iter__(self) -> "Kept":
        return self

    def __next__(self) -> Any:
        outside = _states()
        if self._states is None:
            _seed(self._seed)
        else:
            _restore(self._states)
        try:
            if self._batches is None:
                self._batches = iter(self._read(self._seed))
            found = next(self._batches)
        except (StopIteration, DataError):
            raise
        except Exception as error:
            remedy = "the error is of the data's own code"
            raise DataError(f"{self._name}: got {type(error).__name__}: {foreign(error)}: {remedy}") from error
        finally:
            self._states = _states()
            _restore(outside)
        return found


def _seed(seed: int) -> None:
    torch.manual_seed(derived_seed(seed, "torch"))
    np.random.seed(derived_seed(seed, "numpy") % 2**32)
    random.seed(derived_seed(seed, "python"))


def _states() -> Any:
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def _restore(states: Any) -> None:
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])
