"""The units of a layer: their ids, and a value of each for each column."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from nestgraph.errors import StructureError
from nestgraph.spec.arrays import AnyArray, frozen
from nestgraph.spec.layer import Layer
from nestgraph.spec.unit_column import neutral


@dataclass(frozen=True, eq=False)
class UnitColumns:
    """The units of one layer.

    Attributes:
        ids: (units,) int64, stable for the life of a unit and never given to another.
        values: float32 (units,) for each column name of the layer (bias, normalisation), (units, *size) by place, or
            (units, count) where an operation says so.
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
        """`count` new units numbered from 0 with columns of one value that change nothing: zero bias, say."""
        return cls.of(np.arange(count), {name: np.full(count, neutral(name), np.float32) for name in names})

    @classmethod
    def new(cls, layer: Layer, count: int) -> Self:
        """`count` new units of a layer, numbered from 0, whose columns change nothing."""
        values = {c.name: np.full(c.shape(count, layer.size), c.neutral, np.float32) for c in layer.columns}
        return cls.of(np.arange(count), values)

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
