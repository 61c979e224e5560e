"""Reading and writing whole files safely: bounded reads of regular files, writes that a crash cannot tear."""

import contextlib
import errno
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from nestgraph.errors import SnapshotError
from nestgraph.snapshot.machine import MACHINE

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PathLike = str | os.PathLike[str]
Buffer = bytes | memoryview
TEMPORARY = re.compile(r"\.nestgraph-[0-9a-f]{16}\.part")
"""The names of temporary files: no other file is ever taken for one. The first eight digits tell the machine."""

ATTEMPTS = 20
"""At a temporary file that nobody takes away before it is locked."""

NO_FOLLOW, NO_WAIT = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)

REMEDIES = {
    errno.ENOENT: "look at its name and its folder",
    errno.ENOTDIR: "look at its name and its folder",
    errno.EISDIR: "name a file",
    errno.ELOOP: "name the file itself",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EACCES: "ask its owner, or choose another",
    errno.EPERM: "ask its owner, or choose another",
    errno.EROFS: "choose another place",
    errno.ENOSPC: "make room, or choose another place",
    errno.EDQUOT: "make room, or choose another place",
    **dict.fromkeys(
        (errno.ESTALE, errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN),
        "look whether its disk or server is there, mount it again, and try again",
    ),
}
"""What helps against what the operating system refuses."""


@contextlib.contextmanager
def reported(path: PathLike, verb: str) -> Generator[None]:
    """Turn what the operating system refuses into a `SnapshotError` of one sentence.

    Raises:
        SnapshotError: the block raised an `OSError`, the path cannot be one (a NUL character), or the file is closed.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        raise SnapshotError(refusal(path, verb, error)) from error


def refusal(path: PathLike, verb: str, error: OSError | ValueError) -> str:
    """The sentence for what the operating system refuses to do with a path."""
    got = str(getattr(error, "strerror", None) or error).lower()
    remedy = REMEDIES.get(getattr(error, "errno", None) or 0, "")
    return f"{shown(path)}: cannot be {verb} (expected a usable file, got: {got}){remedy and ': '}{remedy}"


def shown(path: PathLike) -> str:
    """The path as text that stays on one line."""
    text = os.fspath(path)
    return text if text.isprintable() else ascii(text)


def write_atomically(path: PathLike, data: bytes | Iterable[Buffer]) -> None:
    """Make `path` hold `data`, whole or in parts: after a crash or an error it holds its old content or all of the new.

    A link of that name is replaced and never followed.

    Raises:
        SnapshotError: the file cannot be written, or is a pipe or device; no temporary file is left, and the old one is
            whole (or the new, where only its name could not be made durable).
    """
    target = Path(path)
    with reported(path, "written"):
        sweep(target.parent)
        check_replaceable(target)
        with _temporary(target.parent) as (temporary, file):
            written = _write_durably(file.fileno(), [data] if isinstance(data, bytes) else data)
            if fcntl is None:  # Windows renames no open file; elsewhere it stays locked until it has its name
                file.close()
            _rename(temporary, target, written)
        sync_folder(target.parent)


def check_replaceable(path: PathLike) -> None:
    """Refuse what a file must not take the place of: a folder, a pipe, a device.

    Raises:
        SnapshotError: the path is one of these.
        OSError: it cannot be looked at.
    """
    with contextlib.suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
            raise SnapshotError(
                f"{shown(path)}: cannot be written (expected a file or none, got {_kind(mode)}): choose another name"
            )


def check_plain(path: PathLike, lonely: bool = False) -> None:
    """Refuse a link, a folder, a pipe or a device where a file of ours belongs; a path without anything is fine.

    Args:
        path: of the file.
        lonely: refuse a file that has another name as well, which a change in place would change too.

    Raises:
        SnapshotError: it is one of these.
    """
    with reported(path, "used"), contextlib.suppress(FileNotFoundError):
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode):
            got = _kind(status.st_mode)
            raise SnapshotError(f"{shown(path)}: expected a plain file or none, got {got}: move it away")
        if lonely and status.st_nlink > 1:
            got = f"one with {status.st_nlink} names, which would all change"
            raise SnapshotError(f"{shown(path)}: expected a file of one name, got {got}: put a copy in its place")


def check_folder(path: PathLike) -> bool:
    """Whether there is a folder; refuse a link or anything else in its place.

    Raises:
        SnapshotError: there is something else.
    """
    with reported(path, "used"), contextlib.suppress(FileNotFoundError):
        mode = os.lstat(path).st_mode
        if not stat.S_ISDIR(mode):
            raise SnapshotError(f"{shown(path)}: expected a folder or nothing, got {_kind(mode)}: move it away")
        return True
    return False


def _kind(mode: int) -> str:
    kinds = {stat.S_ISLNK: "a link", stat.S_ISDIR: "a folder", stat.S_ISREG: "a file", stat.S_ISFIFO: "a pipe"}
    return next((words for test, words in kinds.items() if test(mode)), "a device or socket")


@contextlib.contextmanager
def _temporary(folder: Path) -> Generator[tuple[Path, BinaryIO]]:
    """A new file, open and locked where the file system can. It is gone at the end, unless it has another name by then.

    Raises:
        OSError: it cannot be made.
    """
    for attempt in range(ATTEMPTS):
        path = folder / f".nestgraph-{MACHINE}{secrets.token_hex(4)}.part"
        try:
            with open(path, "xb", buffering=0) as file:
                swept = try_lock(file.fileno()) == "theirs" or not has_name(file.fileno(), path)
                if swept and attempt < ATTEMPTS - 1:  # taken for a leftover before it was locked
                    continue
                yield path, file
                return
        finally:  # an interrupt leaves no temporary file either
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _write_durably(descriptor: int, parts: Iterable[Buffer]) -> os.stat_result:
    """Fill a new file, and wait until the disk has all of it; which file it is.

    Raises:
        OSError: the disk failed, or holds less than it was given.
    """
    size = 0
    for part in parts:
        rest = memoryview(part)
        size += rest.nbytes
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    os.fsync(descriptor)
    written = os.fstat(descriptor)
    if written.st_size != size:  # a disk that lies about what it took
        raise OSError(errno.EIO, f"wrote {size:,} bytes of which {written.st_size:,} are there")
    return written


def _rename(path: Path, target: Path, written: os.stat_result) -> None:
    """Give a file the name of another.

    A network file system that repeats a request whose answer was lost says that there is no such file any more, where
    it has its new name by then.

    Raises:
        OSError: it cannot be renamed.
    """
    try:
        os.replace(path, target)
    except FileNotFoundError:
        if not (os.path.lexists(target) and os.path.samestat(os.lstat(target), written)):
            raise


def has_name(descriptor: int, path: PathLike) -> bool:
    """Whether a path leads to an open file.

    Raises:
        OSError: the file system does not tell.
    """
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except (FileNotFoundError, NotADirectoryError):
        return False


def try_lock(descriptor: int) -> Literal["ours", "theirs", "none"]:
    """Lock an open file until its last holder closes it or dies; whose it is, or "none" without locks.

    Some network file systems keep locks to each machine, so "ours" may be another machine's, too.
    """
    if fcntl is None:
        return "none"
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return "theirs"
    except OSError:  # the file system has no locks
        return "none"
    return "ours"


def sweep(folder: PathLike, alone: bool = False) -> None:
    """Remove the temporary files of writers that were killed; those of living writers are locked, and stay.

    So do those of other machines, whose locks some network file systems do not show. How old a file is does not
    matter, as clocks differ. What cannot be looked at or removed stays as well: it does no harm.

    Args:
        folder: to look into.
        alone: nobody else can be writing, on whatever machine.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if TEMPORARY.fullmatch(entry.name)]:
            if alone or name.startswith(f".nestgraph-{MACHINE}"):
                _remove_leftover(os.path.join(folder, name), alone)


