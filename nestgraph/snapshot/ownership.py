"""Whose a file is: what nestgraph did not write it writes over only when told.

Each kind of file has a mark near its beginning or end, which nobody else writes. A file with the mark of its kind, an
empty one, and one that holds already what is to be written may be replaced; a link, and any other file, only with
`overwrite`. A pipe or device is never replaced.
"""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from nestgraph.errors import SnapshotError
from nestgraph.snapshot.disk import PathLike, check_replaceable, open_regular, reported, shown, write_atomically

HEAD, TAIL = 4096, 1024
"""Bytes in which a mark stands."""


def write_own(path: PathLike, data: bytes, mark: bytes | None, overwrite: bool = False) -> None:
    """Write a file whole, unless another's is in its place.

    Args:
        path: of the file.
        data: its new content, which has the mark.
        mark: of its kind; None for a kind that has none.
        overwrite: replace another's file.

    Raises:
        SnapshotError: another's file is there, or it cannot be written.
    """
    check_own(path, mark, overwrite, data)
    write_atomically(path, data)


def write_all_own(files: Mapping[Path, tuple[bytes, bytes | None]], overwrite: bool = False) -> None:
    """Write several files, each content with its mark; none where another's is in the place of one.

    Raises:
        SnapshotError: it is, or a file cannot be written.
    """
    for path, (data, mark) in files.items():
        check_own(path, mark, overwrite, data)
    for path, (data, _) in files.items():
        write_atomically(path, data)


def check_own(path: PathLike, mark: bytes | None, overwrite: bool = False, data: bytes | None = None) -> None:
    """Refuse to write over a file that is not ours.

    Raises:
        SnapshotError: it is not, and it is not to be overwritten; or it is a folder, a pipe or a device.
    """
    with reported(path, "written"):
        check_replaceable(path)
        if overwrite or not os.path.lexists(path):
            return
        if stat.S_ISREG(os.lstat(path).st_mode) and _is_ours(path, mark, data):
            return
    got = "a link" if os.path.islink(path) else "a file that it did not write"
    remedy = "choose another name, or replace it with --overwrite (overwrite=True)"
    raise SnapshotError(f"{shown(path)}: expected no file or one of nestgraph's own of this kind, got {got}: {remedy}")


def _is_ours(path: PathLike, mark: bytes | None, data: bytes | None) -> bool:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return True
        if data is not None and size == len(data) and file.read(size) == data:
            return True
        file.seek(0)
        head = file.read(HEAD)
        file.seek(max(0, size - TAIL))
        return mark is not None and (mark in head or mark in file.read(TAIL))
