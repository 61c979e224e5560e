"""Reading and writing whole files safely: bounded reads of regular files, writes that a crash cannot tear."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

from nestgraph.errors import SnapshotError

PathLike = str | os.PathLike[str]


@contextlib.contextmanager
def reported(path: PathLike, verb: str) -> Generator[None]:
    """Turn what the operating system refuses into a `SnapshotError` of one sentence.

    Raises:
        SnapshotError: the block raised an `OSError`, the path cannot be one (a NUL character), or the file is closed.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        got = str(getattr(error, "strerror", None) or error).lower()
        raise SnapshotError(f"{shown(path)}: cannot be {verb} (expected a usable file, got: {got})") from error


def shown(path: PathLike) -> str:
    """The path as text that stays on one line."""
    text = os.fspath(path)
    return text if text.isprintable() else ascii(text)


def write_atomically(path: PathLike, data: bytes) -> None:
    """Make `path` hold `data`: after a crash or an error it holds either its old content or all of the new.

    Raises:
        SnapshotError: the file cannot be written; no temporary file is left, and the old one is whole (or the new,
            where only its name could not be made durable).
    """
    target = Path(path)
    temporary = target.parent / f".nestgraph-{secrets.token_hex(8)}.part"
    with reported(path, "written"):
        try:
            with open(temporary, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:  # an interrupt leaves no temporary file either
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)


def sync_folder(folder: PathLike) -> None:
    """Make the names in `folder` durable, where the file system can do that for folders.

    Raises:
        OSError: the disk failed.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):  # some network file systems
            raise
    finally:
        os.close(descriptor)


def open_regular(path: PathLike) -> BinaryIO:
    """Open a regular file for reading; a pipe or device, whose reading may never end, is refused.

    Raises:
        SnapshotError: the path is no regular file.
        OSError: it cannot be opened.
    """
    file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115  (the caller closes it)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise SnapshotError(f"{shown(path)}: cannot be read (expected a regular file, got a pipe or device)")
    return file


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # opening a pipe would wait for its writer


def read_bounded(path: PathLike, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes`.

    Raises:
        SnapshotError: the file is missing, larger, no regular file or cannot be read.
    """
    with reported(path, "read"), open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = b"" if size > max_bytes else file.read(max_bytes + 1)  # it may grow meanwhile
    if max(size, len(data)) > max_bytes:
        limit = f"expected at most {max_bytes:,} bytes, got {max(size, len(data)):,}"
        raise SnapshotError(f"{shown(path)}: too large ({limit}): pass a larger max_bytes if you trust it")
    return data
