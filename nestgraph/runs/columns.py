"""columns.json: what a run did to the rows of its table, beside the networks that read them."""

from pathlib import Path

from nestgraph.data.tables.preparation import PREPARATION, Preparation
from nestgraph.errors import DataError, SnapshotError
from nestgraph.runs.run_files import COLUMNS
from nestgraph.snapshot import MAX_BYTES, read_bounded, read_record, write_atomically
from nestgraph.snapshot.disk import PathLike, shown
from nestgraph.spec.arguments import checked


def columns_text(preparation: Preparation) -> bytes:
    """What columns.json holds."""
    return preparation.model_dump_json(indent=2).encode() + b"\n"


@checked(SnapshotError)
def save_columns(preparation: Preparation, path: PathLike) -> None:
    """Write what is done to the rows of a table, for a network that is kept somewhere else.

    Args:
        preparation: of a run.
        path: `NET.columns.json` beside `NET.json` is found by `predict`.

    Raises:
        SnapshotError: it cannot be written.
    """
    write_atomically(path, columns_text(preparation))


@checked(SnapshotError)
def read_columns(path: PathLike) -> Preparation:
    """What is done to the rows of a table.

    Args:
        path: of a columns.json, or of the folder of a run.

    Raises:
        SnapshotError: it cannot be read.
    """
    place = Path(path)
    place = place / COLUMNS if place.is_dir() else place
    return read_record(PREPARATION, read_bounded(place, MAX_BYTES), shown(place))


def columns_beside(snapshot: PathLike) -> Preparation | None:
    """What goes with a network in a file: `NET.columns.json` beside `NET.json`, else columns.json in its folder.

    Raises:
        SnapshotError: it cannot be read.
    """
    found = next((place for place in _places(Path(snapshot)) if place.is_file()), None)
    return None if found is None else read_columns(found)


def columns_of(snapshot: PathLike) -> Preparation:
    """What `columns_beside` finds.

    Raises:
        DataError: there is nothing.
        SnapshotError: it cannot be read.
    """
    found = columns_beside(snapshot)
    if found is None:
        names = " or ".join(place.name for place in _places(Path(snapshot)))
        expected = f"{names} beside it, which say how rows become its inputs"
        remedy = "name the file that its run wrote, or give arrays of inputs"
        raise DataError(f"{shown(snapshot)}: expected {expected}, got neither: {remedy}")
    return found


def _places(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.stem}.columns.json"), path.with_name(COLUMNS)
