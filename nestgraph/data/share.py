"""The part that one of several processes has in each batch, and what is drawn for all of its samples.

Importing this module does not load torch.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from nestgraph.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Share:
    """Which part of each batch a process reads.

    Attributes:
        number: of the process, from 0.
        count: of processes. Their parts are of one size, or some have a sample more.
    """

    number: int = 0
    count: int = 1

    def of(self, samples: "Tensor") -> "Tensor":
        """The part of samples, or of their places, (samples, ...)."""
        return samples if self.count == 1 else samples.tensor_split(self.count)[self.number]

    def check(self, samples: int) -> None:
        """Whether each process has a sample of a batch of so many.

        Raises:
            DataError: one has none.
        """
        if samples < self.count:
            expected = f"batches of {self.count} samples or more, one for each process"
            raise DataError(f"expected {expected}, got one of {samples}: start fewer processes, or make batches larger")


WHOLE = Share()
"""Of a process that is alone."""


@dataclass(frozen=True)
class Lot:
    """The samples that are varied together, of which some are here and the others with other processes.

    What is drawn is drawn for all of them, so that a sample is varied alike whoever has it.

    Attributes:
        size: of all.
        here: the places of those that are here; None where all are.
    """

    size: int
    here: "Tensor | None" = None

    def own(self, drawn: "Tensor") -> "Tensor":
        """What was drawn for the samples that are here, of what was drawn for all, (size, ...)."""
        return drawn if self.here is None else drawn[self.here.to(drawn.device)]


class Vary(Protocol):
    """Varies images (samples, channels, height, width), those of a lot that are here; without one they are all."""

    def __call__(self, images: "Tensor", lot: Lot | None = None) -> "Tensor":
        """Them, varied."""
        ...
