"""The part of a Python source that takes raw rows: what is done to them, and what is told of them.

Names and words of a table appear in it as literals alone, in ASCII, so that no text can become code.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nestgraph.data.tables.csv_files import GAPS
from nestgraph.data.tables.preparation import CategoryColumn, Column, Preparation
from nestgraph.data.tables.table import Table
from nestgraph.data.tables.targets import ClassTarget, NumberTarget
from nestgraph.interop.rows import RowRunner, Told

READ = '''

GAPS = {gaps}
"""Words that say that there is no value, where they are no category; None and NaN say it, too."""

COLUMNS = (
{columns})
"""What is read of a row: the name of a column, the kind of what it holds, the mean and deviation of numbers or the
known categories, and whether a number of its own says that there is a gap."""


def numbers(row):
    """The numbers that the network reads of a row: a mapping from the names of columns to raw values."""
    found = []
    for name, kind, known, marked in COLUMNS:
        if name not in row:
            raise ValueError(f"expected a value for the column {{name!r}}, or None for a gap, got none of that name")
        value = row[name]
        if isinstance(value, str) and not (kind == "words" and value in known):
            value = value.strip()
        gap = type(value).__name__ in ("NoneType", "NAType", "NaTType") or value != value
        gap = gap or (value in GAPS and not (kind == "words" and value in known))
        if kind == "words":
            found += [float(not gap and _word(value) == one) for one in known]
        else:
            number = 0.0 if gap else _number(name, value)
            if kind == "codes":
                found += [float(not gap and number == one) for one in known]
            else:
                found.append(0.0 if gap else (number - known[0]) / known[1])
        if marked:
            found.append(float(gap))
    return found


def _number(name, value):
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"expected a finite number in the column {{name!r}}, got {{value!r}}")
    return number


def _word(value):
    if isinstance(value, str):
        return value
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def predict(network, rows):
    """What the network says of raw rows, a list of mappings such as `csv.DictReader` gives: a mapping for each.

    {tells}
    """
    rows = [numbers(row) for row in rows]
    if not rows:
        return []
    with torch.no_grad():
        outputs = network(torch.tensor(rows, dtype=torch.float32)).double()
    return [_told(output) for output in outputs]


def _told(output):
'''
CLASSES = """    shares = {shares}
    best = {best}
    return {{{name}: {words}[best]}} | dict(zip({names}, shares.tolist()))
"""
TELLS = {
    "classes": "The class is told by its word, and how likely each class is.",
    "numbers": "Numbers are told in the unit of the table.",
    "labels": "Of each label it is told how likely it is.",
}


def rows_source(columns: Preparation, width: int) -> str:
    """The source of `numbers` and `predict`, for a network of some outputs."""
    lines = "".join(f"    {_literal(_column(column))},\n" for column in columns.columns)
    kind = columns.target.kind if columns.target else ""
    head = READ.format(gaps=_literal(tuple(sorted(GAPS))), columns=lines, tells=TELLS[kind])
    return head + _told(columns, width)


def _column(column: Column) -> tuple[object, ...]:
    if not isinstance(column, CategoryColumn):
        return column.name, "numbers", (column.mean, column.deviation), column.gaps
    known = tuple(map(float, column.values)) if column.numeric else column.values
    return column.name, "codes" if column.numeric else "words", known, column.gaps


def _told(columns: Preparation, width: int) -> str:
    """The end of the function that says what the outputs of a row mean."""
    target = columns.target
    if isinstance(target, ClassTarget):
        shares, best = "output.softmax(0)", "int(output.argmax())"
        if width == 1:
            shares, best = "torch.cat([1 - output.sigmoid(), output.sigmoid()])", "int(output[0] > 0)"
        names = tuple(f"{target.name} = {word}" for word in target.classes)
        words = [_literal(each) for each in (target.name, target.classes, names)]
        return CLASSES.format(shares=shares, best=best, **dict(zip(("name", "words", "names"), words, strict=True)))
    if isinstance(target, NumberTarget):
        lines = ""
        for part in target.parts:
            value = f"float(output[{part.place}])"
            if part.of_variance:
                said = f"math.exp({value} / 2) * {part.factor!r}"
            else:
                said = f"{value} * {part.factor!r} + {part.shift!r}"
            lines += f"        {_literal(part.name)}: {said},\n"
        return f"    return {{\n{lines}    }}\n"
    names = _literal(target.columns if target else ())
    return f"    return dict(zip({names}, output.sigmoid().tolist()))\n"


def _literal(value: object) -> str:
    """Python's literal of texts, numbers and tuples of these, in ASCII."""
    return ascii(value)


def source_row_runner(predict: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> RowRunner:
    """What computes an exported source from the rows of a table.

    Args:
        predict: of the source, with its network.
    """

    def run(table: Table) -> Told:
        columns = {name: values.tolist() for name, values in table.columns.items()}
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
        told = predict(rows)
        words = {name: object if isinstance(value, str) else np.float64 for name, value in told[0].items()}
        return {name: np.array([each[name] for each in told], kind) for name, kind in words.items()}

    return run
