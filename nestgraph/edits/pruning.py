"""Recipe functions that take something away, and whatever it leaves behind as islands."""

from collections.abc import Mapping, Sequence

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetMask, chosen_entries
from nestgraph.edits.islands import island_edits
from nestgraph.edits.units import RemoveUnits
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray


def prune_connections(structure: Structure, entries: Mapping[str, AnyArray]) -> Batch:
    """Make connections dormant; units that lose their last path go too.

    Args:
        structure: the network.
        entries: by projection, row-major positions in its weights. Those already dormant are skipped.

    Raises:
        EditError: an entry is not a position, or an output unit would lose its last path from an input.
    """
    edits: list[AnyEdit] = []
    for name, chosen in entries.items():
        live = chosen_entries(structure, name, chosen)
        live = live[structure.connection_columns(name).mask.flat[live]]
        dormant = np.zeros(len(live), bool)
        edits.append(SetMask(projection=name, entries=live, active=dormant, weights=dormant.astype(np.float32)))
    total = sum(len(edit.entries) for edit in edits if isinstance(edit, SetMask))
    return _followed(structure, edits, f"prune {total} connections")


def remove_units(structure: Structure, layer: str, units: Sequence[int] | AnyArray) -> Batch:
    """Remove units and whatever they leave without a path.

    Raises:
        EditError: a unit does not live, or an output layer would lose its last unit, or an output unit its last path
            from an input.
    """
    ids = np.asarray(units, np.int64)
    title = f"remove {len(ids)} units of {layer}"
    return _followed(structure, [RemoveUnits(layer=layer, units=ids)] if len(ids) else [], title)


def drop_islands(structure: Structure) -> Batch:
    """Remove every unit that no path joins to the inputs and the outputs."""
    return Batch(edits=island_edits(structure), title="drop islands")


def _followed(structure: Structure, edits: list[AnyEdit], title: str) -> Batch:
    """`edits`, then the removal of the islands they make."""
    for edit in edits:
        structure, _ = edit.change(structure)
    return Batch(edits=(*edits, *island_edits(structure)), title=title)
