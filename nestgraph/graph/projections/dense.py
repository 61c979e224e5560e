"""Dense projections: any unit to any neuron."""

from typing import ClassVar

import numpy as np

from nestgraph.graph.columns import ConnectionColumns, Grid
from nestgraph.graph.projections.meaning import Meaning
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Dense


class DenseMeaning(Meaning[Dense, Grid]):
    """A neuron adds up all that it reads, of maps every place by a weight of its own."""

    kind: ClassVar[type[ConnectionColumns]] = Grid

    @property
    def size(self) -> None:
        """See `Meaning.size`."""

    @property
    def settled(self) -> bool:
        """See `Meaning.settled`: each place has a weight of its own."""
        return True

    @property
    def inner(self) -> tuple[int, ...]:
        """See `Meaning.inner`."""
        return self.source_size or ()

    @property
    def leads(self) -> bool:
        """See `Meaning.leads`."""
        return self.target_size is None

    @property
    def pointwise(self) -> bool:
        """See `Meaning.pointwise`."""
        return self.source_size is None

    def project(self, source: AnyArray) -> AnyArray:
        """See `Meaning.project`."""
        weight = self.weights(source.dtype)
        return np.tensordot(source, weight, (range(1, source.ndim), range(1, weight.ndim)))

    def read(self, entries: AnyArray) -> AnyArray:
        """See `Meaning.read`."""
        return entries.sum(axis=0)
