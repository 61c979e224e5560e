"""Rows of a table from a CSV file, a DataFrame or an iterable, each with its place for messages.

A DataFrame is known by what it can do (`columns`, `itertuples`), so that pandas, which has it, need not be there.
"""

import csv
import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, cast

import numpy as np

from nestgraph.errors import InteropError
from nestgraph.snapshot import MAX_BYTES, read_bounded

LONGEST_NAME = 256


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
        if isinstance(cell, int | np.integer) and not isinstance(cell, bool):
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
        if cell in (None, "") and default is not None:
            return default
        try:
            value = math.nan if isinstance(cell, bool) else float(cell)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        if not abs(value) <= float(np.finfo(np.float32).max):
            raise InteropError(f"{self.where}: expected as {column} a finite number of 32 bits, got {_short(cell)}")
        return value

    def word(self, column: str) -> str:
        """The text in a cell; none where it is empty or, as pandas has it, not a number."""
        cell = self.cells.get(column)
        return "" if cell is None or (isinstance(cell, float) and math.isnan(cell)) else str(cell).strip()


def read_rows(table: Table, title: str, columns: Sequence[str], required: int) -> list[Row]:
    """The rows of a table.

    Args:
        table: where they are. A file or DataFrame may have more columns, and in another order, than these; the first
            line of a file may be left out where the order is that of `columns`.
        title: what the rows are, for messages.
        columns: the names of the columns.
        required: how many of them, from the first on, must be there.

    Raises:
        InteropError: a row or the table as a whole has another form; the message names the row.
        SnapshotError: the file cannot be read.
    """
    if isinstance(table, str | os.PathLike):
        return list(_from_file(table, columns, required))
    if _is_frame(table):
        header = [str(name) for name in table.columns]
        _check_header(f"the {title}", header, columns[:required])
        lines = table.itertuples(index=False, name=None)
        return [Row(f"row {n} of the {title}", _by_name(header, line, columns)) for n, line in enumerate(lines, 1)]
    if not isinstance(table, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        expected = "a path, rows or a DataFrame"
        raise InteropError(f"expected as {title} {expected}, got {type(table).__name__}")  # pyright: ignore[reportUnreachable]
    lines = enumerate(cast(Iterable[Any], table), 1)
    return [_row(f"row {number} of the {title}", line, columns, required) for number, line in lines]


def _is_frame(table: Any) -> TypeGuard[DataFrame]:
    return hasattr(table, "columns") and hasattr(table, "itertuples")


def _row(where: str, line: Any, columns: Sequence[str], required: int) -> Row:
    if isinstance(line, Mapping):
        given = cast(Mapping[str, Any], line)
        _check_header(where, list(given), columns[:required])
        return Row(where, {name: given[name] for name in columns if name in given})
    if isinstance(line, str | bytes) or not isinstance(line, Sequence | np.ndarray):
        expected = f"({', '.join(columns)})"
        raise InteropError(f"{where}: expected {expected} or a mapping of them, got {_short(line)}")
    cells = list(cast(Sequence[Any], line))
    _check_width(where, cells, columns, required)
    return Row(where, dict(zip(columns, cells, strict=False)))


def _from_file(path: str | os.PathLike[str], columns: Sequence[str], required: int) -> Iterator[Row]:
    try:
        text = read_bounded(path, MAX_BYTES).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
        lines = [(f"{os.fspath(path)}: line {reader.line_num}", [cell.strip() for cell in line]) for line in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InteropError(f"{os.fspath(path)}: expected a CSV file in UTF-8, got: {error}") from None
    lines = [(where, line) for where, line in lines if any(line)]
    header = [name.lower() for name in lines[0][1]] if lines else []
    if set(columns[:required]) <= set(header):
        for where, line in lines[1:]:
            _check_width(where, line, header, len(header))
            yield Row(where, _by_name(header, line, columns))
        return
    for where, line in lines:
        _check_width(where, line, columns, required)
        yield Row(where, dict(zip(columns, line, strict=False)))


def _by_name(header: Sequence[str], line: Sequence[Any], columns: Sequence[str]) -> dict[str, Any]:
    return {name: cell for name, cell in zip(header, line, strict=True) if name in columns}


def _check_header(where: str, header: Sequence[Any], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in header]
    if missing:
        expected, got = ", ".join(required), ", ".join(map(str, header))[:80] or "none"
        raise InteropError(f"{where}: expected the columns {expected}, got {got}: {missing[0]} is missing")


def _check_width(where: str, cells: Sequence[Any], columns: Sequence[str], required: int) -> None:
    if not required <= len(cells) <= len(columns):
        expected = f"{', '.join(columns)}: {required}" + (f" to {len(columns)}" if required < len(columns) else "")
        raise InteropError(f"{where}: expected {expected} cells, got {len(cells)}")


def _short(cell: Any) -> str:
    return "none" if cell in (None, "") else repr(cell)[:80]
