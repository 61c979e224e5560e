"""Rows of a table from a CSV file, a DataFrame or an iterable, each with its place for messages.

A DataFrame is known by what it can do (`columns`, `itertuples`), so that pandas, which has it, need not be there.
"""

import csv
import io
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, TypeVar, cast

import numpy as np

from nestgraph.errors import InteropError
from nestgraph.snapshot import MAX_BYTES, in_one_sentence, read_bounded
from nestgraph.snapshot.disk import shown
from nestgraph.spec.wording import quoted

LONGEST_NAME = 256
LONGEST_NUMBER = 10**LONGEST_NAME
MOST_ROWS, MOST_COLUMNS = 2**20, 2**10
"""Of a table: bounded before there is a row too many."""

MOST_PROBLEMS = 100  # that are remembered to be told
NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
ZERO = re.compile(r"[-+]?[0.]+(?:[eE].*)?")
Result = TypeVar("Result")


class DataFrame(Protocol):
    """What is needed of pandas' `DataFrame`."""

    @property
    def columns(self) -> Iterable[Any]:
        """The names of the columns."""
        ...

    @property
    def itertuples(self) -> Callable[..., Iterable[tuple[Any, ...]]]:
        """Iterate over the rows."""
        ...


Table = str | os.PathLike[str] | DataFrame | Iterable[Sequence[Any] | Mapping[str, Any]]
"""A CSV file by its path, a DataFrame, or rows: tuples in the order of the columns, or mappings by column."""


@dataclass(frozen=True)
class Row:
    """One row: its place, such as `edges.csv: line 3` or `row 2 of the edges`, and its cells by column."""

    where: str
    cells: Mapping[str, Any]

    def name(self, column: str) -> str:
        """The name of a node in a cell, as text; integers are names as well.

        Raises:
            InteropError: it is no name.
        """
        cell = self.cells.get(column)
        if isinstance(cell, int | np.integer) and not isinstance(cell, bool) and abs(cast(int, cell)) < LONGEST_NUMBER:
            cell = str(int(cast(int, cell)))
        if not isinstance(cell, str) or not 0 < len(cell) <= LONGEST_NAME:
            expected = f"the name of a node, text of 1 to {LONGEST_NAME} characters or an integer"
            raise InteropError(f"{self.where}: expected as {column} {expected}, got {_short(cell)}")
        return cell

    def number(self, column: str, default: float | None = None) -> float:
        """The finite number in a cell; `default`, where there is one, if it is empty.

        Raises:
            InteropError: it is no number, or none that a float32 holds.
        """
        cell = self.cells.get(column)
        if _is_empty(cell) and default is not None:
            return default
        try:
            value = math.nan if isinstance(cell, bool) or _strange(cell) else float(cell)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not abs(value) <= float(np.finfo(np.float32).max):
            raise InteropError(f"{self.where}: expected as {column} a finite number of 32 bits, got {_short(cell)}")
        if not np.float32(value) and (value or (isinstance(cell, str) and not ZERO.fullmatch(cell.strip()))):
            expected = "0 or a number large enough not to become 0 in 32 bits"
            raise InteropError(f"{self.where}: expected as {column} {expected}, got {_short(cell)}")
        return value

    def word(self, column: str) -> str:
        """The text in a cell; none where it is empty or, as pandas has it, not a number."""
        cell = self.cells.get(column)
        if _is_empty(cell) or (isinstance(cell, float) and math.isnan(cell)):
            return ""
        return cell.strip() if isinstance(cell, str) else quoted(cell)


def read_rows(
    table: Table, title: str, columns: Sequence[str], required: int, read: Callable[[Row], Result]
) -> list[Result]:
    """What the rows of a table say.

    Args:
        table: where they are. A file or DataFrame may have more columns, and in another order, than these; the first
            line of a file may be left out where the order is that of `columns`.
        title: what the rows are, for messages.
        columns: the names of the columns.
        required: how many of them, from the first on, must be there.
        read: makes something of a row, or raises an `InteropError`.

    Raises:
        InteropError: rows or the table as a whole have another form; the message names all these rows, or the first
            and how many more.
        SnapshotError: the file cannot be read.
    """
    found, problems, wrong = list[Result](), list[str](), 0
    for number, (where, line, names) in enumerate(_lines(table, title, columns, required)):
        if number >= MOST_ROWS:
            raise InteropError(f"the {title}: expected at most {MOST_ROWS:,} rows, got more")
        try:
            found.append(read(_row(where, line, names, columns, required)))
        except InteropError as error:
            wrong += 1
            problems += [str(error)] if wrong <= MOST_PROBLEMS else []
    if problems:
        raise InteropError(in_one_sentence(problems, wrong))
    return found


