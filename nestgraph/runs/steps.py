"""The steps that a journal tells of: which lines stand, to which row of the metrics they belong, what was proposed."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.errors import SnapshotError
from nestgraph.runs.past_steps import past_parts, past_steps
from nestgraph.snapshot import JournalEntry

NOTHING = Batch(edits=())
"""The proposal of what no policy proposed."""


def kept_steps(entries: Iterable[JournalEntry]) -> list[list[JournalEntry]]:
    """The steps that were not undone: the lines of each that changed the network.

    Raises:
        SnapshotError: the journal takes back what it did not do.
    """
    standing = _standing(entries)
    if standing and standing[0].version == 1:
        return past_steps(standing)
    return [list(lines) for _, lines in groupby(standing, key=lambda entry: entry.step)]


def parts(entry: JournalEntry) -> Iterator[tuple[AnyEdit, Batch]]:
    """The kernel edits of a line in order, each with what was proposed: by a policy, or the edit as a whole."""
    if entry.version == 1:
        yield from past_parts([entry.edit] if entry.edit else [], NOTHING)
    elif entry.edit is not None:
        proposal = entry.edit if isinstance(entry.edit, Batch) else NOTHING
        yield from ((edit, proposal) for edit in _kernels(entry.edit))
    for one in entry.proposals:
        yield from ((edit, one.edit) for edit in _kernels(one.edit))


def _kernels(edit: AnyEdit) -> Iterator[AnyEdit]:
    if isinstance(edit, Batch):
        for inner in edit.edits:
            yield from _kernels(inner)
    else:
        yield edit


def _standing(entries: Iterable[JournalEntry]) -> list[JournalEntry]:
    """The lines that changed the network and were not undone."""
    done: list[JournalEntry] = []
    undone: list[JournalEntry] = []
    for entry in entries:
        if entry.applied is not None:
            done.append(entry)
            undone.clear()
        elif entry.action in ("undo", "redo"):
            source, target = (done, undone) if entry.action == "undo" else (undone, done)
            if not source:
                raise SnapshotError(f"journal entry {entry.sequence}: expected something to {entry.action}, got none")
            target.append(source.pop())
    return done
