"""Opening a user's data files: regular ones only, with one sentence for whatever the system says."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nestgraph.errors import DataError, SnapshotError
from nestgraph.snapshot.disk import open_regular, refusal


@contextmanager
def opened(path: Path) -> Generator[BinaryIO]:
    """A file to read; a pipe or device, whose reading may never end, is refused.

    Raises:
        DataError: it cannot be opened or read.
    """
    try:
        file = open_regular(path)
    except SnapshotError as error:
        raise DataError(str(error)) from None
    except (OSError, ValueError) as error:  # of a path that cannot be one
        raise DataError(refusal(path, "read", error)) from None
    with file:
        try:
            yield file
        except OSError as error:
            raise DataError(refusal(path, "read", error)) from None
