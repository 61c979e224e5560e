"""The table that `diff` prints: by layer, what was added, removed and changed, units matched by id."""

from nestgraph.edits import Batch
from nestgraph.graph import Counts, Difference, Tally

HEADINGS = ("layer", "units", "+", "-", "connections", "+", "-", "values", "other changes")
GONE = {"added": "new layer", "removed": "layer gone"}


def difference_rows(change: Difference) -> list[tuple[str, ...]]:
    """A row for each layer of either network, and their total."""
    rows = [(name, *_cells(counts), _notes(change, name)) for name, counts in change.by_layer.items()]
    return [HEADINGS, *rows, ("total", *_cells(change.counts), "interface" if change.interface else "")]


def edit_words(edits: Batch) -> str:
    """How many edits of which kind a difference takes."""
    kinds = [edit.kind for edit in edits.edits]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def _notes(change: Difference, layer: str) -> str:
    return GONE.get(change.layers[layer].fate) or ", ".join(change.notes(layer))


def _cells(counts: Counts) -> tuple[str, ...]:
    return (*_tallied(counts.units), *_tallied(counts.connections), f"{counts.numbers:,}")


def _tallied(tally: Tally) -> tuple[str, str, str]:
    growth = f"{tally.before:,} -> {tally.after:,}" if tally.after != tally.before else f"{tally.before:,}"
    return growth, f"{tally.added:,}", f"{tally.removed:,}"
