"""How rows of a table become the numbers that a network reads, and its outputs what the rows are told as: a record.

Everything that is measured is measured on the rows that train. The record goes with the network, which is nothing
without it: see docs/tables.md.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter

from nestgraph.data.tables.kinds import Found
from nestgraph.data.tables.table import (
    Numbers,
    Positive,
    Table,
    Values,
    Word,
    as_words,
    gaps_of,
    is_number_word,
    is_numbers,
)
from nestgraph.data.tables.targets import AnyTarget, NumberTarget, OneTarget, SeveralTargets, Target
from nestgraph.errors import DataError
from nestgraph.spec.record import Record
from nestgraph.spec.wording import quoted


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

    def raw(self, values: Values, table: str) -> Numbers:
        """The column as one of numbers.

        Raises:
            DataError: it holds words.
        """
        if is_numbers(values):
            return values
        held = [word for word in values if word is not None]
        if held:
            remedy = "write numbers there, as in the rows that trained"
            raise DataError(f"{table}: column {self.name!r}: expected numbers, got {quoted(held[0])}: {remedy}")
        return np.full(len(values), np.nan)

    def numbers(self, values: Values, table: str) -> list[NDArray[np.float32]]:
        """The numbers for the rows, (rows,) each."""
        raw = self.raw(values, table)
        gaps = gaps_of(raw)
        with np.errstate(over="ignore"):  # whoever reads rows looks for what is not finite
            scaled = np.where(gaps, 0.0, (raw - self.mean) / self.deviation).astype(np.float32)
        return [scaled, gaps.astype(np.float32)] if self.gaps else [scaled]

    def told(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """The values that a reconstruction gives, (rows,); NaN where it says that there is a gap."""
        values = outputs[:, 0].astype(np.float64) * self.deviation + self.mean
        return np.where(outputs[:, 1] > 0.5, np.nan, values) if self.gaps else values


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

    @property
    def numeric(self) -> bool:
        """Whether all categories are numbers, such as codes: a table holds the column as one of numbers."""
        return all(map(is_number_word, self.values))

    def told(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """The categories that a reconstruction gives, (rows,); None for a gap."""
        return np.array([*self.values, *([None] if self.gaps else [])], object)[outputs.argmax(axis=1)]


Column = Annotated[NumberColumn | CategoryColumn, Field(discriminator="kind")]


class Dropped(Record):
    """A column that is not read, and why."""

    name: Word
    why: Word


class Preparation(Record):
    """What was done to the rows of a table: columns.json of a run.

    Attributes:
        columns: that are read, in their order; a network's inputs are their numbers in a row.
        target: what its outputs are, of several each; None where they are the columns themselves, as an autoencoder
            gives them back.
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

    @property
    def outputs(self) -> tuple[tuple[int, ...], ...]:
        """For each output of a network how many units it may have to tell the target, or the columns themselves."""
        if self.target is None:
            return ((len(self.features),),)
        return tuple(each.outputs for each in self._targets)

    @property
    def _targets(self) -> tuple[OneTarget, ...]:
        """The target of each output."""
        if isinstance(self.target, SeveralTargets):
            return tuple(self.target.parts.values())
        return () if self.target is None else (self.target,)

    def told(self, *outputs: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """What outputs, (rows, any) each, say, by column, in the words and units of the table."""
        if self.target is not None:
            pairs = zip(self._targets, outputs, strict=True)
            return {name: values for target, found in pairs for name, values in target.told(found).items()}
        ends = np.cumsum([len(column.features) for column in self.columns])[:-1]
        parts = np.split(outputs[0], ends, axis=1)
        return {column.name: column.told(part) for column, part in zip(self.columns, parts, strict=True)}

    def of_regression(self, quantiles: tuple[float, ...], spread: bool, output: str = "") -> "Preparation":
        """The same for a task whose outputs are quantiles, or means and logarithms of variances: see `NumberTarget`.

        Args:
            quantiles: of the task.
            spread: whether there are variances.
            output: of several, that of the task.
        """
        target = self.target
        if isinstance(target, SeveralTargets):
            parts = {**target.parts, output: _of_regression(target.parts[output], quantiles, spread)}
            return self.model_copy(update={"target": target.model_copy(update={"parts": parts})})
        return self.model_copy(update={"target": _of_regression(target, quantiles, spread)})

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


def _of_regression(target: Any, quantiles: tuple[float, ...], spread: bool) -> Any:
    if not isinstance(target, NumberTarget):
        return target
    return target.model_copy(update={"quantiles": quantiles, "spread": spread})


def fitted(table: Table, found: Sequence[Found], target: AnyTarget | None) -> Preparation:
    """The preparation that rows to train with ask for.

    Args:
        table: these rows.
        found: what the columns to read hold, in all rows.
        target: that of these rows; None for the columns themselves.

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
    return Preparation(columns=tuple(columns), target=cast(Any, target), dropped=tuple(dropped))
