"""What every block of connections answers, whatever its kind, so that nobody else asks which kind it is.

*End* 0 of a projection is its target and end 1 its source. A *place* is the position of a unit at an end, an *entry* a
row-major position in the weights. An *address* names an entry by what never changes: the ids of the units at its ends,
and where it lies between the two.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Self, cast

import numpy as np

from nestgraph.graph.columns.units import UnitColumns
from nestgraph.graph.pairs import Pairs
from nestgraph.spec.arrays import AnyArray, frozen, owned

OF_MASKS = ("active", "edges")
"""Facts that follow from the mask, whatever the weights."""
PART = 2**18  # entries looked at together: their temporaries stay in the processor's cache
Address = AnyArray
"""(k, 3) int64: id of the target, id of the source, place between them."""


class Ends(NamedTuple):
    """The units at both ends of a projection."""

    target: UnitColumns
    source: UnitColumns

    @property
    def shape(self) -> tuple[int, int]:
        """How many units there are at each end."""
        return len(self.target), len(self.source)


def gathered(values: AnyArray, places: Sequence[AnyArray], new: AnyArray | float | bool) -> AnyArray:
    """Values at the places that are given for each of the first axes, and those of `new` where a place is -1.

    Where nothing moves they are the values as they are, not a copy.
    """
    moved = [
        axis
        for axis, place in enumerate(places)
        if values.shape[axis] != len(place) or not np.array_equal(place, np.arange(len(place)))
    ]
    for axis in moved:
        place = places[axis]
        shape = (*values.shape[:axis], len(place), *values.shape[axis + 1 :])
        values = values.take(np.maximum(place, 0), axis) if values.shape[axis] else np.zeros(shape, values.dtype)
    for axis in moved:
        kept = (places[axis] >= 0).reshape([-1 if other == axis else 1 for other in range(values.ndim)])
        values = values if kept.all() else np.where(kept, values, np.asarray(new, values.dtype))
    return values


@dataclass(frozen=True, eq=False)
class Common:
    """The pairs that two blocks have in common.

    Attributes:
        here: where they are: an index of the leading axes of the earlier block.
        there: likewise, of the later one.
        block: a block whose entries are theirs, to be asked for addresses.
        ends: of that.
    """

    here: tuple[Any, ...]
    there: tuple[Any, ...]
    block: "ConnectionColumns"
    ends: Ends


class ConnectionColumns(ABC):
    """The connections of one projection. A kind is a frozen dataclass of read-only arrays.

    Attributes:
        weight: float32, shaped by the kind; 0 where dormant.
        mask: bool, the shape of `weight`: True where the connection is active.
        area: the positions at which a convolution is computed (see `Grid`); None where that is all of them.
        what: the kind in words.
        axes: how many leading axes of `weight` say which pair of units an entry belongs to.
        names: of the arrays of the kind beside weight and mask.
    """

    weight: AnyArray
    mask: AnyArray
    area: AnyArray | None = None

    what: ClassVar[str]
    axes: ClassVar[int]
    names: ClassVar[tuple[str, ...]] = ()

    @classmethod
    @abstractmethod
    def of(cls, weight: Any, mask: Any = None) -> Self:
        """Freeze the arrays; without a mask every connection is active."""

    @classmethod
    @abstractmethod
    def between(cls, targets: AnyArray, sources: AnyArray, ends: Ends, inner: tuple[int, ...]) -> Self:
        """Dormant connections that pairs of places can have, whose weights between two units have a shape."""

    @classmethod
    def made_of(cls, weight: AnyArray, mask: AnyArray, parts: Mapping[str, AnyArray | None]) -> Self:
        """The connections of arrays that were written down; see `parts`.

        Raises:
            ValueError: an array is of another kind, or one of this kind is missing.
        """
        given = {name: array for name, array in parts.items() if array is not None}
        if strange := sorted(given.keys() - set(cls.names)):
            raise ValueError(f"expected no {' and no '.join(strange)} for {cls.what}, got some")
        return cls.of(weight, mask, **given)

    @property
    def parts(self) -> dict[str, AnyArray]:
        """The arrays beside weight and mask that there are, by name."""
        found = {name: getattr(self, name) for name in self.names}
        return {name: array for name, array in found.items() if array is not None}

    @property
    def arrays(self) -> dict[str, AnyArray]:
        """All arrays that there are, by name."""
        return {"weight": self.weight, "mask": self.mask, **self.parts}

    @property
    def formed(self) -> bool:
        """Whether the arrays beside weight and mask have as many axes as the kind wants."""
        return True

    @classmethod
    @abstractmethod
    def united(cls, versions: Sequence[tuple[Any, Ends]], ends: Ends) -> Self:
        """Dormant connections, one a pair, of all pairs of blocks of several networks; `ends` are of all units."""

    # -- of weights and masks alone ------------------------------------------------------------------

    def with_weight(self, weight: AnyArray, mask: AnyArray | None = None) -> Self:
        """The same connections with other weights, and another mask where given."""
        twin = replace(
            cast(Any, self), weight=frozen(weight, np.float32), mask=self.mask if mask is None else frozen(mask, bool)
        )
        if mask is None:
            vars(twin).update({name: fact for name, fact in vars(self).items() if name in OF_MASKS})
        return twin

    def with_living(self, weights: AnyArray) -> Self:
        """The same connections with other weights of the active ones; see `living`."""
        if self.whole:
            return self.with_weight(weights.reshape(self.mask.shape))
        weight = np.zeros_like(self.weight)
        weight.reshape(-1)[np.flatnonzero(self.mask)] = weights  # many times quicker than by a mask without a pattern
        return self.with_weight(owned(weight))

    def living(self, values: AnyArray) -> AnyArray:
        """Those of values in the shape of `weight` that belong to active connections, (active,) in row-major order."""
        return values.reshape(-1)[np.flatnonzero(self.mask)]

    def of_pairs(self, marks: AnyArray) -> AnyArray:
        """Bool, the shape of `edges`: whether anything of a pair is marked, by marks in the shape of `weight`."""
        inner = tuple(range(self.axes, marks.ndim))
        return np.asarray(marks.any(axis=inner)) if inner else marks

    @cached_property
    def edges(self) -> AnyArray:
        """Bool: whether any connection of a pair is active, over the leading axes of `weight`."""
        if self.whole and self.mask.size:
            return owned(np.ones(self.mask.shape[: self.axes], bool))
        return frozen(self.of_pairs(self.mask), bool)

    @property
    def inner(self) -> tuple[int, ...]:
        """The shape of what lies between two units: of a kernel, or of a map that a neuron reads."""
        return self.mask.shape[self.axes :]

    @cached_property
    def active(self) -> int:
        """The number of active connections."""
        return int(np.count_nonzero(self.mask))

    @property
    def whole(self) -> bool:
        """Whether all connections are active."""
        return self.active == self.mask.size

    @cached_property
    def sound(self) -> bool:
        """Whether all weights are finite and dormant ones are zero; looked at in parts, so that it needs no memory."""
        weight, mask = self.weight.reshape(-1), self.mask.reshape(-1)
        parts = ((weight[at : at + PART], mask[at : at + PART]) for at in range(0, weight.size, PART))
        return all(np.isfinite(w).all() and (self.whole or not ((w != 0) > m).any()) for w, m in parts)

    @cached_property
    def lasting(self) -> int:
        """The number of weights that are not 0; looked at in parts, as `sound`."""
        weight = self.weight.reshape(-1)
        return sum(int(np.count_nonzero(weight[at : at + PART] != 0)) for at in range(0, weight.size, PART))

    def scaled(self, factors: AnyArray, end: int, ends: Ends) -> Self:
        """The same connections with weights times factors (units,) of an end, rounded once."""
        weight = np.empty_like(self.weight)
        np.multiply(self.weight, self.spread(factors, end, ends), out=weight, casting="same_kind")
        return self.with_weight(owned(weight))

    def with_area(self, area: AnyArray | None) -> Self:
        """The same connections, computed at other positions; None for all.

        Raises:
            ValueError: the kind has no areas.
        """
        if area is None and self.area is None:
            return self
        if "area" not in self.names:
            raise ValueError(f"expected no area for {self.what}, got one")
        return replace(cast(Any, self), area=None if area is None else frozen(area, bool))

    def kept(self, size: tuple[int, ...]) -> AnyArray:
        """Bool (targets or 1, sources or 1, P, Q): the positions of maps of a size at which each pair is computed."""
        return np.ones((1, 1, *size), bool) if self.area is None else self.area

    @cached_property
    def everywhere(self) -> bool:
        """Whether every pair is computed at all positions, however that is spelled."""
        return self.area is None or bool(self.area.all())

    @property
    def computed(self) -> AnyArray:
        """Bool, of shape 1 or that of `weight` along each axis: whether a connection is computed anywhere."""
        return np.ones((1,) * self.weight.ndim, bool)

    # -- by unit -------------------------------------------------------------------------------------

    @abstractmethod
    def beside(self, values: AnyArray, end: int, ends: Ends) -> AnyArray:
        """Values (units,) of an end, shaped so that they broadcast to `edges`."""

    def spread(self, values: AnyArray, end: int, ends: Ends) -> AnyArray:
        """Values (units,) of an end, shaped so that they broadcast to `weight`."""
        along = self.beside(values, end, ends)
        return along.reshape(*along.shape, *(1 for _ in self.inner))

    @abstractmethod
    def total(self, entries: AnyArray, end: int, ends: Ends) -> AnyArray:
        """(units,): for each unit of an end the sum of its `entries`, in the shape of `weight` or of `edges`."""

    @abstractmethod
    def touched(self, marks: AnyArray, end: int, ends: Ends) -> AnyArray:
        """Bool (units,): whether any pair of a unit of an end is marked, by marks in the shape of `edges`."""

    @abstractmethod
    def by_target(self, ends: Ends) -> tuple[AnyArray, tuple[AnyArray, ...]]:
        """The places of targets, and arrays with a row for each: two targets whose rows are alike read alike."""

    @property
    def areas_of_sources(self) -> AnyArray | None:
        """(sources, targets, P, Q): at which positions each source is read; None where that is one for all."""
        return None

    @abstractmethod
    def pairs(self, ends: Ends) -> Pairs:
        """The pairs of units that an active connection joins."""

    @abstractmethod
    def listed(self, marks: AnyArray, ends: Ends) -> tuple[AnyArray, AnyArray]:
        """(k,) twice: the places of targets and of sources of pairs that are marked in the shape of `edges`."""

    @abstractmethod
    def index(self, targets: AnyArray, sources: AnyArray, ends: Ends) -> tuple[AnyArray, ...]:
        """Where pairs of places lie, in order, as an index of the leading axes; those it cannot join are left out."""

    def where_between(self, targets: AnyArray, sources: AnyArray, ends: Ends) -> AnyArray:
        """Bool, in the shape of `mask`: what lies between pairs of places, active or dormant."""
        found = np.zeros(self.mask.shape, bool)
        found[self.index(targets, sources, ends)] = True
        return found

    def blocks_between(self, targets: AnyArray, sources: AnyArray, ends: Ends) -> tuple[AnyArray, AnyArray]:
        """Weights and mask (pairs, weights of a pair) of pairs of places that can be joined."""
        place = self.index(targets, sources, ends)
        both = self.weight[place], self.mask[place]
        weight, mask = (part.reshape(len(part), math.prod(part.shape[1:])) for part in both)
        return weight, mask

    def between_two(self, target: int, source: int, ends: Ends) -> tuple[AnyArray, AnyArray]:
        """Weights and mask of what lies between a pair of places: a number, or an array; 0 and dormant where none."""
        index = self.index(np.array([target]), np.array([source]), ends)
        if not len(index[0]):
            return np.zeros((), np.float32), np.zeros((), bool)
        return np.asarray(self.weight[index][0]), np.asarray(self.mask[index][0])

    def slots_between(self, target: int, source: int, ends: Ends) -> AnyArray | None:  # noqa: ARG002
        """(k,): the slots by which a pair of places is joined, in the order of its weights; None where none has any."""
        return None

    @abstractmethod
    def spread_out(self, ends: Ends) -> tuple[AnyArray, AnyArray]:
        """Weights and mask (targets, sources, ...) of all pairs, 0 and dormant where a pair has none."""

    # -- the same in another network --------------------------------------------------------------------

    def joins_as(self, other: "ConnectionColumns") -> bool:
        """Whether it may join the same pairs as another block between the same units."""
        return self.inner == other.inner

    @abstractmethod
    def common(self, later: Any, ends: Ends, later_ends: Ends) -> "Common":
        """The pairs that both this block and a later one may join, by the ids of units."""

    @abstractmethod
    def follow(self, older: Any, old: tuple[AnyArray, AnyArray], ends: Ends, older_ends: Ends) -> tuple[AnyArray, ...]:
        """For each leading axis of `weight` the places that its entries had in an older block; -1 of new ones.

        `old` are, for each end, the old places of its units, -1 of those that are new.
        """

    @abstractmethod
    def moved(self, ends: Ends, here: Ends, old: tuple[AnyArray, AnyArray]) -> Self:
        """The same connections between other units: dormant at those that are new, without those that are gone.

        `old` are, for each end, the places that the units `here` had at the `ends`, -1 of those that are new.
        """

    def other_areas(self, later: Any, common: "Common") -> AnyArray:  # noqa: ARG002
        """Bool, as `edges` of what is common: whether a pair is computed at other positions."""
        return np.zeros((), bool)

    # -- parts ---------------------------------------------------------------------------------------

    @abstractmethod
    def take(self, places: AnyArray, end: int, ends: Ends) -> Self:
        """The connections of the units at `places`, in that order; what all units share stays."""

    def own(self, places: AnyArray, end: int, ends: Ends) -> Self:
        """As `take`, without what the units share with others: a block of an edit."""
        return self.take(places, end, ends)

    @abstractmethod
    def dormant(self, count: int, end: int) -> Self:
        """A part for `count` units of an end that nothing connects."""

    def explicit(self, part: Any, end: int, here: Any) -> Any:  # noqa: ARG002
        """A part that was made for this block, with what its units share here and would not share with `here`."""
        return part

    def fitted(self, part: Any, end: int, known: AnyArray) -> tuple[Self, Any]:  # noqa: ARG002
        """This block and a part that was made for another network, as the two can be joined.

        Args:
            part: new units of an end, beside the units that are here at the other one.
            end: which.
            known: bool, for the units at the other end, whether the part was made for a network that has them.

        Raises:
            ValueError: they cannot.
        """
        return self, part

    @abstractmethod
    def joined(self, part: Any, end: int, order: AnyArray) -> Self:
        """With a part for new units: those that were there followed by the new ones, then all in the order given."""

    @abstractmethod
    def misfits(self, part: Any, end: int, ids: AnyArray) -> Iterator[str]:
        """What keeps a part for units of an end from being joined, in words, each with a place for the name."""

    def joined_only(self, ends: Ends) -> Self:  # noqa: ARG002
        """Without pairs that no active connection joins, in the order of places, where pairs are listed."""
        return self

    # -- addresses -----------------------------------------------------------------------------------

    @abstractmethod
    def addresses(self, entries: AnyArray, ends: Ends) -> Address:
        """The address of each entry."""

    @abstractmethod
    def entries(self, addresses: Address, ends: Ends) -> AnyArray:
        """(k,) int64: where each address is; -1 where it is none of this block."""
