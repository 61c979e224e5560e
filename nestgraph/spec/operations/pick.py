"""One place of a map."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, Strict

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import MAX_EXTENTS, Size
from nestgraph.spec.operations.operation import Facts, Operation

PlaceOnAxis = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Place = Annotated[tuple[PlaceOnAxis, ...], Field(min_length=1, max_length=MAX_EXTENTS), Strict(False)]


class Pick(Operation):
    """A map's value at one place, as a map of that place alone.

    Attributes:
        place: along each axis of the map, from 0; a negative one counts from the end, -1 for the last.
    """

    kind: Literal["pick"] = "pick"  # pyright: ignore[reportIncompatibleVariableOverride]
    place: Place

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        return Facts(reach="unit", spatial=True, resizes=True, settles=True, keeps_sign=True)

    @property
    def words(self) -> str:
        """See `Operation.words`."""
        return f"place {', '.join(map(str, self.place))}"

    def resized(self, size: Size) -> Size:
        """See `Operation.resized`."""
        axes = zip(self.place, size, strict=False)
        if len(size) != len(self.place) or any(not -extent <= at < extent for at, extent in axes):
            raise ValueError(f"expected to pick a place within maps of {size}, got {self.place}")
        return (1,) * len(size)

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Operation.apply`."""
        for axis, at in enumerate(self.place, 2):
            x = x.take([at], axis)
        return x
