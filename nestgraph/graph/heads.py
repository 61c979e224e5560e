"""Heads of attention: which units meet at a slot, and what a layer sums up that heads mix."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from nestgraph.errors import StructureError
from nestgraph.graph.columns import Links, Slotted
from nestgraph.graph.geometry import output_size
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size
from nestgraph.spec.projection import Match, Mix, Projection

Sides = Mapping[str, list[tuple[Match, Slotted]]]


def sides(structure: Structure, heads: str) -> Sides:
    """By side, the matches that lead to a layer of heads, and their links."""
    found: dict[str, list[tuple[Match, Slotted]]] = {"query": [], "key": []}
    for projection in structure.incoming(heads):
        columns = structure.connection_columns(projection.name)
        if isinstance(projection, Match) and isinstance(columns, Slotted):
            found[projection.side].append((projection, columns))
    return found


def links_of(structure: Structure, match: Projection) -> Slotted:
    """The links of a match.

    Raises:
        StructureError: it has others.
    """
    columns = structure.connection_columns(match.name)
    if not isinstance(columns, Slotted):
        raise StructureError(f"projection {match.name!r}: expected links to slots, got a {columns.what}")
    return columns


def slot_words(structure: Structure, heads: str) -> str:
    """How many slots heads compare at, such as `2 slots` or `1 to 3 slots`; empty where a layer is none of heads."""
    keys, slots = sides(structure, heads)["key"], set[tuple[int, int]]()
    for match, columns in keys:
        met = columns.links[meeting(structure, match), 1:].tolist()
        slots |= {(head, slot) for head, slot in met}
    counts = [sum(head == unit for head, _ in slots) for unit in structure.units(heads).tolist()]
    if not keys or not counts:
        return ""
    least, most = min(counts), max(counts)
    return f"{most} slot{'s'[: most != 1]}" if least == most else f"{least} to {most} slots"


def opposite(structure: Structure, match: Projection) -> list[tuple[Match, Slotted]]:
    """The matches on the other side of the same heads."""
    both = sides(structure, match.target)
    here = {projection.name for projection, _ in both["query"]}
    return both["key" if match.name in here else "query"]


def meeting(structure: Structure, projection: Projection, living: Mapping[str, AnyArray] | None = None) -> AnyArray:
    """(links,) bool: whether something stands on the other side of each slot that a match leads to.

    Args:
        structure: the network.
        projection: the match.
        living: by layer, bool (units,): which units count; all where it is not given.
    """
    columns = links_of(structure, projection)
    there = [np.zeros(0, np.int64)]
    for other, links in opposite(structure, projection):
        counts = links.edges
        if living is not None:
            counts = counts & living[other.source][links.at(1, structure.ends(other.name))]
        there.append(links.keys[counts])
    return np.isin(columns.keys, np.concatenate(there)) & columns.edges


def met_by(structure: Structure, projection: Projection, ids: AnyArray) -> Iterator[tuple[str, AnyArray]]:
    """The units that units of a match's source meet at slots, by the layer of each."""
    columns = links_of(structure, projection)
    wanted = columns.keys[np.isin(columns.ids(1), ids)]
    for other, links in opposite(structure, projection):
        yield other.source, np.unique(links.ids(1)[np.isin(links.keys, wanted)])


def mixing(structure: Structure, layer: str) -> Mix | None:
    """The gate by which heads mix the places of a layer; None where there is none."""
    return next((gate for gate in structure.gates(layer) if isinstance(gate, Mix)), None)


def summed_size(structure: Structure, layer: str) -> Size | None:
    """The size of a layer's sum: that of its units, but where heads mix other places, a column each, into these."""
    record, gate = structure.layer(layer), mixing(structure, layer)
    scores = None if gate is None else output_size(structure.layer(gate.source))
    if scores is None or len(scores) != 2:
        return record.size
    given = (output_size(structure.layer(projection.source)) for projection in structure.summed(layer))
    fitting = (size for size in (*given, record.size) if size and math.prod(size) == scores[1])
    return next(fitting, (scores[1],))


def together(structure: Structure, layer: str, heads: Sequence[int] | None = None) -> list[list[int]]:
    """Heads of a layer that have keys or values in common, in groups, in their order; all heads where not given."""
    pairs: list[tuple[str, int, int]] = []
    for match in sides(structure, layer)["key"]:
        pairs += [(match[0].name, unit, head) for unit, head, _ in match[1].links.tolist()]
    for mix in (projection for projection in structure.outgoing(layer) if projection.mixes):
        head_of = {unit: head for head, unit in linked_pairs(structure, mix.name).tolist()}
        for summed in structure.summed(mix.target):
            values = linked_pairs(structure, summed.name).tolist()
            pairs += [(summed.name, unit, head_of[mixed]) for unit, mixed in values if mixed in head_of]
    groups = {head: [head] for head in (structure.units(layer).tolist() if heads is None else heads)}
    first: dict[tuple[str, int], int] = {}
    for name, unit, head in pairs:
        if head in groups:
            one, other = groups[first.setdefault((name, unit), head)], groups[head]
            if one is not other:
                one += other
                groups.update(dict.fromkeys(other, one))
    return list({id(group): group for group in groups.values()}.values())


def linked_pairs(structure: Structure, name: str) -> AnyArray:
    """(pairs, 2): the ids of source and target of each pair that active links of a projection join."""
    columns, ends = structure.wired(name)
    if not isinstance(columns, Links):
        return np.zeros((0, 2), np.int64)
    targets, sources = columns.listed(columns.edges, ends)
    return np.stack([ends.source.ids[sources], ends.target.ids[targets]], 1)
