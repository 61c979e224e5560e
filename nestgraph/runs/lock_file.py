"""What stands in the file of a lock: who writes, on which machine, and a count that shows that it lives."""

import os
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from nestgraph.errors import SnapshotError
from nestgraph.snapshot.disk import NO_FOLLOW, NO_WAIT, shown
from nestgraph.snapshot.machine import MACHINE, host

SIZE = 400
"""Bytes of a lock's file, at most."""

LINE = re.compile(rb"([0-9]{1,20})(?: ([A-Za-z0-9._-]{1,64}) ([0-9a-f]{8}) ([0-9a-f]{16}) [0-9]{19}\n)?")


@dataclass(frozen=True)
class Writer:
    """Who has a lock, or had it.

    Attributes:
        process: its number.
        host: the name of its machine; empty where an earlier version wrote it down.
        machine: what tells that machine from others.
        token: of this taking of the lock.
    """

    process: int
    host: str = ""
    machine: str = ""
    token: str = ""

    @classmethod
    def here(cls, token: str) -> "Writer":
        """This process."""
        return cls(os.getpid(), host(), MACHINE, token)

    @classmethod
    def read(cls, line: bytes, path: Path) -> "Writer | None":
        """Who a file names; None where it is empty.

        Raises:
            SnapshotError: it is no file of a lock.
        """
        if not line:
            return None
        if not (found := LINE.fullmatch(line)):
            raise SnapshotError(f"{shown(path)}: expected a lock of ours, got another file: move it away")
        return cls(int(found[1]), *(part.decode() for part in found.groups(b"")[1:]))

    def line(self, beat: int) -> bytes:
        """What it writes, of one length whatever the count of its signs of life."""
        return f"{self.process} {self.host} {self.machine} {self.token} {beat:019d}\n".encode()

    def died_here(self, living: Collection[str]) -> bool:
        """Whether it was a process of this machine that has ended; False where that is not known.

        Args:
            living: tokens of this process, whose number a dead one may have had before.
        """
        if self.machine != MACHINE or sys.platform == "win32":  # where asking for a process ends it
            return False
        if self.process == os.getpid():
            return self.token not in living
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except OSError:  # someone else's
            return False
        return False

    @property
    def words(self) -> str:
        """Who it is, for a sentence."""
        return f"process {self.process}" + (f" on {self.host}" if self.host else "")


def content(path: Path) -> bytes:
    """What the file of a lock holds now, opened anew, so that a network file system asks its server.

    Raises:
        OSError: it cannot be read; a `FileNotFoundError` where there is none.
    """
    descriptor = os.open(path, os.O_RDONLY | NO_FOLLOW | NO_WAIT)
    try:
        return os.read(descriptor, SIZE)
    finally:
        os.close(descriptor)
