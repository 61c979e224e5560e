"""A lock on a folder, so that two processes do not write one run, on one machine or on several that share a disk.

Where the file system's locks reach all who see the folder, they decide. Some network file systems keep them to each
machine, or have none. So a writer also counts up in the lock's file every `BEAT` seconds, and who finds a file that
was left, by whom it cannot ask, watches it for `WATCH` seconds of its own clock: no two clocks are ever compared.
"""

import os
import secrets
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self, TypeVar

from nestgraph.errors import SnapshotError
from nestgraph.runs.lock_file import SIZE, Writer, content
from nestgraph.runs.run_files import LOCK
from nestgraph.snapshot.disk import NO_FOLLOW, NO_WAIT, check_plain, has_name, reported, shown, try_lock

Given = TypeVar("Given")

BEAT = 2.0
"""Seconds between two signs of life of a writer."""
WATCH = 30.0
"""Seconds without one after which a writer that cannot be asked for is taken for dead."""
SETTLE = 2.0
"""Seconds in which what one machine did to a folder shows on another, whose writer then sees that it came second."""
POLL = 0.2
"""Seconds between two looks."""


class HeldError(SnapshotError):
    """A folder that another writer holds."""


class LostError(SnapshotError):
    """A folder that was held and is no longer: removed, renamed, unmounted, or taken by another writer."""


