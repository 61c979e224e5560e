"""Units that are turned by place, as by rotary positions (Su et al. 2021, arXiv:2104.09864): in pairs, as new ones."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nestgraph.edits.layers import Block
from nestgraph.graph.columns import Links
from nestgraph.graph.heads import links_of, sides
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import OneToOne


def turning(structure: Structure, layer: str) -> list[OneToOne]:
    """The links, some of them by place, from one layer that another reads alone; none where it reads otherwise."""
    summed = structure.summed(layer)
    links = [p for p in summed if isinstance(p, OneToOne) and p.window is None and p.source == summed[0].source]
    return links if len(links) == len(summed) and any(p.placed for p in links) else []


@dataclass(frozen=True)
class Turn:
    """Slots of a head whose queries, or whose keys, are turned together: a pair, or one that is not turned.

    Attributes:
        slots: in ascending order.
        units: by match, the unit at each slot.
        angles: equal for those that are turned alike.
    """

    slots: tuple[int, ...]
    units: Mapping[str, tuple[int, ...]]
    angles: Hashable


def turns(structure: Structure, layer: str, head: int) -> list[Turn] | None:
    """What a head turns together, in the order of slots; None where neither its queries nor its keys are turned.

    Left out are units at several slots, and those without the other one of their pair, as where another head has that.
    """
    matches = [match for both in sides(structure, layer).values() for match, _ in both]
    if not any(turning(structure, match.source) for match in matches):
        return None
    placed = {m.name: links_of(structure, m).links for m in matches}
    at = {name: {slot: unit for unit, one, slot in links.tolist() if one == head} for name, links in placed.items()}
    slots = set[int].intersection(*(set(found) for found in at.values()))
    groups = {slot: {slot} for slot in slots}
    left_out = set[int]()
    for match in matches:
        standing: dict[int, list[int]] = {}
        for slot, unit in at[match.name].items():
            standing.setdefault(unit, []).append(slot)
        left_out |= {slot for found in standing.values() if len(found) > 1 for slot in found}
        for units in _turned_together(structure, match.source):
            found = {slot for unit in units for slot in standing.get(unit, ())} & slots
            joined = set[int]().union(*(groups[slot] for slot in found))
            groups.update(dict.fromkeys(joined, joined))
    given: list[Turn] = []
    for group in [tuple(sorted(group)) for slot, group in sorted(groups.items()) if slot == min(group)]:
        units = {name: tuple(found[slot] for slot in group) for name, found in at.items()}
        if left_out.isdisjoint(group) and all(_whole(structure, m.source, units[m.name]) for m in matches):
            angles = tuple(_angles(structure, match.source, units[match.name]) for match in matches)
            given.append(Turn(group, units, angles))
    return given


def chosen(given: Sequence[Turn], count: int, *, beside: bool) -> list[Turn] | None:
    """Turns of so many slots in all, those first that are rarest, in their order; None where whole ones do not fit.

    Args:
        given: to choose from, as often as needed.
        count: the slots.
        beside: whether they come beside those that are given, so that angles count that are there.
    """
    kinds: list[Hashable] = [turn.angles if beside else place for place, turn in enumerate(given)]
    used, found, left = Counter(kinds if beside else ()), list[Turn](), count
    while left:
        fitting = [place for place, turn in enumerate(given) if len(turn.slots) <= left]
        if not fitting:
            return None
        best = min(fitting, key=lambda place: used[kinds[place]])
        used[kinds[best]] += 1
        found.append(given[best])
        left -= len(given[best].slots)
    return found


def read_by(structure: Structure, layer: str, groups: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """The (number of the group, unit) of each unit that groups of units of a layer are turned from."""
    pairs = np.concatenate([_links(structure, p).links for p in turning(structure, layer)])
    found: dict[tuple[int, int], None] = {}
    for number, group in enumerate(groups):
        for unit in group:
            found |= dict.fromkeys((number, source) for source in pairs[pairs[:, 1] == unit, 0].tolist())
    return list(found)


def turned_alike(
    structure: Structure,
    layer: str,
    groups: Sequence[Sequence[int]],
    sources: Mapping[tuple[int, int], int],
    ids: Sequence[int],
) -> dict[str, Block]:
    """Links by which new units are turned as groups of living ones, each group from sources of its own.

    Args:
        structure: the network.
        layer: that turns.
        groups: the living ones.
        sources: the id of the new unit for each of `read_by`.
        ids: of the new units, in the order of the groups' units.
    """
    models = [(number, unit) for number, group in enumerate(groups) for unit in group]
    blocks: dict[str, Block] = {}
    for projection in turning(structure, layer):
        columns = _links(structure, projection)
        rows = {unit: row for row, unit in enumerate(columns.ids(0).tolist())}
        linked = [(rows[unit], number, new) for (number, unit), new in zip(models, ids, strict=True) if unit in rows]
        links = [(sources[number, int(columns.links[row, 0])], new) for row, number, new in linked]
        part = columns.chosen(np.array([row for row, _, _ in linked], np.int64))
        blocks[projection.name] = Block.of(part.relinked(np.array(links, np.int64)))
    return blocks


def _whole(structure: Structure, layer: str, units: Sequence[int]) -> bool:
    """Whether units read as many others as they are, where their layer turns these."""
    return not turning(structure, layer) or len(read_by(structure, layer, [units])) == len(units)


def _links(structure: Structure, projection: OneToOne) -> Links:
    columns = structure.connection_columns(projection.name)
    assert isinstance(columns, Links), "one-to-one projections have links"
    return columns


def _turned_together(structure: Structure, layer: str) -> list[set[int]]:
    """The units of a layer that read each unit which it turns."""
    readers: dict[int, set[int]] = {}
    for projection in turning(structure, layer):
        for source, target in _links(structure, projection).links.tolist():
            readers.setdefault(source, set()).add(target)
    return list(readers.values())


def _angles(structure: Structure, layer: str, units: Sequence[int]) -> tuple[bytes, ...]:
    """The weights by which units are turned, in their order."""

    def weights(projection: OneToOne) -> AnyArray:
        columns = _links(structure, projection)
        return np.concatenate([columns.weight[columns.ids(0) == unit].reshape(-1) for unit in units])

    return tuple(weights(projection).tobytes() for projection in turning(structure, layer))
