"""Which units belong together: what one-to-one projections join is grown, split and removed as one.

A residual sum adds a unit to its partner, a gate multiplies it; a concatenation passes it on to a partner of its own.
Hidden units that
active one-to-one links join, through any number of layers, are *coupled*, and so are those of one id at both ends of a
table that is tied. Inputs and outputs are not: the former are places in the data, the latter what the network answers.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from nestgraph.edits.edit import recipe_function
from nestgraph.errors import EditError
from nestgraph.graph.heads import linked_pairs, met_by
from nestgraph.graph.pinning import pinned, why_pinned
from nestgraph.graph.structure import Structure
from nestgraph.graph.tying import across, sides
from nestgraph.spec.arrays import AnyArray


def chosen_units(structure: Structure, layer: str, units: Sequence[int] | AnyArray) -> AnyArray:
    """(k,) int64: `units` as distinct ids of living units of a layer.

    Raises:
        EditError: they are something else.
    """
    given, columns = np.asarray(units), structure.unit_columns(layer)
    whole = given.ndim == 1 and (given.dtype.kind in "iu" or not given.size)
    ids: list[int] = given.tolist() if whole else []
    strange = [unit for unit in ids if unit not in columns.position] or (ids if len(set(ids)) < len(ids) else [])
    if not whole or strange:
        got = ", ".join(map(str, strange[:5])) if whole else f"{given.dtype.name} of shape {given.shape}"
        raise EditError(
            f"units of layer {layer!r}: expected distinct living unit ids, got {got}; "
            f"network.units({layer!r}) lists them"
        )
    return given.astype(np.int64)


@recipe_function
def coupled(structure: Structure, layer: str, units: Sequence[int] | AnyArray) -> dict[str, AnyArray]:
    """The units that active one-to-one links join to `units` of a layer, by layer, and `units` themselves.

    The layer comes first, with `units` first, then the others in their order. A layer's units may be coupled to each
    other: a concatenation passes on both what enters and what leaves a residual sum.

    Raises:
        EditError: a unit does not live.
    """
    found = _with(structure, layer, chosen_units(structure, layer, units))
    order = [name for name in structure.layer_names if name in found and name != layer] if len(found) > 1 else []
    return {name: found[name] for name in (layer, *order)}


def _with(structure: Structure, layer: str, chosen: AnyArray, holding: bool = False) -> dict[str, AnyArray]:
    """Units and what they take along, or what would take them along, which is held with them."""
    found = {layer: chosen}
    if not _hidden(structure, layer):
        return found
    return _reached(found, lambda near, ids: _partners(structure, near, ids, holding))


def linked_to(structure: Structure, units: Mapping[str, AnyArray], but: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    """The hidden units that active one-to-one links join to some, and these, whatever meets or mixes them.

    Args:
        structure: the network.
        units: ids by layer.
        but: where the way does not lead on.
    """

    def partners(near: str, ids: AnyArray) -> Iterator[tuple[str, AnyArray]]:
        for far, found in _along_links(structure, near, ids):
            yield far, np.setdiff1d(found, but.get(far, found[:0]))

    return _reached(units, partners)


def _reached(
    units: Mapping[str, AnyArray], partners: Callable[[str, AnyArray], Iterable[tuple[str, AnyArray]]]
) -> dict[str, AnyArray]:
    """Units by layer, and all to which steps lead from them."""
    found, fresh = dict(units), list(units.items())
    while fresh:
        near, ids = fresh.pop()
        for far, others in partners(near, ids):
            known = found.get(far, others[:0])
            new = np.setdiff1d(others, known)
            if len(new):
                found[far] = np.concatenate([known, new])
                fresh.append((far, new))
    return found


def check_free(structure: Structure, who: str, layers: Iterable[str]) -> None:
    """Refuse to change which units live in layers that an opaque layer freezes.

    Args:
        structure: the network.
        who: begins the message.
        layers: all that would change, such as those of a strand.

    Raises:
        EditError: a layer is frozen; it names the opaque layer.
    """
    for layer in layers:
        reason = why_pinned(structure, layer)
        if reason:
            raise EditError(f"{who}: expected layers whose units can change, got {reason}: edit other layers")


def check_gates(structure: Structure, who: str, strand: Mapping[str, AnyArray]) -> None:
    """Refuse to remove units that gate a unit which stays: it would go on as if it had been multiplied by 1.

    Raises:
        EditError: a unit of the strand gates one that is not in it, such as an output.
    """
    for layer, units in strand.items():
        for gate in (projection for projection in structure.outgoing(layer) if projection.gates):
            links = linked_pairs(structure, gate.name)
            links = links[np.isin(links[:, 0], units) & ~np.isin(links[:, 1], strand.get(gate.target, units[:0]))]
            if len(links):
                source, target = (layer, int(links[0, 0])), (gate.target, int(links[0, 1]))
                raise EditError(
                    f"{who}: expected units that gate none which stays, got {source}, by which {target} is multiplied: "
                    f"remove projection {gate.name!r} first"
                )


def held_units(structure: Structure) -> dict[str, AnyArray]:
    """The ids of units that cannot come or go, by layer.

    They are those that an opaque layer freezes, those that gate an output or are tied to one or to an input,
    and all that would take
    such along.
    """
    chosen = [(layer, structure.units(layer)) for layer in sorted(pinned(structure))]
    gates = (p for p in structure.projections_by_name.values() if p.gates)
    chosen += [(p.source, linked_pairs(structure, p.name)[:, 0]) for p in gates if structure.layer(p.target).output]
    ties = (pair for pair in sides(structure) if not all(_hidden(structure, layer) for layer in pair))
    chosen += [(layer, structure.units(layer)) for pair in ties for layer in pair]
    held: dict[str, AnyArray] = {}
    for layer, ids in chosen:
        for name, units in _with(structure, layer, np.unique(ids), holding=True).items():
            held[name] = np.union1d(held.get(name, units[:0]), units)
    return held


def _hidden(structure: Structure, layer: str) -> bool:
    record = structure.layer(layer)
    return record.kind != "input" and not record.output


def _partners(structure: Structure, layer: str, ids: AnyArray, holding: bool = False) -> Iterator[tuple[str, AnyArray]]:
    """The hidden units that units of a layer take along, or those that take them along, by projection."""
    yield from _along_links(structure, layer, ids)
    # A head takes the units that it mixes along, a gate those that it multiplies; none of several takes it along.
    for projection in structure.incoming(layer) if holding else structure.outgoing(layer):
        near, far = (1, projection.source) if holding else (0, projection.target)
        if (projection.mixes or projection.gates) and _hidden(structure, far):
            links = linked_pairs(structure, projection.name)
            yield far, links[np.isin(links[:, near], ids), 1 - near]
    for far in across(structure, layer):
        if _hidden(structure, far):
            yield far, ids[structure.unit_columns(far).find(ids) >= 0]
    for projection in structure.outgoing(layer):
        if projection.matches:
            yield from ((other, met) for other, met in met_by(structure, projection, ids) if _hidden(structure, other))


def _along_links(structure: Structure, layer: str, ids: AnyArray) -> Iterator[tuple[str, AnyArray]]:
    """The hidden units that one-to-one links join to units of a layer, by projection."""
    for projection in (*structure.incoming(layer), *structure.outgoing(layer)):
        near, far = (1, projection.source) if projection.target == layer else (0, projection.target)
        links = live_links(structure, projection.name)
        if len(links) and _hidden(structure, far):
            yield far, links[np.isin(links[:, near], ids), 1 - near]


def live_links(structure: Structure, projection: str) -> AnyArray:
    """(links, 2): ids of sources and targets that a projection couples: by active connections, or unit by unit.

    A gate of several units, such as a map of attention to places, is not among them: it goes on without one of these.
    """
    if structure.ties(structure.projection(projection)):
        ends = structure.ends(projection)
        common = ends.target.ids[ends.source.find(ends.target.ids) >= 0]
        return np.stack([common, common], 1)
    if not structure.projection(projection).couples:
        return np.zeros((0, 2), np.int64)
    links = linked_pairs(structure, projection)
    return links[~_shares(links)] if structure.projection(projection).gates else links


def shared_gates(structure: Structure, projection: str) -> AnyArray:
    """The ids of the units by which a projection multiplies several units each."""
    links = linked_pairs(structure, projection)
    return np.unique(links[_shares(links), 0])


def _shares(links: AnyArray) -> AnyArray:
    """Which links have a source that others have, too."""
    _, places, counts = np.unique(links[:, 0], return_inverse=True, return_counts=True)
    return counts[places] > 1
