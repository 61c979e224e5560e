"""From a program of floats to one of int8: scales of values by what they hold of samples, integers for sums."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nestgraph.chip.integers import Integers, integers_of, table_of
from nestgraph.chip.moves import Applied
from nestgraph.chip.pointwise import Function
from nestgraph.chip.program import Program, Value
from nestgraph.chip.scales import Scale
from nestgraph.chip.sums import Sum
from nestgraph.errors import ExportError
from nestgraph.spec.arrays import AnyArray

Range = tuple[float, float]
TOGETHER = 64
"""Samples that are computed at once."""
LARGEST = 1e30
"""Numbers that single precision multiplies with room to spare."""


@dataclass(frozen=True, eq=False)
class Quantised:
    """How int8 stands for the numbers of a program.

    Attributes:
        scales: by name of a value.
        integers: by name of a target, how its sum is computed, or what stands for its functions.
        wide: by name of values that a step writes as int16, for outputs alone, what one of these is worth.
        ranges: by name of a value, the least and the largest number that it has for samples.
        raw: by name of the target of a sum, those that its functions are asked.
    """

    scales: Mapping[str, Scale]
    integers: Mapping[str, Integers]
    wide: Mapping[str, float]
    ranges: Mapping[str, Range]
    raw: Mapping[str, Range]

    def given(self, value: Value) -> tuple[float, int]:
        """The step and zero of an output."""
        if value.name in self.wide:
            return self.wide[value.name], 0
        return self.scales[value.name].step, self.scales[value.name].zero


def quantised(program: Program, samples: Sequence[AnyArray], what: str = "int8") -> Quantised:
    """How a program computes with int8, as samples by port tell: values have the scale of the least and largest.

    Values of which some are passed on as they are share a scale. Weights have one for each unit.

    Args:
        program: in floats.
        samples: by port, (batch, ...).
        what: how messages begin.

    Raises:
        ExportError: numbers are too large for single precision.
    """
    ranges, raw = _ranges(program, samples)
    _check(what, ranges)
    _check(what, raw)
    groups = _groups(program)
    shared: dict[str, Range] = {}
    for name, (low, high) in ranges.items():
        before = shared.get(groups[name], (0.0, 0.0))
        shared[groups[name]] = min(before[0], low), max(before[1], high)
    scales = {name: Scale.over(*shared[groups[name]]) for name in ranges}
    read = {source.name for step in program.steps for source in step.sources}
    wide: dict[str, float] = {}
    integers: dict[str, Integers] = {}
    for step in program.steps:
        name = step.target.name
        if isinstance(step, Sum):
            between = Scale.over(*raw[name])
            alone = name not in read and any(value.name == name for _, value in program.outputs)
            found = integers_of(step, scales, between, max(map(abs, ranges[name])) if alone else None)
            integers[name] = found
            if found.wide is not None:
                wide[name] = found.wide
        elif isinstance(step, Applied) and all(isinstance(function, Function) for function in step.functions):
            integers[name] = table_of(step.functions, scales[step.source.name], scales[name])
    return Quantised({name: scale for name, scale in scales.items() if name not in wide}, integers, wide, ranges, raw)


def _ranges(program: Program, samples: Sequence[AnyArray]) -> tuple[dict[str, Range], dict[str, Range]]:
    """The least and largest of each value that holds numbers, and of what functions of sums are asked."""
    ranges: dict[str, Range] = {}
    raw: dict[str, Range] = {}
    ids = {value.name for value in program.values if value.classes is not None}
    for part in parts_of(samples):
        held = program.run(part)
        for name in held.keys() - ids:
            ranges[name] = _widened(ranges.get(name), held[name])
        for step in program.steps:
            if isinstance(step, Sum):
                raw[step.target.name] = _widened(raw.get(step.target.name), step.raw(held))
            elif step.alike:
                name = step.target.name
                ranges[name] = _widened(ranges.get(name), np.array(step.alike))
    return ranges, raw


def _check(what: str, ranges: Mapping[str, Range]) -> None:
    for name, (low, high) in ranges.items():
        if max(-low, high) > LARGEST:
            raise ExportError(
                f"{what}: layer {name.rpartition('.')[0]!r}: expected numbers below {LARGEST:g}, of which int8 is "
                f"made, got {max(-low, high):.2g}: give other inputs, or export floats"
            )


def parts_of(samples: Sequence[AnyArray]) -> Iterator[list[AnyArray]]:
    """Samples by port, some at a time."""
    for start in range(0, len(samples[0]), TOGETHER):
        yield [array[start : start + TOGETHER] for array in samples]


def _widened(known: Range | None, array: AnyArray) -> Range:
    finite = array[np.isfinite(array)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    return (low, high) if known is None else (min(low, known[0]), max(high, known[1]))


def _groups(program: Program) -> dict[str, str]:
    """By name of a value, that of the first one with which it shares a scale."""
    found = {value.name: value.name for value in program.values}
    for step in program.steps:
        if step.alike is not None:
            one, other = found[step.sources[0].name], found[step.target.name]
            found = {name: one if first == other else first for name, first in found.items()}
    return found
