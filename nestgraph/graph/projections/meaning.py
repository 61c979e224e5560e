"""What the rest of the package asks of a projection where it stands, whatever its kind."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Generic, TypeVar, cast

import numpy as np

from nestgraph.graph.columns import ConnectionColumns, Ends
from nestgraph.graph.geometry import is_single, output_size
from nestgraph.graph.heads import summed_size
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size
from nestgraph.spec.projection import Projection

P = TypeVar("P", bound=Projection)
C = TypeVar("C", bound=ConnectionColumns)


class Meaning(ABC, Generic[P, C]):
    """A projection of a structure: what its weights do between its two layers.

    Sizes have an extent for each axis of a map; None is that of single values.

    Attributes:
        kind: what its connections are.
        record: the projection.
    """

    kind: ClassVar[type[ConnectionColumns]]

    def __init__(self, structure: Structure, record: P) -> None:
        self._structure, self.record = structure, record

    @property
    def columns(self) -> C:
        """Its connections."""
        return cast(C, self._structure.connection_columns(self.record.name))

    @property
    def ends(self) -> Ends:
        """The units at its ends."""
        layers = self.record.target, self.record.source
        return Ends(*(self._structure.unit_columns(layer) for layer in layers))

    @property
    def source_size(self) -> Size | None:
        """The size of what it reads, the outputs of its source."""
        return output_size(self._structure.layer(self.record.source))

    @property
    def target_size(self) -> Size | None:
        """The size of the sums that it leads to."""
        return summed_size(self._structure, self.record.target)

    # -- shapes --------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def inner(self) -> tuple[int, ...]:
        """The shape of the weights between two units."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of its weights."""
        return (*self.ends.shape, *self.inner)

    @property
    @abstractmethod
    def size(self) -> Size | None:
        """The size of what it gives."""

    @property
    @abstractmethod
    def leads(self) -> bool:
        """Whether it can lead from what its source gives, maps or single values, to what its target sums."""

    @property
    def settled(self) -> bool:
        """Whether it fits maps of one size alone."""
        return self.columns.area is not None or (is_single(self.source_size) and self.source_size != self.target_size)

    @property
    def pointwise(self) -> bool:
        """Whether it reads one number of each source unit for each that it gives."""
        return False

    @property
    def centred(self) -> bool:
        """Whether the middle of what it reads for each number that it gives is at the place of that number."""
        return self.pointwise

    def faults(self) -> Iterator[tuple[str, str | tuple[str, int], str]]:
        """What is wrong with connections of the right shape: the law, the place or unit, and the problem."""
        if self.columns.area is not None:
            yield "shapes", self.record.name, "expected an area on a convolution only, got one: SetArea takes it away"

    # -- what it computes ----------------------------------------------------------------------------

    @abstractmethod
    def project(self, source: AnyArray) -> AnyArray:
        """What it gives to its target's sum, (batch, targets, *size), from the outputs of its source.

        Raises:
            StructureError: it gives nothing to a sum, but is read whole.
        """

    def gate(self, total: AnyArray, source: AnyArray) -> AnyArray:
        """What becomes of the sum and bias (batch, targets, *size) of its target, by the outputs of its source."""
        return total * self.project(source)

    @abstractmethod
    def read(self, entries: AnyArray) -> AnyArray:
        """(sources, *size): entries, in the shape of the weights, summed over what reads each output."""

    @property
    def applications(self) -> int:
        """How often a connection is applied in one forward pass, summed over the connections."""
        return self.columns.active * math.prod(self.target_size or ())

    def unconnected(self) -> ConnectionColumns:
        """Active connections of weight 0 between all units that it may join."""
        return self.kind.of(np.zeros(self.shape, np.float32))

    def weights(self, dtype: Any) -> AnyArray:
        """The weights, 0 where dormant."""
        return np.where(self.columns.mask, self.columns.weight, 0).astype(dtype)
