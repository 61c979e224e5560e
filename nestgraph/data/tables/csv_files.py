"""CSV files: read by Python's own reader, in two passes, so that a column of numbers never lies in memory as words."""

import csv
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path

import numpy as np

from nestgraph.data.files import opened
from nestgraph.data.tables.table import MOST_COLUMNS, Table, Values, check_names
from nestgraph.errors import DataError
from nestgraph.snapshot.disk import shown
from nestgraph.spec.wording import foreign

GAPS = frozenset(("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "Null", "null", "None", "<NA>", "?"))
"""What a cell without a value holds, spaces around it apart."""

DELIMITERS = (",", ";", "\t", "|")
ROWS = 4096
"""How many are looked at together."""

MOST_CELLS = 2**28
LONGEST_LINE = 2**24
Rows = list[list[str]]


def read_csv(path: Path, delimiter: str | None = None) -> Table:
    """The table in a CSV file in UTF-8 whose first line names the columns.

    A column whose cells are all numbers, or gaps, is one of numbers; any other is one of words.

    Args:
        path: the file.
        delimiter: between cells; by default the one of comma, semicolon, tab and bar that the first line has most of.

    Raises:
        DataError: it cannot be read, or is no such table; the message names the line.
    """
    place = shown(path)
    numeric: list[bool] | None = None
    header: list[str] = []
    count = 0
    for header, rows in _chunks(path, delimiter):
        numeric = numeric or [True] * len(header)
        count += len(rows)
        if count * len(header) > MOST_CELLS:
            remedy = "give fewer rows or columns, or an iterable of batches"
            raise DataError(f"{place}: expected at most {MOST_CELLS:,} cells, got more by line {count}: {remedy}")
        for number, cells in enumerate(zip(*rows, strict=True)):
            numeric[number] = numeric[number] and _numbers(cells) is not None
    if not count:
        raise DataError(f"{place}: expected rows under the names of the columns, got none: is it the right file?")
    columns: list[Values] = [np.empty(count, np.float64 if each else object) for each in numeric or ()]
    known, first = dict[str, str](), 0
    for _, rows in _chunks(path, delimiter):
        for values, cells in zip(columns, zip(*rows, strict=True), strict=True):
            found = _numbers(cells) if values.dtype.kind == "f" else [_word(cell, known) for cell in cells]
            values[first : first + len(rows)] = found  # pyright: ignore[reportArgumentType]
        first += len(rows)
    return Table(place, dict(zip(header, columns, strict=True)))


def _numbers(cells: tuple[str, ...]) -> list[float] | None:
    """Cells as numbers, gaps as NaN; None if one of them is neither."""
    try:
        found = [float("nan") if cell.strip() in GAPS else float(cell) for cell in cells]
    except ValueError:
        return None
    return None if any("_" in cell for cell in cells) else found  # Python's own way to write digits


def _word(cell: str, known: dict[str, str]) -> str | None:
    """A cell as a word, which is the same object wherever it comes again."""
    word = cell.strip()
    return None if word in GAPS else known.setdefault(word, word)


def _chunks(path: Path, delimiter: str | None) -> Iterator[tuple[list[str], Rows]]:
    """The names of the columns, with some rows at a time.

    Raises:
        DataError: see `read_csv`.
    """
    place = shown(path)
    try:
        with opened(path) as raw, TextIOWrapper(raw, "utf-8-sig", newline="") as file:
            first = file.readline(LONGEST_LINE)
            if not first.strip():
                raise DataError(f"{place}: expected a first line with the names of the columns, got an empty one")
            file.seek(0)
            yield from _rows(csv.reader(file, delimiter=delimiter or _delimiter(first), strict=True), place)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{place}: expected text in UTF-8, got the byte {error.object[error.start]:#04x}: save the file as UTF-8"
        ) from None


def _delimiter(line: str) -> str:
    counts = [line.count(each) for each in DELIMITERS]
    return DELIMITERS[counts.index(max(counts))]


def _rows(reader: "Iterator[list[str]]", place: str) -> Iterator[tuple[list[str], Rows]]:
    rows: Rows = []
    header: list[str] | None = None
    line = 0
    try:
        for cells in reader:
            line = int(getattr(reader, "line_num", 0))
            if header is None:
                header = _header([cell.strip() for cell in cells], place)
            elif len(cells) == len(header):
                rows.append(cells)
            elif cells:  # an empty line is none
                remedy = "the file is cut or a delimiter is missing; put cells with one in quotes"
                raise DataError(f"{place}, line {line}: expected {len(header)} cells, got {len(cells)}: {remedy}")
            if len(rows) == ROWS:
                yield header or [], rows
                rows = []
    except csv.Error as error:
        line = int(getattr(reader, "line_num", line))
        remedy = "a quote may be left open, or the file is cut"
        raise DataError(
            f"{place}, line {line}: expected cells of a CSV file, got: {foreign(error)}: {remedy}"
        ) from None
    if header and rows:
        yield header, rows


def _header(names: list[str], place: str) -> list[str]:
    if len(names) <= MOST_COLUMNS and _numbers(tuple(names)) is not None:
        remedy = "write a first line with their names"
        raise DataError(f"{place}: expected names of the columns in the first line, got numbers: {remedy}")
    check_names(place, names)
    return names
