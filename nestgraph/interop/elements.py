"""Follow every element of a layer through views: tensors of numbers that say which element stands where.

`view`, `permute`, `chunk`, `cat` and size arithmetic move elements and compute nothing. Instead of a rule for each of
them, the importer runs the very same function on an integer tensor whose entries number the elements of layers. What
a later convolution or linear map reads is then looked up, not derived: a flattening, a channel shuffle and a
concatenation need no case of their own, and a mistaken constant in a `view` cannot pass.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nestgraph.lowering.operations import UncoveredError
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import MAX_EXTENTS

SAMPLE = 1 << 44
"""What the numbers of the next sample's elements are higher by."""


@dataclass(frozen=True)
class Region:
    """The numbers of one layer's output, (units, *size) in row-major order from `start`."""

    layer: str
    start: int
    units: int
    size: tuple[int, ...]

    @cached_property
    def area(self) -> int:
        """The elements of one unit."""
        return math.prod(self.size)


class Refs(NamedTuple):
    """Which region and unit, a position, each place of a channel axis holds; two int64 arrays (channels,)."""

    regions: AnyArray
    units: AnyArray

    def of(self, region: int) -> tuple[AnyArray, AnyArray]:
        """The channels that a region's units stand at, and these units."""
        channels = np.flatnonzero(self.regions == region)
        return channels, self.units[channels]

    @property
    def known(self) -> list[int]:
        """The regions, in the order of their first channels."""
        return in_turn(self.regions)

    @property
    def distinct(self) -> bool:
        """Whether no unit stands at two places."""
        return len(set(zip(self.regions.tolist(), self.units.tolist(), strict=True))) == len(self.units)


def in_turn(regions: AnyArray) -> list[int]:
    """Each of some regions once, in the order in which they come first."""
    if regions.size and (regions == regions[0]).all():
        return [int(regions[0])]
    return list(dict.fromkeys(regions.tolist()))


@dataclass(frozen=True)
class Unmade:
    """Numbers that follow each other from `start` in each sample, of a shape (batch, ...), not yet made."""

    start: int
    shape: tuple[int, ...]

    def first(self) -> Tensor:
        """The numbers of the first sample."""
        return torch.arange(self.start, self.start + math.prod(self.shape[1:])).view(self.shape[1:])

    def make(self) -> Tensor:
        """The numbers of all samples."""
        return self.first() + _samples(self.shape[0], len(self.shape) - 1)


def _samples(batch: int, axes: int) -> Tensor:
    """What the numbers of each sample are higher by, (batch, 1, ...)."""
    return torch.arange(batch).view(-1, *[1] * axes) * SAMPLE


