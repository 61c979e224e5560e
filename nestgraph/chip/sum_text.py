"""Sums as C: a loop over units and places, in it one over the entries of each term, and what becomes of each number."""

import math
from contextlib import ExitStack
from typing import Any

import numpy as np

from nestgraph.chip.code import Code, added
from nestgraph.chip.entries import encoded, tabled
from nestgraph.chip.integers import Integers
from nestgraph.chip.pointwise import Line, Pointwise, literal
from nestgraph.chip.sums import Sum
from nestgraph.chip.terms import Gate, Looked, Met, Mixed, Placed, Swept, Term, strides_of
from nestgraph.spec.arrays import AnyArray

LEAST = {"float": "-3.402823466e38f", "int32_t": "-2147483647"}


def write_sum(code: Code, step: Sum) -> None:
    """Write the body of a sum's function."""
    integers = code.integers.get(step.target.name)
    total = step if integers is None or integers.sum is None else integers.sum
    parts: list[TermText] = [TERMS[type(term)](code, term, total, n) for n, term in enumerate(total.terms)]
    for part in parts:
        part.declare()
    if total.frame:
        cast = f"({code.element(step.target)})" if code.quantised else ""
        code.line(f"for (@at i = 0; i < {step.target.count}; i++) {{ y[i] = {cast}{code.constant(0.0)}; }}")
    with code.loop("r", len(total.bias)) as unit:
        windows, kernel = (total.size, ()) if total.window is None else (total.window.size, total.window.kernel)
        with ExitStack() as stack:
            outer = stack.enter_context(code.loops("i" if total.window is None else "g", windows))
            kind = "float" if integers is None or integers.finish == "float" else "int32_t"
            if total.window is None:
                _number(code, total, integers, parts, unit, outer)
            else:
                code.line(f"{kind} best = {LEAST[kind]};")
                with code.loops("k", kernel) as within:
                    at = _within(code, total.window.stride, outer, within)
                    _number(code, total, integers, parts, unit, at)
                    code.line("if (v > best) { best = v; }")
                code.line(f"{kind} v = best;")
            _finish(code, total, integers, unit, _where(total, unit, outer))
        for part in parts:
            part.end()


def _where(total: Sum, unit: str, at: list[str]) -> str:
    """Where the number of a unit at a place is written: one behind the other, or within the zeros around each map."""
    if not total.frame:
        return "*y++"
    _, *whole = total.target.shape
    strides = strides_of(whole)
    first = sum(before * stride for (before, _), stride in zip(total.frame, strides, strict=True))
    return f"y[{added((unit, math.prod(whole)), *zip(at, strides, strict=True), ('1', first))}]"


def _within(code: Code, stride: tuple[int, ...], windows: list[str], kernel: list[str]) -> list[str]:
    """The place along each axis of a place in a window."""
    found: list[str] = []
    for axis, (window, step, place) in enumerate(zip(windows, stride, kernel, strict=True)):
        text = added((window, step), (place, 1))
        if " " in text:
            code.line(f"const @at i{axis} = {text};")
            text = f"i{axis}"
        found.append(text)
    return found


def _number(
    code: Code, total: Sum, integers: Integers | None, parts: "list[TermText]", unit: str, at: list[str]
) -> None:
    """Write what makes the sum `v` of a unit at a place, times its gates."""
    place = added(*zip(at, strides_of(total.size), strict=True))
    kind, table = ("float", code.floats) if integers is None else ("int32_t", code.sums)
    bias = table(total.bias).at(unit) if total.bias.any() else "0"
    if total.offsets is not None:
        offset = table(total.offsets).at(added((unit, total.places), (place, 1)))
        bias = f"({kind}){bias} + {offset}" if bias != "0" else offset
    name = "s" if integers is not None and integers.finish == "float" else "v"
    code.line(f"{kind} {name} = {bias};")
    for part in (part for part in parts if not part.real):
        part.add(unit, at, place, name)
    if name == "s":
        assert integers is not None
        code.line(f"float v = (float)s * {code.floats(integers.units).at(unit)};")
    for part in (part for part in parts if part.real):
        part.add(unit, at, place, "v")
    for gate in total.gates:
        _gate(code, gate, unit, at)


