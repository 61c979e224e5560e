"""Steps that look at several numbers of a layer to make each: normalisations and softmax."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nestgraph.chip.code import Code, added
from nestgraph.chip.moves import Moving
from nestgraph.chip.pointwise import literal
from nestgraph.chip.program import Held
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations import LocalResponseNorm, Norm, Softmax
from nestgraph.spec.operations.local_response_norm import neighbours


@dataclass(frozen=True, eq=False)
class Normalised(Moving):
    """Normalisation of a sample.

    Attributes:
        norm: what it means.
        ids: (units,) of the units.
        columns: of the layer.
    """

    norm: Norm
    ids: AnyArray
    columns: dict[str, AnyArray]

    in_place: ClassVar[bool] = True

    def run(self, held: Held) -> AnyArray:
        """See `Step.run`."""
        x = held[self.source.name].reshape(-1, *self.target.shape)
        return self.norm.apply(x, self.columns, self.ids)


def write_normalised(code: Code, step: Normalised) -> None:
    """Write the mean and variance of each group, then its numbers."""
    units, places = step.target.shape[0], math.prod(step.target.shape[1:])
    norm = step.norm
    groups = np.arange(units) if norm.over == "places" else norm.groups_of(step.ids)
    names = np.unique(groups)
    divisors = [_divisor(norm, step.ids, groups, each, places) for each in names]
    absent = [_absent(norm, step.ids, groups, each) for each in names]
    with code.loop("g", len(names)) as g, code.loop("i", 1 if norm.over != "units" else places) as i:
        code.line("float mean = 0.0f, variance = 0.0f;")
        one = np.array([int(np.flatnonzero(groups == each)[0]) for each in names])
        own = code.whole(one).at(g) if len(names) == units else None
        divisor, missing = code.floats(np.array(divisors)).at(g), code.floats(np.array(absent))
        if norm.center:
            _over(code, step, own, names, g, i, ["mean += v;"])
            code.line(f"mean /= {divisor};")
        _over(code, step, own, names, g, i, ["variance += (v - mean) * (v - mean);"])
        code.line(f"variance /= {divisor};")
        if norm.center and norm.over != "places":
            code.line(f"variance += {missing.at(g)} * mean * mean;")
            code.line("if (variance < 0.0f) { variance = 0.0f; }")
        code.line(f"const float scale = 1.0f / sqrtf(variance + {literal(norm.epsilon)});")
        text = "(v - mean) * scale"
        text = f"{text} * {code.floats(step.columns['gamma']).at('u')}" if norm.gamma else text
        text = f"{text} + {code.floats(step.columns['beta']).at('u')}" if norm.beta else text
        _over(code, step, own, names, g, i, [f"y[n] = {code.stored(text)};"])


def _divisor(norm: Norm, ids: AnyArray, groups: AnyArray, each: int, places: int) -> float:
    """What sums over a group are divided by."""
    if norm.over == "places":
        return places
    by = float(norm.divided_by(ids[groups == each][:1])[0])
    return by * places if norm.over == "both" else by


def _absent(norm: Norm, ids: AnyArray, groups: AnyArray, each: int) -> float:
    """The share of a group that is absent."""
    return 0.0 if norm.over == "places" else float(norm.absent(ids)[groups == each][0])


def _over(
    code: Code,
    step: Normalised,
    own: str | None,
    names: AnyArray,
    g: str,
    i: str,
    lines: list[str],
) -> None:
    """Write a loop over the numbers `v` of a group, of unit `u`, at `n`."""
    units, places = step.target.shape[0], math.prod(step.target.shape[1:])
    inner = places if step.norm.over != "units" else 1
    head = f"for (@at u = 0; u < {units}; u++)" if own is None else ""
    with code.block(head):
        if own is not None:
            code.line(f"const @at u = {own};")
        if own is None and len(names) > 1:
            numbers = code.whole(np.searchsorted(names, step.norm.groups_of(step.ids)))
            code.line(f"if ({numbers.at('u')} != {g}) {{ continue; }}")
        with code.loop("j", inner) as j:
            code.line(f"const @at n = {added(('u', places), (i, 1), (j, 1))};")
            code.line(f"const float v = {code.real(step.source, 'n')};")
            for line in lines:
                code.line(line)


@dataclass(frozen=True, eq=False)
class Responded(Moving):
    """Local response normalisation.

    Attributes:
        norm: what it means.
        ids: (units,) of the units.
    """

    norm: LocalResponseNorm
    ids: AnyArray

    def run(self, held: Held) -> AnyArray:
        """See `Step.run`."""
        x = held[self.source.name].reshape(-1, *self.target.shape)
        return self.norm.apply(x, {}, self.ids)


def write_responded(code: Code, step: Responded) -> None:
    """Write the squares of each unit's neighbours, a run of positions where ids ascend and else a bit for each pair."""
    units, places = step.target.shape[0], math.prod(step.target.shape[1:])
    near = code.whole(neighbours(step.ids, step.norm.size).astype(np.int64))
    with code.loop("u", units) as u, code.loop("i", places) as i:
        code.line("float squares = 0.0f;")
        with code.block(f"for (@at o = 0; o < {units}; o++)"):
            code.line(f"const float v = {code.real(step.source, added(('o', places), (i, 1)))};")
            code.line(f"if ({near.at(added((u, units), ('o', 1)))}) {{ squares += v * v; }}")
        factor, norm = step.norm.alpha / step.norm.size, step.norm
        code.line(f"const float v = {code.real(step.source, added((u, places), (i, 1)))};")
        power = f"powf({literal(norm.k)} + {literal(factor)} * squares, {literal(-norm.beta)})"
        code.line(f"y[{added((u, places), (i, 1))}] = {code.stored(f'v * {power}')};")


@dataclass(frozen=True, eq=False)
class Softened(Moving):
    """Softmax over the last axis."""

    softmax: Softmax

    in_place: ClassVar[bool] = True

    def run(self, held: Held) -> AnyArray:
        """See `Step.run`."""
        x = held[self.source.name].reshape(-1, *self.target.shape)
        return self.softmax.apply(x, {}, np.zeros(0))


def write_softened(code: Code, step: Softened) -> None:
    """Write the largest of each row, the sum of powers, then their shares."""
    columns = step.target.shape[-1]
    rows = step.target.shape[-2]
    with code.loop("u", step.target.count // columns) as u:
        last = f"({u} % {rows} < {columns} ? {u} % {rows} + 1 : {columns})" if step.softmax.causal else str(columns)
        code.line(f"const @at n = {last};")
        read = code.real(step.source, added((u, columns), ("c", 1)))
        code.line(f"float largest = {code.real(step.source, added((u, columns)))}, total = 0.0f;")
        code.line(f"for (@at c = 1; c < n; c++) {{ if ({read} > largest) {{ largest = {read}; }} }}")
        code.line(f"for (@at c = 0; c < n; c++) {{ total += expf({read} - largest); }}")
        with code.block(f"for (@at c = 0; c < {columns}; c++)"):
            code.line(f"const float share = c < n ? expf({read} - largest) / total : 0.0f;")
            code.line(f"y[{added((u, columns), ('c', 1))}] = {code.stored('share')};")
