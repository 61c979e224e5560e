"""A batch of edits as a small list with signs: what a notebook shows of a difference."""

from collections.abc import Iterator, Sequence

from nestgraph.edits import (
    AddLayer,
    AddProjection,
    AddUnits,
    Batch,
    Edit,
    RemoveLayer,
    RemoveProjection,
    RemoveUnits,
    SetMask,
)
from nestgraph.render.encoding import LOOKS, Fate
from nestgraph.render.scene import Box, Mark, Scene, Words
from nestgraph.render.style import INK, MUTED, PANEL, fitted, plain

MOST_LINES = 24
WIDTH, LINE, TOP = 560.0, 19.0, 62.0


def edit_fate(edit: Edit) -> Fate:
    """Whether an edit adds, removes or changes."""
    if isinstance(edit, SetMask):
        woken = int(edit.active.sum())
        return "added" if woken == edit.active.size else "changed" if woken else "removed"
    if isinstance(edit, AddLayer | AddProjection | AddUnits):
        return "added"
    return "removed" if isinstance(edit, RemoveLayer | RemoveProjection | RemoveUnits) else "changed"


def edit_text(batch: Batch) -> str:
    """The title of a batch and its edits, one a line, as far as there is room."""
    lines = [f"{LOOKS[fate].sign} {words}" for fate, words in _entries(batch)]
    return "\n".join([f"<Batch {batch.words!r}, {len(batch.edits):,} edits>", *lines, *_rest(batch)])


def edit_card(batch: Batch) -> Scene:
    """The same as a picture."""
    entries, rest = list(_entries(batch)), _rest(batch)
    marks: list[Mark] = [Words(20, 30, fitted(plain(batch.words), 15, WIDTH - 40, bold=True), 15, bold=True)]
    marks.append(Words(20, 47, f"{len(batch.edits):,} edits", 10.5, MUTED))
    for place, (fate, words) in enumerate(entries):
        marks.extend(_line(TOP + LINE * place, fate, words))
    lines: Sequence[str] = (*(words for _, words in entries), *rest)
    if rest:
        marks.append(Words(44, TOP + LINE * len(entries) + 13, rest[0], 10.5, MUTED))
    description = "; ".join(lines)
    return Scene(WIDTH, TOP + LINE * len(lines) + 14, f"Edits: {plain(batch.words)}", description, tuple(marks))


def _entries(batch: Batch) -> Iterator[tuple[Fate, str]]:
    return ((edit_fate(edit), edit.words) for edit in batch.edits[:MOST_LINES])


def _rest(batch: Batch) -> tuple[str, ...]:
    more = len(batch.edits) - MOST_LINES
    return (f"and {more:,} more",) if more > 0 else ()


def _line(y: float, fate: Fate, words: str) -> Iterator[Mark]:
    look = LOOKS[fate]
    yield Box(20, y, WIDTH - 40, LINE - 3, PANEL, radius=2.0)
    yield Box(20, y, 3, LINE - 3, look.colour)
    yield Words(30, y + 12, look.sign, 12, look.colour, bold=True)
    yield Words(44, y + 12, fitted(plain(words), 10.5, WIDTH - 70), 10.5, INK)
