"""Sums by whole numbers: weights of one scale for each unit, 32 bits for what they add up to, then a multiplication."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal

import numpy as np

from nestgraph.chip.pointwise import Function, Line, Pointwise
from nestgraph.chip.scales import HIGH, LOW, Scale
from nestgraph.chip.sums import Sum
from nestgraph.chip.terms import Looked, Met, Mixed, Placed, Segment, Swept, Term
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations.pointwise import PIECEWISE

MOST = 2**31 - 1
WIDE = 2**15 - 1
ROOM = 1.25
"""Outputs of 16 bits have room for numbers so much larger than those of the samples."""
BENT = 20
"""Slopes below 0 are whole numbers over 2 to this power."""
FINE, FINEST = 2**8, 2**12
"""Multipliers of 16 bits are no smaller than this, or all have 31 bits; of what becomes 8 bits, and 16."""


@dataclass(frozen=True, eq=False)
class Integers:
    """How a sum is computed by integers, or a function of int8 by a table.

    Attributes:
        sum: the sum, whose weights, biases and offsets are whole numbers: one of them is worth `units`. None of a
            function alone.
        real: the same in numbers.
        units: (units,) float64.
        finish: what comes then: `integer`, a multiplication by `multipliers` / 2 ** `shift`; `table`, that and a look
            into a table; `float`, for what no integers are known.
        multipliers: (units,) int64, for the first two.
        shift: see there.
        slopes: (units,) int64: what sums below 0 are multiplied by, over 2 ** BENT; None where that is 1.
        between: the scale of what the table is asked.
        table: (256,) int64, by what is asked and 128.
        wide: what an output of 16 bits is worth; None where it has 8.
        low: the least that is stored.
        high: the largest.
    """

    sum: Sum | None
    real: Sum | None
    units: AnyArray
    finish: Literal["integer", "table", "float"]
    multipliers: AnyArray | None = None
    shift: int = 0
    slopes: AnyArray | None = None
    between: Scale | None = None
    table: AnyArray | None = None
    wide: float | None = None
    low: int = LOW
    high: int = HIGH


def integers_of(step: Sum, scales: Mapping[str, Scale], between: Scale, most: float | None) -> Integers:
    """How a sum is computed by integers.

    Args:
        step: the sum.
        scales: of values.
        between: of what its functions are asked.
        most: of an output that nothing reads, the largest size that it has; None where it is no such.
    """
    units = _units(step, scales)
    whole = _whole(step, scales, units)
    real = _real(step, whole, scales, units)
    whole = replace(whole, bias=whole.bias - zeros_of(whole, scales), terms=tuple(map(_live, whole.terms)))
    plain = not step.gates and not any(isinstance(term, Met | Mixed) for term in step.terms)
    scale = scales[step.target.name]
    slopes = _slopes(step.functions, len(units))
    clamps = all(isinstance(f, Function) and f.activation.function in PIECEWISE for f in step.functions)
    if plain and (clamps or slopes is not None):
        wide = float(np.float32(max(most * ROOM, 1e-30) / WIDE)) if most is not None else None
        multipliers, shift = _multipliers(
            units / (scale.step if wide is None else wide), FINE if wide is None else FINEST
        )
        low, high = (LOW, HIGH) if wide is None else (-WIDE - 1, WIDE)
        if clamps and step.functions:
            ends = (reduce(lambda x, f: f.run(x), step.functions, np.array([[at]])).item() for at in (-1e30, 1e30))
            step_, zero = (scale.step, scale.zero) if wide is None else (wide, 0)
            low, high = (int(np.clip(np.floor(end / step_ + 0.5) + zero, low, high)) for end in ends)
        return Integers(whole, real, units, "integer", multipliers, shift, slopes, wide=wide, low=low, high=high)
    if plain and all(isinstance(function, Function) for function in step.functions):
        multipliers, shift = _multipliers(units / between.step, FINE)
        table = scale.of(_of_all(step.functions, between))
        return Integers(whole, real, units, "table", multipliers, shift, between=between, table=table)
    return Integers(whole, real, units, "float")


def table_of(functions: tuple[Pointwise, ...], source: Scale, target: Scale) -> Integers:
    """What functions make of all int8."""
    return Integers(None, None, np.zeros(0), "table", table=target.of(_of_all(functions, source)))


def _of_all(functions: tuple[Pointwise, ...], scale: Scale) -> AnyArray:
    numbers = scale.real(np.arange(LOW, HIGH + 1)).reshape(1, 1, -1)
    return reduce(lambda x, function: function.run(x), functions, numbers).reshape(-1)


def _slopes(functions: tuple[Pointwise, ...], units: int) -> AnyArray | None:
    """The slopes below 0 of one function that has only these, as whole numbers; None of any other."""
    if len(functions) != 1:
        return None
    (function,) = functions
    if isinstance(function, Line):
        line = function.below is not None and (function.scale == 1).all() and not function.shift.any()
        below = function.below if line else None
    else:
        leaky = function.activation.function == "leaky_relu"
        below = np.full(units, function.activation.slope) if leaky else None
    if below is None or np.abs(below).max(initial=0) > 1:
        return None
    return np.floor(below * 2**BENT + 0.5).astype(np.int64)


def _units(step: Sum, scales: Mapping[str, Scale]) -> AnyArray:
    """(units,): what a whole number of each sum is worth: the weights take 8 bits, and nothing more than 31."""
    count = len(step.bias)
    finest, coarsest = np.zeros(count), np.abs(step.bias)
    if step.offsets is not None:
        coarsest = coarsest + np.abs(step.offsets).max(axis=1)
    for term in step.terms:
        largest, total = _sizes(term, count)
        if isinstance(term, Swept | Placed):
            worth = scales[term.source.name].step
            finest = np.maximum(finest, largest * worth / HIGH)
            coarsest = coarsest + total * worth * (HIGH - LOW)
        elif isinstance(term, Looked):
            coarsest = coarsest + largest
    # Where nothing is multiplied the coarsest decides: as many bits as there are.
    least = np.maximum(coarsest * 1.01 / MOST, 1e-35)
    return np.where(finest > 0, np.maximum(finest, least), np.maximum(coarsest / WIDE, 1e-30))


def _sizes(term: Term, count: int) -> tuple[AnyArray, AnyArray]:
    """(units,) twice: the largest weight of each unit, and what their sizes add up to."""
    if isinstance(term, Swept):
        rows = [np.abs(np.concatenate([np.zeros(0), *(part.weights for part in row)])) for row in term.rows]
        return np.array([row.max(initial=0) for row in rows]), np.array([row.sum() for row in rows])
    if isinstance(term, Placed | Looked):
        weights = np.abs(term.weights if isinstance(term, Placed) else term.table)
        return weights.max(axis=1, initial=0), weights.max(axis=1, initial=0)
    return np.zeros(count), np.zeros(count)


def _near(numbers: AnyArray, most: int) -> AnyArray:
    return np.clip(np.floor(numbers + 0.5), -most, most).astype(np.int64)


def _whole(step: Sum, scales: Mapping[str, Scale], units: AnyArray) -> Sum:
    """The sum by whole numbers, with the zeros of what it reads taken off."""
    terms = tuple(_whole_term(term, scales, units) for term in step.terms)
    offsets = None if step.offsets is None else _near(step.offsets / units[:, None], MOST)
    return replace(step, bias=_near(step.bias / units, MOST), offsets=offsets, terms=terms)


def _live(term: Term) -> Term:
    """A term without the weights that have become 0."""
    if not isinstance(term, Swept):
        return term
    rows = tuple(
        tuple(Segment(part.area, part.offsets[part.weights != 0], part.weights[part.weights != 0]) for part in row)
        for row in term.rows
    )
    return replace(term, rows=rows)


def _whole_term(term: Term, scales: Mapping[str, Scale], units: AnyArray) -> Term:
    if isinstance(term, Swept):
        worth = scales[term.source.name].step
        rows = tuple(
            tuple(Segment(part.area, part.offsets, _near(part.weights * worth / unit, HIGH)) for part in row)
            for row, unit in zip(term.rows, units, strict=True)
        )
        return replace(term, rows=rows)
    if isinstance(term, Placed):
        return replace(term, weights=_near(term.weights * scales[term.source.name].step / units[:, None], HIGH))
    if isinstance(term, Looked):
        return replace(term, table=_near(term.table / units[:, None], MOST))
    return term


def _real(step: Sum, whole: Sum, scales: Mapping[str, Scale], units: AnyArray) -> Sum:
    """A sum by whole numbers as one of numbers."""
    terms: list[Term] = []
    for term in whole.terms:
        if isinstance(term, Swept):
            worth = units / scales[term.source.name].step
            rows = tuple(
                tuple(Segment(part.area, part.offsets, part.weights * each) for part in row)
                for row, each in zip(term.rows, worth, strict=True)
            )
            terms.append(replace(term, rows=rows))
        elif isinstance(term, Placed):
            worth = units / scales[term.source.name].step
            terms.append(replace(term, weights=term.weights * worth[:, None]))
        elif isinstance(term, Looked):
            terms.append(replace(term, table=term.table * units[:, None]))
        else:
            terms.append(term)
    offsets = None if whole.offsets is None else whole.offsets * units[:, None]
    return replace(step, bias=whole.bias * units, offsets=offsets, terms=tuple(terms))


def zeros_of(whole: Sum, scales: Mapping[str, Scale]) -> AnyArray:
    """(units,): what the zeros of what is read add to sums, of terms of which each place has all entries."""
    total = np.zeros(len(whole.bias), np.int64)
    for term in whole.terms:
        if isinstance(term, Swept) and not term.segmented:
            weights = np.array([sum(int(part.weights.sum()) for part in row) for row in term.rows])
            total += scales[term.source.name].zero * weights
    return total


def _multipliers(factors: AnyArray, fine: int) -> tuple[AnyArray, int]:
    """Factors (units,) as whole numbers over 2 to the power of the shift: of 16 bits, or 31 where these are too few."""
    found, shift = _multipliers_of(factors, 16)
    return (found, shift) if found.min() >= fine else _multipliers_of(factors, 31)


def _multipliers_of(factors: AnyArray, bits: int) -> tuple[AnyArray, int]:
    shift = int(np.clip(bits - 1 - np.ceil(np.log2(float(factors.max()))), 1, 60))
    return np.clip(np.floor(factors * 2.0**shift + 0.5), 0, 2**bits - 1).astype(np.int64), shift
