"""What the columns of a table hold: numbers, categories, dates, text, nothing."""

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nestgraph.data.tables.table import Table, Values, as_words, gaps_of, is_numbers, listed
from nestgraph.errors import DataError

Kind = Literal["number", "category", "date", "text", "constant", "empty"]
MOST_CATEGORIES = 100
DAY = r"(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2}))"
TIME = r"\d{1,2}:\d{2}(:\d{2}.*)?"
COMMA = re.compile(r"-?\d+,\d+")
"""A number with a decimal comma."""

DATE = re.compile(f"{DAY}([T ]{TIME})?|{TIME}")
"""What dates and times begin with, in the ways that they are usually written."""

LOOKED_AT = 1000
"""Words of a column that are held against `DATE`."""


@dataclass(frozen=True)
class Found:
    """What a column holds.

    Attributes:
        name: of the column.
        kind: `constant` is one value only, `empty` none at all; `text` has more different words than categories.
        gaps: rows without a value.
        values: the most frequent words with their counts, or none.
        distinct: how many different values there are.
        low: the least number, where they are numbers.
        high: the greatest.
        example: a value.
        whole: whether all are whole numbers.
    """

    name: str
    kind: Kind
    gaps: int
    distinct: int
    values: tuple[tuple[str, int], ...] = ()
    low: float | None = None
    high: float | None = None
    example: str = ""
    whole: bool = False


def found_in(name: str, values: Values, most: int = MOST_CATEGORIES) -> Found:
    """What one column holds; numbers are numbers, however few there are.

    Args:
        name: of the column.
        values: of its rows.
        most: how many categories there may be.
    """
    gaps = gaps_of(values)
    held = values[~gaps]
    count = int(gaps.sum())
    if not len(held):
        return Found(name, "empty", count, 0)
    if is_numbers(held):
        distinct = len(np.unique(held))
        kind: Kind = "number" if distinct > 1 or count else "constant"
        low, high = float(held.min()), float(held.max())
        return Found(name, kind, count, distinct, (), low, high, f"{held[0]:g}", bool((held % 1 == 0).all()))
    words, counts = np.unique(held.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shown = tuple((str(words[place]), int(counts[place])) for place in order[: most + 1])
    kind = "category" if len(words) > 1 or count else "constant"
    sample = [str(word) for word in words[:LOOKED_AT]]
    if all(DATE.fullmatch(word) for word in sample):
        kind = "date"
    elif len(words) > most or all(COMMA.fullmatch(word) for word in sample):
        kind = "text"
    return Found(name, kind, count, len(words), shown, example=str(held[0]))


def found_in_all(table: Table, categories: tuple[str, ...] = (), most: int = MOST_CATEGORIES) -> list[Found]:
    """What each column holds.

    Args:
        table: the table.
        categories: columns of numbers that name categories.
        most: how many categories a column may have.

    Raises:
        DataError: a column of `categories` is not there.
    """
    for name in categories:
        table[name]
    found = table.columns.items()
    return [found_in(name, as_words(values) if name in categories else values, most) for name, values in found]


def refuse_unlearnable(table: str, found: list[Found], most: int) -> None:
    """Refuse columns that a network cannot read as they are.

    Raises:
        DataError: one holds dates, or text; the message says what helps.
    """
    dates = [each for each in found if each.kind == "date"]
    if dates:
        names = listed([each.name for each in dates])
        got = f"dates or times such as {dates[0].example[:40]!r} in {names}"
        remedy = f"write what matters of them as numbers (a month, days since), or leave them out: ignore = [{names}]"
        raise DataError(f"{table}: expected columns of numbers or categories, got {got}: {remedy}")
    texts = [each for each in found if each.kind == "text"]
    if texts:
        first, names = texts[0], listed([each.name for each in texts])
        got = f"{first.distinct:,} different words in {first.name!r}, such as {first.example[:40]!r}"
        remedy = f"leave it out (ignore = [{names}]), or raise most_categories"
        if COMMA.fullmatch(first.example):
            remedy = "write numbers with a decimal point"
        raise DataError(f"{table}: expected columns of numbers or of up to {most} categories, got {got}: {remedy}")
