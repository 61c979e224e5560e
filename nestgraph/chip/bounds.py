"""How far int8 can be from the network, by its arithmetic: a bound for samples whose numbers stay within the scales.

Each value has a number by which what stands for it may be apart. Weights carry it on by their sizes, functions by how
much they change over so much, and every rounding adds half a step. Nothing is further apart than its scale is wide.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nestgraph.chip.emulating import is_whole
from nestgraph.chip.integers import BENT
from nestgraph.chip.moves import Applied, Ended, Taken
from nestgraph.chip.norms import Normalised, Responded, Softened
from nestgraph.chip.pointwise import Line, Pointwise
from nestgraph.chip.program import Program, Step
from nestgraph.chip.quantising import Quantised, Range
from nestgraph.chip.sums import Sum
from nestgraph.chip.terms import Looked, Met, Mixed, Placed, Segment, Swept, Term
from nestgraph.chip.windows import Blended, Pooled
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations.pointwise import PIECEWISE

GRID = 1024
"""Places at which a function is looked at to find how much it changes."""
SINGLE = 1e-5
"""What single precision adds to numbers that are computed by floats, relative to the largest."""


def bounds(program: Program, form: Quantised) -> list[float]:
    """By port, how far an output can be from the network's where each number is within those of the samples."""
    apart: dict[str, AnyArray] = {}
    for _, value in program.inputs:
        half = 0.0 if value.classes is not None else form.scales[value.name].step / 2
        apart[value.name] = np.full((1, *value.shape), half)
    for step in program.steps:
        name = step.target.name
        if step.target.classes is not None:
            apart[name] = np.zeros((1, *step.target.shape))
            continue
        worth, width = (form.wide[name], 2**16) if name in form.wide else (form.scales[name].step, 2**8)
        found = np.nan_to_num(_carried(step, form, apart, worth), nan=np.inf, posinf=np.inf)
        apart[name] = np.minimum(np.broadcast_to(found, (1, *step.target.shape)), worth * width)
    return [float(apart[value.name].max(initial=0)) for _, value in program.outputs]


def deviations(program: Program, form: Quantised) -> list[float]:
    """By port, how far what a file gives can be from what is emulated: 0 where no step computes by floats.

    These are computed in another precision, so that what lies between two whole numbers may become either.
    """
    apart: dict[str, AnyArray] = {}
    for _, value in program.inputs:
        apart[value.name] = np.zeros((1, *value.shape))
    for step in program.steps:
        name, shape = step.target.name, (1, *step.target.shape)
        if step.target.classes is not None:
            apart[name] = np.zeros(shape)
            continue
        worth, width = (form.wide[name], 2**16) if name in form.wide else (form.scales[name].step, 2**8)
        if not any(apart[source.name].any() for source in step.sources):
            apart[name] = np.full(shape, 0.0 if is_whole(step, form) else worth)
            continue
        integers = form.integers.get(name)
        real = step if integers is None or integers.real is None else integers.real
        none = {each: np.zeros_like(array) for each, array in apart.items()}
        # Of two that are rounded each is so far from what is not.
        found = _carried(real, form, apart, worth) + _carried(real, form, none, worth)
        found = np.nan_to_num(found, nan=np.inf, posinf=np.inf)
        apart[name] = np.minimum(np.broadcast_to(found, shape), worth * width)
    return [float(apart[value.name].max(initial=0)) for _, value in program.outputs]


def _carried(step: Step, form: Quantised, apart: Mapping[str, AnyArray], worth: float) -> AnyArray:
    """What a step makes of how far its sources are apart, its own rounding to multiples of `worth` included."""
    name = step.target.name
    rounded = worth * 0.5001 + SINGLE * max(map(abs, form.ranges[name]))
    if isinstance(step, Sum):
        return _summed(step, form, apart, worth, rounded)
    source = apart[step.sources[0].name]
    if isinstance(step, Taken):
        return replace(step, fill=worth / 2).run(apart)
    if isinstance(step, Ended):
        return replace(step, ends=np.full(step.ends.shape, worth / 2)).run(apart)
    if isinstance(step, Applied):
        return _through(step.functions, source.reshape(1, *step.target.shape), form.ranges[step.source.name]) + rounded
    if isinstance(step, Pooled):
        return step.run(apart) + (rounded if step.counts is not None else 0)
    if isinstance(step, Blended):
        return step.run(apart) + rounded
    if isinstance(step, Softened):
        return np.array(min(float(source.max()) / 2, 1.0) + rounded)
    if isinstance(step, Normalised):
        return _normalised(step, float(source.max(initial=0))) + rounded
    if isinstance(step, Responded):
        return np.array(_responded(step, float(source.max(initial=0)), form.ranges[step.source.name]) + rounded)
    return step.run(apart)


