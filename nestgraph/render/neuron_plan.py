"""Places of a neuron diagram: a column a layer, units in the order of their ids, never a force layout."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from nestgraph.graph.heads import slot_words
from nestgraph.graph.structure import Structure
from nestgraph.graph.view import Node
from nestgraph.render.scene import Curve
from nestgraph.render.selection import Edges, Selection
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.layer import Layer
from nestgraph.spec.projection import Projection

COLUMN_HEIGHT = 860.0  # points that the tallest column aims at
NEURON_PITCH = (5.0, 26.0)  # least and most points from unit to unit
TILE_PITCH = (16.0, 44.0)
GAP = (156.0, 300.0)  # least and most points from column to column
MARGIN = 96.0
HEADER = 148.0  # title and column headings
LANE = 44.0  # above the columns, where edges that skip a layer run
FOOTER = 108.0
BAR = 22.0  # the longest fan bar
ID_STRIP = 9.0  # beside a tile's raster: half the width of the strip that holds the unit's id
LEVELS = 5  # of edge thickness
MOST_TOOLTIPS = 1000


@dataclass(frozen=True)
class Column:
    """One layer: where its shown units lie.

    Attributes:
        layer: the record.
        x: the centre of the column.
        places: the y of each shown unit, by id.
        pitch: from unit to unit.
        total: the number of units, shown or not.
        clearance: from the centre to where edges begin.
        bottom: where the lowest unit ends that the column has room for, shown or absent.
        slots: of heads, how many they compare at, in words.
    """

    layer: Layer
    x: float
    places: Mapping[int, float]
    pitch: float
    total: int
    clearance: float
    bottom: float
    slots: str = ""

    @property
    def tiles(self) -> bool:
        """Whether units are drawn as tiles (maps) instead of discs."""
        return self.layer.size is not None

    @property
    def side(self) -> float:
        """The diameter of a disc or the side of a tile's raster."""
        return unit_side(self.pitch, self.tiles)

    @property
    def hidden(self) -> int:
        """How many units are not shown."""
        return self.total - len(self.places)

    @property
    def hidden_words(self) -> str:
        """What the box below the column says."""
        return f"{self.hidden:,} more {'unit' if self.hidden == 1 else 'units'}"


@dataclass(frozen=True)
class Stroke:
    """One edge as it is drawn; `level` from 1 to `LEVELS` is its thickness."""

    projection: Projection
    source: Node
    target: Node
    value: float
    level: int
    curve: Curve


@dataclass(frozen=True)
class Plan:
    """All places of a neuron diagram; `bars` leaves room for bars beside the units."""

    selection: Selection
    columns: tuple[Column, ...]
    bars: bool
    top: float
    height: float

    @property
    def width(self) -> float:
        """The width of the picture."""
        return max(self.columns[-1].x + MARGIN, 640.0)

    @property
    def roomy(self) -> bool:
        """Whether edges are few enough to point at, so that each has a tooltip."""
        return self.selection.edge_count <= MOST_TOOLTIPS

    @property
    def bottom(self) -> float:
        """Where the lowest column ends, with its box of hidden units."""
        return self.height - FOOTER

    @cached_property
    def strokes(self) -> tuple[Stroke, ...]:
        """The shown edges, those of a projection weakest first."""
        index = {column.layer.name: place for place, column in enumerate(self.columns)}
        return tuple(stroke for edges in self.selection.edges for stroke in self._strokes(edges, index))

    def _strokes(self, edges: Edges, index: Mapping[str, int]) -> Iterator[Stroke]:
        near, far = index[edges.projection.source], index[edges.projection.target]
        start, end = self.columns[near], self.columns[far]
        rows = zip(edges.source, edges.target, edges.value, edges.strength, edges.connections, strict=True)
        for source, target, value, strength, connections in rows:
            ends = (start.layer.name, int(source)), (end.layer.name, int(target))
            y1, y2 = start.places[ends[0][1]], end.places[ends[1][1]]
            via = self._lane(y1) if far - near > 1 else None
            title = edge_words(*ends, float(value), int(connections))
            curve = Curve(start.x + start.clearance, y1, end.x - end.clearance, y2, via, title)
            yield Stroke(
                edges.projection, *ends, float(value), max(1, math.ceil(LEVELS * float(strength) - 1e-6)), curve
            )

    def _lane(self, y: float) -> float:
        """The level above the columns at which a skipping edge from height y runs; higher starts run higher."""
        share = (y - self.top) / max(1.0, self.bottom - self.top)
        return self.top - LANE + (LANE - 10) * share


