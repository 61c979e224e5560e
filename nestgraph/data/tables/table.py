"""A table in memory: columns of numbers or of words, some of them with gaps."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, TypeGuard, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints

from nestgraph.errors import DataError
from nestgraph.spec.wording import quoted

Numbers = NDArray[np.float64]
"""A column of numbers, (rows,); NaN is a gap."""

Words = NDArray[np.object_]
"""A column of words, (rows,), of `str`; None is a gap."""

Values = Numbers | Words
Word = Annotated[str, StringConstraints(max_length=4096)]
Positive = Annotated[float, Field(gt=0)]
MOST_COLUMNS = 16_384
LONGEST_NAME = 256
NAMED = 8
"""How many names a message lists."""


@dataclass(frozen=True, eq=False)
class Table:
    """Columns by name, all of as many rows.

    Attributes:
        name: what messages call it: a file's name, or `table`.
        columns: in their order.

    Raises:
        DataError: there are none, or they have no rows, other lengths, or numbers that are infinite.
    """

    name: str
    columns: Mapping[str, Values]

    def __post_init__(self) -> None:
        lengths = {len(values) for values in self.columns.values()}
        if not self.columns or lengths == {0}:
            what = "rows, got none" if self.columns else "columns, got none"
            raise DataError(f"{self.name}: expected a table with {what}: is it the right file?")
        if len(lengths) > 1:
            raise DataError(f"{self.name}: expected columns of one length, got {sorted(lengths)[:NAMED]} rows")
        check_names(self.name, list(self.columns))
        for column, values in self.columns.items():
            if is_numbers(values) and (infinite := np.flatnonzero(np.isinf(values))).size:
                got = f"{values[infinite[0]]} in row {infinite[0] + 1}"
                more = f" and {len(infinite) - 1:,} more" if len(infinite) > 1 else ""
                remedy = "put finite numbers there, or leave the cells empty, which makes them gaps"
                raise DataError(f"{self.name}: column {column!r}: expected finite numbers, got {got}{more}: {remedy}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, column: str) -> Values:
        """The values of a column.

        Raises:
            DataError: there is none of that name; what might be meant is named.
        """
        if column not in self.columns:
            raise DataError(f"{self.name}: {no_column(column, self.columns)}")
        return self.columns[column]

    def rows(self, places: NDArray[Any]) -> "Table":
        """Some of the rows, by a mask or by their numbers."""
        return Table(self.name, {name: values[places] for name, values in self.columns.items()})

    def without(self, names: Iterable[str]) -> "Table":
        """All columns but some.

        Raises:
            DataError: one of these is not there, or no column is left.
        """
        gone = set(names)
        for name in gone:
            self[name]
        left = {name: values for name, values in self.columns.items() if name not in gone}
        if not left:
            raise DataError(f"{self.name}: expected a column to learn from, got none beside {listed(sorted(gone))}")
        return Table(self.name, left)


def is_numbers(values: Values) -> TypeGuard[Numbers]:
    """Whether a column is one of numbers."""
    return values.dtype.kind == "f"


def numbers_in(table: Table, name: str) -> NDArray[np.float64]:
    """A column of numbers.

    Raises:
        DataError: it holds words.
    """
    values = table[name]
    if not is_numbers(values):
        held = next((word for word in values if word is not None), None)
        remedy = "name a column of numbers, or let a task of classes tell its words apart"
        raise DataError(f"{table.name}: column {name!r}: expected numbers to learn, got {quoted(held)}: {remedy}")
    return values


def gaps_of(values: Values) -> NDArray[np.bool_]:
    """Where a column has gaps, (rows,)."""
    if is_numbers(values):
        return np.isnan(values)
    return np.fromiter((value is None for value in values), bool, len(values))


def as_words(values: Values) -> Words:
    """A column as words: whole numbers without a point."""
    if not is_numbers(values):
        return cast(Words, values)
    found = np.empty(len(values), object)
    found[:] = [None if value != value else number_word(value) for value in values.tolist()]
    return found


def number_word(value: float) -> str:
    """A number as a word, `3` and not `3.0`."""
    return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)


def is_number_word(word: str) -> bool:
    """Whether a word is what `number_word` gives of a finite number."""
    try:
        number = float(word)
    except ValueError:
        return False
    return math.isfinite(number) and number_word(number) == word


def check_names(table: str, names: Sequence[str]) -> None:
    """Whether columns can be told by their names.

    Raises:
        DataError: there are too many, or one has no name, an odd one, or that of another.
    """
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{table}: expected at most {MOST_COLUMNS:,} columns, got {len(names):,}")
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise DataError(
            f"{table}: expected each column to have a name of its own, got {listed(twice)} twice: rename one"
        )
    for place, name in enumerate(names, 1):
        if not name.strip():
            raise DataError(f"{table}: expected a name for each column, got none for column {place}: write one")
        if len(name) > LONGEST_NAME or not name.isprintable():
            limit = f"printable names of at most {LONGEST_NAME} characters"
            raise DataError(f"{table}: expected columns to have {limit}, got {quoted(name)}: rename column {place}")


def no_column(column: str, names: Iterable[str]) -> str:
    """That there is no column of a name, and which might be meant."""
    known = list(names)
    lower = {name.lower(): name for name in known}
    meant = [lower[name] for name in get_close_matches(column.lower(), list(lower), 3)]
    hint = f": is {meant[0]!r} meant?" if meant else ""
    return (
        f"expected one of the columns {listed([*meant, *(n for n in known if n not in meant)])}, got {column!r}{hint}"
    )


def listed(names: Sequence[str]) -> str:
    """Names for a message."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{', '.join(repr(name[:64]) for name in names[:NAMED])}{more}"
