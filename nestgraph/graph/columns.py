"""The arrays of a network: columns of a layer's units and of a projection's connections.

All arrays are read-only, so that networks can share them between versions; facts derived from them are
computed once and kept beside them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np

from nestgraph.errors import StructureError
from nestgraph.spec.arrays import AnyArray, frozen, owned

NEUTRAL: Mapping[str, float] = {"bias": 0.0, "gamma": 1.0, "beta": 0.0, "mean": 0.0, "variance": 1.0}
OF_MASKS = ("active", "edges", "live")
"""Facts that follow from the mask, whatever the weights."""
PART = 2**18  # entries looked at together: their temporaries stay in the processor's cache


@dataclass(frozen=True, eq=False)
class UnitColumns:
    """The units of one layer.

    Attributes:
        ids: (units,) int64, stable for the life of a unit and never given to another.
        values: float32 (units,) for each column name of the layer (bias, normalisation).
        next_id: the smallest id that no unit of this layer ever had.
    """

    ids: AnyArray
    values: Mapping[str, AnyArray]
    next_id: int

    @classmethod
    def of(cls, ids: AnyArray, values: Mapping[str, AnyArray], next_id: int = 0) -> Self:
        """Freeze the arrays and raise `next_id` above every id."""
        ids = frozen(ids, np.int64)
        return cls(
            ids,
            {name: frozen(column, np.float32) for name, column in values.items()},
            max(next_id, int(ids.max()) + 1 if ids.size else 0),
        )

    @classmethod
    def neutral(cls, count: int, names: tuple[str, ...]) -> Self:
        """`count` new units numbered from 0 whose columns change nothing (zero bias, identity normalisation)."""
        return cls.of(np.arange(count), {name: np.full(count, NEUTRAL[name], np.float32) for name in names})

    @cached_property
    def position(self) -> dict[int, int]:
        """The position of each id."""
        return dict(zip(self.ids.tolist(), range(len(self.ids)), strict=True))

    @cached_property
    def _order(self) -> AnyArray:
        """Positions in ascending order of ids."""
        return np.argsort(self.ids)

    def positions(self, ids: AnyArray) -> AnyArray:
        """The positions of many living units: as `position`, for whole arrays.

        Raises:
            StructureError: a unit does not live.
        """
        places = self.find(ids)
        if (places < 0).any():
            dead = np.asarray(ids)[places < 0].tolist()[:5]
            raise StructureError(f"positions expected ids of living units, got {dead}, of which none lives: see `ids`")
        return places

    def find(self, ids: AnyArray) -> AnyArray:
        """The positions of many units; -1 for each that does not live."""
        if not len(self.ids):
            return np.full(np.shape(ids), -1)
        places = self._order.take(np.searchsorted(self.ids, ids, sorter=self._order), mode="clip")
        return np.where(self.ids[places] == ids, places, -1)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, eq=False)
class ConnectionColumns:
    """The connections of one projection.

    Attributes:
        weight: float32, shaped by the projection's kind (see `geometry.weight_shape`); 0 where dormant.
        mask: bool, the shape of `weight`: True where the connection is active.
        area: bool (out, in, P, Q), or (out, 1, P, Q) for one area per output map, or None for the whole map:
            the positions at which a convolution is computed (partial-area convolution, NeST section 3.2.3).
        links: one-to-one only: int64 (links, 2), the ids of source and target unit.
    """

    weight: AnyArray
    mask: AnyArray
    area: AnyArray | None = None
    links: AnyArray | None = None

    @classmethod
    def of(
        cls,
        weight: AnyArray,
        mask: AnyArray | None = None,
        area: AnyArray | None = None,
        links: AnyArray | None = None,
    ) -> Self:
        """Freeze the arrays; without a mask every connection is active."""
        return cls(
            frozen(weight, np.float32),
            frozen(np.ones(np.shape(weight), bool) if mask is None else mask, bool),
            None if area is None else frozen(area, bool),
            None if links is None else frozen(links, np.int64),
        )

    def with_weight(self, weight: AnyArray, mask: AnyArray | None = None) -> Self:
        """The same connections with other weights, and another mask where given."""
        twin = replace(self, weight=frozen(weight, np.float32), mask=self.mask if mask is None else frozen(mask, bool))
        if mask is None:
            vars(twin).update({name: fact for name, fact in vars(self).items() if name in OF_MASKS})
        return twin

    def with_living(self, weights: AnyArray) -> Self:
        """The same connections with other weights of the active ones; see `living`."""
        if self.active == self.mask.size:
            return self.with_weight(weights.reshape(self.mask.shape))
        weight = np.zeros_like(self.weight)
        weight.reshape(-1)[np.flatnonzero(self.mask)] = weights  # many times quicker than by a mask without a pattern
        return self.with_weight(owned(weight))

    def living(self, values: AnyArray) -> AnyArray:
        """Those of values in the shape of `weight` that belong to active connections, (active,) in row-major order."""
        return values.reshape(-1)[np.flatnonzero(self.mask)]

    @cached_property
    def edges(self) -> AnyArray:
        """Bool (out, in): whether any connection of a pair of units is active (not for one-to-one)."""
        inner = tuple(range(2, self.mask.ndim))
        return frozen(self.mask.any(axis=inner), bool) if inner else self.mask

    @cached_property
    def live(self) -> AnyArray:
        """Bool (links,): whether any weight of a one-to-one link is active."""
        inner = tuple(range(1, self.mask.ndim))
        return frozen(self.mask.any(axis=inner), bool) if inner else self.mask

    @cached_property
    def active(self) -> int:
        """The number of active connections."""
        return int(np.count_nonzero(self.mask))

    @cached_property
    def sound(self) -> bool:
        """Whether all weights are finite and dormant ones are zero; looked at in parts, so that it needs no memory."""
        weight, mask = self.weight.reshape(-1), self.mask.reshape(-1)
        parts = ((weight[at : at + PART], mask[at : at + PART]) for at in range(0, weight.size, PART))
        return not any((~np.isfinite(w)).any() or ((w != 0) > m).any() for w, m in parts)
