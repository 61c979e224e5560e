"""Lookups: each unit has a value for each class, and gives that of the class which it reads."""

from typing import ClassVar

import numpy as np

from nestgraph.errors import StructureError
from nestgraph.graph.columns import ConnectionColumns, Grid
from nestgraph.graph.projections.meaning import Meaning
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size
from nestgraph.spec.projection import Lookup


class LookupMeaning(Meaning[Lookup, Grid]):
    """A table of which a row, the weights of a class, is read at each place."""

    kind: ClassVar[type[ConnectionColumns]] = Grid

    @property
    def classes(self) -> int:
        """How many classes the ids that it reads name."""
        return self._structure.layer(self.record.source).classes or 0

    @property
    def inner(self) -> tuple[int, ...]:
        """See `Meaning.inner`."""
        return (self.classes,)

    @property
    def size(self) -> Size | None:
        """See `Meaning.size`."""
        return self.source_size

    @property
    def leads(self) -> bool:
        """See `Meaning.leads`."""
        return self._structure.layer(self.record.source).classes is not None and (
            (self.source_size is None) == (self.target_size is None)
        )

    @property
    def settled(self) -> bool:
        """See `Meaning.settled`."""
        return False

    def project(self, source: AnyArray) -> AnyArray:
        """See `Meaning.project`.

        Raises:
            StructureError: an id is none of the classes.
        """
        ids = source.astype(np.int64)
        if ids.size and not (ids.min() >= 0 and ids.max() < self.classes and (ids == source).all()):
            raise StructureError(
                f"projection {self.record.name!r} expected whole ids from 0 to {self.classes - 1}, got others, "
                f"from {source.min():g} to {source.max():g}"
            )
        table, result = self.weights(source.dtype), np.zeros((), source.dtype)
        for place in range(ids.shape[1]):
            result = result + np.moveaxis(table[:, place][:, ids[:, place]], 0, 1)
        return np.broadcast_to(result, (len(source), len(table), *source.shape[2:]))

    def read(self, entries: AnyArray) -> AnyArray:
        """See `Meaning.read`: at each place those of one class, of which all count alike."""
        counts = entries.sum(axis=(0, 2)) / self.classes
        return np.broadcast_to(
            counts.reshape(-1, *[1] * len(self.source_size or ())), (len(counts), *(self.source_size or ()))
        )

    @property
    def applications(self) -> int:
        """See `Meaning.applications`: nothing is multiplied or added."""
        return 0
