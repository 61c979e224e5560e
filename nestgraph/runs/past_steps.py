"""What steps a journal of version 1 tells of, and what was proposed: a guess from how edits are nested.

Journals of today say both (`steps.py`); this is for folders of runs that earlier versions wrote, and for nothing else.
"""

from collections.abc import Iterator, Sequence

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetValues
from nestgraph.snapshot import JournalEntry

PROPOSAL = 2
"""How deep in a step the batches of policies are."""


def past_steps(standing: Sequence[JournalEntry]) -> list[list[JournalEntry]]:
    """The steps that were kept: each an edit with the trainings after it, or trainings alone."""
    steps: list[list[JournalEntry]] = []
    for entry in standing:
        if not steps or not isinstance(entry.edit, SetValues) or entry.phase != steps[-1][-1].phase:
            steps.append([])
        steps[-1].append(entry)
    return steps


def past_parts(edits: Sequence[AnyEdit], proposal: Batch, depth: int = PROPOSAL) -> Iterator[tuple[AnyEdit, Batch]]:
    """Kernel edits, each with its proposal: a batch in a batch, with a title; deeper ones follow from it."""
    for edit in edits:
        if isinstance(edit, Batch):
            yield from past_parts(edit.edits, edit if depth and edit.title else proposal, max(0, depth - 1))
        else:
            yield edit, proposal
