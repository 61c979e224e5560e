"""What a file of int8 computes, with NumPy: to the bit where numbers are whole, else as floats that are rounded."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np

from nestgraph.chip.integers import BENT, Integers, zeros_of
from nestgraph.chip.moves import Ended, Taken
from nestgraph.chip.program import Program, Step
from nestgraph.chip.quantising import Quantised, parts_of
from nestgraph.chip.scales import LOW, Scale
from nestgraph.chip.windows import Pooled
from nestgraph.spec.arrays import AnyArray

Held = dict[str, AnyArray]
"""By name of a value, float64 (batch, *shape): whole numbers less their zero, or ids; sums of them are exact."""


def read_as_whole(program: Program, form: Quantised, samples: Sequence[AnyArray]) -> list[AnyArray]:
    """Samples by port, (batch, ...), as the whole numbers and ids that a file reads, int64."""
    return [
        array.astype(np.int64) if value.classes is not None else form.scales[value.name].of(array)
        for array, (_, value) in zip(samples, program.inputs, strict=True)
    ]


def emulated(program: Program, form: Quantised, whole: Sequence[AnyArray]) -> list[AnyArray]:
    """What a file of int8 gives, by port, (batch, ...) int64.

    It is that to the bit where `is_whole` holds of all steps; what is made by floats may be rounded the other way.

    Args:
        program: in floats.
        form: how int8 stands for its numbers.
        whole: by port, what the file reads, (batch, ...).
    """
    outputs: list[list[AnyArray]] = [[] for _ in program.outputs]
    for part in parts_of(whole):
        held: Held = {}
        for (_, value), array in zip(program.inputs, part, strict=True):
            zero = 0 if value.classes is not None else form.scales[value.name].zero
            held[value.name] = array.reshape(len(array), *value.shape).astype(np.float64) - zero
        for step in program.steps:
            held[step.target.name] = _stepped(step, form, held)
        for found, (_, value) in zip(outputs, program.outputs, strict=True):
            found.append(held[value.name].astype(np.int64) + form.given(value)[1])
    return [np.concatenate(found) for found in outputs]


def numbers_of(program: Program, form: Quantised, whole: Sequence[AnyArray]) -> list[AnyArray]:
    """The numbers that whole ones stand for, which a file gives by port."""
    scales = [form.given(value) for _, value in program.outputs]
    return [(array.astype(np.float64) - zero) * step for array, (step, zero) in zip(whole, scales, strict=True)]


def is_whole(step: Step, form: Quantised) -> bool:
    """Whether a step computes by whole numbers alone."""
    integers = form.integers.get(step.target.name)
    if step.target.classes is not None or step.alike is not None:
        return True
    return integers is not None and integers.finish != "float"


def _stepped(step: Step, form: Quantised, held: Held) -> AnyArray:
    integers = form.integers.get(step.target.name)
    if step.target.classes is not None:
        return step.run(held)
    if step.alike is not None:
        return MOVED.get(type(step), _moved)(step, form.scales[step.target.name], held)
    if integers is None or integers.finish == "float":
        return _by_floats(step, integers, form, held)
    scale = form.scales.get(step.target.name, Scale(1.0, 0))  # of 16 bits: no zero
    if integers.sum is None:
        assert integers.table is not None
        source = step.sources[0]
        asked = held[source.name].astype(np.int64).reshape(-1, *step.target.shape) + form.scales[source.name].zero
        return (integers.table[asked - LOW] - scale.zero).astype(np.float64)
    bias = integers.sum.bias + zeros_of(integers.sum, form.scales)
    total = replace(integers.sum, bias=bias).raw(held)
    return integers.sum.framed((_finished(integers, total.astype(np.int64), scale) - scale.zero).astype(np.float64))


def _finished(integers: Integers, total: AnyArray, scale: Scale) -> AnyArray:
    """What becomes of a sum (batch, units, *size) of whole numbers."""
    assert integers.multipliers is not None
    by_unit = (-1, *(1,) * (total.ndim - 2))
    if integers.slopes is not None:
        bent = (total * integers.slopes.reshape(by_unit) + (1 << (BENT - 1))) >> BENT
        total = np.where(total < 0, bent, total)
    zero = scale.zero if integers.between is None else integers.between.zero
    fitted = (total * integers.multipliers.reshape(by_unit) + (1 << (integers.shift - 1))) >> integers.shift
    fitted = np.clip(fitted + zero, integers.low, integers.high)
    return fitted if integers.table is None else integers.table[fitted - LOW]


def _by_floats(step: Step, integers: Integers | None, form: Quantised, held: Held) -> AnyArray:
    real = {
        source.name: held[source.name] * (1.0 if source.classes is not None else form.scales[source.name].step)
        for source in step.sources
    }
    scale = form.scales[step.target.name]
    with np.errstate(all="ignore"):
        if integers is not None and integers.real is not None:
            numbers = integers.real.raw(real)
            numbers = reduce(lambda x, function: function.run(x), integers.real.functions, numbers)
            return integers.real.framed((scale.of(numbers) - scale.zero).astype(np.float64))
        return (scale.of(step.run(real)) - scale.zero).astype(np.float64)


# -- what is passed on as it is ----------------------------------------------------------------------------


def _constant(scale: Scale, numbers: Any) -> AnyArray:
    return (scale.of(np.asarray(numbers)) - scale.zero).astype(np.float64)


def _moved(step: Step, _: Scale, held: Held) -> AnyArray:
    return step.run(held)


def _taken(step: Taken, scale: Scale, held: Held) -> AnyArray:
    return replace(step, fill=float(_constant(scale, step.fill))).run(held)


def _ended(step: Ended, scale: Scale, held: Held) -> AnyArray:
    return replace(step, ends=_constant(scale, step.ends)).run(held)


def _pooled(step: Pooled, _: Scale, held: Held) -> AnyArray:
    """An average is rounded half away from zero."""
    if step.counts is None:
        return step.run(held)
    counts = reduce(np.multiply.outer, step.counts).astype(np.int64)
    total = replace(step, counts=tuple(np.ones_like(each) for each in step.counts)).run(held).astype(np.int64)
    return (np.sign(total) * ((np.abs(total) + counts // 2) // counts)).astype(np.float64)


MOVED: Mapping[type[Step], Callable[[Any, Scale, Held], AnyArray]] = {Taken: _taken, Ended: _ended, Pooled: _pooled}
"""By step that passes numbers on, what it makes of whole ones, where that is not what it makes of any."""
