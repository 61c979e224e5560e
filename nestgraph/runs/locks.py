"""A lock on a folder, so that two processes do not write one run."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from nestgraph.errors import SnapshotError
from nestgraph.runs.run_files import LOCK
from nestgraph.snapshot.disk import NO_FOLLOW, NO_WAIT, check_plain, reported, shown

Given = TypeVar("Given")


class HeldError(SnapshotError):
    """A folder that another writer holds."""


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
            time.sleep(0.2)


class Lock:
    """Holds a folder for one writer. The system lets go of it when the process ends, however it does.

    The file stays only where a process was killed, and is then nobody's. Processes that are forked meanwhile, such as
    the workers of a loader, hold nothing, as they may outlive it. Windows has no such locks: there it is a file that
    says who writes. A context manager.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing is locked yet.

        Args:
            folder: of the run; made if it is missing.
        """
        self._folder, self._path, self._descriptor = folder, folder / LOCK, -1

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            HeldError: another writer has it.
            SnapshotError: a file that is no lock has its name, or the folder cannot be written.
        """
        with reported(self._folder, "written"):
            self._folder.mkdir(parents=True, exist_ok=True)
            check_plain(self._path, lonely=True)
            while self._descriptor < 0:
                self._descriptor = self._taken()
            os.ftruncate(self._descriptor, 0)
            os.lseek(self._descriptor, 0, os.SEEK_SET)
            os.write(self._descriptor, str(os.getpid()).encode())
        _HELD.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        """Let go, where this process holds it."""
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)
            self.leave()

    def leave(self) -> None:
        """Hold it no longer in this process; the file stays, and so does the lock of a process that this one is of."""
        os.close(self._descriptor)
        self._descriptor = -1
        _HELD.discard(self)

    def _taken(self) -> int:
        """The open and locked file; -1 if its last holder removed it meanwhile."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | NO_FOLLOW | NO_WAIT, 0o644)
        try:
            _lock(descriptor)
        except BlockingIOError:
            writer = os.read(descriptor, 20).decode("ascii", "replace")
            os.close(descriptor)
            raise HeldError(
                f"{shown(self._folder)}: expected no other writer here, got process {writer or 'unknown'}: "
                "wait for it or end it"
            ) from None
        if _same(descriptor, self._path):
            if os.read(descriptor, 21).strip(b"0123456789"):
                os.close(descriptor)
                raise SnapshotError(f"{shown(self._path)}: expected a lock of ours, got another file: move it away")
            return descriptor
        os.close(descriptor)
        return -1


_HELD: set[Lock] = set()
"""The locks of this process."""


def _leave_to_parent() -> None:
    """In a process that was forked: its copies of open files would keep the locks when the parent is gone."""
    for lock in list(_HELD):
        lock.leave()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_leave_to_parent)


def _same(descriptor: int, path: Path) -> bool:
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":

    def _lock(descriptor: int) -> None:
        """Windows: no lock."""

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        """Take the lock of an open file.

        Raises:
            BlockingIOError: another process has it.
        """
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
