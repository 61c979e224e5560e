"""The neuron diagram: every unit, or the strongest of each layer, with its edges by sign and size, as a scene."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.graph.summary import operation_words
from nestgraph.render.kernels import kernel_marks
from nestgraph.render.neuron_plan import BAR, ID_STRIP, Column, Frame, Plan, plan
from nestgraph.render.scene import (
    DASH_DOT_DOTTED,
    DASH_DOTTED,
    DASHED,
    DOTTED,
    Box,
    Curve,
    Curves,
    Disc,
    Mark,
    Scene,
    Words,
)
from nestgraph.render.selection import select
from nestgraph.render.style import (
    BLUE,
    FAINT,
    GREY,
    INK,
    MUTED,
    PANEL,
    PAPER,
    VERMILION,
    fitted,
    plain,
    size_words,
    unit_words,
)
from nestgraph.render.svg import svg
from nestgraph.render.union import union

MAX_UNITS = 300
MAX_EDGES = 2000
HEADING_WIDTH = 146.0
MOST_ROWS = 4  # below the name of a column
SMALLEST_ID = 13.0  # points: discs and tiles below this side carry their id as a tooltip only


def neuron_diagram(
    network: Network, max_units: int = MAX_UNITS, max_edges: int = MAX_EDGES, among: Sequence[Network] = ()
) -> str:
    """The neuron diagram as SVG text; see `neuron_scene`."""
    return svg(neuron_scene(network, max_units, max_edges, among))


def neuron_scene(
    network: Network, max_units: int = MAX_UNITS, max_edges: int = MAX_EDGES, among: Sequence[Network] = ()
) -> Scene:
    """Draw units and edges at computed places.

    A column is a layer, its units are ordered by id; feature maps are tiles that show their strongest kernel. Positive
    edges are blue and solid, negative ones vermilion and dashed, thicker where stronger. Up to `max_units` units
    and `max_edges` edges are all drawn; above that the strongest of each layer and projection are, with bars for
    the fans of each unit, and the picture states in words what it leaves out.

    Among other versions of the network every unit has the place that it has in their pictures, and one that does not
    live leaves a hole.
    """
    places = _places(network, max_units, max_edges, among)
    marks = [
        *_title(network),
        *(mark for column in places.columns for mark in heading(column)),
        *_edges(places),
        *(mark for column in places.columns for mark in _units(network, places, column)),
        *_legend(places),
    ]
    name = f"Neural network {widths(network)}"
    return Scene(places.width, places.height, name, places.selection.statement(), tuple(marks))


def _places(network: Network, max_units: int, max_edges: int, among: Sequence[Network]) -> Plan:
    if not among:
        return plan(network, select(network, max_units, max_edges))
    versions = (*(version for version in among if version is not network), network)
    every = union(versions)
    units = select(every, max_units, max_edges).units
    return plan(network, select(network, max_units, max_edges, units), Frame(every, units))


def widths(network: Structure) -> str:
    """The units of each layer, such as `784-300-10`, or how many layers there are."""
    counts = [str(len(network.unit_columns(name))) for name in network.layer_names]
    return "-".join(counts) if len(counts) <= 8 else f"of {len(counts)} layers"


def _title(network: Structure) -> Iterator[Mark]:
    left = 28.0
    possible = sum(network.connection_columns(name).mask.size for name in network.projection_names)
    live = f"{network.connection_count:,} of {possible:,} connections live, {network.unit_count:,} units"
    yield Words(left, 34, widths(network).removeprefix("of "), 17, bold=True)
    yield Words(left, 53, live, 11, MUTED)


def heading(column: Column, *changes: str) -> Iterator[Mark]:
    """The name, label, units and operations above a column, or what changed of it, which may take the label's place."""
    layer = column.layer
    size = size_words(layer)
    units = unit_words(layer, column.total, bool(column.slots)) + (f" of {size}" if size else "")
    units = f"{len(column.places):,} of {units}" if column.hidden else units
    units = f"{units} (output)" if layer.output else units
    lines = [Words(column.x, 88, fitted(layer.name, 13, HEADING_WIDTH, bold=True), 13, bold=True, anchor="middle")]
    rows = [
        (plain(layer.label), MUTED, True),
        (units if column.total else "absent", INK, False),
        *((change, INK, False) for change in changes),
        ("" if changes else operation_words(layer, column.slots).replace("_", " "), MUTED, False),
    ]
    filled = [(text, colour, slant) for text, colour, slant in rows if text][-MOST_ROWS:]
    for place, (text, colour, slant) in enumerate(filled):
        words = fitted(text, 9.5, HEADING_WIDTH)
        lines.append(Words(column.x, 103 + 13 * place, words, 9.5, colour, italic=slant, anchor="middle"))
    return iter(lines)


def _edges(places: Plan) -> Iterator[Mark]:
    """Edges grouped by style, the strongest on top."""
    groups: dict[tuple[int, bool, bool], list[Curve]] = {}
    arguments: list[Curve] = []
    for stroke in places.strokes:
        curve = stroke.curve if places.roomy else replace(stroke.curve, title="")
        if not stroke.projection.weighted:
            arguments.append(curve)
        else:
            style = stroke.level, stroke.value >= 0, stroke.projection.gates
            groups.setdefault(style, []).append(curve)
    if arguments:
        yield Curves(GREY, 0.8, 0.9, DOTTED, tuple(arguments))
    for (level, positive, gate), curves in sorted(groups.items(), key=lambda group: group[0]):
        yield edge_style(places, level, positive, tuple(curves), gate)


