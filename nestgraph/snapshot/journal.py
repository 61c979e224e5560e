"""The log of edits: JSON lines with sequence numbers and checksums, and the way from a log back to a network.

A line is complete once its newline is on the disk. A last line that was cut short never counted: it is dropped with a
warning. Anything else that does not fit is damage, and an error.
"""

import hashlib
import operator
import os
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, TypeAdapter, model_validator

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
from nestgraph.snapshot.document import Digest
from nestgraph.snapshot.limits import LIMITS, Limits
from nestgraph.snapshot.strict_json import check_json, read_record
from nestgraph.spec.arguments import checked
from nestgraph.spec.record import Record, Text
from nestgraph.spec.wording import quoted

Action = Literal["apply", "undo", "redo", "propose"]


class Proposal(Record):
    """What a policy proposed at a step of a run, where that was nothing.

    Attributes:
        policy: its kind.
        step: the row of metrics.jsonl that came next, or would have; from 0.
        scale: of what was asked for.
        reason: why there was nothing to propose, in a sentence.
    """

    policy: Text
    step: NonNegativeInt
    scale: float
    reason: Text

    @property
    def words(self) -> str:
        """The whole in a sentence."""
        return f"{self.policy} proposed nothing: {self.reason}"


class JournalStep(Record):
    """One step of an editor, or a proposal that led to none.

    Attributes:
        sequence: 1 for the first step; also the number of its line.
        action: what the editor did; `propose` where a policy was asked and proposed nothing.
        edit: the edit, for `apply` only.
        proposal: what was proposed, for `propose` only.
        phase: the phase of the run, for people.
        note: why, for people.
        digest: of the network after the step.
    """

    sequence: PositiveInt
    action: Action
    edit: AnyEdit | None = None
    proposal: Proposal | None = Field(default=None, exclude_if=operator.not_)
    phase: Text = ""
    note: Text = ""
    digest: Digest

    @model_validator(mode="after")
    def _check_edit(self) -> Self:
        if (self.edit is not None) != (self.action == "apply"):
            raise ValueError(f"expected an edit with 'apply', and only there, got action {self.action!r}")
        if (self.proposal is not None) != (self.action == "propose"):
            raise ValueError(f"expected a proposal with 'propose', and only there, got action {self.action!r}")
        return self


class JournalEntry(JournalStep):
    """A step with the SHA-256 of everything else in it."""

    checksum: Digest

    @classmethod
    def of(cls, step: JournalStep) -> Self:
        """The entry of a step."""
        return cls(**dict(step), checksum=hashlib.sha256(step.model_dump_json().encode()).hexdigest())

    @model_validator(mode="after")
    def _check_sum(self) -> Self:
        found = hashlib.sha256(self.model_dump_json(exclude={"checksum"}).encode()).hexdigest()
        if found != self.checksum:
            raise ValueError(f"checksum: expected {found}, which the content has, got {self.checksum}: it was altered")
        return self


ENTRY: TypeAdapter[JournalEntry] = TypeAdapter(JournalEntry)
START = b'{"sequence":'
"""What each line begins with."""


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
            entries, whole = _scan(path, limits) if os.path.lexists(path) else ([], 0)
            self._next = len(entries) + 1
            self._file = open_growing(path)  # closed by close
            self._file.truncate(whole)
            os.fsync(self._file.fileno())
            sync_folder(self._path.parent)

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
        proposal: Proposal | None = None,
    ) -> JournalEntry:
        """Write one step down.

        Args:
            action: what the editor did.
            digest: of the network after it.
            edit: the edit, for `apply` only.
            phase: the phase of the run.
            note: why.
            proposal: what was proposed, for `propose` only.

        Raises:
            SnapshotError: the step does not fit, or cannot be written; then the writer is closed, and a new one on
                the same path continues after the last whole entry.
        """
        where = f"{shown(self._path)}: step {self._next}"
        try:
            step = JournalStep(
                sequence=self._next, action=action, edit=edit, proposal=proposal, phase=phase, note=note, digest=digest
            )
            entry = JournalEntry.of(step)
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
        """Close the file."""
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
    return _scan(path, limits, depth=4)[0]


def _scan(path: PathLike, limits: Limits, depth: int = 3) -> tuple[list[JournalEntry], int]:
    """The entries, and how many bytes they take; a warning is for whoever is `depth` calls above."""
    entries: list[JournalEntry] = []
    whole = 0
    longest = limits.document_bytes
    with reported(path, "read"), open_regular(path) as file:
        check_size(path, os.fstat(file.fileno()).st_size, limits.journal_bytes, "journal_bytes")
        while line := file.readline(longest + 1):
            if not line.endswith(b"\n") and len(line) <= longest and is_torn(line, START):
                torn = f"{shown(path)}: dropped line {len(entries) + 1}, the last, which was cut short while written"
                warnings.warn(torn, stacklevel=depth)
                break
            entries.append(read_entry(line, len(entries) + 1, path, limits))
            whole += len(line)
    return entries, whole


def is_torn(line: bytes, start: bytes) -> bool:
    """Whether a last line without its end is the beginning of one that starts so, or of nothing but zeros.

    Zeros are what some disks leave of a line when power fails. Anything else is damage.
    """
    return start.startswith(line[: len(start)]) or not line.strip(b"\0")


def read_entry(line: bytes, number: int, path: PathLike, limits: Limits = LIMITS) -> JournalEntry:
    """One line of a journal, with its end; `number` from 1.

    Raises:
        SnapshotError: it is damaged or not of that number.
    """
    where = f"{shown(path)}: line {number}"
    entry = read_record(ENTRY, line.removesuffix(b"\n"), where, limits)
    if entry.sequence != number:
        raise SnapshotError(f"{where}: a line is missing or moved (expected sequence {number}, got {entry.sequence})")
    return entry


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
    if entry.edit is not None:
        editor.apply(entry.edit)
    elif entry.action == "undo":
        editor.undo()
    elif entry.action == "redo":
        editor.redo()