def _gate(code: Code, gate: Gate, unit: str, at: list[str]) -> None:
    """Write the multiplication by a gate."""
    offset, gated = _start(code, gate.offsets, unit)
    weight = "" if (gate.weights[gate.offsets >= 0] == 1).all() else f"{code.floats(gate.weights).at(unit)} * "
    index = added((offset, 1), *zip(at, gate.strides, strict=True))
    code.line(f"{gated}{{ v *= {weight}({code.real(gate.source, index)}); }}")


def _start(code: Code, offsets: AnyArray, unit: str) -> tuple[str, str]:
    """Where the map of a unit starts, and the condition that it has one."""
    none = int(offsets.max(initial=0)) + 1
    start = code.whole(np.where(offsets < 0, none, offsets)).index(unit)
    return start, "" if (offsets >= 0).all() else f"if ({start} != {none}) "


def _finish(code: Code, total: Sum, integers: Integers | None, unit: str, where: str) -> None:
    """Write what becomes of a sum `v`, and store it."""
    if integers is None or integers.finish == "float":
        apply(code, total.functions, unit)
        code.line(f"{where} = {code.stored('v')};")
        return
    assert integers.multipliers is not None
    if integers.slopes is not None:
        slopes = integers.slopes
        slope = str(int(slopes[0])) if not np.ptp(slopes) else code.sums(slopes).at(unit)
        code.line(f"if (v < 0) {{ v = @bent(v, {slope}); }}")
    many = code.whole(integers.multipliers, "uint32_t" if integers.multipliers.max() >= 2**16 else "uint16_t")
    scale = integers.between or code.scales.get(code.step.target.name)
    element = code.element(code.step.target)
    zero = scale.zero if scale is not None and (element == "int8_t" or integers.between is not None) else 0
    fitted = f"@fitted(v, {many.at(unit)}, {integers.shift}, {zero}, {integers.low}, {integers.high})"
    if integers.finish == "table":
        assert integers.table is not None
        fitted = code.whole(integers.table, "int8_t").at(f"({fitted} + 128)")
        code.line(f"{where} = {fitted};")
        return
    code.line(f"{where} = ({element}){fitted};")


def apply(code: Code, functions: tuple[Pointwise, ...], unit: str) -> None:
    """Write what functions make of a float `v`."""
    for function in functions:
        if not isinstance(function, Line):
            code.line(f"v = {function.text};")
            continue
        scale = code.floats(function.scale).at(unit)
        if function.below is not None:
            below = code.floats(function.below).at(unit)
            scale = below if (function.scale == 1).all() else f"(v < 0.0f ? {below} : {scale})"
        shift = f" + {code.floats(function.shift).at(unit)}" if function.shift.any() else ""
        only = "if (v < 0.0f) " if function.below is not None and (function.scale == 1).all() else ""
        code.line(f"{only}{{ v = v * {scale}{shift}; }}")


class TermText:
    """How a term is written: what is declared before all units, ended with each, and added at a place."""

    real = False
    """Whether it adds floats in any form."""

    def __init__(self, code: Code, total: Sum, number: int) -> None:
        self.code, self.total, self.number = code, total, number

    def declare(self) -> None:
        """Before the loop over units."""

    def add(self, unit: str, at: list[str], place: str, to: str) -> None:
        """Add what it gives at a place, whose counters along each axis are given, to a variable."""
        raise NotImplementedError

    def end(self) -> None:
        """At the end of a unit."""


