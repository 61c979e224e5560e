"""Batches that can be read again: what a loop asks of the data of a split, wherever they come from."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch

from nestgraph.data.held import source
from nestgraph.data.minibatch import Minibatch
from nestgraph.data.samples import Samples, StreamedSamples
from nestgraph.data.share import WHOLE, Lot, Share, Vary
from nestgraph.errors import DataError
from nestgraph.spec.arguments import AtLeastOne, Count, checked
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.parts import mapped
from nestgraph.spec.randomness import Seed, derived_seed

See = Callable[[torch.Tensor], torch.Tensor]
Prepare = Callable[[Any], Any]
"""Targets as they come to targets as a loss takes them; several are a mapping or a tuple of arrays."""

MEASURING_BATCH = 4096
MEASURING_VALUES = 2**22
"""Inputs of a measuring batch at most: large samples are measured in smaller batches."""


class Epoch(Protocol):
    """One pass over the samples to train with, in an order that is drawn already."""

    count: int
    """Of its batches."""

    def rest(self, start: Count = 0) -> Iterator[Minibatch]:
        """Its batches from one on, the same as if the others had been read before."""
        ...


class Batches(Protocol):
    """A split that can be read again and again.

    Attributes:
        samples: how many it has; None for a stream.
        together: how many batches are read and varied at a time: a training can be left and gone on with between them.
    """

    samples: int | None
    together: int

    def epoch(self, seed: Seed, share: Share = WHOLE) -> Epoch:
        """A pass in random order, varied: the same for one seed, in any process and with any workers.

        The samples of a run in one process are drawn from torch's global generator as it stands, as they were from the
        first; whoever asks for their epoch has seeded that.
        """
        ...

    def drawn(self, seed: Seed, count: Count | None, share: Share = WHOLE) -> Iterator[Minibatch]:
        """So many batches in random order, not varied, all of them for None: the same for one seed."""
        ...

    def ordered(self, most: AtLeastOne | None = None, share: Share = WHOLE) -> Iterator[Minibatch]:
        """Every sample once, in order and not varied, in batches of `most` at most."""
        ...

    def told(self, most: Count | None = None) -> Any:
        """The targets of the first samples, or of all; of a stream those of its first batches. Several as prepared."""
        ...


class SampledBatches:
    """Samples that can be asked for by their place: they lie in memory, or are files of images."""

    def __init__(
        self,
        samples: Samples | StreamedSamples,
        size: int,
        device: torch.device,
        prepare: Prepare | None = None,
        vary: Sequence[Vary] = (),
        see: See | None = None,
        seeded: bool = True,
    ) -> None:
        """Bring samples to the device, unless they are files.

        Args:
            samples: the split.
            size: samples of a batch, at most.
            device: where to compute.
            prepare: of all targets.
            vary: what is done to inputs to train with.
            see: what is done to all inputs, in the end.
            seeded: whether a seed decides an epoch, its order and how it is varied, not torch's global generator.
        """
        self.samples: int | None = len(samples)
        self._size, self._device = size, device
        self._held, self._vary, self._see, self._seeded = samples, vary, see or _as_they_are, seeded
        self._source = source(samples, device)
        self.together = self._source.together
        told = samples.targets if prepare is None else prepare(samples.targets)
        weights = samples.weights if isinstance(samples, Samples) else None
        held = (told,) if weights is None else (told, weights)
        self._told = tuple(mapped(self._placed, each) for each in held)

    def _placed(self, array: AnyArray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    @checked(DataError)
    def epoch(self, seed: Seed, share: Share = WHOLE) -> "DrawnEpoch":
        """See `Batches`."""
        decides = seed if self._seeded else None
        return DrawnEpoch(self, self._order(decides, share), share, decides)

    @checked(DataError)
    def drawn(self, seed: Seed, count: Count | None, share: Share = WHOLE) -> Iterator[Minibatch]:
        """See `Batches`."""
        return self._read([share.of(places) for places in self._order(seed, share)[:count]])

    @checked(DataError)
    def ordered(self, most: AtLeastOne | None = None, share: Share = WHOLE) -> Iterator[Minibatch]:
        """See `Batches`."""
        values = sum(int(np.prod(shape)) for shape in self._held.shapes)
        size = min(most or MEASURING_BATCH, max(1, MEASURING_VALUES // values))
        places = share.of(torch.arange(len(self._held), device=self._device))
        return self._read(torch.split(places, size) if len(places) else ())

    @checked(DataError)
    def told(self, most: Count | None = None) -> Any:
        """See `Batches`."""
        return mapped(lambda one: np.asarray(one[:most].cpu()), self._told[0])

    def varied(
        self, places: Sequence[torch.Tensor], start: int, share: Share = WHOLE, seed: int | None = None
    ) -> Iterator[Minibatch]:
        """The samples of a share at the places of each batch from one on, as they are trained with.

        How they are varied is drawn by a seed, or by torch's global generator.
        """
        firsts = range(start, len(places), self.together)
        groups = [[share.of(batch) for batch in places[first : first + self.together]] for first in firsts]
        read = self._source.inputs([torch.cat(each) for each in groups])
        for first, group, (images, *others) in zip(firsts, groups, read, strict=True):
            whole = places[first : first + self.together]
            lot = None if share == WHOLE else _lot(whole, share)
            images = self._see(self._varied(images, lot, seed, first))
            parts = [torch.split(each, [len(batch) for batch in group]) for each in (images, *others)]
            yield from map(self._batch, group, zip(*parts, strict=True))

    def _varied(self, images: torch.Tensor, lot: Lot | None, seed: int | None, number: int) -> torch.Tensor:
        if seed is None or not self._vary:
            return self._in_turn(images, lot)
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(seed, "vary", number))
            return self._in_turn(images, lot)

    def _in_turn(self, images: torch.Tensor, lot: Lot | None) -> torch.Tensor:
        for vary in self._vary:
            images = vary(images, lot)
        return images

    def _read(self, places: Sequence[torch.Tensor]) -> Iterator[Minibatch]:
        for batch, (first, *others) in zip(places, self._source.inputs(places), strict=True):
            yield self._batch(batch, (self._see(first), *others))

    def _batch(self, places: torch.Tensor, inputs: tuple[torch.Tensor, ...]) -> Minibatch:
        return Minibatch(inputs, tuple(mapped(lambda one: one.index_select(0, places), each) for each in self._told))

    def _order(self, seed: int | None, share: Share) -> tuple[torch.Tensor, ...]:
        """The places of all samples in random order, by a seed or by torch's global generator.

        They come in batches of up to `size` samples and of one size, so that none is too small for batch normalisation.

        Raises:
            DataError: a process that shares them has none of a batch.
        """
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self._held), generator=generator)
        batches = order.to(self._device).tensor_split(-(-len(order) // self._size))
        share.check(len(batches[-1]))
        return batches


def _lot(batches: Sequence[torch.Tensor], share: Share) -> Lot:
    """The samples of batches, as a lot in which those of a share are here."""
    size = sum(map(len, batches))
    here = torch.split(torch.arange(size), [len(batch) for batch in batches])
    return Lot(size, torch.cat([share.of(each) for each in here]))


def _as_they_are(inputs: torch.Tensor) -> torch.Tensor:
    return inputs


class DrawnEpoch:
    """An order of the samples of a `SampledBatches`."""

    def __init__(self, batches: SampledBatches, places: Sequence[torch.Tensor], share: Share, seed: int | None) -> None:
        self.count = len(places)
        self._batches, self._places, self._share, self._seed = batches, places, share, seed

    @checked(DataError)
    def rest(self, start: Count = 0) -> Iterator[Minibatch]:
        """See `Epoch`; `start` is a multiple of `together`."""
        return self._batches.varied(self._places, start, self._share, self._seed)
