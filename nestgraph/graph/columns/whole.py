"""All of a layer, read by a body: no connections, so nothing to take, to add up or to address."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np

from nestgraph.graph.columns.connections import Address, Common, ConnectionColumns, Ends
from nestgraph.graph.pairs import Complete, Pairs
from nestgraph.spec.arrays import AnyArray, frozen, owned


def _nothing(dtype: Any) -> Any:
    return lambda: owned(np.zeros(0, dtype))


@dataclass(frozen=True, eq=False)
class Whole(ConnectionColumns):
    """The connections of an argument of an opaque layer, of which there are none: every pair of units is joined.

    Attributes:
        weight: (0,).
        mask: (0,).
    """

    weight: AnyArray = field(default_factory=_nothing(np.float32))
    mask: AnyArray = field(default_factory=_nothing(bool))

    axes: ClassVar[int] = 1
    what: ClassVar[str] = "an argument"

    @classmethod
    def of(cls, weight: Any, mask: Any = None) -> Self:
        """See `ConnectionColumns.of`."""
        return cls(frozen(weight, np.float32), frozen(np.ones(np.shape(weight), bool) if mask is None else mask, bool))

    @classmethod
    def between(cls, targets: AnyArray, sources: AnyArray, ends: Ends, inner: tuple[int, ...]) -> Self:  # noqa: ARG003
        """See `ConnectionColumns.between`."""
        return cls()

    @classmethod
    def united(cls, versions: Sequence[tuple[Self, Ends]], ends: Ends) -> Self:  # noqa: ARG003
        """See `ConnectionColumns.united`."""
        return cls()

    def beside(self, values: AnyArray, end: int, ends: Ends) -> AnyArray:  # noqa: ARG002
        """See `ConnectionColumns.beside`."""
        return values[:0]

    def total(self, entries: AnyArray, end: int, ends: Ends) -> AnyArray:
        """See `ConnectionColumns.total`."""
        return np.zeros(len(ends[end]), np.int64 if entries.dtype == bool else entries.dtype)

    def touched(self, marks: AnyArray, end: int, ends: Ends) -> AnyArray:  # noqa: ARG002
        """See `ConnectionColumns.touched`."""
        return np.zeros(len(ends[end]), bool)

    def by_target(self, ends: Ends) -> tuple[AnyArray, tuple[AnyArray, ...]]:  # noqa: ARG002
        """See `ConnectionColumns.by_target`."""
        return np.zeros(0, np.int64), ()

    def pairs(self, ends: Ends) -> Pairs:
        """See `ConnectionColumns.pairs`: all."""
        return Complete(ends.shape)

    def listed(self, marks: AnyArray, ends: Ends) -> tuple[AnyArray, AnyArray]:  # noqa: ARG002
        """See `ConnectionColumns.listed`."""
        return np.zeros(0, np.int64), np.zeros(0, np.int64)

    def index(self, targets: AnyArray, sources: AnyArray, ends: Ends) -> tuple[AnyArray, ...]:  # noqa: ARG002
        """See `ConnectionColumns.index`."""
        return (np.zeros(0, np.int64),)

    def common(self, later: Self, ends: Ends, later_ends: Ends) -> Common:  # noqa: ARG002
        """See `ConnectionColumns.common`: none, as there are no connections."""
        return Common((...,), (...,), self, ends)

    def follow(self, older: Self, old: tuple[AnyArray, AnyArray], ends: Ends, older_ends: Ends) -> tuple[AnyArray, ...]:  # noqa: ARG002
        """See `ConnectionColumns.follow`."""
        return (np.zeros(0, np.int64),)

    def spread_out(self, ends: Ends) -> tuple[AnyArray, AnyArray]:
        """See `ConnectionColumns.spread_out`."""
        return np.zeros(ends.shape, np.float32), np.zeros(ends.shape, bool)

    def moved(self, ends: Ends, here: Ends, old: tuple[AnyArray, AnyArray]) -> Self:  # noqa: ARG002
        """See `ConnectionColumns.moved`."""
        return self

    def take(self, places: AnyArray, end: int, ends: Ends) -> Self:  # noqa: ARG002
        """See `ConnectionColumns.take`."""
        return self

    def dormant(self, count: int, end: int) -> Self:  # noqa: ARG002
        """See `ConnectionColumns.dormant`."""
        return self

    def joined(self, part: Self, end: int, order: AnyArray) -> Self:  # noqa: ARG002
        """See `ConnectionColumns.joined`."""
        return self

    def misfits(self, part: Self, end: int, ids: AnyArray) -> Iterator[str]:  # noqa: ARG002
        """See `ConnectionColumns.misfits`: any weights."""
        if part.weight.shape != (0,) or part.mask.shape != (0,):
            yield f"expected weights and mask of shape (0,) for {{!r}}, got {part.weight.shape} and {part.mask.shape}"

    def addresses(self, entries: AnyArray, ends: Ends) -> Address:  # noqa: ARG002
        """See `ConnectionColumns.addresses`."""
        return np.zeros((0, 3), np.int64)

    def entries(self, addresses: Address, ends: Ends) -> AnyArray:  # noqa: ARG002
        """See `ConnectionColumns.entries`."""
        return np.full(len(addresses), -1)