class SweptText(TermText):
    """Steps and weights are read in turn; where there are several places, from the start of the unit for each."""

    def __init__(self, code: Code, term: Swept, total: Sum, number: int) -> None:
        super().__init__(code, total, number)
        self.term = term
        self.several = total.places > 1
        self.entries = encoded(term, 1 if code.quantised else 4)
        self.segmented = term.segmented
        self.listed = self.entries.form == "listed"
        weights = self.entries.weights
        self.weights = code.whole(weights, "int8_t") if code.quantised else code.floats(weights)
        self.cursors = {"w": self.weights} if len(weights) else {}
        if len(self.entries.steps):
            self.steps = code.whole(self.entries.steps, self.entries.element)
            self.cursors |= {"d": self.steps} if self.listed else {}
        if self.segmented and len(weights):
            self.counts = code.whole(self.entries.counts)
            self.cursors |= {"n": self.counts}
            areas, self.runs = tabled(term.areas, total.size[-1] if total.size else 1)
            self.areas, self.wide = code.whole(areas), areas.shape[1]
            chosen = np.array([segment.area for row in term.rows for segment in row])
            self.chosen = code.whole(chosen)
            self.cursors |= {"a": self.chosen}

    def declare(self) -> None:
        """See `TermText.declare`."""
        for name, table in self.cursors.items():
            first = f" = {table.name}" if not self.several else ""
            self.code.line(f"const {table.element} *{name}{self.number}{first};")
            if self.several:
                self.code.line(f"const {table.element} *{name}{self.number}_unit = {table.name};")

    def end(self) -> None:
        """See `TermText.end`."""
        if self.several:
            for name in self.cursors:
                self.code.line(f"{name}{self.number}_unit = {name}{self.number};")

    def add(self, unit: str, at: list[str], place: str, to: str) -> None:
        """See `TermText.add`."""
        code, number = self.code, self.number
        if self.several:
            for name in self.cursors:
                code.line(f"{name}{number} = {name}{number}_unit;")
        if not len(self.entries.weights):
            return
        if not self.segmented:
            counts = self.entries.counts
            count = code.whole(counts).at(unit) if np.ptp(counts) else str(int(counts[0]))
            with code.block(""):
                self._entries(count, at, to)
            return
        many = np.array([len(row) for row in self.term.rows])
        segments = str(int(many[0])) if not np.ptp(many) else code.whole(many).at(unit)
        with code.block(f"for (@at m = {segments}; m; m--)"):
            code.line(f"const @at n = {self.counts.read(f'n{number}++')};")
            code.line(f"const @at a = {self.chosen.read(f'a{number}++')};")
            with code.block(f"if ({self._inside(at, place)})"):
                self._entries("n", at, to)
            with code.block("else"):
                code.line(f"d{number} += n;")
                code.line(f"w{number} += n;")

    def _inside(self, at: list[str], place: str) -> str:
        if not self.runs:
            byte = self.areas.at(f"a * {self.wide} + (({place}) >> 3)")
            return f"({byte} >> (({place}) & 7)) & 1"
        row = added(*zip(at[:-1], strides_of(self.total.size[:-1]), strict=True))
        run = f"a * {self.wide} + ({row}) * 2"
        return f"{at[-1]} >= {self.areas.at(run)} && {at[-1]} < {self.areas.at(f'{run} + 1')}"

    def _entries(self, count: str, at: list[str], to: str) -> None:
        code, number, entries = self.code, self.number, self.entries
        start = added(("1", entries.first), *zip(at, self.term.strides, strict=True))
        source = code.name(self.term.source)
        code.line(f"const {code.element(self.term.source)} *p = {source}{'' if start == '0' else f' + {start}'};")
        step = ""
        if entries.form == "shared":
            code.line(f"const {self.steps.element} *d = {self.steps.name};")
            step = f"p += {self.steps.read('d++')}; "
        elif self.listed:
            step = f"p += {self.steps.read(f'd{number}++')}; "
        read = "*p++" if entries.form == "range" else "*p"
        if code.quantised and self.segmented and (zero := code.zero(self.term.source)):
            read = f"({read}{zero})"
        code.line(f"for (@at c = {count}; c; c--) {{ {step}{to} += {self.weights.read(f'w{number}++')} * {read}; }}")


class PlacedText(TermText):
    """A weight for each unit and place."""

    def __init__(self, code: Code, term: Placed, total: Sum, number: int) -> None:
        super().__init__(code, total, number)
        self.term = term

    def add(self, unit: str, at: list[str], place: str, to: str) -> None:  # noqa: ARG002
        """See `TermText.add`."""
        code, term = self.code, self.term
        offset, linked = _start(code, term.offsets, unit)
        table = code.whole(term.weights, "int8_t") if code.quantised else code.floats(term.weights)
        weight = table.at(added((unit, self.total.places), (place, 1)))
        read = f"{code.name(term.source)}[{added((offset, 1), (place, 1))}]"
        read = f"({read}{code.zero(term.source)})" if code.quantised else read
        code.line(f"{linked}{{ {to} += {weight} * {read}; }}")


