"""What an ONNX model does to the raw columns of a table before its network reads them, and to the outputs after.

All of it is of ONNX's standard domain. A column of numbers, or of categories that are numbers, is an input of float64,
(batch,), NaN for a gap; one of words is an input of strings, (batch,), where a gap is one of the words that a CSV file
has for it, such as the empty one. An output, (batch,), is what `predict` calls so: classes are strings, all else
float64.
"""

import math
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np

from nestgraph.data.tables.csv_files import GAPS
from nestgraph.data.tables.preparation import CategoryColumn, Column, Preparation
from nestgraph.data.tables.table import Table, as_words, is_number_word
from nestgraph.data.tables.targets import ClassTarget, NumberTarget, Part
from nestgraph.interop.rows import told_names
from nestgraph.spec.arrays import AnyArray

PREFIX = "nestgraph.raw"


class Steps:
    """Nodes and constants that are made for a graph."""

    def __init__(self, prefix: str) -> None:
        import onnx

        self._made: Any = onnx.helper
        self._names = (f"{prefix}{place}" for place in count())
        self.kinds: Any = onnx.TensorProto
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def step(self, kind: str, *given: str, result: str | None = None, **options: Any) -> str:
        """The value that an operation gives, called `result` or by a name of its own."""
        name = result or next(self._names)
        self.nodes.append(self._made.make_node(kind, given, [name], **options))
        return name

    def constant(self, values: Sequence[Any], kind: int, shape: Sequence[int] = ()) -> str:
        """A value that is always the same."""
        name = next(self._names)
        self.constants.append(self._made.make_tensor(name, kind, shape, values))
        return name

    def number(self, value: float) -> str:
        """A float64."""
        return self.constant([value], self.kinds.DOUBLE)

    def cast(self, value: str, kind: int) -> str:
        """A value as another type."""
        return self.step("Cast", value, to=kind)

    def floats(self, value: str) -> str:
        """A value as float32."""
        return self.cast(value, self.kinds.FLOAT)

    def upright(self, value: str) -> str:
        """(batch,) as (batch, 1)."""
        return self.step("Unsqueeze", value, self.constant([1], self.kinds.INT64, [1]))

    def column(self, value: str, place: int) -> str:
        """(batch,) of (batch, columns)."""
        return self.step("Gather", value, self.constant([place], self.kinds.INT64), axis=1)

    def port(self, name: str, kind: int) -> Any:
        """The description of an input or an output, (batch,)."""
        return self._made.make_tensor_value_info(name, kind, ["batch"])


def add_columns(graph: Any, columns: Preparation, width: int) -> dict[str, str]:
    """Put raw columns before a graph of one input, and what is told of them after its one output of some width.

    Returns:
        The names that inputs and outputs shall have, by those that they have now.
    """
    names, told = [column.name for column in columns.columns], told_names(columns)
    prefix = PREFIX
    while any(name.startswith(prefix) for name in (*names, *told)):
        prefix += "."
    steps, (read,), (given,) = Steps(f"{prefix}."), graph.input, graph.output
    entries = [f"{prefix}.column.{place}" for place in range(len(names))]
    pairs = [*zip(columns.columns, entries, strict=True)]
    steps.step(
        "Concat", *(part for each, entry in pairs for part in _read(steps, each, entry)), result=read.name, axis=1
    )
    inputs = [steps.port(entry, _kind(steps, column)) for column, entry in pairs]
    steps.nodes += graph.node
    results = _told(steps, columns, steps.cast(given.name, steps.kinds.DOUBLE), width)
    words = isinstance(columns.target, ClassTarget)
    kinds = [steps.kinds.STRING if words and not place else steps.kinds.DOUBLE for place in range(len(told))]
    outputs = [steps.port(*each) for each in zip(results, kinds, strict=True)]
    for field, parts in ((graph.node, steps.nodes), (graph.input, inputs), (graph.output, outputs)):
        held = [*parts]
        del field[:]
        field.extend(held)
    graph.initializer.extend(steps.constants)
    return dict(zip((*entries, *results), (*names, *told), strict=True))