def edge_width(places: Plan, level: int) -> float:
    """How thick an edge is drawn: thinner all together where there are many."""
    return (0.5 + 0.45 * (level - 1)) * max(1.0, places.selection.edge_count / 300) ** -0.3


def edge_style(places: Plan, level: int, positive: bool, curves: tuple[Curve, ...], gate: bool = False) -> Curves:
    """The look of edges of one sign and size."""
    dashes = (DASH_DOTTED if positive else DASH_DOT_DOTTED) if gate else () if positive else DASHED
    colour = BLUE if positive else VERMILION
    return Curves(colour, edge_width(places, level), round(0.3 + 0.14 * level, 2), dashes, curves)


def _units(network: Structure, places: Plan, column: Column) -> Iterator[Mark]:
    if places.bars:
        yield from _fan_bars(network, column)
    for unit, y in column.places.items():
        title = f"{column.layer.name} {unit}"
        yield from _tile(column, unit, y, title) if column.tiles else _disc(column, unit, y, title)
    if column.tiles:
        yield from kernel_marks(network, column)
    if column.hidden:
        yield from hidden_box(column)


def _disc(column: Column, unit: int, y: float, title: str) -> Iterator[Mark]:
    fill = PANEL if column.layer.kind == "input" else PAPER
    heavy = column.layer.output or column.layer.kind == "input"
    yield Disc(column.x, y, column.side / 2, fill, MUTED, 1.6 if heavy else 1.0, title=title)
    if column.side >= SMALLEST_ID:
        size = min(8.0, column.side * 1.25 / max(2, len(str(unit))))
        yield Words(column.x, y + size * 0.36, str(unit), size, INK, anchor="middle")


def _tile(column: Column, unit: int, y: float, title: str) -> Iterator[Mark]:
    side = column.side
    left = column.x - side / 2 - ID_STRIP
    yield Box(left, y - side / 2, side + 2 * ID_STRIP, side, PANEL, GREY, 1.0, 2.0, title=title)
    yield Box(left + 2 * ID_STRIP, y - side / 2, side, side, PAPER, GREY, 1.0)
    if side >= SMALLEST_ID - 2:
        yield Words(left + ID_STRIP, y + 2.8, str(unit), min(8.0, 24 / max(2, len(str(unit)))), INK, anchor="middle")


def _fan_bars(network: Structure, column: Column) -> Iterator[Mark]:
    """Bars left and right of each unit: its connections in and out, relative to the layer's largest."""
    position = network.unit_columns(column.layer.name).position
    thickness = min(5.0, column.pitch * 0.5)
    for fan, side in zip(network.fans(column.layer.name), (-1, 1), strict=True):
        largest = int(np.max(fan, initial=0))
        for unit, y in column.places.items():
            count = int(fan[position[unit]])
            if not count:
                continue
            length = BAR * count / largest
            start = column.x + side * (column.clearance - BAR - 2)
            title = f"{column.layer.name} {unit}: {count:,} connections {'in' if side < 0 else 'out'}"
            left = start - length if side < 0 else start
            yield Box(left, y - thickness / 2, length, thickness, GREY, title=title)


def hidden_box(column: Column) -> Iterator[Mark]:
    """How many units are not shown, below a column."""
    y = column.bottom + 8
    yield Box(column.x - 52, y, 104, 20, PAPER, GREY, 1.0, 4.0, DASHED)
    yield Words(column.x, y + 13.5, column.hidden_words, 9.5, MUTED, anchor="middle")


def _legend(places: Plan) -> Iterator[Mark]:
    y, left = places.bottom + 32, 28.0
    yield Box(left, y - 14, places.width - 2 * left, 1, FAINT)
    yield Words(left, y + 12, sentence(places.selection.statement()), 12, bold=True)
    for positive, x, name in ((True, left, "positive weight"), (False, left + 150, "negative weight")):
        for level in (2, 4):
            place = y + 32 + 2 * level
            yield edge_style(places, level, positive, (Curve(x, place - 2, x + 34, place - 2),))
        yield Words(x + 42, y + 41, name, 10, MUTED)
    yield Words(left + 300, y + 41, "thicker: stronger within its projection", 10, MUTED)
    notes: list[str] = []
    if any(column.tiles and column.layer.kind != "input" for column in places.columns):
        notes.append("tile: a map's strongest kernel, filled positive, hollow negative")
    if places.bars:
        notes.append("grey bars: connections in (left) and out (right)")
    kinds = [edges.projection for edges in places.selection.edges]
    if any(kind.gates for kind in kinds):
        notes.append("dash-dotted: a gate, which multiplies")
    if not all(kind.weighted for kind in kinds):
        notes.append("dotted grey: read by an opaque layer")
    yield Words(left, y + 59, "; ".join(notes), 10, MUTED)


def sentence(text: str) -> str:
    """A text with its first letter raised."""
    return text[:1].upper() + text[1:]
