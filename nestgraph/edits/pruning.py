"""Recipe functions that take something away, and whatever it leaves behind as islands."""

from collections.abc import Mapping, Sequence

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetMask, chosen_entries
from nestgraph.edits.coupling import check_free, check_gates, coupled
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.islands import island_edits
from nestgraph.edits.layers import RemoveProjection
from nestgraph.edits.preserving import preserving
from nestgraph.edits.tying import check_own
from nestgraph.edits.units import RemoveUnits
from nestgraph.errors import EditError
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray


@recipe_function
def prune_connections(structure: Structure, entries: Mapping[str, AnyArray]) -> Batch:
    """Make connections dormant; units that lose their last path go too.

    Args:
        structure: the network.
        entries: by projection, row-major positions in its weights. Those already dormant are skipped.

    Raises:
        EditError: an entry is not a position, or is a gate's, or all of a projection are dormant already, or an output
            unit, or one that an opaque layer reads, would lose its last path from an input.
    """
    edits: list[SetMask] = []
    for name, chosen in entries.items():
        live = chosen_entries(structure, name, chosen)
        if len(live) and not structure.projection(name).adds:
            raise EditError(
                f"prune_connections expected connections that a sum adds up, got those of {name!r}, which multiplies: "
                "remove a unit at its ends, or the whole projection"
            )
        active = live[structure.connection_columns(name).mask.reshape(-1)[live]]
        if len(live) and not len(active):
            raise EditError(f"prune_connections expected active connections of {name!r}, got {len(live)} dormant ones")
        live = active
        dormant = np.zeros(len(live), bool)
        edits.append(SetMask(projection=name, entries=live, active=dormant, weights=dormant.astype(np.float32)))
    title = f"prune {sum(len(edit.entries) for edit in edits)} connections"
    return followed(structure, edits, title)


@recipe_function
def remove_units(structure: Structure, layer: str, units: Sequence[int] | AnyArray) -> Batch:
    """Remove units, what is coupled to them (see `coupled`), and whatever that leaves without a path.

    So a map goes from both sides of a residual sum, and what a concatenation passes on of it goes, too.

    Raises:
        EditError: a unit does not live, or an opaque layer freezes it or what is coupled to it, or it gates a unit that
            stays, or an output layer would lose its last unit, or an output unit its last path from an input.
    """
    strand = coupled(structure, layer, units)
    if any(map(len, strand.values())):
        check_free(structure, f"remove_units on {layer!r}", strand)
        check_gates(structure, f"remove_units on {layer!r}", strand)
    edits = [RemoveUnits(layer=name, units=ids) for name, ids in strand.items() if len(ids)]
    return followed(structure, edits, f"remove {len(units)} units of {layer}")


@recipe_function
def remove_projection(structure: Structure, projection: str) -> Batch:
    """Remove a projection, a skip say, and whatever it leaves without a path.

    The way back from `insert_skip`. It changes nothing where all weights are 0. Without a gate, its targets keep their
    sums as they are.

    Raises:
        EditError: it is an argument of an opaque layer, or a table that another projection follows, or an output unit
            would lose its last path from an input.
    """
    if not structure.projection(projection).weighted:
        raise EditError(
            f"remove_projection expected a projection with weights, got {projection!r}: the body of opaque layer "
            f"{structure.projection(projection).target!r} reads it"
        )
    if structure.projection(projection).names_classes:
        check_own(structure, "remove_projection", structure.projection(projection))
    return followed(structure, [RemoveProjection(projection=projection)], f"remove projection {projection}")


@preserving(1e-5)
@recipe_function
def drop_islands(structure: Structure) -> Batch:
    """Remove every unit that no path joins to the inputs and the outputs. Function-preserving.

    Raises:
        EditError: an output unit, or one that an opaque layer reads, has no path from an input, or a constant that a
            unit without inputs gives cannot be absorbed exactly.
    """
    return Batch(edits=island_edits(structure, exact=True), title="drop islands")


def followed(structure: Structure, edits: Sequence[AnyEdit], title: str) -> Batch:
    """`edits`, then the removal of the islands they make."""
    if isinstance(structure, Network) and not structure.tied and not _unties(structure, edits):
        return Batch(edits=tuple(edits), title=title)
    for edit in edits:
        structure, _ = edit.change(structure)
    return Batch(edits=(*edits, *island_edits(structure)), title=title)


def _unties(network: Network, edits: Sequence[AnyEdit]) -> bool:
    """Whether edits may take the last edge through a projection of a unit that stays: else there are no new islands.

    It is cheaper to ask than to carry the edits out, for which all weights are copied.
    """
    going, dormant = dict[str, list[AnyArray]](), dict[str, list[AnyArray]]()
    for edit in edits:
        if isinstance(edit, RemoveUnits):
            going.setdefault(edit.layer, []).append(edit.units)
        elif isinstance(edit, SetMask):
            dormant.setdefault(edit.projection, []).append(edit.entries)
        else:
            return True
    kept = {layer: ~np.isin(network.units(layer), np.concatenate(units)) for layer, units in going.items()}
    touched = {p.name for layer in going for p in (*network.incoming(layer), *network.outgoing(layer))}
    return any(_unties_through(network, name, kept, dormant.get(name, ())) for name in touched | dormant.keys())


def _unties_through(
    network: Network, projection: str, kept: Mapping[str, AnyArray], dormant: Sequence[AnyArray]
) -> bool:
    """As `_unties`, through one projection, some of whose entries become dormant."""
    columns, ends = network.wired(projection)
    edges = columns.edges
    if dormant:
        mask = columns.mask.copy()
        mask.reshape(-1)[np.concatenate(dormant)] = False
        edges = columns.of_pairs(mask)
    stay = [
        kept.get(layer, np.ones(len(ends[end]), bool)) for end, layer in enumerate(network.projection(projection).ends)
    ]
    for end in (0, 1):
        edges = edges & columns.beside(stay[end], end, ends)
    had, has = ([columns.touched(marks, end, ends) for end in (0, 1)] for marks in (columns.edges, edges))
    return any((had[end] & ~has[end] & stay[end]).any() for end in (0, 1))
