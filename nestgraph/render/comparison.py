"""Two versions of a network edge by edge: what became of every unit and every pair of units, in places to draw."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nestgraph.graph.columns import ConnectionColumns, UnitColumns
from nestgraph.graph.difference import Difference, difference
from nestgraph.graph.layer_difference import LayerDifference
from nestgraph.graph.projection_difference import ProjectionDifference
from nestgraph.graph.structure import Structure
from nestgraph.render.encoding import Fate
from nestgraph.render.union import (
    Part,
    link_keys,
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
    if isinstance(part.projection, Argument):
        return ConnectionColumns.of(np.zeros(0))
    before, after = (v if _holds(part, v) else None for v in (change.old, change.new))
    both = change.projections[part.name] if before is not None and after is not None else None
    if part.projection.kind == "one_to_one":
        return _coded_links(part, before, after, both, units)
    shape = len(units[part.projection.target]), len(units[part.projection.source])
    nothing = np.broadcast_to(np.float32(0), shape)
    was, now = (nothing if v is None else matrix_strengths(v, part, units) for v in (before, after))
    changed = np.broadcast_to(np.False_, shape) if both is None else spread(both.edges, change.old, part, units)
    codes = _codes(was, now, changed)
    return ConnectionColumns.of(codes, codes != 0)


def _codes(was: AnyArray, now: AnyArray, changed: AnyArray) -> AnyArray:
    two = np.float32(2)
    gone = np.where(was > 0, -two - was, np.float32(0))
    come = np.where(was > 0, now + changed.astype(np.float32), two + now)
    return np.where(now > 0, come, gone)


def _coded_links(
    part: Part, old: Structure | None, new: Structure | None, both: ProjectionDifference | None, units: Units
) -> ConnectionColumns:
    none = np.zeros(0, np.int64), np.zeros(0, np.float32)
    (old_keys, was), (new_keys, now) = (none if v is None else link_strengths(v, part, units) for v in (old, new))
    every = np.union1d(old_keys, new_keys)
    first, second = np.zeros(len(every), np.float32), np.zeros(len(every), np.float32)
    first[np.searchsorted(every, old_keys)] = was
    second[np.searchsorted(every, new_keys)] = now
    changed = np.zeros(len(every), bool)
    if both is not None and old is not None:
        changed[np.searchsorted(every, link_keys(old, part, units)[both.edges])] = True
    codes = _codes(first, second, changed)
    return ConnectionColumns.of(codes, links=links_of(every, part, units))
