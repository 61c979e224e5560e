"""What networks say of rows of tables, in the words and units of the table. Nothing here needs torch."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nestgraph.data.tables.frames import is_frame, table_of
from nestgraph.data.tables.options import read_table
from nestgraph.data.tables.preparation import Preparation
from nestgraph.data.tables.table import Table, listed
from nestgraph.errors import DataError
from nestgraph.graph.network import Network
from nestgraph.graph.reference import forward
from nestgraph.runs.columns import columns_of, read_columns
from nestgraph.snapshot import load
from nestgraph.snapshot.disk import PathLike
from nestgraph.spec.arguments import checked
from nestgraph.spec.wording import quoted

ROWS = 4096
"""That are told at a time."""


@checked(DataError)
def predict(network: Network | PathLike, rows: Any, columns: Preparation | PathLike | None = None) -> dict[str, Any]:
    """What a network says of the rows of a table, by the reference's arithmetic.

    Args:
        network: itself, or its file.
        rows: a CSV or Parquet file, or a frame of pandas, polars or Arrow, with the columns that the network was
            trained on; further ones are passed over.
        columns: how rows become its inputs: columns.json of its run, or what that holds; by default what lies beside
            the network's file.

    Returns:
        A column of each target, (rows,): classes in their words, numbers in their unit, and how likely each class or
        label is. Categories that were not there in training are none of those that were; a warning names them.

    Raises:
        DataError: a column is missing or holds something else, or the network does not fit the columns.
        SnapshotError: a file cannot be read.
    """
    held = network if isinstance(network, Network) else load(network)
    if isinstance(columns, Preparation):
        preparation = columns
    elif columns is not None:
        preparation = read_columns(columns)
    elif isinstance(network, Network):
        raise DataError("predict expected columns (columns.json of the run) beside a network that is no file, got none")
    else:
        preparation = columns_of(network)
    table = raw_table("predict", rows)
    check_fit("predict", held, preparation)
    for column, strange in preparation.unseen(table).items():
        warnings.warn(f"{table.name}: column {column!r} has {listed(strange)}, unseen in training", stacklevel=3)
    inputs = preparation.inputs(table)
    if not np.isfinite(inputs).all():
        raise DataError(f"{table.name}: expected numbers as large as those that trained, got one beyond float32")
    parts = [_outputs(held, inputs[first : first + ROWS]) for first in range(0, len(inputs), ROWS)]
    return preparation.told(*(np.concatenate(each) for each in zip(*parts, strict=True)))


def check_fit(who: str, network: Network, columns: Preparation) -> None:
    """Whether a network reads what columns become, and gives what they tell.

    Raises:
        DataError: it does not.
    """
    wanted = columns.outputs
    if len(network.inputs) != 1 or len(network.outputs) != len(wanted):
        outputs = "one output" if len(wanted) == 1 else f"{len(wanted)} outputs"
        raise DataError(f"{who} expected a network with one input and {outputs}, got {network!r}")
    reads, count = network.layer(network.input_names[0]).features, len(columns.features)
    if reads != count:
        raise DataError(f"{who} expected a network that reads {count} numbers a row, got one of {reads}")
    for port, counts in zip(network.outputs, wanted, strict=True):
        if (gives := len(network.units(port.layer))) not in counts:
            words, at = " or ".join(map(str, counts)), f" in {port.layer!r}" if len(wanted) > 1 else ""
            raise DataError(f"{who} expected a network that gives {words} numbers a row{at}, got one of {gives}")


def _outputs(network: Network, inputs: NDArray[np.float32]) -> list[NDArray[Any]]:
    """Of each output of the network."""
    found = forward(network, inputs.astype(np.float64))
    return [found[port.layer] for port in network.outputs]


def raw_table(who: str, rows: Any) -> Table:
    """The rows of a file, a frame or a table.

    Raises:
        DataError: they are none, or the file cannot be read.
    """
    if isinstance(rows, Table):
        return rows
    if isinstance(rows, str | Path):
        return read_table(rows)
    if is_frame(rows):
        return table_of(rows)
    raise DataError(f"{who} expected a file of a table, or a frame, got {quoted(rows)}")
