"""Lines of journals of version 1: edits in the form of their records, and policies only where they proposed nothing.

They are read into the entries of today. What was proposed at a step is in the nesting of its edits alone, and a guess;
`runs/past_steps.py` makes it.
"""

import hashlib
import operator
from typing import Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, TypeAdapter, model_validator

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.snapshot.disk import PathLike, shown
from nestgraph.snapshot.document import Digest
from nestgraph.snapshot.journal_entry import JournalEntry, Proposal, check_sequence
from nestgraph.snapshot.limits import LIMITS, Limits
from nestgraph.snapshot.strict_json import read_record
from nestgraph.spec.record import Record, Text


class PastProposal(Record):
    """What a policy proposed at a step of a run, where that was nothing."""

    policy: Text
    step: NonNegativeInt
    scale: float
    reason: Text


class PastEntry(Record):
    """One step of an editor, or a proposal that led to none, with the SHA-256 of everything else in it."""

    sequence: PositiveInt
    action: Literal["apply", "undo", "redo", "propose"]
    edit: AnyEdit | None = None
    proposal: PastProposal | None = Field(default=None, exclude_if=operator.not_)
    phase: Text = ""
    note: Text = ""
    digest: Digest
    checksum: Digest

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.edit is not None) != (self.action == "apply"):
            raise ValueError(f"expected an edit with 'apply', and only there, got action {self.action!r}")
        if (self.proposal is not None) != (self.action == "propose"):
            raise ValueError(f"expected a proposal with 'propose', and only there, got action {self.action!r}")
        found = hashlib.sha256(self.model_dump_json(exclude={"checksum"}).encode()).hexdigest()
        if found != self.checksum:
            raise ValueError(f"checksum: expected {found}, which the content has, got {self.checksum}: it was altered")
        return self

    @property
    def entry(self) -> JournalEntry:
        """As an entry of today."""
        one = self.proposal
        idle = one and Proposal(policy=one.policy, scale=one.scale, edit=Batch(edits=(), title=one.reason))
        return JournalEntry(
            sequence=self.sequence,
            version=1,
            action=self.action,
            step=one and one.step,
            phase=self.phase,
            note=self.note,
            edit=self.edit,
            proposals=(idle,) if idle else (),
            digest=self.digest,
            checksum=self.checksum,
        )


PAST: TypeAdapter[PastEntry] = TypeAdapter(PastEntry)


def read_past_entry(line: bytes, number: int, path: PathLike, limits: Limits = LIMITS) -> JournalEntry:
    """One line of a journal of version 1, with its end; `number` from 1.

    Raises:
        SnapshotError: it is damaged, or not of that number.
    """
    where = f"{shown(path)}: line {number}"
    past = read_record(PAST, line.removesuffix(b"\n"), where, limits)
    check_sequence(past.sequence, number, where)
    return past.entry
