"""Text of C: tables in flash, loops, and how numbers are read and written in the form that a file has.

What stands here as `@` becomes the prefix of the file's own names when the text is put together, so that no name of a
network can be one of C's or of another library's.
"""

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from nestgraph.chip.integers import Integers
from nestgraph.chip.pointwise import literal
from nestgraph.chip.program import Step, Value
from nestgraph.chip.scales import Scale
from nestgraph.spec.arrays import AnyArray

Element = Literal["uint8_t", "int8_t", "uint16_t", "int16_t", "uint32_t", "int32_t", "float"]
BYTES: Mapping[Element, int] = {
    "uint8_t": 1,
    "int8_t": 1,
    "uint16_t": 2,
    "int16_t": 2,
    "uint32_t": 4,
    "int32_t": 4,
    "float": 4,
}
RANGES: Mapping[Element, tuple[int, int]] = {
    "uint8_t": (0, 2**8 - 1),
    "int8_t": (-(2**7), 2**7 - 1),
    "uint16_t": (0, 2**16 - 1),
    "int16_t": (-(2**15), 2**15 - 1),
    "uint32_t": (0, 2**32 - 1),
    "int32_t": (-(2**31), 2**31 - 1),
}
"""The least and the largest whole number of each, the smallest type first."""
READS: Mapping[Element, str] = {
    "uint8_t": "U8",
    "int8_t": "I8",
    "uint16_t": "U16",
    "int16_t": "I16",
    "uint32_t": "U32",
    "int32_t": "I32",
    "float": "F32",
}
"""The macro by which each is read from flash."""