def together(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The shape that tensors have together, as PyTorch broadcasts them.

    Raises:
        UncoveredError: they have none.
    """
    try:
        return np.broadcast_shapes(*map(tuple, shapes))
    except ValueError:
        raise UncoveredError(
            f"tensors of different shapes {sorted({tuple(s[1:]) for s in shapes})} are combined"
        ) from None


class Elements:
    """A tensor in terms of layers.

    Attributes:
        regions: the regions that may be among them.
        shape: of the tensor, (batch, ...).
        known: the units at its channels, once they were looked up, and torch's count of writes to `index` by then.
    """

    def __init__(
        self, index: "Tensor | Unmade", regions: frozenset[int], known: tuple[Refs, int] | None = None
    ) -> None:
        """Hold the numbers of elements, or how to make them: most of a convolutional network asks for none."""
        self._index, self.regions, self.known = index, regions, known
        self.shape = torch.Size(index.shape)

    @property
    def unmade(self) -> Unmade | None:
        """How to make the numbers, as long as nobody asked for them."""
        return self._index if isinstance(self._index, Unmade) else None

    @property
    def index(self) -> Tensor:
        """int64, the tensor's shape: numbers of elements."""
        if isinstance(self._index, Unmade):
            self._index = self._index.make()
        return self._index

    @property
    def ndim(self) -> int:
        """How many axes the tensor has."""
        return len(self.shape)

    @property
    def writes(self) -> int:
        """Torch's count of writes to `index`."""
        return 0 if isinstance(self._index, Unmade) else self._index._version

    def overwritten(self, result: "Elements") -> "Elements":
        """This tensor after `result` was written into it, seen by whatever shares memory with it."""
        regions = self.regions | result.regions
        if self.unmade is not None and result.unmade is not None and self.shape == result.shape:
            self._index, self.regions, self.known = result.unmade, regions, result.known  # nothing shares what is none
            return self
        self.index.copy_(result.index)
        return Elements(self.index, regions)

    def turned(self, axis: int, to: int) -> "Elements":
        """The same with one axis at another place; writes to either are seen in both."""
        return self if axis == to else Elements(self.index.movedim(axis, to), self.regions)


@dataclass(frozen=True)
class Arrangement:
    """How the axes of a tensor stand to (batch, units, *size).

    Attributes:
        axes: along which units stand: one, or several where units are split up, as into heads.
        places: the extents of the other axes.
        size: of the maps whose places these are; another one where they were flattened.
        split: the extents of several axes of units.
    """

    axes: tuple[int, ...]
    places: tuple[int, ...]
    size: tuple[int, ...]
    split: tuple[int, ...] = ()

    @classmethod
    def of(cls, x: Elements, *axes: int) -> "Arrangement":
        """That of a tensor whose other axes are those of maps."""
        shape = x.shape
        places = tuple(extent for at, extent in enumerate(shape) if at not in (0, *axes))
        return cls(axes, places, places, tuple(shape[axis] for axis in axes) if len(axes) > 1 else ())

    @property
    def axis(self) -> int:
        """Along which units stand, the first of several."""
        return self.axes[0]

    def inward(self, x: Elements) -> Elements:
        """A tensor so arranged, or one whose maps have one place, as (batch, units, *size)."""
        if self.axes == (1,) and self.size == self.places:
            return x
        turned = self.units_first(x.index)
        if self.size == self.places:
            return Elements(turned, x.regions)
        batch, units, *places = turned.shape
        size = self.size if tuple(places) == self.places else (1,) * len(self.size) if set(places) <= {1} else places
        return Elements(turned.reshape(batch, units, *size), x.regions)

    def units_first(self, tensor: Tensor) -> Tensor:
        """(batch, units, *places) of what is so arranged; writes to either are seen in both where one axis moves."""
        if self.axes == (1,):
            return tensor
        return tensor.movedim(self.axes, tuple(range(1, 1 + len(self.axes)))).flatten(1, len(self.axes))

    def outward(self, x: Elements) -> Elements:
        """What is (batch, units, *size) so arranged."""
        if self.size != self.places:
            x = Elements(x.index.reshape(*x.shape[:2], *self.places), x.regions)
        if self.split:
            apart = x.index.reshape(len(x.index), *self.split, *x.shape[2:])
            return Elements(apart.movedim(tuple(range(1, 1 + len(self.axes))), self.axes), x.regions)
        return x.turned(1, self.axis)

    @property
    def port(self) -> int:
        """The axis at which a port of (batch, units, *size) has the units, so that its shape says the rest."""
        return self.axis if self.axis == 1 or self.size == self.places else 1 + len(self.size)


class Ledger:
    """All regions so far."""

    def __init__(self, batch: int) -> None:
        self._batch = batch
        self.regions: list[Region] = []
        self._starts: AnyArray = np.zeros(0, np.int64)

    def enter(self, layer: str, units: int, size: tuple[int, ...]) -> Elements:
        """The elements of a layer's output, in order, under new numbers."""
        start = self.regions[-1].start + self.regions[-1].units * self.regions[-1].area if self.regions else 0
        self.regions.append(Region(layer, start, units, size))
        return self.whole(len(self.regions) - 1)

    def whole(self, number: int) -> Elements:
        """All elements of a region, in order."""
        region = self.regions[number]
        unmade = Unmade(region.start, (self._batch, region.units, *region.size))
        return Elements(unmade, frozenset({number}), (Refs(np.full(region.units, number), np.arange(region.units)), 0))

    def batched(self, numbers: Tensor, regions: Iterable[int]) -> Elements:
        """Elements of every sample from the numbers of the first."""
        return Elements(numbers + _samples(self._batch, numbers.ndim), frozenset(regions))

    def sample(self, x: Elements) -> AnyArray:
        """The numbers of the first sample; the others must be arranged alike.

        Raises:
            UncoveredError: the tensor mixes samples, or has no axis of them.
        """
        if x.unmade is not None:
            return x.unmade.first().numpy()
        first = x.index[:1]
        if x.shape[0] != self._batch or not torch.equal(x.index, first + _samples(self._batch, x.ndim - 1)):
            raise UncoveredError("samples are mixed")
        return first[0].numpy()

    def apart(self, x: Elements) -> bool:
        """Whether the first axis of a tensor is that of samples, and they are arranged alike."""
        try:
            self.sample(x)
        except UncoveredError:
            return False
        return True

    def seems_apart(self, x: Elements) -> bool:
        """As `apart`, but judged by one element alone."""
        if x.unmade is not None or x.shape[0] != self._batch or not x.shape[1:].numel():
            return x.shape[0] == self._batch
        return bool((x.index.select(0, 1).flatten()[:1] - x.index.select(0, 0).flatten()[:1] == SAMPLE).all())

    def found(self, numbers: AnyArray) -> tuple[AnyArray, AnyArray]:
        """The region of each number, and its place within the region."""
        if len(self._starts) < len(self.regions):
            self._starts = np.array([region.start for region in self.regions])
        regions = np.searchsorted(self._starts, numbers, side="right") - 1
        return regions, numbers - self._starts[regions]

    def is_whole(self, numbers: AnyArray) -> bool:
        """Whether numbers are those of all elements of a region, in order, however they are arranged."""
        first = int(numbers.flat[0])
        region = self.regions[int(self.found(np.array([first]))[0][0])]
        count = region.units * region.area
        whole: AnyArray = np.arange(region.start, region.start + count)
        return np.array_equal(numbers.ravel(), whole)

    def refs(self, x: Elements) -> Refs:
        """Which unit each channel of (batch, channels, *size) holds, its map whole and in order.

        A unit of one element stands for a neuron and for a map of one place alike.

        Raises:
            UncoveredError: a channel holds something else.
        """
        if x.known is None or x.known[1] != x.writes:
            x.known = self._looked_up(self.sample(x)), x.writes
        return x.known[0]

    def _looked_up(self, numbers: AnyArray) -> Refs:
        if not 1 <= numbers.ndim <= 1 + MAX_EXTENTS:
            raise UncoveredError(f"expected (batch, units) or maps of up to 3 extents, got {numbers.ndim} axes")
        if not numbers.size:
            raise UncoveredError("a tensor without elements")
        each = numbers.size // len(numbers)
        channels = numbers.reshape(len(numbers), each)
        regions, places = self.found(channels[:, 0])
        numbered, of = np.unique(regions, return_inverse=True)
        present: list[int] = numbered.tolist()
        areas = np.array([self.regions[r].area for r in present])[of]
        whole = areas == each
        if not (whole.all() and (places % areas == 0).all() and (np.diff(channels, axis=1) == 1).all()):
            raise UncoveredError("a channel is no unit of a layer: maps were cut, transposed or flattened")
        if numbers.ndim > 1 and any(self.regions[r].size not in ((), numbers.shape[1:]) for r in present):
            raise UncoveredError("maps were reshaped")
        return Refs(regions, places // areas)

    def arrangement(self, *tensors: Elements, axes: Sequence[int] = (), split: bool = False) -> Arrangement:
        """How tensors of as many axes stand to (batch, units, *size).

        Units are looked for along the axes given, or along any; where they are not found the first of these counts.

        Args:
            tensors: of layers.
            axes: to be looked at.
            split: whether to look along two axes together, too, of which the last of those given is one.
        """
        count = tensors[0].ndim
        tried = [(axis,) for axis in axes or (1, *range(count - 1, 1, -1))]
        pairs = combinations(range(1, count), 2) if split else ()
        tried += [pair for pair in pairs if not axes or pair[1] == axes[-1]]
        for along in tried if all(x.ndim == count for x in tensors) else ():
            plain = Arrangement.of(tensors[0], *along)
            if self._stand(plain, tensors):
                return plain
            unfolded = self._unfolded(tensors[0], plain)
            if unfolded is not None and self._stand(unfolded, tensors):
                return unfolded
        return Arrangement.of(tensors[0], *tried[0])

    def _stand(self, arrangement: Arrangement, tensors: Sequence[Elements]) -> bool:
        """Whether each channel of all tensors holds a unit where they are arranged so."""
        return all(self.holds(arrangement.inward(x)) for x in tensors)

    def holds(self, x: Elements) -> bool:
        """Whether each channel of a tensor holds a unit."""
        try:
            self.refs(x)
        except UncoveredError:
            return False
        return True

    def _unfolded(self, x: Elements, plain: Arrangement) -> Arrangement | None:
        """With the size of the maps whose places a tensor has in a row; None where they have none in common."""
        try:
            numbers = self.sample(plain.inward(x))
        except UncoveredError:
            return None
        if not numbers.size or not plain.places:
            return None
        first: list[int] = np.unique(self.found(numbers.reshape(len(numbers), -1)[:, :1])[0]).tolist()
        sizes = {self.regions[number].size for number in first}
        size = next(iter(sizes)) if len(sizes) == 1 else ()
        return replace(plain, size=size) if math.prod(size) == math.prod(plain.places) and len(size) > 1 else None

    def whole_region(self, x: Elements) -> Region | None:
        """The region of which a tensor has all elements in order, whatever its axes; None where it is no such."""
        numbers = self.sample(x).ravel()
        number, _ = self.found(numbers.min())
        region = self.regions[int(number)]
        if len(numbers) != region.units * region.area:
            return None
        every = np.arange(region.start, region.start + region.units * region.area)
        return region if np.array_equal(numbers, every) else None

    def in_order(self, x: Elements) -> Region | None:
        """The region that a tensor is, unit by unit in order and with none missing; None where it is no one region."""
        try:
            refs = self.refs(x)
        except UncoveredError:
            return None
        region = self.regions[refs.known[0]]
        whole = len(refs.known) == 1 and np.array_equal(refs.units, np.arange(region.units))
        return region if whole else None
