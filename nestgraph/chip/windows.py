"""Steps that make maps of another size: what windows hold, and what lies between places."""

import math
from dataclasses import dataclass
from functools import reduce

import numpy as np

from nestgraph.chip.code import Code, added
from nestgraph.chip.moves import Moving
from nestgraph.chip.program import Held
from nestgraph.chip.terms import strides_of
from nestgraph.spec.arrays import AnyArray


@dataclass(frozen=True, eq=False)
class Pooled(Moving):
    """The largest or the average of what lies in windows.

    Attributes:
        size: of the maps that are read.
        starts: for each axis (windows,) int64: the first place of the map that lies in each.
        ends: likewise, the one behind the last.
        counts: likewise, what an average is divided by; None for the largest.
    """

    size: tuple[int, ...]
    starts: tuple[AnyArray, ...]
    ends: tuple[AnyArray, ...]
    counts: tuple[AnyArray, ...] | None

    @property
    def alike(self) -> tuple[float, ...] | None:
        """See `Step.alike`: an average is no number of its source, but fits its scale."""
        return ()

    def run(self, held: Held) -> AnyArray:
        """See `Step.run`."""
        x = held[self.source.name]
        x = x.reshape(len(x), -1, *self.size)
        for axis, (starts, ends) in enumerate(zip(self.starts, self.ends, strict=True), 2):
            parts = [x.take(range(first, last), axis) for first, last in zip(starts, ends, strict=True)]
            x = np.stack([part.max(axis) if self.counts is None else part.sum(axis) for part in parts], axis)
        return x if self.counts is None else x / reduce(np.multiply.outer, self.counts).astype(x.dtype)


def write_pooled(code: Code, step: Pooled) -> None:
    """Write one window after the other; averages of int8 are of whole numbers, rounded half away from zero."""
    source, element = code.name(step.source), code.element(step.target)
    strides = strides_of(step.size)
    with (
        code.loop("u", step.target.shape[0]) as unit,
        code.loops("i", [len(starts) for starts in step.starts]) as at,
    ):
        first = {"float": "-3.402823466e38f", "int8_t": "-128"}[element]
        kind = element if step.counts is None else "float" if element == "float" else "int32_t"
        code.line(f"{kind} v = {first if step.counts is None else '0'};")
        _over(code, step, unit, at, [(unit, math.prod(step.size))], list(strides), source)
        if step.counts is not None:
            _divide(code, step, at)
        code.line(f"*y++ = {'' if kind == element else f'({element})'}v;")


def _over(
    code: Code, step: Pooled, unit: str, at: list[str], index: list[tuple[str, int]], strides: list[int], source: str
) -> None:
    """Write loops over the places of a window, and what is done with each."""
    axis = len(index) - 1
    if axis == len(step.size):
        read = f"{source}[{added(*index)}]"
        if step.counts is None:
            code.line(f"if ({read} > v) {{ v = {read}; }}")
        else:
            code.line(f"v += {read}{code.zero(step.source) if code.quantised else ''};")
        return
    name, starts, ends = f"k{axis}", step.starts[axis], step.ends[axis]
    first, last = (
        str(int(ends_[0])) if len(ends_) == 1 else code.whole(ends_).at(at[axis]) for ends_ in (starts, ends)
    )
    with code.block(f"for (@at {name} = {first}; {name} < {last}; {name}++)"):
        _over(code, step, unit, at, [*index, (name, strides[axis])], strides, source)


def _divide(code: Code, step: Pooled, at: list[str]) -> None:
    """Write the division of an average."""
    counts = reduce(np.multiply.outer, step.counts or ()).reshape(-1)
    place = added(*zip(at, strides_of([len(starts) for starts in step.starts]), strict=True))
    count = str(int(counts[0])) if not np.ptp(counts) else code.whole(counts).at(place)
    if not code.quantised:
        code.line(f"v /= (float){count};")
        return
    zero = code.scales[step.source.name].zero
    code.line(f"const int32_t n = {count};")
    code.line(f"v = (v + (v < 0 ? -(n / 2) : n / 2)) / n{f' + {zero}' if zero >= 0 else f' - {-zero}'};")


@dataclass(frozen=True, eq=False)
class Blended(Moving):
    """Linear interpolation along one axis, of three lengths: what lies before it, it, what lies behind it.

    Attributes:
        lengths: of what is read.
        low: (extent,) int64: the place below each that is wanted.
        shares: (extent,): how much of the next place there is.
    """

    lengths: tuple[int, int, int]
    low: AnyArray
    shares: AnyArray

    def run(self, held: Held) -> AnyArray:
        """See `Step.run`."""
        x = held[self.source.name]
        x = x.reshape(len(x), *self.lengths)
        share = self.shares.astype(x.dtype)[:, None]
        high = np.minimum(self.low + 1, self.lengths[1] - 1)
        mixed = x.take(self.low, 2) * (1 - share) + x.take(high, 2) * share
        return mixed.reshape(len(x), *self.target.shape)


def write_blended(code: Code, step: Blended) -> None:
    """Write both places that lie next to each."""
    before, extent, behind = step.lengths
    high = np.minimum(step.low + 1, extent - 1)
    with code.loop("i", before) as i, code.loop("j", len(step.low)) as j, code.loop("k", behind) as k:
        one, other = (
            code.real(step.source, added((i, extent * behind), (code.whole(places).index(j), behind), (k, 1)))
            for places in (step.low, high)
        )
        code.line(f"const float share = {code.floats(step.shares).at(j)};")
        code.line(f"*y++ = {code.stored(f'({one}) * (1.0f - share) + ({other}) * share')};")