def patiently(function: Callable[[], Given], seconds: float) -> Given:
    """What a function gives that takes a lock, tried again for some seconds while another writer has it.

    Raises:
        HeldError: that one had it all the time.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            return function()
        except HeldError:
            if time.monotonic() > until:
                raise
            time.sleep(POLL)


def check_held(folder: Path) -> None:
    """Hold a write back where this process took the lock of a folder and has it no more.

    Raises:
        LostError: so it is; whatever has the folder's name by now is not touched.
        SnapshotError: the file system does not tell.
    """
    for lock in [lock for lock in _LOCKS if lock.folder == folder and lock.held]:
        lock.check()


class Lock:
    """Holds a folder for one writer, until it is left or the process ends, however it does.

    The file stays only where a process was killed, and is then nobody's. Processes that are forked meanwhile, such as
    the workers of a loader, hold nothing, as they may outlive it. A context manager.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is locked yet.

        Args:
            folder: of the run; made if it is missing.
        """
        self.folder, self._path, self._descriptor = folder, folder / LOCK, -1
        self._writer, self._using, self._left = Writer(0), threading.Lock(), threading.Event()

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            HeldError: another writer has it.
            SnapshotError: a file that is no lock has its name, or the folder cannot be written.
        """
        self._writer, self._left = Writer.here(secrets.token_hex(8)), threading.Event()
        _LOCKS.add(self)
        try:
            with reported(self.folder, "written"):
                self.folder.mkdir(parents=True, exist_ok=True)
                check_plain(self._path, lonely=True)
                self._descriptor = self._taken()
        except BaseException:
            _LOCKS.discard(self)
            raise
        threading.Thread(target=self._live, args=(self._left,), name="nestgraph lock", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Let go, where this process holds it. A folder that is gone, or another writer's by now, is left alone."""
        if self.held:
            with suppress(OSError):
                if has_name(self._descriptor, self._path):
                    self._path.unlink(missing_ok=True)
            self.leave()

    @property
    def token(self) -> str:
        """Tells this taking of the lock from others."""
        return self._writer.token

    @property
    def held(self) -> bool:
        """Whether this process took it and did not leave it."""
        return self._descriptor >= 0

    def leave(self) -> None:
        """Hold it no longer in this process; the file stays, and so does the lock of a process that this one is of."""
        self._left.set()
        with self._using:
            descriptor, self._descriptor = self._descriptor, -1
        _LOCKS.discard(self)
        with suppress(OSError):
            os.close(descriptor)

    def forget(self) -> None:
        """Leave, in a process that was forked: its copy of an open file would keep the lock when the parent is gone."""
        self._using, self._left = threading.Lock(), threading.Event()  # a thread that there is none of may have had it
        self.leave()

    def check(self) -> None:
        """Whether the lock is still this process's.

        Raises:
            LostError: it is not.
            SnapshotError: the file system does not tell.
        """
        with reported(self.folder, "written"):
            if not has_name(self._descriptor, self._path):
                got = "another one" if os.path.lexists(self._path) else "none"
                raise LostError(
                    f"{shown(self.folder)}: expected the lock that this run took here, got {got}: the folder was "
                    "removed, renamed, unmounted or taken by another writer; nothing more was written: bring it back "
                    "and resume the run"
                )

    def _live(self, left: threading.Event) -> None:
        """Count up in the lock's file, until it is left. A disk that fails now is noticed when the run writes."""
        beat = 0
        while not left.wait(BEAT):
            beat += 1
            with self._using, suppress(OSError):
                if left.is_set():
                    return
                self._tell(self._descriptor, beat)

    def _tell(self, descriptor: int, beat: int = 0) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, self._writer.line(beat))  # on the disk at once, as the file is opened

    def _taken(self) -> int:
        """The open file of the lock.

        Raises:
            HeldError: another writer has it.
            OSError, SnapshotError: see `__enter__`.
        """
        doubtful = False
        while True:
            descriptor, made = _opened(self._path)
            ours = False
            try:
                state = try_lock(descriptor)
                if state == "theirs" and not made:
                    raise self._held(self._last())
                if not has_name(descriptor, self._path):  # its last holder removed it meanwhile
                    continue
                if state == "theirs":  # of one who came upon it before it was locked, and lets go when it is gone
                    os.unlink(self._path)
                    continue
                if not made:
                    doubtful |= self._left_behind(descriptor, state == "ours")
                    if has_name(descriptor, self._path):
                        os.unlink(self._path)
                    continue
                self._tell(descriptor)
                if doubtful:
                    time.sleep(SETTLE)
                ours = has_name(descriptor, self._path)
                if ours:
                    return descriptor
            finally:
                if not ours:
                    self._drop(descriptor, made)

    def _drop(self, descriptor: int, made: bool) -> None:
        """Close a file that is no lock of this process, and take away what it made."""
        with suppress(OSError):
            if made and has_name(descriptor, self._path):
                os.unlink(self._path)
        os.close(descriptor)

    def _left_behind(self, descriptor: int, locked: bool) -> bool:
        """Find out that whoever made a file of a lock is dead; whether another machine may come to that, too.

        Args:
            descriptor: of the file.
            locked: whether the system gave its lock to this process.

        Raises:
            HeldError: it lives.
            OSError, SnapshotError: see `__enter__`.
        """
        before = os.read(descriptor, SIZE)
        writer = Writer.read(before, self._path)
        dead = writer is not None and writer.died_here([lock.token for lock in _LOCKS])
        if not dead and not (locked and writer and not writer.host):  # what an earlier version left is the system's
            self._watch(descriptor, before, writer)
            return True
        return not locked

    def _watch(self, descriptor: int, before: bytes, writer: Writer | None) -> None:
        """Look for a sign of life. Who has just made the file writes down at once who it is.

        Raises:
            HeldError: there was one.
            OSError: the file system does not tell.
        """
        seconds = WATCH if writer else SETTLE
        if writer:
            told = f"{writer.words} left its lock here, and whether it lives cannot be asked"
            warnings.warn(f"{shown(self.folder)}: {told}: waiting {seconds:g} s for a sign of it", stacklevel=5)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(POLL)
            with suppress(FileNotFoundError):
                if not has_name(descriptor, self._path):
                    return
                if (now := content(self._path)) != before:
                    raise self._held(Writer.read(now, self._path))

    def _last(self) -> Writer | None:
        """Who the file names that another writer has locked; None where that cannot be read."""
        with suppress(OSError, SnapshotError):
            return Writer.read(content(self._path), self._path)
        return None

    def _held(self, writer: Writer | None) -> HeldError:
        got = writer.words if writer else "process unknown"
        remedy = "wait for it or end it"
        if writer and writer.host and writer.machine != self._writer.machine:
            remedy += f"; where that machine is gone for good, remove {shown(self._path)}"
        return HeldError(f"{shown(self.folder)}: expected no other writer here, got {got}: {remedy}")


_LOCKS: set[Lock] = set()
"""The locks of this process, and those that it is about to take."""


def _leave_to_parent() -> None:
    for lock in list(_LOCKS):
        lock.forget()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_leave_to_parent)


def _opened(path: Path) -> tuple[int, bool]:
    """The open file of a lock, and whether it was made here: of all who try, on whatever machine, one makes it."""
    flags = os.O_RDWR | NO_FOLLOW | NO_WAIT | getattr(os, "O_DSYNC", 0)
    while True:
        with suppress(FileExistsError):
            return os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644), True
        with suppress(FileNotFoundError):  # removed meanwhile
            return os.open(path, flags), False