def _lines(
    table: Table, title: str, columns: Sequence[str], required: int
) -> Iterator[tuple[str, Any, Sequence[str] | None]]:
    """The place of each row, the row, and the names of its cells where a header says them."""
    if isinstance(table, str | os.PathLike):
        yield from _from_file(table, columns, required)
    elif _is_frame(table):
        header = [str(name) for name in table.columns]
        _check_header(f"the {title}", header, columns[:required])
        for number, line in enumerate(table.itertuples(index=False, name=None), 1):
            yield f"row {number} of the {title}", line, header
    elif _is_iterable(table):
        for number, line in enumerate(cast(Iterable[Any], table), 1):
            yield f"row {number} of the {title}", line, None
    else:
        expected = "a path, rows or a DataFrame"
        raise InteropError(f"expected as {title} {expected}, got {type(table).__name__}")


def _is_iterable(table: Any) -> bool:
    """Whether it gives rows; an array of no dimension only says that it does."""
    try:
        return iter(table) is not None
    except Exception:  # whatever a stranger's `__iter__` does
        return False


def _is_frame(table: Any) -> TypeGuard[DataFrame]:
    return hasattr(table, "columns") and hasattr(table, "itertuples")


def _row(where: str, line: Any, names: Sequence[str] | None, columns: Sequence[str], required: int) -> Row:
    if isinstance(line, Mapping):
        given = cast(Mapping[str, Any], line)
        _check_header(where, list(given), columns[:required])
        return Row(where, {name: given[name] for name in columns if name in given})
    cells = _cells(line, len(names or columns))
    if cells is None:
        expected = f"({', '.join(columns)})"
        raise InteropError(f"{where}: expected {expected} or a mapping of them, got {_short(line)}")
    if names is not None:
        _check_width(where, len(line), names, len(names))
        return Row(where, {name: cell for name, cell in zip(names, cells, strict=True) if name in columns})
    _check_width(where, len(line), columns, required)
    return Row(where, dict(zip(columns, cells, strict=False)))


def _cells(line: Any, most: int) -> list[Any] | None:
    """The first cells of a row, which may be endless; None where it is none."""
    if isinstance(line, str | bytes) or not isinstance(line, Sequence | np.ndarray):
        return None
    try:
        cells = cast(Sequence[Any], line)
        return [cell for cell, _ in zip(cells, range(most), strict=False)] if len(cells) else []
    except Exception:  # whatever a stranger's `__len__` or `__iter__` does; arrays of no dimension have none
        return None


def _from_file(
    path: str | os.PathLike[str], columns: Sequence[str], required: int
) -> Iterator[tuple[str, list[str], Sequence[str] | None]]:
    name, header, first = shown(path), None, True
    try:
        text = read_bounded(path, MAX_BYTES).decode("utf-8-sig")
        reader = csv.reader(_narrow(text, name), skipinitialspace=True, strict=True)
        for cells in reader:
            where, line = f"{name}: line {reader.line_num}", [cell.strip() for cell in cells]
            if not any(line):
                continue
            titles = [title.lower() for title in line]
            if first and set(columns[:required]) <= set(titles):
                header = titles
                _check_header(where, header, columns[:required])
            else:
                yield where, line, header
            first = False
    except (UnicodeDecodeError, csv.Error) as error:
        raise InteropError(f"{name}: expected a CSV file in UTF-8, got: {error}") from None


def _narrow(text: str, name: str) -> Iterator[str]:
    """The lines of a text, none of them with more cells than a table may have."""
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if line.count(",") >= MOST_COLUMNS:
            raise InteropError(f"{name}: line {number}: expected at most {MOST_COLUMNS:,} cells, got more")
        yield line


def _check_header(where: str, header: Sequence[Any], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in header]
    if missing:
        expected, got = ", ".join(required), ", ".join(map(str, header))[:80] or "none"
        raise InteropError(f"{where}: expected the columns {expected}, got {got}: {missing[0]} is missing")
    twice = next((name for name, count in Counter(header).items() if count > 1), None)
    if twice is not None:
        raise InteropError(f"{where}: expected each column once, got {twice!r:.80} twice")


def _check_width(where: str, count: int, columns: Sequence[str], required: int) -> None:
    if not required <= count <= len(columns):
        expected = f"{', '.join(columns)}: {required}" + (f" to {len(columns)}" if required < len(columns) else "")
        raise InteropError(f"{where}: expected {expected} cells, got {count}")


def _strange(cell: Any) -> bool:
    """Whether a text is no number as CSV files have them, although Python takes it: `1_0`, digits of other scripts."""
    return isinstance(cell, str | bytes) and not (isinstance(cell, str) and NUMBER.fullmatch(cell.strip()))


def _is_empty(cell: Any) -> bool:
    """Whether there is nothing in a cell; pandas has marks of its own for it, which cannot be compared."""
    return cell is None or (isinstance(cell, str) and not cell) or type(cell).__name__ in ("NAType", "NaTType")


def _short(cell: Any) -> str:
    if _is_empty(cell):
        return "none"
    return repr(cast(Any, cell))[:80] if isinstance(cell, str | float | np.floating) else quoted(cell)