def _remove_leftover(path: str, alone: bool) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | NO_FOLLOW | NO_WAIT)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode) and (try_lock(descriptor) == "ours" or alone):
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
    flags = os.O_RDONLY | NO_WAIT | (NO_FOLLOW if lonely else 0)  # a pipe would wait for a writer
    file = open(path, "rb", buffering=0 if lonely else -1, opener=lambda name, _: os.open(name, flags))  # noqa: SIM115
    status = os.fstat(file.fileno())
    got = "a pipe or device" if not stat.S_ISREG(status.st_mode) else f"one with {status.st_nlink} names"
    if not stat.S_ISREG(status.st_mode) or (lonely and status.st_nlink > 1):  # 0: just replaced, and whole
        file.close()
        raise SnapshotError(f"{shown(path)}: cannot be read (expected a regular file, got {got}): name a file")
    return file


def open_growing(path: PathLike) -> BinaryIO:
    """Open a file to append to and to read back, made where it is missing. No link is followed.

    Raises:
        SnapshotError: it is no regular file of one name, so a line could end up elsewhere.
        OSError: it cannot be opened.
    """
    check_plain(path, lonely=True)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | NO_FOLLOW | NO_WAIT | getattr(os, "O_CLOEXEC", 0)
    file = open(path, "ab+", buffering=0, opener=lambda name, _: os.open(name, flags, 0o666))  # noqa: SIM115
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:  # exchanged since it was looked at
        file.close()
        raise SnapshotError(f"{shown(path)}: expected a plain file of one name, got another: move it away")
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


def sha256_of(path: PathLike) -> str:
    """The SHA-256 of the content of a regular file.

    Raises:
        SnapshotError: the file is missing, no regular file or cannot be read.
    """
    with reported(path, "read"), open_regular(path) as file:
        return hashlib.file_digest(cast(Any, file), "sha256").hexdigest()
