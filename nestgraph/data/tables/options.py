"""Tables in recipes: which file, what is to be told of its rows, and how it is read and split."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, StringConstraints

from nestgraph.data.samples import Dataset, Samples
from nestgraph.data.splitting import Share, SplitKind, Splits, split_places
from nestgraph.data.tables.csv_files import read_csv
from nestgraph.data.tables.frames import read_parquet
from nestgraph.data.tables.kinds import MOST_CATEGORIES, found_in, found_in_all, refuse_unlearnable
from nestgraph.data.tables.preparation import Preparation, fitted
from nestgraph.data.tables.table import LONGEST_NAME, Table, gaps_of, is_numbers, listed, number_word, numbers_in
from nestgraph.data.tables.targets import (
    AnyTarget,
    ClassTarget,
    LabelTarget,
    OneTarget,
    SeveralTargets,
    number_target,
)
from nestgraph.errors import DataError
from nestgraph.snapshot.places import expanded
from nestgraph.spec.facts import AllWanted, Facts, Wanted
from nestgraph.spec.options import Beside, Options, PathText
from nestgraph.spec.record import Name

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME)]
Columns = ColumnName | Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=4096)]
FEW = 20
"""So many different whole numbers are taken for classes where no task says what they are."""

A_CLASS = {True: 10, False: 2}
"""Rows that a class has on average, at least: of numbers, which rather are measured than named, and of words."""

LOG = logging.getLogger("nestgraph")


class TableReading(Options):
    """How a table is understood and split, wherever it comes from.

    Attributes:
        target: the column that is to be told of a row, or several; for several outputs those of each, by its name, and
            without names each column is an output of that name. None where a row is to be given back.
        ignore: columns that are not read.
        categories: columns of numbers that name categories, such as a code.
        most_categories: more different words than these are refused as text.
        weight: a column that says how much each row counts.
        validation: share of the rows that decisions are made by.
        test: share of the rows that the result is measured on.
        split: rows are drawn, of each class its share (`stratified`); or so that those with one value in the column
            `by` stay together (`group`); or the last ones test and those before them validate (`last`), in the order of
            the column `by` if there is one. That column is not read as an input.
        by: see `split`.
    """

    target: Columns | Annotated[dict[Name, Columns], Field(min_length=1, max_length=64)] | None = None
    ignore: tuple[ColumnName, ...] = ()
    categories: tuple[ColumnName, ...] = ()
    most_categories: Annotated[int, Field(ge=2, le=10_000)] = MOST_CATEGORIES
    weight: ColumnName | None = None
    validation: Share = 0.2
    test: Share = 0.2
    split: SplitKind = "stratified"
    by: ColumnName | None = None

    beside: ClassVar = {"by": (Beside.of("split", "group", "last"),)}
    needed: ClassVar = {"by": Beside.of("split", "group")}

    @property
    def targets(self) -> tuple[str, ...]:
        """The columns that are to be told."""
        columns = self.target.values() if isinstance(self.target, dict) else (self.target,)
        return tuple(dict.fromkeys(name for each in columns for name in _names(each)))

    def dataset(self, name: str, table: Table, seed: int, wanted: AllWanted = None) -> Dataset:
        """The splits of a table as a network reads them.

        Args:
            name: of the data.
            table: all rows.
            seed: which rows are drawn.
            wanted: what is to be learned; by default classes where the target holds words or few whole numbers, else
                numbers.

        Raises:
            DataError: a column is missing or holds what cannot be learned from, or rows are too few.
        """
        _refuse_targets(table, self.targets, wanted)
        table, left_out = _with_targets(table, (*self.targets, *([self.weight] if self.weight else ())))
        target = self._target(table, wanted) if self.targets else None
        beside = {*self.targets, *self.ignore, *(each for each in (self.weight, self.by) if each)}
        inputs = table.without(beside)
        found = found_in_all(inputs, self.categories, self.most_categories)
        refuse_unlearnable(table.name, found, self.most_categories)
        places = self._places(table, target, np.random.default_rng(seed))
        rows = table.rows(places.train)
        target = target.again(rows) if target else None
        prepared = fitted(rows, found, target)
        for each in prepared.dropped:
            LOG.warning("%s: column %r is not read: it holds %s", table.name, each.name, each.why)
        train, validation, test = (self._samples(table.rows(chosen), prepared) for chosen in places)
        known: dict[str, Any] = {"left_out": left_out, "features": prepared.features, "preparation": prepared}
        if isinstance(target, SeveralTargets):
            inputs = train.shapes
            parts = {name: Facts(inputs=inputs, **part.facts) for name, part in target.parts.items()}
            return Dataset(name, train, validation, test, parts=parts, **known)
        facts = target.facts if target else {"names": prepared.features}
        facts.pop("width", None)  # which the targets show
        return Dataset(name, train, validation, test, **facts, **known)

    def _places(self, table: Table, target: AnyTarget | None, rng: Any) -> Splits:
        targets = target.targets(table) if target else np.zeros((len(table), 1), np.float32)
        by = None
        if self.by:
            values = table[self.by]
            if gaps_of(values).any():
                got = f"{int(gaps_of(values).sum()):,} rows without one"
                raise DataError(f"{table.name}: column {self.by!r}: expected a value to split each row by, got {got}")
            by = values if is_numbers(values) else values.astype(str)
        return split_places(table.name, targets, self.validation, self.test, rng, self.split, by)

    def _target(self, table: Table, wanted: AllWanted) -> AnyTarget:
        """What is to be learned, of all rows; numbers are measured on the training rows later."""
        if isinstance(wanted, Mapping):
            columns = self._outputs(table, wanted)
        elif isinstance(self.target, dict):
            if wanted is not None:
                expected, got = f"columns of {wanted} for one output", f"those of several ({', '.join(self.target)})"
                raise DataError(f"{table.name}: expected {expected}, got {got}: use a task 'several'")
            columns, wanted = self.target, dict[str, Wanted | None]()
        else:
            return self._target_of(table, self.targets, wanted)
        parts = {name: self._target_of(table, _names(each), wanted.get(name)) for name, each in columns.items()}
        return SeveralTargets(parts=cast(Any, parts))

    def _outputs(self, table: Table, wanted: Mapping[str, Wanted | None]) -> Mapping[str, Columns]:
        """The columns of each output of a task."""
        found = self.target if isinstance(self.target, dict) else {name: name for name in self.targets}
        if set(found) != set(wanted):
            remedy = "name them, as in target = { output = COLUMN }"
            expected = f"columns for the outputs of the task ({', '.join(wanted)})"
            raise DataError(f"{table.name}: expected {expected}, got some for {', '.join(found)}: {remedy}")
        return {name: found[name] for name in wanted}

    def _target_of(self, table: Table, names: tuple[str, ...], wanted: Wanted | None) -> OneTarget:
        """What is to be learned by one output."""
        first, several = names[0], len(names) > 1
        if wanted == "inputs":
            got = f"a task that gives rows back beside others, for {listed(names)}"
            raise DataError(f"{table.name}: expected tasks of targets, got {got}: use a regression of these columns")
        if wanted == "labels":
            target = LabelTarget(names=names)
            target.targets(table)
            return target
        values = table[first]
        whole = is_numbers(values) and bool((values % 1 == 0).all()) and len(np.unique(values)) <= FEW
        if wanted == "numbers" or (wanted is None and (several or (is_numbers(values) and not whole))):
            for name in names:
                numbers_in(table, name)
            return number_target(table, names)
        if several:
            expected = "one column of classes as target"
            raise DataError(f"{table.name}: expected {expected}, got {listed(names)}: learn each in a run of its own")
        numeric = is_numbers(values)
        classes = tuple(map(number_word, np.unique(values).tolist()) if numeric else sorted(set(values.tolist())))
        kind = found_in(first, values, len(values) // 2 or 1).kind
        fractions = values[values % 1 != 0] if numeric else values[:0]
        if len(classes) > max(FEW, len(values) // A_CLASS[numeric]) or kind == "date" or len(fractions):
            got = f"{len(classes):,} different values in {len(values):,} rows, such as {classes[0][:40]!r}"
            got = f"fractions such as {fractions[0]:g}" if len(fractions) else got
            remedy = "name another column, or a task of numbers such as regression"
            raise DataError(f"{table.name}: column {first!r}: expected classes to tell apart, got {got}: {remedy}")
        return ClassTarget(name=first, classes=classes)

    def _samples(self, rows: Table, prepared: Preparation) -> Samples:
        weights: NDArray[np.float32] | None = None
        if self.weight:
            weights = numbers_in(rows, self.weight).astype(np.float32)
        inputs = prepared.inputs(rows)
        return Samples(inputs, prepared.target.targets(rows) if prepared.target else inputs, weights)


class TableOptions(TableReading):
    """A table in a file.

    Attributes:
        path: of the file; a relative one is looked for from where the program runs.
        delimiter: between the cells of a CSV file; by default found in its first line.
    """

    kind: Literal["csv", "parquet"]
    path: PathText
    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] | None = None

    beside: ClassVar = {**TableReading.beside, "delimiter": (Beside.of("kind", "csv"),)}

    distortion: ClassVar[None] = None
    augmentation: ClassVar[None] = None

    @property
    def title(self) -> str:
        """What results call the data."""
        return Path(self.path).name

    @property
    def named(self) -> bool:
        """Whether its name alone tells what it is."""
        return False

    @property
    def story(self) -> str:
        """How its rows are split, in a sentence."""
        by = f" {self.by}" if self.by else ""
        how = {
            "stratified": "drawn by the seed, of each class its share",
            "group": f"drawn by the seed, rows of one{by} together",
            "last": f"the last ones{by and f' by{by}'}, first to validate, then to test",
        }
        shares = f"{self.validation:.0%} of the rows validate and {self.test:.0%} test"
        return f"Of the table, {shares}: {how[self.split]}."

    def load(self, seed: int, wanted: AllWanted = None) -> Dataset:
        """The splits of one random seed.

        Raises:
            DataError: see `read_table` and `TableReading.dataset`.
        """
        found = self.dataset(self.title, read_table(self.path, self.kind, self.delimiter), seed, wanted)
        LOG.info("%s", found)
        return found


def _names(columns: Columns | None) -> tuple[str, ...]:
    return (columns,) if isinstance(columns, str) else columns or ()


def read_table(path: str | Path, kind: Literal["csv", "parquet"] | None = None, delimiter: str | None = None) -> Table:
    """The table in a file.

    Args:
        path: of the file.
        kind: of the file; by default told by its suffix.
        delimiter: see `read_csv`.

    Raises:
        DataError: it cannot be read.
    """
    place = expanded(Path(path))
    kind = kind or ("parquet" if place.suffix.lower() in (".parquet", ".pq") else "csv")
    return read_parquet(place) if kind == "parquet" else read_csv(place, delimiter)


def _refuse_targets(table: Table, targets: tuple[str, ...], wanted: AllWanted) -> None:
    """Refuse a target where a row itself is learned, and none where something is to be told of it.

    Raises:
        DataError: see above.
    """
    if targets and wanted == "inputs":
        expected = "no target where a row is to be given back"
        remedy = "leave target out; to leave the column out, too, ignore it"
        raise DataError(f"{table.name}: expected {expected}, got {listed(targets)}: {remedy}")
    if not targets and wanted != "inputs":
        raise DataError(
            f"{table.name}: expected a column to tell, got no target: name one of {listed([*table.columns])}"
        )


def _with_targets(table: Table, names: tuple[str, ...]) -> tuple[Table, int]:
    """The rows whose targets and weights are known, and how many others there are.

    Raises:
        DataError: there is no such row, or no such column.
    """
    gaps = np.zeros(len(table), bool)
    for name in names:
        gaps |= gaps_of(table[name])
    if gaps.all():
        raise DataError(
            f"{table.name}: expected rows with {listed(names)}, got none of {len(table):,}: name another column"
        )
    if gaps.any():
        LOG.warning("%s: %d rows without %s are left out", table.name, int(gaps.sum()), listed(names))
        return table.rows(~gaps), int(gaps.sum())
    return table, 0
