"""Steps that move numbers about, and functions of each where they stand."""

import math
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import numpy as np

from nestgraph.chip.code import Code, added
from nestgraph.chip.pointwise import Pointwise
from nestgraph.chip.program import Held, Step, Value
from nestgraph.chip.sum_text import apply
from nestgraph.chip.terms import strides_of
from nestgraph.spec.arrays import AnyArray


@dataclass(frozen=True, eq=False)
class Moving(Step):
    """A step of one source.

    Attributes:
        source: what it reads.
    """

    source: Value

    @property
    def sources(self) -> tuple[Value, ...]:
        """See `Step.sources`."""
        return (self.source,)


@dataclass(frozen=True, eq=False)
class Taken(Moving):
    """Places taken along each axis of maps: padded, cut off, spread out, repeated.

    Attributes:
        size: of the maps that are read.
        places: for each axis (extent,) int64: which place is taken, -1 for none.
        fill: what stands where none is taken.
    """

    size: tuple[int, ...]
    places: tuple[AnyArray, ...]
    fill: float

    @property
    def alike(self) -> tuple[float, ...]:
        """See `Step.alike`."""
        return (self.fill,) if any((taken < 0).any() for taken in self.places) else ()

    def run(self, held: Held) -> AnyArray:
        """See `Step.run`."""
        x = held[self.source.name]
        x = x.reshape(len(x), -1, *self.size)
        for axis, taken in enumerate(self.places, 2):
            known = (taken >= 0).reshape(-1, *(1,) * (x.ndim - axis - 1))
            x = np.where(known, x.take(np.maximum(taken, 0), axis), x.dtype.type(self.fill))
        return x


def write_taken(code: Code, step: Taken) -> None:
    """Write places one after the other, by a table for each axis along which they are not those that are read."""
    strides = strides_of(step.size)
    with (
        code.loop("u", step.target.shape[0]) as unit,
        code.loops("i", [len(taken) for taken in step.places]) as at,
    ):
        index, missing = [(unit, math.prod(step.size))], list[str]()
        for counter, taken, stride in zip(at, step.places, strides, strict=True):
            if np.array_equal(taken, np.arange(len(taken))):
                index.append((counter, stride))
                continue
            none = int(taken.max()) + 1
            read = code.whole(np.where(taken < 0, none, taken)).index(counter)
            index.append((read, stride))
            missing += [f"{read} == {none}"] if (taken < 0).any() else []
        text = f"{code.name(step.source)}[{added(*index)}]"
        if missing:
            fill = code.constant(step.fill)
            cast = f"({code.element(step.target)})" if code.quantised else ""
            text = f"{' || '.join(missing)} ? {cast}{fill} : {text}"
        code.line(f"*y++ = {text};")


@dataclass(frozen=True, eq=False)
class Turned(Moving):
    """Units moved from one axis to another: of three lengths the first two change places."""

    lengths: tuple[int, int, int]

    @property
    def alike(self) -> tuple[float, ...]:
        """See `Step.alike`."""
        return ()

    def run(self, held: Held) -> AnyArray:
        """See `Step.run`."""
        x = held[self.source.name]
        return x.reshape(len(x), *self.lengths).swapaxes(1, 2).reshape(len(x), *self.target.shape)


def write_turned(code: Code, step: Turned) -> None:
    """Write each place of the target in its order."""
    first, last, behind = step.lengths
    with code.loop("i", last) as i, code.loop("j", first) as j, code.loop("k", behind) as k:
        code.line(f"*y++ = {code.name(step.source)}[{added((j, last * behind), (i, behind), (k, 1))}];")


@dataclass(frozen=True, eq=False)
class Ended(Moving):
    """Places in a row, between learned ones.

    Attributes:
        ends: (units, places), those that come before first.
        before: how many these are.
    """

    ends: AnyArray
    before: int

    @property
    def alike(self) -> tuple[float, ...]:
        """See `Step.alike`."""
        return tuple(float(number) for number in self.ends.reshape(-1))

    def run(self, held: Held) -> AnyArray:
        """See `Step.run`."""
        x = held[self.source.name]
        row = x.reshape(len(x), len(self.ends), -1)
        ends = np.broadcast_to(self.ends.astype(x.dtype), (len(x), *self.ends.shape))
        return np.concatenate([ends[:, :, : self.before], row, ends[:, :, self.before :]], 2)


def write_ended(code: Code, step: Ended) -> None:
    """Write a row of each unit."""
    count = step.target.shape[1] - step.ends.shape[1]
    scale = code.scales[step.target.name] if code.quantised else None
    table = code.floats(step.ends) if scale is None else code.whole(scale.of(step.ends), "int8_t")
    width = step.ends.shape[1]
    with code.loop("u", step.target.shape[0]) as unit:
        for first, last in ((0, step.before), (None, None), (step.before, width)):
            if first is None or last is None:
                with code.loop("i", count) as i:
                    code.line(f"*y++ = {code.name(step.source)}[{added((unit, count), (i, 1))}];")
            elif last > first:
                with code.loop("i", last - first) as i:
                    code.line(f"*y++ = {table.at(added((unit, width), (i, 1), ('1', first)))};")


@dataclass(frozen=True, eq=False)
class Applied(Moving):
    """Functions of each number of maps, of so many places.

    Attributes:
        functions: in their order.
    """

    functions: tuple[Pointwise, ...]

    in_place: ClassVar[bool] = True

    def run(self, held: Held) -> AnyArray:
        """See `Step.run`."""
        x = held[self.source.name].reshape(-1, *self.target.shape)
        return reduce(lambda numbers, function: function.run(numbers), self.functions, x)


def write_applied(code: Code, step: Applied) -> None:
    """Write what becomes of each number; of int8 by a table of all of them where that is the same for all units."""
    places = math.prod(step.target.shape[1:])
    integers = code.integers.get(step.target.name)
    with code.loop("u", step.target.shape[0]) as unit, code.loop("i", places) as i:
        if integers is not None and integers.table is not None:
            read = f"{code.name(step.source)}[{added((unit, places), (i, 1))}]"
            code.line(f"*y++ = {code.whole(integers.table, 'int8_t').at(f'({read} + 128)')};")
            return
        code.line(f"float v = {code.real(step.source, added((unit, places), (i, 1)))};")
        apply(code, step.functions, unit)
        code.line(f"*y++ = {code.stored('v')};")
