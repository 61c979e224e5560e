"""Exports that take the raw rows of a table: what they are made of, and whether they tell what `predict` tells."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from nestgraph.data.tables.preparation import CategoryColumn, Column, Preparation
from nestgraph.data.tables.table import Table, Values
from nestgraph.data.tables.targets import NumberTarget, SeveralTargets
from nestgraph.errors import DataError, ExportError
from nestgraph.graph import Network
from nestgraph.graph.reference import predict
from nestgraph.interop.agreement import BATCHES, MOST, TOLERANCE, difference
from nestgraph.runs.predicting import check_fit, raw_table
from nestgraph.spec.arrays import AnyArray

Told = Mapping[str, AnyArray]
"""What is said of rows, (rows,) each, by name: that of `predict`."""

RowRunner = Callable[[Table], Told]
"""What computes an export from raw rows."""


def refuse_unfit(what: str, network: Network, columns: Preparation) -> None:
    """Refuse columns that an export cannot express.

    Raises:
        ExportError: the network reads or gives something else than the columns say, or two names are one.
    """
    try:
        check_fit(what, network, columns)
    except DataError as error:
        raise ExportError(f"{error}: export it without columns (--prepared), for prepared numbers") from None
    several = isinstance(columns.target, SeveralTargets)
    if columns.target is None or several:
        got = "those of several outputs" if several else "those of a network that gives its rows back"
        expected = f"columns with one target, got {got}"
        raise ExportError(f"{what}: expected {expected}: export it without columns (--prepared), for prepared numbers")
    names = [column.name for column in columns.columns]
    both = [*names, *told_names(columns)]
    twice = sorted({name for name in both if both.count(name) > 1})
    if twice:
        expected = "columns to read and to tell of different names"
        raise ExportError(
            f"{what}: expected {expected}, got {twice[0][:64]!r} twice: rename the column and train again"
        )


def check_rows(network: Network, columns: Preparation, what: str, run: RowRunner, rows: Any = None) -> float:
    """Compare what an export tells of raw rows with the network's own outputs, in the words and units of the table.

    Args:
        network: what was exported.
        columns: how rows become its inputs.
        what: how messages begin.
        run: computes the export.
        rows: real ones, beside random ones with gaps and unknown categories.

    Returns:
        The largest difference, relative to the largest value; numbers are compared as the network was trained on them.

    Raises:
        ExportError: what is told differs by more than is accepted, or the rows are none.
    """
    found = [0.0]
    for kind, table in _tables(columns, what, rows):
        inputs = columns.inputs(table)
        exact, rounded = (columns.told(predict(network, inputs, dtype)) for dtype in (np.float64, np.float32))
        got = run(table)
        for name, (shift, factor) in _units(columns, exact).items():
            where = f"{what}: {name[:64]!r} of {kind} rows"
            if exact[name].dtype == object:
                _same_words(where, name, exact, got[name])
            else:
                want, single, told = ((one[name].astype(np.float64) - shift) / factor for one in (exact, rounded, got))
                found.append(difference(where, want, lambda single=single: single, told))
    return max(found)


def told_names(columns: Preparation) -> list[str]:
    """What rows are told as, in the order of `predict`."""
    if isinstance(columns.target, NumberTarget):
        return [part.name for part in columns.target.parts]
    return [*columns.told(np.zeros((1, columns.outputs[0][0])))]


def _units(columns: Preparation, told: Told) -> dict[str, tuple[float, float]]:
    """What to take from values and divide them by before they are compared, by name."""
    units = dict.fromkeys(told, (0.0, 1.0))
    if isinstance(columns.target, NumberTarget):
        units |= {part.name: (part.shift, part.factor) for part in columns.target.parts}
    return units


def _same_words(where: str, name: str, exact: Told, got: AnyArray) -> None:
    """Whether classes are those of the network; where two are as likely, either."""
    for row, (word, wanted) in enumerate(zip(got.tolist(), exact[name].tolist(), strict=True)):
        share = exact.get(f"{name} = {word}")
        if share is None or share[row] < exact[f"{name} = {wanted}"][row] - TOLERANCE:
            raise ExportError(
                f"{where} expected {wanted[:40]!r}, got {str(word)[:40]!r}: nothing was written; please report it, and "
                "choose another format meanwhile"
            )


def _tables(columns: Preparation, what: str, rows: Any) -> Iterator[tuple[str, Table]]:
    rng = np.random.default_rng(0)
    for count in (*BATCHES, MOST):
        yield f"{count} random", Table("random", {each.name: _drawn(each, count, rng) for each in columns.columns})
    if rows is not None:
        try:
            table = raw_table(what, rows)
            for column in columns.columns:
                table[column.name]
        except DataError as error:
            raise ExportError(f"{what}: {error}") from error
        yield "given", table.rows(np.arange(min(MOST, len(table))))


def _drawn(column: Column, count: int, rng: np.random.Generator) -> Values:
    """Values such as trained, with some gaps and some that did not."""
    gaps = rng.random(count) < 0.2
    if not isinstance(column, CategoryColumn):
        return np.where(gaps, np.nan, rng.normal(column.mean, column.deviation, count))
    words = rng.choice(np.array([*column.values, "-1e9" if column.numeric else "another"], object), count)
    if column.numeric:
        return np.where(gaps, np.nan, words.astype(np.float64))
    words[gaps] = None
    return words
