"""How rows of a table become the numbers that a network reads, and its outputs what the rows are told as: a record.

Everything that is measured is measured on the rows that train. The record goes with the network, which is nothing
without it: see docs/tables.md.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints, TypeAdapter

from nestgraph.data.tables.kinds import Found
from nestgraph.data.tables.table import Table, Values, as_words, gaps_of, is_numbers
from nestgraph.errors import DataError
from nestgraph.spec.record import Record
from nestgraph.spec.wording import quoted

Word = Annotated[str, StringConstraints(max_length=4096)]
Positive = Annotated[float, Field(gt=0)]


class NumberColumn(Record):
    """A column of numbers: less its mean, divided by its deviation; a gap is the mean.

    Attributes:
        name: of the column.
        mean: of the rows that train, gaps apart.
        deviation: the standard deviation of these.
        gaps: whether a second number says that there is a gap.
    """

    kind: Literal["number"] = "number"
    name: Word
    mean: float
    deviation: Positive
    gaps: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """What the numbers are called."""
        return (self.name, f"{self.name} is missing") if self.gaps else (self.name,)

    def numbers(self, values: Values, table: str) -> list[NDArray[np.float32]]:
        """The numbers for the rows, (rows,) each."""
        if not is_numbers(values):
            held = [word for word in values if word is not None]
            if held:
                remedy = "write numbers there, as in the rows that trained"
                raise DataError(f"{table}: column {self.name!r}: expected numbers, got {quoted(held[0])}: {remedy}")
            values = np.full(len(values), np.nan)
        gaps = gaps_of(values)
        with np.errstate(over="ignore"):  # whoever reads rows looks for what is not finite
            scaled = np.where(gaps, 0.0, (values - self.mean) / self.deviation).astype(np.float32)
        return [scaled, gaps.astype(np.float32)] if self.gaps else [scaled]


class CategoryColumn(Record):
    """A column of categories: a number each, 1 for that of a row and 0 for all others.

    Attributes:
        name: of the column.
        values: the categories of the rows that train, sorted. Another one later is none of them: all are 0.
        gaps: whether a gap is a category of its own, the last.
    """

    kind: Literal["category"] = "category"
    name: Word
    values: tuple[Word, ...]
    gaps: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """What the numbers are called."""
        names = [f"{self.name} = {value}" for value in self.values]
        return (*names, f"{self.name} is missing") if self.gaps else tuple(names)

    def numbers(self, values: Values, table: str) -> list[NDArray[np.float32]]:
        """The numbers for the rows, (rows,) each."""
        del table
        words = as_words(values)
        found = [(words == value).astype(np.float32) for value in self.values]
        return [*found, gaps_of(words).astype(np.float32)] if self.gaps else found


Column = Annotated[NumberColumn | CategoryColumn, Field(discriminator="kind")]


class ClassTarget(Record):
    """A column of classes.

    Attributes:
        name: of the column.
        classes: its values, sorted, numbers as numbers; the class of an output unit.
    """

    kind: Literal["classes"] = "classes"
    name: Word
    classes: Annotated[tuple[Word, ...], Field(min_length=1)]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return (self.name,)

    def targets(self, table: Table) -> NDArray[Any]:
        """The classes of rows without gaps, int64, (rows,)."""
        places = {value: place for place, value in enumerate(self.classes)}
        words = as_words(table[self.name])
        strange = next((word for word in words if word not in places), None)
        if strange is not None:
            expected = f"classes of the rows that trained ({', '.join(self.classes[:8])})"
            raise DataError(f"{table.name}: column {self.name!r}: expected {expected}, got {strange!r}")
        return np.array([places[word] for word in words], np.int64)

    def told(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """What outputs (rows, classes), or (rows, 1) for two classes, say, in the words of the table."""
        if outputs.shape[1] == 1:
            second = 1 / (1 + np.exp(-outputs[:, 0]))
            shares, best = np.stack([1 - second, second], 1), (outputs[:, 0] > 0).astype(int)
        else:
            raised = np.exp(outputs - outputs.max(axis=1, keepdims=True))
            shares, best = raised / raised.sum(axis=1, keepdims=True), outputs.argmax(axis=1)
        return {self.name: np.array(self.classes, object)[best]} | {
            f"{self.name} = {value}": share for value, share in zip(self.classes, shares.T, strict=True)
        }


class NumberTarget(Record):
    """Columns of numbers, each less its mean and divided by its deviation.

    Attributes:
        names: of the columns.
        means: of the rows that train.
        deviations: the standard deviations of these.
    """

    kind: Literal["numbers"] = "numbers"
    names: Annotated[tuple[Word, ...], Field(min_length=1)]
    means: tuple[float, ...]
    deviations: tuple[Positive, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self.names

    def targets(self, table: Table) -> NDArray[Any]:
        """The numbers of rows without gaps, float32, (rows, columns)."""
        raw = np.stack([numbers_in(table, name) for name in self.names], axis=1)
        return ((raw - np.array(self.means)) / np.array(self.deviations)).astype(np.float32)

    def told(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """What outputs (rows, columns) say, in the unit of the table."""
        numbers = outputs.astype(np.float64) * np.array(self.deviations) + np.array(self.means)
        return dict(zip(self.names, numbers.T, strict=True))


class LabelTarget(Record):
    """Columns of 0 and 1, any of which may hold of a row."""

    kind: Literal["labels"] = "labels"
    names: Annotated[tuple[Word, ...], Field(min_length=1)]

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self.names

    def targets(self, table: Table) -> NDArray[Any]:
        """0 or 1 for each column, float32, (rows, columns)."""
        raw = np.stack([numbers_in(table, name) for name in self.names], axis=1)
        if strange := np.argwhere((raw != 0) & (raw != 1)).tolist():
            row, column = strange[0]
            got = f"{raw[row, column]:g} in column {self.names[column]!r}"
            raise DataError(f"{table.name}: expected labels of 0 or 1, got {got}: write 1 where the label holds")
        return raw.astype(np.float32)

    def told(self, outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """How likely outputs (rows, columns) say that each label is."""
        return dict(zip(self.names, (1 / (1 + np.exp(-outputs.astype(np.float64)))).T, strict=True))


Target = Annotated[ClassTarget | NumberTarget | LabelTarget, Field(discriminator="kind")]


class Dropped(Record):
    """A column that is not read, and why."""

    name: Word
    why: Word


class Preparation(Record):
    """What was done to the rows of a table: columns.json of a run.

    Attributes:
        columns: that are read, in their order; a network's inputs are their numbers in a row.
        target: what its outputs are.
        dropped: columns that say nothing.
    """

    format: Literal["nestgraph.columns"] = "nestgraph.columns"
    version: Literal[1] = 1
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]
    target: Target | None = None
    dropped: tuple[Dropped, ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """What the input units are called."""
        return tuple(name for column in self.columns for name in column.features)

    def inputs(self, table: Table) -> NDArray[np.float32]:
        """What a network reads of rows, (rows, features).

        Args:
            table: with the columns that are read; others are passed over.

        Raises:
            DataError: a column is missing, or holds words where it held numbers.
        """
        found = [part for each in self.columns for part in each.numbers(table[each.name], table.name)]
        return np.stack(found, axis=1)

    def unseen(self, table: Table) -> dict[str, list[str]]:
        """Categories in rows that there were none of in training, by column; a gap is called `a gap`."""
        found: dict[str, list[str]] = {}
        for column in self.columns:
            values = table[column.name]
            strange: list[str] = []
            if isinstance(column, CategoryColumn):
                held = as_words(values)[~gaps_of(values)]
                strange = sorted(set(held.tolist()) - set(column.values))
            if not column.gaps and gaps_of(values).any():
                strange.append("a gap")
            if strange:
                found[column.name] = strange
        return found


PREPARATION: TypeAdapter[Preparation] = TypeAdapter(Preparation)
"""Reads columns.json."""


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


def fitted(table: Table, found: Sequence[Found], target: ClassTarget | NumberTarget | LabelTarget) -> Preparation:
    """The preparation that rows to train with ask for.

    Args:
        table: these rows.
        found: what the columns to read hold, in all rows.
        target: that of these rows.

    Raises:
        DataError: no column says anything.
    """
    columns, dropped = list[NumberColumn | CategoryColumn](), list[Dropped]()
    for each in found:
        values = table[each.name]
        gaps = gaps_of(values)
        held = values[~gaps]
        some = bool(gaps.any())
        if not len(held):
            dropped.append(Dropped(name=each.name, why="no value in the rows that train"))
        elif each.kind == "category" or not is_numbers(values):
            words = sorted(set(as_words(held).tolist()))
            if len(words) + some > 1:
                columns.append(CategoryColumn(name=each.name, values=tuple(words), gaps=some))
            else:
                dropped.append(Dropped(name=each.name, why=f"always {words[0][:64]!r}"))
        else:
            deviation = float(np.asarray(held, np.float64).std())
            if deviation > 0 or some:
                mean = float(held.mean())
                columns.append(NumberColumn(name=each.name, mean=mean, deviation=deviation or 1.0, gaps=some))
            else:
                dropped.append(Dropped(name=each.name, why=f"always {held[0]:g}"))
    if not columns:
        why = "; ".join(f"{each.name!r} ({each.why})" for each in dropped[:8])
        raise DataError(f"{table.name}: expected a column that says something, got none: {why}")
    return Preparation(columns=tuple(columns), target=target, dropped=tuple(dropped))


def number_target(table: Table, names: tuple[str, ...]) -> NumberTarget:
    """Columns to learn as numbers, as the rows to train with ask for.

    Raises:
        DataError: one holds words, or one number only.
    """
    columns = [numbers_in(table, name) for name in names]
    for name, values in zip(names, columns, strict=True):
        if values.std() == 0:
            raise DataError(
                f"{table.name}: column {name!r}: expected different numbers to learn, got {values[0]:g} only"
            )
    means, deviations = (tuple(float(f(values)) for values in columns) for f in (np.mean, np.std))
    return NumberTarget(names=names, means=means, deviations=deviations)
