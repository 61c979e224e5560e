"""Pooling over windows of maps, of a kernel or of as many as are wanted."""

import operator
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Extents, Size, along_all, in_words
from nestgraph.spec.operations.operation import Facts, Operation
from nestgraph.spec.windows import swept_size, windows_of

PoolingFunction = Literal["max", "average"]


def _no_padding(data: dict[str, Size]) -> Extents:
    return along_all(0, data.get("kernel") or (1, 1))


class Pooling(Operation):
    """Maximum or average over windows of a map; kernel, stride and padding have an extent for each of the map's.

    Padding is at most half of the kernel, so that no window lies outside the map. Windows follow PyTorch's rules. The
    two switches came after the first snapshots: at their default they are left out of JSON, so digests stay.

    Attributes:
        function: what is taken of a window.
        kernel: the extents of a window.
        stride: the step from a window to the next.
        padding: places on each side; they are never the maximum. 0 unless given.
        ceil_mode: whether a last window may reach beyond the padding; one that starts beyond the map may not.
        count_padding: whether an average counts the padding as zeros, else only what lies in the map. Never counted is
            what lies beyond the padding.
    """

    kind: Literal["pooling"] = "pooling"  # pyright: ignore[reportIncompatibleVariableOverride]
    function: PoolingFunction
    kernel: Size
    stride: Size
    padding: Extents = Field(default_factory=_no_padding)
    ceil_mode: Annotated[bool, Field(exclude_if=operator.not_)] = False
    count_padding: Annotated[bool, Field(exclude_if=operator.truth)] = True

    @model_validator(mode="after")
    def _check_padding(self) -> Self:
        if not len(self.kernel) == len(self.stride) == len(self.padding):
            raise ValueError(
                f"expected as many extents of stride and padding as of the kernel {self.kernel}, got {self.stride} and "
                f"{self.padding}"
            )
        if any(2 * pad > window for pad, window in zip(self.padding, self.kernel, strict=True)):
            raise ValueError(f"expected padding of at most half the kernel {self.kernel}, got {self.padding}")
        return self

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        largest = self.function == "max"
        return Facts(reach="unit", spatial=True, resizes=True, keeps_sign=True, takes_largest=largest)

    @property
    def words(self) -> str:
        """See `Operation.words`."""
        return f"{self.function} {in_words(self.kernel)}"

    def resized(self, size: Size) -> Size:
        """See `Operation.resized`."""
        if len(size) != len(self.kernel):
            raise ValueError(
                f"expected a pooling window with an extent for each of its maps' {size}, got kernel {self.kernel}"
            )
        given = self._positions(size)
        if min(given) < 1:
            raise ValueError(
                f"expected a pooling window that fits its maps of {size}, got kernel {self.kernel}: choose a "
                "smaller one"
            )
        return given

    def _positions(self, size: Size) -> Size:
        """How many windows there are along each axis, by PyTorch's rules; may be below 1."""
        if not self.ceil_mode:
            return swept_size(size, self.kernel, self.stride, self.padding)
        reach = tuple(extent + step - 1 for extent, step in zip(size, self.stride, strict=True))
        swept = swept_size(reach, self.kernel, self.stride, self.padding)
        # A window that would start in the padding behind the map is dropped.
        axes = zip(swept, self.stride, size, self.padding, strict=True)
        return tuple(count - ((count - 1) * step >= extent + pad) for count, step, extent, pad in axes)

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Operation.apply`."""
        size, none = self._positions(x.shape[2:]), along_all(0, self.kernel)
        pads = [(0, 0), (0, 0), *((pad, pad + step - 1) for pad, step in zip(self.padding, self.stride, strict=True))]
        padded = np.pad(x, pads, constant_values=-np.inf if self.function == "max" else 0.0)
        windows = windows_of(padded, self.kernel, self.stride, none, along_all(1, self.kernel))
        windows = windows[:, :, *(slice(count) for count in size)]
        over = tuple(range(-len(size), 0))
        if self.function == "max":
            return windows.max(axis=over)
        counts = [self.counted(axis, x.shape[2 + axis], count) for axis, count in enumerate(size)]
        return windows.sum(axis=over) / reduce(np.multiply.outer, counts).astype(x.dtype)

    def counted(self, axis: int, extent: int, windows: int) -> AnyArray:
        """(windows,): how many places along an axis of each window an average divides by."""
        pad = self.padding[axis]
        starts = np.arange(windows) * self.stride[axis] - pad
        ends = np.minimum(starts + self.kernel[axis], extent + pad)
        return ends - starts if self.count_padding else np.minimum(ends, extent) - np.maximum(starts, 0)


class AdaptivePooling(Operation):
    """Maximum or average over windows that part a map of any size into those of `size`, as PyTorch parts it.

    Along each axis, window i of n on an extent e is from floor(i * e / n) up to ceil((i + 1) * e / n).
    """

    kind: Literal["adaptive_pooling"] = "adaptive_pooling"  # pyright: ignore[reportIncompatibleVariableOverride]
    function: PoolingFunction
    size: Size

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        return Facts(reach="unit", spatial=True, resizes=True, settles=True, keeps_sign=True)

    @property
    def words(self) -> str:
        """See `Operation.words`."""
        return f"{self.function} to {in_words(self.size)}"

    def resized(self, size: Size) -> Size:
        """See `Operation.resized`."""
        if len(size) != len(self.size):
            raise ValueError(f"expected an adaptive pooling to as many extents as its maps' {size}, got {self.size}")
        return self.size

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:  # noqa: ARG002
        """See `Operation.apply`. One axis after the other, as the windows are products of intervals."""
        for axis, count in enumerate(self.size, 2):
            parts = [x.take(range(*ends), axis) for ends in intervals(x.shape[axis], count)]
            x = np.stack([part.max(axis) if self.function == "max" else part.mean(axis) for part in parts], axis)
        return x


def intervals(extent: int, count: int) -> Iterator[tuple[int, int]]:
    """The first place of each of so many windows that part an extent, and the one behind its last."""
    for place in range(count):
        yield place * extent // count, -((place + 1) * extent // -count)