# -- sums --------------------------------------------------------------------------------------------------


def _summed(step: Sum, form: Quantised, apart: Mapping[str, AnyArray], worth: float, rounded: float) -> AnyArray:
    integers = form.integers[step.target.name]
    assert integers.real is not None
    size, error = _terms(step, integers.real, form, apart)
    for gate in step.gates:
        sized, moved = _both(gate.source.name, form, apart)
        factor = replace(gate, weights=np.abs(gate.weights))
        before, after = factor.run(sized), factor.run(moved)
        size, error = size * before, (size + error) * after - size * before
    low, high = form.raw[step.target.name]
    error = error.reshape(1, len(step.bias), *step.size)
    if step.window is not None:
        zero = replace(step, bias=np.zeros(1), offsets=None, terms=(), gates=())
        error = np.stack([zero.largest(error[:, [unit]])[:, 0] for unit in range(error.shape[1])], 1)
    by_unit = (1, -1, *(1,) * (error.ndim - 2))
    if integers.multipliers is not None:
        between = worth if integers.between is None else integers.between.step
        largest = max(abs(low), abs(high)) + error
        error = error + largest / integers.units.reshape(by_unit) * 0.5 / 2.0**integers.shift * between
        if integers.slopes is not None:
            error = error + integers.units.reshape(by_unit) + largest / 2.0 ** (BENT + 1)
        elif integers.between is not None:
            error = error + between * 0.5001
    return step.framed(_through(step.functions, error, (low, high)) + rounded)


def _both(name: str, form: Quantised, apart: Mapping[str, AnyArray]) -> tuple[dict[str, AnyArray], dict[str, AnyArray]]:
    """The largest sizes of a value, and those of what stands for it."""
    largest = max(map(abs, form.ranges[name]))
    return {name: np.full(apart[name].shape, largest)}, {name: largest + apart[name]}


def _terms(step: Sum, real: Sum, form: Quantised, apart: Mapping[str, AnyArray]) -> tuple[AnyArray, AnyArray]:
    """(1, units, places) twice: how large sums can be, and how far from what they are to be."""
    shape = (1, len(step.bias), math.prod(step.size))
    size = np.zeros(shape) + np.abs(step.bias)[:, None]
    error = np.zeros(shape) + np.abs(real.bias - step.bias)[:, None]
    if step.offsets is not None and real.offsets is not None:
        size, error = size + np.abs(step.offsets), error + np.abs(real.offsets - step.offsets)
    for term, other in zip(step.terms, real.terms, strict=True):
        if isinstance(term, Looked) and isinstance(other, Looked):
            size = size + np.abs(term.table).max(axis=1)[:, None]
            error = error + np.abs(other.table - term.table).max(axis=1)[:, None]
            continue
        sized: dict[str, AnyArray] = {}
        moved: dict[str, AnyArray] = {}
        for source in term.sources:
            both = _both(source.name, form, apart)
            sized, moved = sized | both[0], moved | both[1]
        own = _absolute(term, None)
        before = own.run(sized)
        size, error = size + before, error + own.run(moved) - before
        if isinstance(term, Swept | Placed):
            error = error + _absolute(term, other).run(moved)
    return size, error


