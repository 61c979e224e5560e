"""The table that `diff` prints: by layer, what was added, removed and changed, units matched by id."""

from nestgraph.edits import Batch
from nestgraph.graph import Network
from nestgraph.render.changes import Change, network_change, other_changes

HEADINGS = ("layer", "units", "+", "-", "connections", "+", "-", "values", "other changes")


def difference_rows(old: Network, new: Network) -> list[tuple[str, ...]]:
    """A row for each layer of either network, and their total."""
    changes = network_change(old, new)
    rows = [(name, *_cells(change), other_changes(old, new, name)) for name, change in changes.by_layer.items()]
    return [HEADINGS, *rows, ("total", *_cells(changes.total), "")]


def edit_words(edits: Batch) -> str:
    """How many edits of which kind a difference takes."""
    kinds = [edit.kind for edit in edits.edits]
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))


def _cells(change: Change) -> tuple[str, ...]:
    units = (_growth(change.units, change.born - change.gone), f"{change.born:,}", f"{change.gone:,}")
    links = (_growth(change.connections, change.added - change.removed), f"{change.added:,}", f"{change.removed:,}")
    return (*units, *links, f"{change.values:,}")


def _growth(before: int, change: int) -> str:
    return f"{before:,} -> {before + change:,}" if change else f"{before:,}"
