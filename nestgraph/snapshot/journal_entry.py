"""One line of a journal: what was done at a step, what was proposed, or what came of it."""

import hashlib
import operator
import re
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, Strict, TypeAdapter, WithJsonSchema, model_validator

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.errors import SnapshotError
from nestgraph.snapshot.compact import Budget, CompactEdit, CompactProposal
from nestgraph.snapshot.disk import PathLike, shown
from nestgraph.snapshot.document import Digest
from nestgraph.snapshot.limits import LIMITS, Limits
from nestgraph.snapshot.outcomes import Outcome
from nestgraph.snapshot.strict_json import read_record
from nestgraph.spec.record import ArrayRecord, Text, absent

Action = Literal["apply", "undo", "redo", "propose", "outcome"]
VERSION = 2
Version = Annotated[Literal[1, 2], WithJsonSchema({"const": VERSION})]
"""Of the journal; entries of version 1 are made by `past_journal` alone."""

START = b'{"sequence":'
"""What each line begins with."""

BEGINNING = re.compile(rb'\{"sequence":[0-9]{1,16},"version":([0-9]{1,16}),')
END = re.compile(rb',"checksum":"([0-9a-f]{64})"\}')


class Proposal(ArrayRecord):
    """What a policy proposed at a step of a run.

    Attributes:
        policy: its kind; none for what goes since several proposals side by side leave it without a path.
        scale: of what was asked for.
        edit: what it proposed, with the reasons; one of nothing has the reason for that as its title. Of several side
            by side, each as it is after those before it.
        left_out: why nothing of it was done, as it did not go with those of other policies. Its edit then has only
            title and reasons.
    """

    policy: Text
    scale: float
    edit: CompactProposal
    left_out: Annotated[Text, Field(exclude_if=operator.not_)] = ""

    @property
    def idle(self) -> bool:
        """Whether there is nothing of it to do."""
        return not self.edit.edits

    @property
    def words(self) -> str:
        """The whole in a sentence."""
        if self.left_out:
            return f"{self.policy} proposed {self.edit.words}, which was left out: {self.left_out}"
        return f"{self.policy} proposed {'nothing: ' if self.idle else ''}{self.edit.words}"


def together(proposals: Sequence[Proposal]) -> Batch:
    """What was proposed, as one edit; its title is for people."""
    found = tuple(one.edit for one in proposals if not one.idle)
    return Batch(edits=found, title=", ".join(edit.words for edit in found)[:256] or "nothing to do")


class JournalStep(ArrayRecord):
    """One step of an editor, what policies proposed, or what came of an action of a run.

    Attributes:
        sequence: 1 for the first step; also the number of its line.
        version: of the journal.
        action: what was done. `propose`: policies were asked, in turn or side by side, and what they proposed was
            applied as one edit.
        step: of a run, the row of metrics.jsonl that the line belongs to, or would have; from 0.
        phase: the phase of the run, for people.
        note: why, for people.
        edit: the edit, for `apply` only.
        proposals: one of each policy that was asked, for `propose` only.
        outcome: what came of an action of a run, for `outcome` only.
        digest: of the network after the step.
    """

    sequence: PositiveInt
    version: Version = VERSION
    action: Action
    step: Annotated[NonNegativeInt | None, Field(exclude_if=absent)] = None
    phase: Annotated[Text, Field(exclude_if=operator.not_)] = ""
    note: Annotated[Text, Field(exclude_if=operator.not_)] = ""
    edit: Annotated[CompactEdit | None, Field(exclude_if=absent)] = None
    proposals: Annotated[tuple[Proposal, ...], Field(max_length=1024, exclude_if=operator.not_), Strict(False)] = ()
    outcome: Annotated[Outcome | None, Field(exclude_if=absent)] = None
    digest: Digest

    @model_validator(mode="after")
    def _check_action(self) -> Self:
        edit, outcome = self.edit is not None, self.outcome is not None
        found = edit, bool(self.proposals), outcome
        words = ("an edit", "apply"), ("proposals", "propose"), ("an outcome", "outcome")
        for there, (what, action) in zip(found, words, strict=True):
            if there != (self.action == action):
                raise ValueError(f"expected {what} with {action!r}, and only there, got action {self.action!r}")
        return self

    @property
    def applied(self) -> AnyEdit | None:
        """The edit that was applied, if any was."""
        return together(self.proposals) if any(not one.idle for one in self.proposals) else self.edit


class JournalEntry(JournalStep):
    """A step with the SHA-256 of its line up to there."""

    checksum: Digest

    @classmethod
    def of(cls, step: JournalStep) -> Self:
        """The entry of a step."""
        return cls(**dict(step), checksum=hashlib.sha256(step.model_dump_json().encode()).hexdigest())


ENTRY: TypeAdapter[JournalEntry] = TypeAdapter(JournalEntry)


def read_entry(line: bytes, number: int, path: PathLike, limits: Limits = LIMITS) -> JournalEntry:
    """One line of a journal, with its end; `number` from 1.

    Raises:
        SnapshotError: it is damaged, not of that number, or of another version.
    """
    where, text = f"{shown(path)}: line {number}", line.removesuffix(b"\n")
    check_version(text, where)
    if end := END.fullmatch(text, len(text) - CHECKSUM):
        found = hashlib.sha256(text[: end.start()] + b"}").hexdigest()
        if found != end[1].decode():
            problem = f"expected {found}, which the content has, got {end[1].decode()}: it was altered"
            raise SnapshotError(f"{where}: checksum: {problem}")
    entry = read_record(ENTRY, text, where, limits, context=Budget(limits.entries))
    if not end or version_of(text) != VERSION:
        got = f'expected a line from {{"sequence":{number},"version":{VERSION}, to its checksum, got another form'
        raise SnapshotError(f"{where}: {got}")
    check_sequence(entry.sequence, number, where)
    return entry


CHECKSUM = len(b',"checksum":""}') + 64
"""Bytes of a line's end."""


def version_of(line: bytes) -> int:
    """The version of the journal that a line is of; 1 where it says none."""
    return int(found[1]) if (found := BEGINNING.match(line)) else 1


def check_version(line: bytes, where: str) -> None:
    """Refuse lines of newer journals.

    Raises:
        SnapshotError: it is one.
    """
    if (version := version_of(line)) > VERSION:
        got = f"(expected version {VERSION}, got {version})"
        raise SnapshotError(f"{where}: made by a newer nestgraph {got}: update nestgraph")


def check_sequence(sequence: int, number: int, where: str) -> None:
    """Refuse a line in the place of another.

    Raises:
        SnapshotError: it is one.
    """
    if sequence != number:
        raise SnapshotError(f"{where}: a line is missing or moved (expected sequence {number}, got {sequence})")
