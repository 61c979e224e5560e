"""Where what belongs to a user lies on a machine: downloaded files, and what was measured there."""

import os
from pathlib import Path

from nestgraph.errors import DataError
from nestgraph.snapshot.disk import PathLike, shown


def expanded(folder: Path) -> Path:
    """A path whose `~` is a home folder.

    Raises:
        DataError: there is no such home.
    """
    try:
        return folder.expanduser()
    except RuntimeError:
        remedy = "write the path out, or set NESTGRAPH_DATA for what is downloaded"
        raise DataError(f"{shown(folder)}: expected a home folder for ~, got none: {remedy}") from None


def cache_folder(cache: PathLike | None = None) -> Path:
    """Return the folder of downloaded files: the argument, else `$NESTGRAPH_DATA`, else `~/.cache/nestgraph`.

    Raises:
        DataError: it is in a home that there is not.
    """
    return expanded(Path(cache or os.environ.get("NESTGRAPH_DATA") or "~/.cache/nestgraph"))


def costs_file() -> Path:
    """The file of what computing costs here: `$NESTGRAPH_COSTS`, else `costs.json` in the folder of downloaded files.

    Raises:
        DataError: it is in a home that there is not.
    """
    given = os.environ.get("NESTGRAPH_COSTS")
    return expanded(Path(given)) if given else cache_folder() / "costs.json"
