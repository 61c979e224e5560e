"""What `edit` reads, an edit or a journal, and what it says of the change."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nestgraph.cli.output import table
from nestgraph.edits import EDIT, AnyEdit, Batch, Editor, Preview, RemoveUnits, coupled, diff
from nestgraph.edits.preview import Units, listing
from nestgraph.errors import EditError, NestgraphError
from nestgraph.graph import Network, cost
from nestgraph.snapshot import LIMITS, JournalEntry, read_bounded, read_journal, read_record, replay
from nestgraph.snapshot.disk import shown

Edits = AnyEdit | list[JournalEntry]
COUNTS = {"units": "units", "connections": "connections", "parameters": "parameters", "flops": "FLOPs"}
"""The counts of a network that are shown, and their headings."""


def read_edits(path: Path) -> Edits:
    """The edit in a file, or the entries of a journal, whose name ends in .jsonl.

    Raises:
        SnapshotError: the file cannot be read or holds something else.
    """
    if path.suffix.lower() != ".jsonl":
        return read_record(EDIT.adapter, read_bounded(path, LIMITS.document_bytes), shown(path))
    return read_journal(path)


def edited(network: Network, edits: Edits, where: Path) -> Network:
    """The network after edits from the file `where`; each step of a journal is checked.

    Raises:
        EditError: they do not fit the network.
    """
    try:
        return replay(network, edits).network if isinstance(edits, list) else edits.apply(network).network
    except NestgraphError as error:
        raise EditError(f"{shown(where)}: {error}") from error


def preview_of(network: Network, edits: Edits) -> Preview:
    """What edits would do to a network: of a journal, what it comes to, unless one of its steps is refused."""
    if not isinstance(edits, list):
        return Editor(network).preview(edits)
    steps = sum(entry.applied is not None or entry.action in ("undo", "redo") for entry in edits)
    words = f"journal of {steps:,} steps"
    try:
        change = diff(network, replay(network, edits).network)
    except NestgraphError as error:
        return Preview(legal=False, reason=str(error), words=words)
    return Editor(network).preview(change.model_copy(update={"title": words}))


def kept_partners(network: Network, edits: Edits) -> Units:
    """The units that stay although an edit removes some that they are coupled to, by layer."""
    removed: dict[str, set[int]] = {}
    for edit in () if isinstance(edits, list) else _removals(edits):
        if network.has_layer(edit.layer):
            living = np.intersect1d(edit.units, network.units(edit.layer)).tolist()
            removed.setdefault(edit.layer, set()).update(living)
    partners: dict[str, set[int]] = {}
    for layer, ids in removed.items():
        for name, units in coupled(network, layer, sorted(ids)).items():
            partners.setdefault(name, set()).update(units.tolist())
    kept = {name: tuple(sorted(units - removed.get(name, set()))) for name, units in partners.items()}
    return {name: units for name, units in kept.items() if units}


def preview_words(preview: Preview, kept: Units) -> str:
    """A preview for people, with the units that stay although others that they are coupled to go."""
    return f"{preview}\ncoupled, but kept: {listing(kept)}" if kept else str(preview)


def change_facts(before: Network, after: Network) -> dict[str, Any]:
    """What both networks cost and the difference, as plain values."""
    old, new = cost(before).total, cost(after).total
    return {"before": asdict(old), "after": asdict(new), "change": asdict(new - old)}


def change_table(content: dict[str, Any]) -> str:
    """The same for people."""
    rows = [(name, *(f"{content[name][count]:,}" for count in COUNTS)) for name in ("before", "after")]
    change = [content["change"][count] for count in COUNTS]
    signed = (f"{count:+,}" if count else "0" for count in change)
    return table([("network", *COUNTS.values()), *rows, ("change", *signed)])


def _removals(edit: AnyEdit) -> Iterator[RemoveUnits]:
    """The edits in an edit that remove units."""
    if isinstance(edit, RemoveUnits):
        yield edit
    for part in edit.edits if isinstance(edit, Batch) else ():
        yield from _removals(part)