def _absolute(term: Term, other: Term | None) -> Term:
    """A term of the sizes of its weights, or of how far they are from those of another."""

    def sizes(weights: AnyArray, others: AnyArray | None) -> AnyArray:
        return np.abs(weights if others is None else weights - others)

    if isinstance(term, Swept):
        others = other.rows if isinstance(other, Swept) else [[None] * len(row) for row in term.rows]
        rows = tuple(
            tuple(
                Segment(part.area, part.offsets, sizes(part.weights, each and each.weights))
                for part, each in zip(row, beside, strict=True)
            )
            for row, beside in zip(term.rows, others, strict=True)
        )
        return replace(term, rows=rows)
    if isinstance(term, Placed):
        return replace(term, weights=sizes(term.weights, other.weights if isinstance(other, Placed) else None))
    if isinstance(term, Met):
        return replace(term, weights=tuple(np.abs(each) for each in term.weights))
    return replace(term, weights=np.abs(term.weights)) if isinstance(term, Mixed) else term


# -- functions and others ----------------------------------------------------------------------------------


def _through(functions: tuple[Pointwise, ...], error: AnyArray, within: Range) -> AnyArray:
    """How far results are apart of functions whose argument is in a range, and what stands for it apart from it."""
    low, high = within
    for function in functions:
        if isinstance(function, Line):
            slopes = np.abs(function.scale)
            slopes = slopes if function.below is None else np.maximum(slopes, np.abs(function.below))
            error = error * slopes.reshape(1, -1, *(1,) * (error.ndim - 2))
            most = float(slopes.max() * max(abs(low), abs(high)) + np.abs(function.shift).max())
            low, high = -most, most
            continue
        plain = function.activation.function in PIECEWISE
        error = error if plain else np.full(error.shape, _change(function, float(error.max(initial=0)), low, high))
        values = function.run(np.linspace(low, high, GRID).reshape(1, 1, -1))
        low, high = float(np.min(values)), float(np.max(values))
    return error


def _change(function: Pointwise, by: float, low: float, high: float) -> float:
    """The most that a function changes where its argument, of a range, changes by so much."""
    if not np.isfinite([by, low, high]).all():
        return math.inf
    places = np.linspace(low - by, high + by, GRID + 1)
    with np.errstate(all="ignore"):
        values = function.run(places.reshape(1, 1, -1)).reshape(-1)
    if not np.isfinite(values).all():
        return math.inf
    apart = float(places[1] - places[0])
    count = min(GRID + 1, math.ceil(by / float(apart)) + 2) if apart else 1
    windows = sliding_window_view(values, count)
    between = float(np.abs(np.diff(values)).max())  # what a place between two of the grid may add
    return float((windows.max(axis=1) - windows.min(axis=1)).max()) + between


def _normalised(step: Normalised, by: float) -> AnyArray:
    """(1, units, ...): by how a quotient of sums and a root of at least that of epsilon changes."""
    norm, units = step.norm, step.target.shape[0]
    if not by:  # a root of nothing known to be above 0 may be as steep as it likes
        return np.zeros(1)
    places = math.prod(step.target.shape[1:]) if norm.over != "units" else 1
    if norm.over == "places":
        count, divisor, absent = np.full(units, places), np.full(units, places), np.zeros(units)
    else:
        groups = norm.groups_of(step.ids)
        count = np.bincount(groups, minlength=norm.groups)[groups] * places
        divisor, absent = norm.divided_by(step.ids) * places, norm.absent(step.ids)
    share = count / divisor
    moved = 1 + share if norm.center else np.ones(units)
    missing = np.where(absent < 0, np.inf, np.sqrt(np.maximum(absent, 0)) * share) if norm.center else 0.0
    change = by * (moved + np.sqrt(divisor) * (moved * np.sqrt(share) + missing)) / math.sqrt(norm.epsilon)
    gamma = np.abs(step.columns["gamma"]) if norm.gamma else np.ones(units)
    return (gamma * change).reshape(1, -1, *(1,) * (len(step.target.shape) - 1))


def _responded(step: Responded, by: float, within: Range) -> float:
    norm, largest = step.norm, max(map(abs, within)) + by
    own = norm.k**-norm.beta
    inner = 2 * norm.alpha / norm.size * min(norm.size, step.target.shape[0]) * largest
    return by * (own + largest * norm.beta * norm.k ** (-norm.beta - 1) * inner)
