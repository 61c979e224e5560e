"""Frames of pandas, polars and Arrow as tables, and Parquet files, all through narwhals."""

from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np

from nestgraph.data.files import opened
from nestgraph.data.tables.table import Table, Values
from nestgraph.errors import DataError
from nestgraph.snapshot.disk import shown
from nestgraph.spec.wording import foreign, quoted

LIBRARIES = ("pandas", "polars", "pyarrow", "narwhals")
READERS = {"pyarrow": "pyarrow.parquet", "polars": "polars", "pandas": "pandas"}
"""Libraries that read Parquet, in the order of choice."""


def is_frame(data: object) -> bool:
    """Whether an object is a frame of a library that narwhals knows. Nothing is imported for one that is none."""
    library = type(data).__module__.split(".")[0]
    return (
        library in ("pandas", "polars", "pyarrow", "narwhals") and hasattr(data, "columns") and hasattr(data, "shape")
    )


def read_parquet(path: Path) -> Table:
    """The table in a Parquet file.

    Raises:
        DataError: it cannot be read, or no library is there that reads it.
    """
    library = next((name for name in READERS if find_spec(name)), None)
    if library in (None, "pandas"):  # pandas reads it by pyarrow
        missing("pyarrow or polars", "read Parquet files", "pyarrow")
    module = cast(Any, import_module(READERS[cast(str, library)]))
    with opened(path) as file:
        try:
            frame = module.read_table(file) if library == "pyarrow" else module.read_parquet(file)
        except Exception as error:  # whatever the library says of a damaged file
            raise DataError(f"{shown(path)}: expected a Parquet file, got: {foreign(error)}: is it cut?") from None
    return table_of(frame, shown(path))


def missing(library: str, purpose: str, extra: str) -> None:
    """Say which extra is missing.

    Raises:
        DataError: always.
    """
    raise DataError(f"expected {library} to {purpose}, got none: pip install 'nestgraph[{extra}]'")


def table_of(frame: Any, name: str = "table") -> Table:
    """A frame as a table.

    Args:
        frame: of pandas, polars or Arrow, whole in memory.
        name: what messages call it.

    Raises:
        DataError: narwhals is missing, two columns have one name, or one holds what is neither number nor word.
    """
    if find_spec("narwhals") is None:
        missing("narwhals", "read frames", "pandas")
    narwhals = cast(Any, import_module("narwhals"))
    try:
        held = narwhals.from_native(frame, eager_only=True)
    except Exception as error:  # of several kinds
        remedy = "collect a lazy frame, give each column a name of its own"
        raise DataError(f"{name}: expected a frame that lies in memory, got {foreign(error)}: {remedy}") from None
    columns = zip(map(str, held.columns), held.iter_columns(), strict=True)  # names of pandas need not be texts
    return Table(name, {column: _values(name, column, series, narwhals) for column, series in columns})


def _values(table: str, name: str, series: Any, narwhals: Any) -> Values:
    kind = series.dtype
    if kind.is_numeric() or kind == narwhals.Boolean:
        return np.array([np.nan if _is_gap(one) else one for one in series.to_list()], np.float64)
    if kind == narwhals.Duration:
        return np.array([np.nan if _is_gap(one) else one.total_seconds() for one in series.to_list()], np.float64)
    if kind.is_temporal() or kind in (narwhals.String, narwhals.Categorical, narwhals.Enum):
        return _words([None if _is_gap(one) else str(one) for one in series.to_list()])
    if kind == narwhals.Object or series.null_count() == len(series):
        return _of_objects(table, name, series.to_list())
    remedy = "spread it over several columns, or leave it out"
    got = series.to_native().dtype if kind == narwhals.Unknown else kind
    raise DataError(f"{table}: column {name!r}: expected numbers or words, got {str(got)[:60]}: {remedy}")


def _of_objects(table: str, name: str, given: list[Any]) -> Values:
    """A column of Python objects: numbers if all are, words if all are words or numbers."""
    held = [one for one in given if not _is_gap(one)]
    if all(isinstance(one, int | float | np.number | Decimal) for one in held):
        return np.array([np.nan if _is_gap(one) else float(one) for one in given], np.float64)
    strange = next((one for one in held if not isinstance(one, str | int | float | np.generic)), None)
    if strange is not None and not hasattr(strange, "isoformat"):
        expected = "numbers or words, got"
        raise DataError(
            f"{table}: column {name!r}: expected {expected} {quoted(strange)}: leave it out, or name what it is"
        )
    return _words([None if _is_gap(one) else str(one) for one in given])


def _is_gap(one: Any) -> bool:
    return one is None or type(one).__name__ in ("NAType", "NaTType") or (isinstance(one, float) and one != one)


def _words(values: list[str | None]) -> Values:
    found = np.empty(len(values), object)
    found[:] = values
    return found
