"""Places around maps, or fewer of them."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, Strict, model_validator

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import MAX_EXTENTS, Size
from nestgraph.spec.operations.operation import Facts, Operation
from nestgraph.spec.windows import framed

Places = Annotated[int, Field(gt=-(2**31), lt=2**31)]
Ends = Annotated[tuple[Places, ...], Field(min_length=1, max_length=MAX_EXTENTS), Strict(False)]


class Pad(Operation):
    """A map with more places at its ends, or fewer, along each axis.

    Attributes:
        before: how many places come before those of the map along each axis; a negative number leaves so many of the
            first out, in mode `constant` alone.
        after: how many come behind them; likewise.
        mode: what is put there: `constant` one value, `reflect` what is as far from the end on its other side, without
            the end itself, `replicate` the end, `circular` what the other end has.
        value: of mode `constant`.
    """

    kind: Literal["pad"] = "pad"  # pyright: ignore[reportIncompatibleVariableOverride]
    before: Ends
    after: Ends
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant"
    value: float = 0.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(self.before) != len(self.after):
            raise ValueError(f"expected as many extents before as after, got {self.before} and {self.after}")
        if self.mode != "constant" and (self.value or min(*self.before, *self.after) < 0):
            raise ValueError(
                f"expected places of their own without a value in mode {self.mode}, got {self.before} before, "
                f"{self.after} after and a value of {self.value}"
            )
        return self

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        return Facts(reach="unit", spatial=True, resizes=True, keeps_sign=self.value >= 0)

    @property
    def words(self) -> str:
        """See `Operation.words`."""
        ends = ", ".join(f"{first}+{last}" for first, last in zip(self.before, self.after, strict=True))
        put = self.mode if self.mode != "constant" else f"{self.value:g}"
        return f"pad {put} {ends}"

    def resized(self, size: Size) -> Size:
        """See `Operation.resized`."""
        if len(size) != len(self.before):
            raise ValueError(f"expected a padding with an extent for each of its maps' {size}, got {self.before}")
        ends = tuple(zip(size, self.before, self.after, strict=True))
        if any(extent + min(first, 0) + min(last, 0) < 1 for extent, first, last in ends):
            raise ValueError(f"expected a padding that leaves a place of maps of {size}, got {self.words}")
        most = {"reflect": -1, "circular": 0}.get(self.mode)
        if most is not None and any(max(first, last) > extent + most for extent, first, last in ends):
            raise ValueError(f"expected a padding by places that maps of {size} have, got {self.words}")
        return tuple(extent + first + last for extent, first, last in ends)

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Operation.apply`."""
        return framed(x, tuple(zip(self.before, self.after, strict=True)), self.mode, self.value)
