"""What data say of themselves before a network is made for them: shapes, classes, names."""

from collections.abc import Mapping
from math import prod
from typing import Literal, Union

from nestgraph.spec.record import Record

Shape = tuple[int, ...]
Wanted = Literal["classes", "numbers", "labels", "inputs"]
"""What a task learns: one of several classes, numbers, which of several labels hold, or the inputs themselves."""
UNTOLD = -100
"""The class of a place that nothing is told of, as in `torch.nn.functional.cross_entropy`."""
AllWanted = Wanted | Mapping[str, Wanted | None] | None
"""What is learned of the targets of one output, or of several by name; None is found out, as targets look."""


class Facts(Record):
    """The form of samples, alike for arrays, tables, images and streams.

    Attributes:
        inputs: the shape of a sample of each input, such as `((1, 28, 28),)` or `((13,),)`.
        classes: how many there are; 0 where targets are numbers.
        width: how many numbers or classes a target holds: 1 for targets (samples,), k for (samples, k).
        names: of the classes, else of the columns of the targets, where they have some.
        features: of the numbers of the first input, where they have some: those of a table.
        scales: by how much numbers in the targets' own unit are larger than those here, a factor for each of `width`;
            empty where targets come as they are.
        parts: of several targets what is known of each, by name or in order.
    """

    inputs: tuple[Shape, ...]
    classes: int = 0
    width: int = 1
    names: tuple[str, ...] = ()
    features: tuple[str, ...] = ()
    scales: tuple[float, ...] = ()
    parts: Union[dict[str, "Facts"], tuple["Facts", ...]] = ()  # noqa: UP007

    @property
    def values(self) -> int:
        """Numbers in a sample, of all inputs."""
        return sum(map(prod, self.inputs))

    @property
    def image(self) -> tuple[int, int, int] | None:
        """(channels, height, width) where there is one input and it is an image."""
        shape = self.inputs[0]
        return (shape[0], shape[1], shape[2]) if len(self.inputs) == 1 and len(shape) == 3 else None