def smallest(values: AnyArray) -> Element:
    """The smallest type that holds whole numbers."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    for element, (least, most) in RANGES.items():
        if least <= low and high <= most:
            return element
    raise ValueError(f"expected whole numbers of 32 bits, got some from {low} to {high}")


@dataclass(frozen=True)
class Table:
    """An array of constants.

    Attributes:
        name: of it, in C.
        element: the type of its elements.
        count: how many it has.
        layer: for which it was made.
    """

    name: str
    element: Element
    count: int
    layer: str

    @property
    def bytes(self) -> int:
        """What it takes of flash."""
        return self.count * BYTES[self.element]

    def at(self, index: str) -> str:
        """The element at an index, read from flash."""
        return self.read(f"{self.name} + {index}")

    def index(self, index: str) -> str:
        """The element at an index, as a counter."""
        return f"(@at){self.at(index)}"

    def read(self, pointer: str) -> str:
        """What a pointer into it points at."""
        return f"@{READS[self.element]}({pointer})"


@dataclass
class Code:
    """The text of one file while it is written.

    Attributes:
        scales: by value, how int8 stands for numbers; empty where the file computes with floats.
        integers: by target, how sums are computed by integers.
        outer: the values that are handed in or out, by name, and the type of their elements.
        tables: of constants, by what they hold.
        lines: of functions.
    """

    scales: Mapping[str, Scale] = field(default_factory=dict[str, Scale])
    integers: Mapping[str, Integers] = field(default_factory=dict[str, Integers])
    outer: Mapping[str, str] = field(default_factory=dict[str, str])
    tables: dict[tuple[Element, bytes], tuple[Table, AnyArray]] = field(
        default_factory=dict[tuple[Element, bytes], tuple[Table, AnyArray]]
    )
    lines: list[str] = field(default_factory=list[str])
    _depth: int = 0
    _step: Step | None = None
    _names: dict[str, str] = field(default_factory=dict[str, str])

    # -- tables ----------------------------------------------------------------------------------------

    def whole(self, values: AnyArray | Sequence[int], element: Element | None = None) -> Table:
        """A table of whole numbers, in the smallest type that holds them where none is given."""
        array = np.asarray(values).astype(np.int64).reshape(-1)
        return self._table(array, element or smallest(array))

    def sums(self, values: AnyArray) -> Table:
        """A table of whole numbers that sums are made of, which have signs."""
        element = smallest(values)
        return self.whole(values, "int32_t" if element == "uint32_t" else element)

    def floats(self, values: AnyArray) -> Table:
        """A table of floats."""
        return self._table(np.asarray(values, np.float32).reshape(-1), "float")

    def _table(self, array: AnyArray, element: Element) -> Table:
        key = (element, array.tobytes())
        if key not in self.tables:
            table = Table(f"@t{len(self.tables)}", element, len(array), self.step.layer)
            self.tables[key] = table, array
        return self.tables[key][0]

    def drop_unused(self, body: str) -> None:
        """Forget tables that are not named in a text."""
        named = set(re.findall(r"@t\d+", body))
        self.tables = {key: found for key, found in self.tables.items() if found[0].name in named}

    # -- lines -----------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        """Write a line."""
        self.lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, head: str) -> Generator[None]:
        """Write a block: what is written meanwhile stands in it."""
        self.line(f"{head} {{".lstrip())
        self._depth += 1
        yield
        self._depth -= 1
        self.line("}")

    @contextmanager
    def loop(self, name: str, count: int) -> Generator[str]:
        """A loop from 0 up, which gives its counter; none where it would run once."""
        if count == 1:
            yield "0"
            return
        with self.block(f"for (@at {name} = 0; {name} < {count}; {name}++)"):
            yield name

    @contextmanager
    def loops(self, prefix: str, extents: Sequence[int]) -> Generator[list[str]]:
        """A loop for each axis of a map."""
        if not extents:
            yield []
            return
        with (
            self.loop(f"{prefix}{len(extents) - 1}", extents[0]) as outer,
            self.loops(prefix, extents[1:]) as inner,
        ):
            yield [outer, *inner]

    @contextmanager
    def function(self, name: str, step: Step) -> Generator[None]:
        """The function of a step, which takes its sources as x0, x1, ... and its target as y."""
        self._step = step
        self._names = {}
        for source in step.sources:
            self._names.setdefault(source.name, f"x{len(self._names)}")
        distinct = {source.name: source for source in step.sources}
        arguments = [f"const {self.element(value)} *{self._names[value.name]}" for value in distinct.values()]
        with self.block(f"static void {name}({', '.join([*arguments, f'{self.element(step.target)} *y'])})"):
            first = len(self.lines)
            yield
            self._silence(first)
        self.line("")

    def _silence(self, first: int) -> None:
        """Say of what a function, whose lines start there, does not use that this is meant.

        All weights of what it reads may have become 0, so that it matters at no place.
        """
        body = "\n".join(self.lines[first:])
        declared = re.findall(r"const @at (i\d+) =", body)
        lone = [name for name in declared if len(re.findall(rf"\b{name}\b", body)) == 1]
        self.lines[first:] = [line for line in self.lines[first:] if not any(f"const @at {n} =" in line for n in lone)]
        unused = [name for name in self._names.values() if not re.search(rf"\b{name}\b", body)]
        self.lines[first:first] = [f"    (void){name};" for name in unused]

    @property
    def step(self) -> Step:
        """The step that is written."""
        assert self._step is not None
        return self._step

    # -- numbers ---------------------------------------------------------------------------------------

    @property
    def quantised(self) -> bool:
        """Whether values are int8."""
        return bool(self.scales)

    def element(self, value: Value) -> str:
        """The type of a value's elements."""
        if value.name in self.outer:
            return self.outer[value.name]
        if value.classes is not None:
            return id_element(value.classes)
        return "int8_t" if self.quantised else "float"

    def name(self, value: Value) -> str:
        """What a source of the step is called in its function."""
        return self._names[value.name]

    def real(self, value: Value, index: str) -> str:
        """An element of a source as a float."""
        read = f"{self.name(value)}[{index}]"
        if not self.quantised:
            return read
        scale = self.scales[value.name]
        return f"(float)({read}{_minus(scale.zero)}) * {literal(scale.step)}"

    def stored(self, text: str) -> str:
        """A float as an element of the target."""
        if not self.quantised:
            return text
        scale = self.scales[self.step.target.name]
        return f"@quantised({text}, {literal(1 / scale.step)}, {literal(scale.zero)})"

    def constant(self, number: float) -> str:
        """A constant as an element of the target."""
        if not self.quantised:
            return literal(number)
        return str(int(self.scales[self.step.target.name].of(np.array(number))))

    def zero(self, value: Value) -> str:
        """What is taken off an element of a source before it counts, as ` - 3`; empty for none."""
        return _minus(self.scales[value.name].zero)


def _minus(zero: int) -> str:
    return "" if not zero else f" - {zero}" if zero > 0 else f" + {-zero}"


def id_element(classes: int) -> Element:
    """The type of ids of classes."""
    return smallest(np.array([0, classes - 1]))


def added(*terms: tuple[str, int]) -> str:
    """The sum of counters times whole numbers, as C writes it: what is 0 is left out."""
    parts = [name if factor == 1 else f"{name} * {factor}" for name, factor in terms if name != "0" and factor]
    return " + ".join(parts) or "0"
