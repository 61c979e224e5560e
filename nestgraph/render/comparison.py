"""Two versions of a network edge by edge: what became of every unit and every pair of units, in places to draw."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nestgraph.graph.columns import ConnectionColumns, UnitColumns
from nestgraph.graph.difference import Difference, difference
from nestgraph.graph.layer_difference import LayerDifference
from nestgraph.graph.structure import Structure
from nestgraph.render.encoding import Fate
from nestgraph.render.union import (
    Part,
    in_union,
    parts,
    strengths,
    united_block,
    united_layers,
    united_units,
)
from nestgraph.spec.arrays import AnyArray

Units = dict[str, UnitColumns]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The union of two versions with what became of its parts.

    Attributes:
        difference: what changed from the earlier version to the later one.
        union: its weights are codes: see `fate`.
        unit_fates: of each layer by unit id.
        projections: which versions each projection of the union is in: (old, new).
        left_out: how many projections of the old version are not in the union, as they lead against the new order.
    """

    difference: Difference
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
    change = difference(old, new)
    units, (found, left_out) = united_units((old, new)), parts((old, new))
    connections = {part.projection.name: _coded(part, change, units) for part in found}
    records = [part.projection for part in found]
    structure = Structure(united_layers((old, new)).values(), records, units, connections)
    fates = {name: _unit_fates(change.layers[name], units[name].ids) for name in units}
    sides = {p.projection.name: (_holds(p, old), _holds(p, new)) for p in found}
    return Comparison(change, structure, fates, sides, left_out)


def _holds(part: Part, version: Structure) -> bool:
    return any(version is other for other in part.versions)


def _unit_fates(change: LayerDifference, ids: AnyArray) -> Mapping[int, Fate]:
    fates: dict[int, Fate] = dict.fromkeys(ids.tolist(), "unchanged")
    marked: tuple[tuple[AnyArray, Fate], ...] = (
        (change.added, "added"),
        (change.removed, "removed"),
        (change.changed, "changed"),
    )
    for units, became in marked:
        fates |= dict.fromkeys(units.tolist(), became)
    return fates


def _coded(part: Part, change: Difference, units: Units) -> ConnectionColumns:
    union = united_block(part, units)
    before, after = (v if _holds(part, v) else None for v in (change.old, change.new))
    was, now = (
        np.zeros(union[0].edges.shape, np.float32) if v is None else in_union(strengths(v, part), v, part, union)
        for v in (before, after)
    )
    changed = np.zeros(union[0].edges.shape, bool)
    if before is not None and after is not None:
        changed = in_union(change.projections[part.name].edges, before, part, union)
    codes = _codes(was, now, changed)
    return union[0].with_weight(codes, codes != 0)


def _codes(was: AnyArray, now: AnyArray, changed: AnyArray) -> AnyArray:
    two = np.float32(2)
    gone = np.where(was > 0, -two - was, np.float32(0))
    come = np.where(was > 0, now + changed.astype(np.float32), two + now)
    return np.where(now > 0, come, gone)