def _kind(steps: Steps, column: Column) -> int:
    words = isinstance(column, CategoryColumn) and not column.numeric
    return steps.kinds.STRING if words else steps.kinds.DOUBLE


def _read(steps: Steps, column: Column, entry: str) -> list[str]:
    """The numbers of a column, float32, (batch, any) each."""
    if isinstance(column, CategoryColumn):
        return _categories(steps, column, steps.upright(entry))
    gap = steps.step("IsNaN", entry)
    scaled = steps.step("Div", steps.step("Sub", entry, steps.number(column.mean)), steps.number(column.deviation))
    found = [steps.step("Where", gap, steps.number(0.0), scaled), *([gap] if column.gaps else [])]
    return [steps.upright(steps.floats(each)) for each in found]


def _categories(steps: Steps, column: CategoryColumn, entry: str) -> list[str]:
    kind = _kind(steps, column)
    known = [float(value) for value in column.values] if column.numeric else _encoded(column.values)
    found = [steps.step("Equal", entry, steps.constant(known, kind, [1, len(known)]))] if known else []
    if column.gaps and column.numeric:
        found.append(steps.step("IsNaN", entry))
    found = [steps.floats(each) for each in found]
    if column.gaps and not column.numeric:
        words = _encoded(sorted(GAPS - {*column.values}))
        one = steps.floats(steps.step("Equal", entry, steps.constant(words, kind, [1, len(words)])))
        found.append(steps.step("ReduceMax", one, steps.constant([1], steps.kinds.INT64, [1])))
    return found


def _encoded(words: Sequence[str]) -> list[bytes]:
    return [word.encode() for word in words]


def _told(steps: Steps, columns: Preparation, outputs: str, width: int) -> list[str]:
    """What outputs, float64, (batch, width), say."""
    target = columns.target
    if isinstance(target, ClassTarget):
        return _classes(steps, target, outputs, width)
    if isinstance(target, NumberTarget):
        return [_number(steps, part, outputs) for part in target.parts]
    likely = steps.step("Sigmoid", outputs)
    return [steps.column(likely, place) for place in range(width)]


def _classes(steps: Steps, target: ClassTarget, outputs: str, width: int) -> list[str]:
    words = steps.constant(_encoded(target.classes), steps.kinds.STRING, [len(target.classes)])
    if width == 1:
        odds = steps.column(outputs, 0)
        best = steps.cast(steps.step("Greater", odds, steps.number(0.0)), steps.kinds.INT64)
        second = steps.step("Sigmoid", odds)
        shares = [steps.step("Sub", steps.number(1.0), second), second]
    else:
        best = steps.step("ArgMax", outputs, axis=1, keepdims=0)
        likely = steps.step("Softmax", outputs, axis=1)
        shares = [steps.column(likely, place) for place in range(width)]
    return [steps.step("Gather", words, best, axis=0), *shares]


def _number(steps: Steps, part: Part, outputs: str) -> str:
    value, factor = steps.column(outputs, part.place), steps.number(part.factor)
    if part.of_variance:
        return steps.step("Mul", steps.step("Exp", steps.step("Mul", value, steps.number(0.5))), factor)
    return steps.step("Add", steps.step("Mul", value, factor), steps.number(part.shift))


def raw_inputs(columns: Preparation, table: Table) -> dict[str, AnyArray]:
    """What a model takes of the rows of a table, by input."""
    given: dict[str, AnyArray] = {}
    for column in columns.columns:
        if not isinstance(column, CategoryColumn):
            given[column.name] = column.raw(table[column.name], table.name)
            continue
        words = as_words(table[column.name]).tolist()
        if column.numeric:
            given[column.name] = np.array([_number_of(word) for word in words], np.float64)
        else:
            given[column.name] = np.array(["" if word is None else word for word in words], object)
    return given


def _number_of(word: str | None) -> float:
    """A code as a number: infinity, which is no category, for what is none."""
    if word is None:
        return math.nan
    return float(word) if is_number_word(word) else math.inf