def edge_words(source: Node, target: Node, value: float, connections: int) -> str:
    """An edge in words: its ends, and its weight or how many it carries; none is an argument."""
    ends = f"{source[0]} {source[1]} → {target[0]} {target[1]}"
    if not connections:
        return f"{ends}: argument"
    return f"{ends}: {value:+.3g}" if connections == 1 else f"{ends}: {connections} weights, sum {value:+.3g}"


@dataclass(frozen=True)
class Frame:
    """Room for units of several versions of a network, so that each has one place in the pictures of all.

    Attributes:
        structure: the union of the versions.
        units: the ids with a place, ascending, by layer.
    """

    structure: Structure
    units: Mapping[str, AnyArray]


def plan(structure: Structure, selection: Selection, frame: Frame | None = None) -> Plan:
    """Place the selected units of a network; in a frame, absent units leave holes."""
    bars = not selection.complete  # what is not drawn is counted in them
    frame = frame or Frame(structure, selection.units)
    pitches = {name: _pitch(frame.structure.layer(name), len(ids)) for name, ids in frame.units.items()}
    tallest = max(pitches[name] * len(ids) for name, ids in frame.units.items())
    gap = min(max(tallest / 3, GAP[0]), GAP[1])
    top = HEADER + (LANE if _skips(frame.structure, frame.units) else 0.0)
    columns = tuple(
        _column(structure, selection, frame, name, (MARGIN + gap * index, top + tallest / 2, pitches[name]), bars)
        for index, name in enumerate(frame.units)
    )
    hidden = 40.0 if any(column.hidden for column in columns) else 0.0
    return Plan(selection, columns, bars, top, top + tallest + hidden + FOOTER)


def _pitch(layer: Layer, units: int) -> float:
    least, most = NEURON_PITCH if layer.size is None else TILE_PITCH
    return min(max(COLUMN_HEIGHT / max(units, 1), least), most)


def _skips(structure: Structure, shown: Collection[str]) -> bool:
    place = {name: index for index, name in enumerate(shown)}
    ends = [(p.source, p.target) for p in structure.projections_by_name.values()]
    return any(place[target] - place[source] > 1 for source, target in ends if source in place and target in place)


def _column(
    structure: Structure,
    selection: Selection,
    frame: Frame,
    name: str,
    place: tuple[float, float, float],
    bars: bool,
) -> Column:
    x, middle, pitch = place
    layer, ids = frame.structure.layer(name), frame.units[name]
    start = middle - pitch * (len(ids) - 1) / 2
    shown = set(selection.units[name].tolist()) if name in selection.units else set[int]()
    places = {unit: start + pitch * index for index, unit in enumerate(ids.tolist()) if unit in shown}
    half = unit_side(pitch, layer.size is not None) / 2 + (ID_STRIP if layer.size is not None else 0.0)
    clearance = half + (BAR + 3 if bars else 1)
    total = len(structure.unit_columns(name)) if structure.has_layer(name) else 0
    bottom, slots = start + pitch * (len(ids) - 0.5), slot_words(frame.structure, name)
    return Column(layer, x, places, pitch, total, clearance, bottom, slots)


def unit_side(pitch: float, tile: bool) -> float:
    """The diameter of a disc or the side of a tile's raster, in a column of this pitch."""
    return pitch - 4 if tile else min(20.0, pitch * 0.78)
