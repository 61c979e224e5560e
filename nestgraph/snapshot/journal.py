"""The log of edits: JSON lines with sequence numbers and checksums, and the way from a log back to a network.

A line is complete once its newline is on the disk. A last line that was cut short never counted: it is dropped with a
warning. Anything else that does not fit is damage, and an error. All lines of a journal are of one version.
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from nestgraph.edits import AnyEdit, Editor
from nestgraph.errors import NestgraphError, RecordError, SnapshotError
from nestgraph.graph.network import Network
from nestgraph.snapshot.disk import (
    PathLike,
    check_plain,
    check_size,
    open_growing,
    open_regular,
    reported,
    shown,
    sync_folder,
)
from nestgraph.snapshot.journal_entry import (
    START,
    VERSION,
    Action,
    JournalEntry,
    JournalStep,
    Proposal,
    read_entry,
    version_of,
)
from nestgraph.snapshot.limits import LIMITS, Limits
from nestgraph.snapshot.outcomes import Outcome
from nestgraph.snapshot.past_journal import read_past_entry
from nestgraph.snapshot.strict_json import check_json
from nestgraph.spec.arguments import checked
from nestgraph.spec.wording import quoted


class JournalWriter:
    """Appends entries to a journal, each on the disk before `append` returns.

    A journal that exists is read and continued; a torn last line is cut off. Links are not followed. A context manager.
    """

    def __init__(self, path: PathLike, limits: Limits = LIMITS) -> None:
        """Open or make the journal.

        Args:
            path: the journal.
            limits: of the lines to accept and to write.

        Raises:
            SnapshotError: the journal is damaged, or cannot be read or written.
        """
        self._path, self._limits = Path(path), limits
        with reported(path, "written"):
            check_plain(path, lonely=True)
            lines, whole = self._present() if os.path.lexists(path) else (0, 0)
            self._next = lines + 1
            self._file = open_growing(path)  # closed by close
            self._file.truncate(whole)
            os.fsync(self._file.fileno())
            sync_folder(self._path.parent)

    def _present(self) -> tuple[int, int]:
        """How many entries there are, and how many bytes they take."""
        lines = whole = 0
        for entry, size in _scan(self._path, self._limits, depth=5):
            if entry.version != VERSION:
                got = f"expected a journal of version {VERSION}, got one of version {entry.version}"
                raise SnapshotError(f"{shown(self._path)}: {got}: it can be read, and another one begun")
            lines, whole = lines + 1, whole + size
        return lines, whole

    @property
    def next_sequence(self) -> int:
        """The sequence number of the next entry."""
        return self._next

    def append(
        self,
        action: Action,
        digest: str,
        edit: AnyEdit | None = None,
        phase: str = "",
        note: str = "",
        step: int | None = None,
        proposals: Iterable[Proposal] = (),
        outcome: Outcome | None = None,
    ) -> JournalEntry:
        """Write one step down.

        Args:
            action: what was done.
            digest: of the network after it.
            edit: the edit, for `apply` only.
            phase: the phase of the run.
            note: why.
            step: of a run, the row of its metrics that comes next.
            proposals: one of each policy that was asked, for `propose` only.
            outcome: what came of an action of a run, for `outcome` only.

        Raises:
            SnapshotError: the step does not fit, or cannot be written; then the writer is closed, and a new one on
                the same path continues after the last whole entry.
        """
        where = f"{shown(self._path)}: step {self._next}"
        try:
            said = JournalStep(
                sequence=self._next,
                action=action,
                step=step,
                phase=phase,
                note=note,
                edit=edit,
                proposals=tuple(proposals),
                outcome=outcome,
                digest=digest,
            )
            entry = JournalEntry.of(said)
            line = entry.model_dump_json().encode() + b"\n"
            check_json(line, self._limits)  # nothing is written that would be refused
        except RecordError as error:
            raise SnapshotError(f"{where}: {error.problem}") from error
        except ValueError as error:
            raise SnapshotError(f"{where}: {error}") from error
        with reported(self._path, "written"):
            self._write(line)
        self._next += 1
        return entry

    def _write(self, line: bytes) -> None:
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except BaseException:  # another line must not be glued to half a one
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file.

        Raises:
            SnapshotError: the disk failed; every line that was appended had been on it before.
        """
        with reported(self._path, "written"):
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@checked(SnapshotError)
def read_journal(path: PathLike, limits: Limits = LIMITS) -> list[JournalEntry]:
    """The entries of a journal, with sequence numbers and checksums verified. Warns of a torn last line.

    Args:
        path: the journal.
        limits: of the whole and of each line.

    Raises:
        SnapshotError: the file cannot be read, or a line is damaged or missing; the message has its number.
    """
    return [entry for entry, _ in _scan(path, limits, depth=5)]


def _scan(path: PathLike, limits: Limits, depth: int) -> Iterator[tuple[JournalEntry, int]]:
    """The entries, each with the bytes of its line; a warning is for whoever is `depth` calls above."""
    number, longest, read = 0, limits.document_bytes, read_past_entry
    with reported(path, "read"), open_regular(path) as file:
        check_size(path, os.fstat(file.fileno()).st_size, limits.journal_bytes, "journal_bytes")
        while line := file.readline(longest + 1):
            number += 1
            if not line.endswith(b"\n") and len(line) <= longest and is_torn(line, START):
                torn = f"{shown(path)}: dropped line {number}, the last, which was cut short while written"
                warnings.warn(torn, stacklevel=depth)
                break
            if number == 1 and version_of(line) != 1:
                read = read_entry
            yield read(line, number, path, limits), len(line)


def is_torn(line: bytes, start: bytes) -> bool:
    """Whether a last line without its end is the beginning of one that starts so, or of nothing but zeros.

    Zeros are what some disks leave of a line when power fails. Anything else is damage.
    """
    return start.startswith(line[: len(start)]) or not line.strip(b"\0")


@checked(SnapshotError)
def replay(start: Network | Editor, entries: Iterable[JournalEntry]) -> Editor:
    """Do again what a journal says, and check every step.

    Args:
        start: the network that the journal began with, or an editor to go on with.
        entries: from `read_journal`.

    Returns:
        The editor, with its history to undo and redo.

    Raises:
        SnapshotError: a step cannot be done or gives another network than it did; the message has its number.
    """
    editor = start if isinstance(start, Editor) else Editor(start)
    for entry in entries:
        if not isinstance(entry, JournalEntry):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise SnapshotError(f"replay expected entries of a journal, got {quoted(entry)}")
        try:
            _do(editor, entry)
        except (NestgraphError, ValueError) as error:
            raise SnapshotError(f"journal entry {entry.sequence}: {error}") from error
        if editor.network.digest != entry.digest:
            problem = f"expected a network with digest {entry.digest}, got {editor.network.digest}"
            raise SnapshotError(f"journal entry {entry.sequence}: {problem}: it began with another network")
    return editor


def _do(editor: Editor, entry: JournalEntry) -> None:
    if entry.applied is not None:
        editor.apply(entry.applied)
    elif entry.action == "undo":
        editor.undo()
    elif entry.action == "redo":
        editor.redo()
