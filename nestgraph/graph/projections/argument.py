"""Arguments of opaque layers: a body reads all of another layer."""

from typing import ClassVar, NoReturn

import numpy as np

from nestgraph.errors import StructureError
from nestgraph.graph.columns import ConnectionColumns, Whole
from nestgraph.graph.projections.meaning import Meaning
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size
from nestgraph.spec.projection import Argument


class ArgumentMeaning(Meaning[Argument, Whole]):
    """A body gives what its target's sum is, whatever it reads."""

    kind: ClassVar[type[ConnectionColumns]] = Whole

    @property
    def inner(self) -> tuple[int, ...]:
        """See `Meaning.inner`."""
        return ()

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Meaning.shape`."""
        return (0,)

    @property
    def settled(self) -> bool:
        """See `Meaning.settled`."""
        return False

    @property
    def size(self) -> Size | None:
        """See `Meaning.size`: what the body gives."""
        return self.target_size

    @property
    def leads(self) -> bool:
        """See `Meaning.leads`."""
        return True

    def project(self, source: AnyArray) -> NoReturn:  # noqa: ARG002
        """See `Meaning.project`."""
        raise StructureError(f"expected a projection with weights, got argument {self.record.name!r}")

    def read(self, entries: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Meaning.read`: what a body does with its arguments is not known, and counts as nothing."""
        return np.zeros((len(self.ends.source), *(self.source_size or ())))
