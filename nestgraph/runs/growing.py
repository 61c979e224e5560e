"""Files that grow with a run, a line at a time: known up to a point by their checksum, and checked before a cut."""

import hashlib
import io
import os
import warnings
import zlib
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

from pydantic import NonNegativeInt, StringConstraints

from nestgraph.errors import SnapshotError
from nestgraph.snapshot import MAX_BYTES, is_torn
from nestgraph.snapshot.disk import open_growing, open_regular, reported, shown
from nestgraph.snapshot.document import Digest
from nestgraph.spec.record import Record

CHUNK = 2**20
DIGITS = 8
"""Of the checksum of a line."""

ReadLine = Callable[[bytes, int], object]
"""Reads a line, which has that number from 1, or refuses it with a SnapshotError."""


class Part(Record):
    """The beginning of a file.

    Attributes:
        bytes: so many.
        sha256: of them.
        lines: the CRC-32 of each line, in eight digits, to tell which was altered; none where that was not kept.
    """

    bytes: NonNegativeInt = 0
    sha256: Digest = hashlib.sha256().hexdigest()
    lines: Annotated[str, StringConstraints(pattern=rf"^([0-9a-f]{{{DIGITS}}})*$")] = ""


class GrowingFile:
    """One file that a run appends lines to."""

    def __init__(self, path: Path, read: ReadLine, start: bytes) -> None:
        """Nothing is read or written yet.

        Args:
            path: of the file.
            read: reads a line.
            start: what each line begins with.
        """
        self.path, self._read, self._start = path, read, start
        self._hash, self._length = hashlib.sha256(), 0
        self._lines, self._line = list[str](), 0

    def append(self, line: str, durable: bool = True) -> None:
        """Write one line.

        Raises:
            SnapshotError: it cannot be written, or the file is a link, or no file.
        """
        with reported(self.path, "written"), open_growing(self.path) as file:
            rest = memoryview(line.encode() + b"\n")
            while rest:
                rest = rest[file.write(rest) :]
            if durable:
                os.fsync(file.fileno())

    def part(self) -> Part:
        """All that was written so far.

        Raises:
            SnapshotError: it cannot be read, or was cut meanwhile.
        """
        with reported(self.path, "read"):
            if os.path.lexists(self.path) or self._length:
                with open_regular(self.path, lonely=True) as file:
                    self._absorb(file, os.fstat(file.fileno()).st_size)
        return Part(bytes=self._length, sha256=self._hash.hexdigest(), lines="".join(self._lines))

    def check(self, kept: Part) -> None:
        """Whether the file is what it was up to a point, and has lines of a run after it. Nothing is written.

        Raises:
            SnapshotError: it was cut or altered, or has something else; the message names the line.
        """
        with reported(self.path, "read"):
            if not os.path.lexists(self.path):
                self._refuse_cut(0, kept)
                return
            with io.BufferedReader(open_regular(self.path, lonely=True)) as file:  # type: ignore[arg-type]
                size = os.fstat(file.fileno()).st_size
                self._absorb(file, min(size, kept.bytes))
                self._refuse_cut(size, kept)
                if self._hash.hexdigest() != kept.sha256:
                    file.seek(0)
                    self._read_lines(file, 1)
                    problem = "expected what the run had written when it was last kept, got something else"
                    raise SnapshotError(f"{shown(self.path)}{self._altered(kept)}: {problem}: bring the file back")
                self._read_lines(file, len(self._lines) + 1)

    def kept_lines(self, kept: Part) -> Iterator[object]:
        """Read the lines that were there at a point.

        Raises:
            SnapshotError: one is damaged, or the file was cut.
        """
        if not kept.bytes:
            return
        with reported(self.path, "read"), io.BufferedReader(open_regular(self.path, lonely=True)) as file:  # type: ignore[arg-type]
            number = 0
            while file.tell() < kept.bytes and (line := file.readline(MAX_BYTES + 1)):
                number += 1
                yield self._read(line, number)
            if file.tell() != kept.bytes:
                self._refuse_cut(file.tell(), kept)

    def cut(self, kept: Part) -> None:
        """Drop what was written after a point, to be written again."""
        if not os.path.lexists(self.path):
            return
        with reported(self.path, "written"), open_growing(self.path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > kept.bytes:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    torn = "dropped the last line, which was cut short while written"
                    warnings.warn(f"{shown(self.path)}: {torn}", stacklevel=2)
                file.truncate(kept.bytes)
                os.fsync(file.fileno())

    def _refuse_cut(self, size: int, kept: Part) -> None:
        if size < kept.bytes:
            got = f"expected at least {kept.bytes} bytes, which were there when the run was last kept, got {size}"
            place = f"{shown(self.path)}{self._altered(kept)}"
            raise SnapshotError(f"{place}: {got}: the file was cut, so the run cannot go on: bring it back")

    def _altered(self, kept: Part) -> str:
        """Which line is the first that is not what it was, as far as that is known."""
        before = [kept.lines[place : place + DIGITS] for place in range(0, len(kept.lines), DIGITS)]
        pairs = enumerate(zip_longest(before, self._lines), 1)
        number = next((number for number, (old, new) in pairs if old != new), None) if before else None
        return f": line {number}" if number else ""

    def _absorb(self, file: Any, end: int) -> None:
        """Take bytes into the checksum, from where it stands up to `end`."""
        file.seek(self._length)
        while self._length < end:
            chunk = file.read(min(CHUNK, end - self._length))
            if not chunk:
                raise SnapshotError(
                    f"{shown(self.path)}: expected {end} bytes, got {self._length}: it was cut meanwhile"
                )
            self._hash.update(chunk)
            self._length += len(chunk)
            *ended, begun = chunk.split(b"\n")
            for line in ended:
                self._lines.append(f"{zlib.crc32(line, self._line):0{DIGITS}x}")
                self._line = 0
            self._line = zlib.crc32(begun, self._line)

    def _read_lines(self, file: io.BufferedReader, number: int) -> None:
        """Read the lines that are left, numbered from `number`. A torn one at the end never counted."""
        while line := file.readline(MAX_BYTES + 1):
            if not line.endswith(b"\n") and len(line) <= MAX_BYTES and is_torn(line, self._start):
                break
            self._read(line, number)
            number += 1