class LookedText(TermText):
    """A row of the table for each unit."""

    def __init__(self, code: Code, term: Looked, total: Sum, number: int) -> None:
        super().__init__(code, total, number)
        self.term = term

    def add(self, unit: str, at: list[str], place: str, to: str) -> None:  # noqa: ARG002
        """See `TermText.add`."""
        code, term = self.code, self.term
        table = code.sums(term.table) if code.quantised else code.floats(term.table)
        index = added((unit, term.table.shape[1]), (f"(@at){code.name(term.source)}[{place}]", 1))
        code.line(f"{to} += {table.at(index)};")


class MetText(TermText):
    """The slots of a head."""

    real = True

    def __init__(self, code: Code, term: Met, total: Sum, number: int) -> None:
        super().__init__(code, total, number)
        self.term = term
        weights: AnyArray = np.concatenate([np.zeros(0), *term.weights])
        self.common = float(weights[0]) if len(weights) and not np.ptp(weights) else None
        slots = np.concatenate([np.zeros((0, 2), np.int64), *term.slots])
        self.tables = {"q": code.whole(slots[:, 0]), "k": code.whole(slots[:, 1])}
        if self.common is None:
            self.tables["w"] = code.floats(weights)

    def declare(self) -> None:
        """See `TermText.declare`."""
        for name, table in self.tables.items():
            self.code.line(f"const {table.element} *{name}{self.number} = {table.name};")

    def _count(self, unit: str) -> str:
        counts = np.array([len(slots) for slots in self.term.slots])
        return str(int(counts[0])) if not np.ptp(counts) else self.code.whole(counts).at(unit)

    def add(self, unit: str, at: list[str], place: str, to: str) -> None:  # noqa: ARG002
        """See `TermText.add`."""
        code, number = self.code, self.number
        reads = {name: table.read(f"{name}{number} + c") for name, table in self.tables.items()}
        query = code.real(self.term.query, added((f"(@at){reads['q']}", 1), (at[0], 1)))
        key = code.real(self.term.key, added((f"(@at){reads['k']}", 1), (at[1], 1)))
        weight = literal(self.common) if self.common is not None else reads.get("w", "0.0f")
        with code.block(f"for (@at c = 0; c < {self._count(unit)}; c++)"):
            code.line(f"{to} += {weight} * ({query}) * ({key});")

    def end(self) -> None:
        """See `TermText.end`."""
        for name in self.tables:
            self.code.line(f"{name}{self.number} += {self._count('r' if len(self.term.slots) > 1 else '0')};")


class MixedText(TermText):
    """The columns of a row of a head."""

    real = True

    def __init__(self, code: Code, term: Mixed, total: Sum, number: int) -> None:
        super().__init__(code, total, number)
        self.term = term

    def add(self, unit: str, at: list[str], place: str, to: str) -> None:  # noqa: ARG002
        """See `TermText.add`."""
        code, term = self.code, self.term
        _, rows, columns = term.heads.shape
        head = code.whole(term.head_of).index(unit)
        one = code.real(term.heads, added((head, rows * columns), (_wrapped(place), columns), ("c", 1)))
        other = code.real(term.summed, added((unit, columns), ("c", 1)))
        weight = "" if (term.weights == 1).all() else f"{code.floats(term.weights).at(unit)} * "
        with code.block(f"for (@at c = 0; c < {columns}; c++)"):
            code.line(f"{to} += {weight}({one}) * ({other});")


def _wrapped(text: str) -> str:
    return f"({text})" if " " in text else text


TERMS: dict[type[Term], Any] = {
    Swept: SweptText,
    Placed: PlacedText,
    Looked: LookedText,
    Met: MetText,
    Mixed: MixedText,
}
"""By term, how it is written."""
