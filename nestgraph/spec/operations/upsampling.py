"""Interpolation of maps."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, Strict, model_validator

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import MAX_EXTENTS, Size, in_words
from nestgraph.spec.operations.operation import Facts, Operation
from nestgraph.spec.record import absent

Factor = Annotated[float, Field(gt=0)]
Factors = Annotated[tuple[Factor, ...], Field(min_length=1, max_length=MAX_EXTENTS), Strict(False)]


class Upsampling(Operation):
    """Interpolation of a map, as PyTorch's `interpolate` does it.

    Places are taken from the middles of pixels, or with `align_corners` (linear only) so that corners meet. `nearest`
    reads place floor(i * e / n) of an extent e for the i-th of n, rounded in single precision as PyTorch rounds it.

    Attributes:
        mode: how values between places are made: `bilinear` is linear along each axis, however many there are.
        size: the size that it gives.
        align_corners: whether the corners of both maps are at the same places.
        scale: factors by which a map of any size grows, rounded down: `size` is what they make of the layer's own.
            Places then go by the factors, where corners are not aligned. None where the size is absolute. It came
            after the first snapshots: None is left out of JSON, so digests stay.
    """

    kind: Literal["upsampling"] = "upsampling"  # pyright: ignore[reportIncompatibleVariableOverride]
    mode: Literal["nearest", "bilinear"]
    size: Size
    align_corners: bool = False
    scale: Annotated[Factors | None, Field(exclude_if=absent)] = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.align_corners and self.mode == "nearest":
            raise ValueError("expected align_corners with mode bilinear only, got mode nearest")
        if self.scale is not None and len(self.scale) != len(self.size):
            raise ValueError(f"expected a scale for each extent of {self.size}, got {self.scale}")
        return self

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        return Facts(reach="unit", spatial=True, resizes=True, settles=self.scale is None, keeps_sign=True)

    @property
    def words(self) -> str:
        """See `Operation.words`."""
        return f"{self.mode} to {in_words(self.size)}"

    def resized(self, size: Size) -> Size:
        """See `Operation.resized`."""
        if len(size) != len(self.size):
            raise ValueError(f"expected an upsampling with an extent for each of its maps' {size}, got {self.size}")
        if (grown := self._grown(size)) != self.size:
            raise ValueError(f"expected an upsampling of {size} to {grown}, got {self.size}")
        return grown

    def _grown(self, size: Size) -> Size:
        if self.scale is None:
            return self.size
        return tuple(int(extent * factor) for extent, factor in zip(size, self.scale, strict=True))

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Operation.apply`."""
        size = self._grown(x.shape[2:])
        for axis, (count, scale) in enumerate(zip(size, self.scale or (None,) * len(size), strict=True), 2):
            extent = x.shape[axis]
            if self.mode == "nearest":
                x = x.take(nearest(extent, count, scale), axis)
                continue
            places = self.between(extent, count, scale)
            low = places.astype(np.int64)
            share = (places - low).astype(x.dtype).reshape(-1, *([1] * (x.ndim - 1 - axis)))
            x = x.take(low, axis) * (1 - share) + x.take(np.minimum(low + 1, extent - 1), axis) * share
        return x

    def between(self, extent: int, count: int, scale: float | None) -> AnyArray:
        """(count,): the places, in parts of pixels, that a linear interpolation reads along an axis."""
        if self.align_corners:
            return np.arange(count) * ((extent - 1) / max(count - 1, 1))
        step = extent / count if scale is None else 1 / scale
        return np.clip((np.arange(count) + 0.5) * step - 0.5, 0, None)


def nearest(extent: int, count: int, scale: float | None) -> AnyArray:
    """(count,) int64: the places of an extent that are read for so many, by a factor or without."""
    step = np.float32(extent) / np.float32(count) if scale is None else np.float32(1 / scale)
    return np.minimum((np.arange(count, dtype=np.float32) * step).astype(np.int64), extent - 1)
