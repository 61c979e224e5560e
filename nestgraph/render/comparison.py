"""Two versions of a network edge by edge: what became of every unit and every pair of units."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nestgraph.graph.columns import ConnectionColumns, UnitColumns
from nestgraph.graph.structure import Structure
from nestgraph.render.changes import Places, common_places, unequal
from nestgraph.render.encoding import Fate
from nestgraph.render.union import (
    Part,
    link_strengths,
    links_of,
    matrix_strengths,
    parts,
    spread,
    united_layers,
    united_units,
)
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Argument

Units = dict[str, UnitColumns]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The union of two versions with what became of its parts.

    Attributes:
        old: the earlier version.
        new: the later one.
        union: its weights are codes: see `fate`.
        unit_fates: of each layer by unit id.
        projections: which versions each projection of the union is in: (old, new).
        left_out: how many projections of the old version are not in the union, as they lead against the new order.
    """

    old: Structure
    new: Structure
    union: Structure
    unit_fates: Mapping[str, Mapping[int, Fate]]
    projections: Mapping[str, tuple[bool, bool]]
    left_out: int


def fate(code: float) -> tuple[Fate, float]:
    """What a weight of the union says of its edge: what became of it, and its strength in (0, 1].

    Codes are strengths raised by 1 where the edge changed and by 2 where it was added; those of removed ones are
    negative. So the size of a code is also how much it deserves to be shown.
    """
    if code < 0:
        return "removed", -code - 2
    if code > 2:
        return "added", code - 2
    return ("changed", code - 1) if code > 1 else ("unchanged", code)


def compare(old: Structure, new: Structure) -> Comparison:
    """Compare two versions; an edge has changed when any of its weights, masks or areas has."""
    units, (found, left_out) = united_units((old, new)), parts((old, new))
    connections = {part.projection.name: _coded(part, old, new, units) for part in found}
    records = [part.projection for part in found]
    structure = Structure(united_layers((old, new)).values(), records, units, connections)
    fates = {name: _unit_fates(old, new, name, units[name].ids) for name in units}
    sides = {p.projection.name: (_holds(p, old), _holds(p, new)) for p in found}
    return Comparison(old, new, structure, fates, sides, left_out)


def _holds(part: Part, version: Structure) -> bool:
    return any(version is other for other in part.versions)


def _unit_fates(old: Structure, new: Structure, layer: str, ids: AnyArray) -> Mapping[int, Fate]:
    before, after = (n.unit_columns(layer) if n.has_layer(layer) else UnitColumns.neutral(0, ()) for n in (old, new))
    fates: dict[int, Fate] = dict.fromkeys(ids.tolist(), "unchanged")
    fates |= dict.fromkeys(np.setdiff1d(after.ids, before.ids).tolist(), "added")
    fates |= dict.fromkeys(np.setdiff1d(before.ids, after.ids).tolist(), "removed")
    common, here, there = np.intersect1d(before.ids, after.ids, return_indices=True)
    for column in before.values.keys() & after.values.keys():
        differs = unequal(before.values[column][here], after.values[column][there])
        fates |= dict.fromkeys(common[differs].tolist(), "changed")
    return fates


def _coded(part: Part, old: Structure, new: Structure, units: Units) -> ConnectionColumns:
    if isinstance(part.projection, Argument):
        return ConnectionColumns.of(np.zeros(0))
    before, after = (v if _holds(part, v) else None for v in (old, new))
    if part.projection.kind == "one_to_one":
        return _coded_links(part, before, after, units)
    shape = len(units[part.projection.target]), len(units[part.projection.source])
    nothing = np.broadcast_to(np.float32(0), shape)
    was, now = (nothing if v is None else matrix_strengths(v, part, units) for v in (before, after))
    changed = np.broadcast_to(np.False_, shape)
    if before is not None and after is not None:
        changed = _changed(part, before, after, units)
    codes = _codes(was, now, changed)
    return ConnectionColumns.of(codes, codes != 0)


def _codes(was: AnyArray, now: AnyArray, changed: AnyArray) -> AnyArray:
    two = np.float32(2)
    gone = np.where(was > 0, -two - was, np.float32(0))
    come = np.where(was > 0, now + changed.astype(np.float32), two + now)
    return np.where(now > 0, come, gone)


def _changed(part: Part, old: Structure, new: Structure, units: Units) -> AnyArray:
    """Bool (out, in): edges of both versions whose weights, masks or areas differ."""
    before, after = old.connection_columns(part.name), new.connection_columns(part.name)
    shape = len(units[part.projection.target]), len(units[part.projection.source])
    if before is after:
        return np.broadcast_to(np.False_, shape)
    here, there = common_places(old, new, part.name)
    differs = unequal(before.weight[here], after.weight[there]) | (before.mask[here] != after.mask[there])
    differs = differs.any(axis=tuple(range(2, differs.ndim))) | _areas_differ(before, after, here, there)
    full = np.zeros(before.edges.shape, bool)
    full[here] = differs
    return spread(full, old, part, units)


def _areas_differ(before: ConnectionColumns, after: ConnectionColumns, here: Places, there: Places) -> AnyArray:
    """Bool (out, in), for the pairs that both versions have; an area of None is the whole map."""
    if before.area is None and after.area is None:
        return np.zeros((1, 1), bool)
    first, second = _kept_positions(before, here), _kept_positions(after, there)
    return (first != second).any(axis=(2, 3))


def _kept_positions(columns: ConnectionColumns, places: Places) -> AnyArray:
    """Bool (out, in, P, Q), or one that broadcasts to it."""
    if columns.area is None:
        return np.ones((1, 1, 1, 1), bool)
    return np.broadcast_to(columns.area, (*columns.edges.shape, *columns.area.shape[2:]))[places]


def _coded_links(part: Part, old: Structure | None, new: Structure | None, units: Units) -> ConnectionColumns:
    none = np.zeros(0, np.int64), np.zeros(0, np.float32)
    (old_keys, was), (new_keys, now) = (none if v is None else link_strengths(v, part, units) for v in (old, new))
    every = np.union1d(old_keys, new_keys)
    first, second = np.zeros(len(every), np.float32), np.zeros(len(every), np.float32)
    first[np.searchsorted(every, old_keys)] = was
    second[np.searchsorted(every, new_keys)] = now
    changed = np.zeros(len(every), bool)
    if old is not None and new is not None:
        changed = _differing(every, (old_keys, _live_rows(old, part)), (new_keys, _live_rows(new, part)))
    codes = _codes(first, second, changed)
    return ConnectionColumns.of(codes, links=links_of(every, part, units))


def _live_rows(version: Structure, part: Part) -> AnyArray:
    """The weights and masks of live links as bits, uint32 (links, entries)."""
    columns = version.connection_columns(part.name)
    rows = np.stack([columns.weight.view(np.uint32), columns.mask.astype(np.uint32)], axis=-1)
    return rows.reshape(len(rows), math.prod(rows.shape[1:]))[columns.live]


def _differing(every: AnyArray, old: tuple[AnyArray, AnyArray], new: tuple[AnyArray, AnyArray]) -> AnyArray:
    common, here, there = np.intersect1d(old[0], new[0], return_indices=True)
    marks = np.zeros(len(every), bool)
    marks[np.searchsorted(every, common)] = (old[1][here] != new[1][there]).any(axis=1)
    return marks
