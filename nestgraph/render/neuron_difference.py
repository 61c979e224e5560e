"""The neuron diagram of a difference: every unit in one place, with what became of it and of its edges."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from nestgraph.graph.difference import Difference
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.render.comparison import Comparison, compare, fate
from nestgraph.render.encoding import LOOKS, Fate, growth_words, signed
from nestgraph.render.neuron_diagram import (
    MAX_EDGES,
    MAX_UNITS,
    SMALLEST_ID,
    edge_width,
    heading,
    hidden_box,
    sentence,
    widths,
)
from nestgraph.render.neuron_plan import BAR, ID_STRIP, LEVELS, Column, Plan, Stroke, edge_words, plan
from nestgraph.render.scene import Box, Curve, Curves, Disc, Mark, Scene, Words
from nestgraph.render.selection import select
from nestgraph.render.style import FAINT, INK, MUTED, PANEL, PAPER
from nestgraph.spec.arrays import AnyArray

MOST_DORMANT = 400  # pairs of units of a projection whose dormant edges are drawn
MOST_SIGNED = 80  # edges that carry their sign
SMALLEST_SIGN = 7.0  # points: units below this side carry their sign in the tooltip only
ORDER: tuple[Fate, ...] = ("dormant", "unchanged", "changed", "removed", "added")
OPACITY: Mapping[Fate, float] = {"dormant": 1.0, "unchanged": 0.55, "changed": 0.55, "removed": 0.8, "added": 0.85}


def neuron_difference(old: Network, new: Network, max_units: int = MAX_UNITS, max_edges: int = MAX_EDGES) -> Scene:
    """Draw what became of units and edges from one network to another.

    Places are those of the union of both, by id. Added is blue, solid and +; removed vermilion, dashed and -; changed
    purple, barely broken and ~; what stayed the same is grey, dormant edges dotted. Where there is not room for
    all, what changed comes first, and bars count the edges in and out of each unit by what became of them.
    """
    comparison = compare(old, new)
    places = plan(comparison.union, select(comparison.union, max_units, max_edges))
    marks = [
        *_title(old, new, comparison),
        *(mark for column in places.columns for mark in _heading(comparison.difference, column)),
        *_edges(comparison, places),
        *(mark for column in places.columns for mark in _units(comparison, places, column)),
        *_legend(comparison, places),
    ]
    name = f"Difference of neural networks {widths(old)} and {widths(new)}"
    return Scene(places.width, places.height, name, places.selection.statement(edges_only=True), tuple(marks))


def _title(old: Network, new: Network, comparison: Comparison) -> Iterator[Mark]:
    counts = comparison.difference.counts
    before, after = widths(old), widths(new)
    words = before if before == after else f"{before} → {after}"
    yield Words(28, 34, words.removeprefix("of "), 17, bold=True)
    yield Words(28, 53, f"{growth_words(counts)}, ~{counts.numbers:,} values", 11, MUTED)


def _heading(change: Difference, column: Column) -> Iterator[Mark]:
    counts, notes = change.by_layer[column.layer.name], ", ".join(change.notes(column.layer.name))
    units, links = (signed(tally.added, tally.removed) for tally in (counts.units, counts.connections))
    told = f"units {units}" if units else "", f"connections {links}" if links else ""
    return heading(column, *told, f"~ {notes}".replace("_", " ") if notes else "")


def _edges(comparison: Comparison, places: Plan) -> Iterator[Mark]:
    """Edges grouped by fate and size: what stayed lies below what changed."""
    groups: dict[tuple[int, int], list[Curve]] = {}
    told: list[tuple[Fate, Curve]] = []
    for stroke in places.strokes:
        became, level, curve = _told(stroke)
        curve = curve if places.roomy else replace(curve, title="")
        groups.setdefault((ORDER.index(became), level), []).append(curve)
        told.append((became, curve))
    if places.selection.complete:
        groups |= {(0, 1): list(_dormant(comparison.union, places))}
    for (order, level), curves in sorted(groups.items()):
        look = LOOKS[ORDER[order]]
        yield Curves(look.colour, edge_width(places, level), OPACITY[ORDER[order]], look.dashes, tuple(curves))
    moved = [entry for entry in told if LOOKS[entry[0]].sign]
    if len(moved) <= MOST_SIGNED:
        yield from (_sign(became, curve) for became, curve in moved)


def _told(stroke: Stroke) -> tuple[Fate, int, Curve]:
    if not stroke.projection.weighted:
        return "unchanged", 1, stroke.curve
    became, strength = fate(stroke.value)
    level = max(1, int(np.ceil(LEVELS * strength - 1e-6)))
    title = f"{edge_words(stroke.source, stroke.target, 0, 1).split(':')[0]}: {became}"
    curve = stroke.curve
    return became, level, Curve(curve.x1, curve.y1, curve.x2, curve.y2, curve.via, title)


def _sign(became: Fate, curve: Curve) -> Words:
    """The sign of an edge, nearer to the end where the edges of its kind part."""
    share = {"added": 0.7, "removed": 0.3}.get(became, 0.5)
    level = curve.y1 + share * (curve.y2 - curve.y1) if curve.via is None else curve.via
    look = LOOKS[became]
    return Words(curve.x1 + share * (curve.x2 - curve.x1), level - 2, look.sign, 11, look.colour, bold=True)


def _dormant(union: Structure, places: Plan) -> Iterator[Curve]:
    """Pairs that no connection of either version joins, where a projection has few pairs."""
    column_of = {column.layer.name: column for column in places.columns}
    for name in union.projection_names:
        projection, columns = union.projection(name), union.connection_columns(name)
        if projection.couples or not projection.weighted or columns.mask.size > MOST_DORMANT:
            continue
        start, end = column_of[projection.source], column_of[projection.target]
        sources, targets = union.units(projection.source), union.units(projection.target)
        for row, place in np.argwhere(~union.pairs(projection.name).matrix()):
            y1, y2 = start.places[int(sources[place])], end.places[int(targets[row])]
            yield Curve(start.x + start.clearance, y1, end.x - end.clearance, y2)


def _units(comparison: Comparison, places: Plan, column: Column) -> Iterator[Mark]:
    fates = comparison.unit_fates[column.layer.name]
    if places.bars:
        yield from _fan_bars(comparison.union, column)
    for unit, y in column.places.items():
        became = fates[unit]
        title = f"{column.layer.name} {unit}: {became}"
        yield from _unit(column, unit, y, became, title)
    if column.hidden:
        yield from hidden_box(column)


def _unit(column: Column, unit: int, y: float, became: Fate, title: str) -> Iterator[Mark]:
    look, side = LOOKS[became], column.side
    fill, width = PAPER if became == "removed" else PANEL, 1.0 if became == "unchanged" else 1.8
    dashes = (2.5, 1.5) if became == "removed" else ()
    if column.tiles:
        left = column.x - side / 2 - ID_STRIP
        yield Box(left, y - side / 2, side + 2 * ID_STRIP, side, fill, look.colour, width, 2.0, dashes, title)
    else:
        yield Disc(column.x, y, side / 2, fill, look.colour, width, dashes, title)
    if side >= SMALLEST_ID - 2:
        size = min(8.0, side * 1.25 / max(2, len(str(unit))))
        yield Words(column.x, y + size * 0.36, str(unit), size, INK, anchor="middle")
    if look.sign and side >= SMALLEST_SIGN:
        half = side / 2 + (ID_STRIP if column.tiles else 0.0)
        yield Words(column.x + half + 2, y - side / 2 + 4, look.sign, 11, look.colour, bold=True)


def _fan_bars(union: Structure, column: Column) -> Iterator[Mark]:
    """Bars left and right of each unit: its edges in and out by fate, relative to the most of the layer."""
    position = union.unit_columns(column.layer.name).position
    thickness = min(5.0, column.pitch * 0.5)
    for counts, side in zip(_fans(union, column.layer.name), (-1, 1), strict=True):
        most = max(int(np.sum(list(counts.values()), axis=0).max(initial=0)), 1)
        for unit, y in column.places.items():
            reach = column.clearance - BAR - 2
            for became, tally in counts.items():
                count = int(tally[position[unit]])
                length = BAR * count / most
                if count:
                    yield _bar(column, y, side * reach, side * length, thickness, became, f"{unit}: {count:,} {became}")
                reach += length


def _bar(column: Column, y: float, start: float, length: float, thickness: float, became: Fate, title: str) -> Box:
    """A piece of a bar; what was removed is hollow."""
    look, left = LOOKS[became], column.x + min(start, start + length)
    fill = PAPER if became == "removed" else look.colour
    stroke, width = (look.colour, 0.7) if became == "removed" else ("none", 1.0)
    title = f"{column.layer.name} {title} {'in' if length < 0 else 'out'}"
    return Box(left, y - thickness / 2, abs(length), thickness, fill, stroke, width, title=title)


def _fans(union: Structure, layer: str) -> tuple[dict[Fate, AnyArray], dict[Fate, AnyArray]]:
    """Edges into and out of each unit of a layer by fate, in the order of positions."""
    count = len(union.unit_columns(layer))
    into: dict[Fate, AnyArray] = {became: np.zeros(count, np.int64) for became in reversed(ORDER[1:])}
    out: dict[Fate, AnyArray] = {became: np.zeros(count, np.int64) for became in reversed(ORDER[1:])}
    for counts, projections, end in ((into, union.incoming(layer), 0), (out, union.outgoing(layer), 1)):
        for columns, ends in (union.wired(projection.name) for projection in projections):
            for became, tally in counts.items():
                tally += columns.total(columns.mask & _is(columns.weight, became), end, ends)
    return into, out


def _is(codes: AnyArray, became: Fate) -> AnyArray:
    """Where codes say a fate; see `comparison.fate`."""
    if became == "removed":
        return codes < 0
    least, most = {"unchanged": (0, 1), "changed": (1, 2), "added": (2, np.inf)}[became]
    return (codes > least) & (codes <= most)


def _legend(comparison: Comparison, places: Plan) -> Iterator[Mark]:
    y, left = places.bottom + 32, 28.0
    shown = Counter(_told(stroke)[0] for stroke in places.strokes)
    yield Box(left, y - 14, places.width - 2 * left, 1, FAINT)
    yield Words(left, y + 12, sentence(places.selection.statement(edges_only=True)), 12, bold=True)
    for index, became in enumerate(reversed(ORDER)):
        look, x = LOOKS[became], left + 122 * index
        yield Curves(look.colour, 2.0, 1.0, look.dashes, (Curve(x, y + 37, x + 30, y + 37),))
        yield Words(x + 36, y + 41, f"{look.sign} {became}".strip(), 10, MUTED)
    notes = [f"edges shown: {', '.join(f'{shown[f]:,} {f}' for f in reversed(ORDER) if shown[f])}"]
    if places.bars:
        notes.append("bars: all edges in (left) and out (right)")
    if comparison.difference.interface:
        notes.append("another interface is recorded")
    if comparison.left_out:
        notes.append(f"{comparison.left_out} removed projections led backwards and are left out")
    yield Words(left, y + 59, "; ".join(notes), 10, MUTED)
