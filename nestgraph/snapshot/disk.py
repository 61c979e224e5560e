"""Reading and writing whole files safely: bounded reads of regular files, writes that a crash cannot tear."""

import contextlib
import errno
import os
import secrets
import stat
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import BinaryIO

from nestgraph.errors import SnapshotError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PathLike = str | os.PathLike[str]
Buffer = bytes | memoryview
PREFIX, SUFFIX = ".nestgraph-", ".part"
"""What the names of temporary files begin and end with."""

GRACE = 1.0
"""Seconds between making a temporary file and locking it, at most: a younger one is not taken for a leftover."""

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)


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


def write_atomically(path: PathLike, data: bytes | Iterable[Buffer]) -> None:
    """Make `path` hold `data`, whole or in parts: after a crash or an error it holds its old content or all of the new.

    Raises:
        SnapshotError: the file cannot be written; no temporary file is left, and the old one is whole (or the new,
            where only its name could not be made durable).
    """
    target = Path(path)
    with reported(path, "written"):
        sweep(target.parent)
        temporary = target.parent / f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}"
        try:
            _write_durably(temporary, [data] if isinstance(data, bytes) else data)
            os.replace(temporary, target)
        except BaseException:  # an interrupt leaves no temporary file either
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        sync_folder(target.parent)


def _write_durably(path: Path, parts: Iterable[Buffer]) -> None:
    """Write a new file, and wait until the disk has all of it.

    Raises:
        OSError: the disk failed, or holds less than it was given.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o666)
    try:
        _lock(descriptor)
        size = 0
        for part in parts:
            rest = memoryview(part)
            size += rest.nbytes
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
        if os.fstat(descriptor).st_size != size:  # a disk that lies about what it took
            raise OSError(errno.EIO, f"wrote {size:,} bytes of which {os.fstat(descriptor).st_size:,} are there")
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Mark a temporary file as being written, until its writer closes it or dies; whether nobody else does."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # also where the file system has no locks
        return False
    return True


def sweep(folder: PathLike) -> None:
    """Remove the temporary files of writers that were killed; those of living writers are locked, and stay.

    What cannot be looked at or removed stays as well: it does no harm.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for name in [e.name for e in entries if e.name.startswith(PREFIX) and e.name.endswith(SUFFIX)]:
            _remove_leftover(os.path.join(folder, name))


def _remove_leftover(path: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | NO_FOLLOW)
        try:
            old = time.time() - os.fstat(descriptor).st_mtime > GRACE
            if old and _lock(descriptor):
                os.unlink(path)
        finally:
            os.close(descriptor)


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


def open_regular(path: PathLike, lonely: bool = False) -> BinaryIO:
    """Open a regular file for reading; a pipe or device, whose reading may never end, is refused.

    Args:
        path: of the file.
        lonely: refuse symbolic links, and files that have another name as well.

    Raises:
        SnapshotError: the path is no such file.
        OSError: it cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | (NO_FOLLOW if lonely else 0)  # a pipe would wait for a writer
    file = open(path, "rb", buffering=0 if lonely else -1, opener=lambda name, _: os.open(name, flags))  # noqa: SIM115
    status = os.fstat(file.fileno())
    got = "a pipe or device" if not stat.S_ISREG(status.st_mode) else f"one with {status.st_nlink} names"
    if not stat.S_ISREG(status.st_mode) or (lonely and status.st_nlink > 1):  # 0: just replaced, and whole
        file.close()
        raise SnapshotError(f"{shown(path)}: cannot be read (expected a regular file, got {got})")
    return file


def read_bounded(path: PathLike, max_bytes: int) -> bytes:
    """The content of a regular file of at most `max_bytes`.

    Raises:
        SnapshotError: the file is missing, larger, no regular file or cannot be read.
    """
    with reported(path, "read"), open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        check_size(path, size, max_bytes)
        return file.read(size)  # not what it grew meanwhile; a bound that is larger than memory would be refused


def check_size(path: PathLike, size: int, most: int, limit: str = "document_bytes") -> None:
    """Refuse a file that is too large before it is read.

    Raises:
        SnapshotError: it is larger than `most`, which is the field `limit` of `Limits`.
    """
    if size > most:
        problem = f"too large (expected at most {most:,} bytes, got {size:,})"
        raise SnapshotError(f"{shown(path)}: {problem}: pass limits with a larger {limit} if you trust it")
