"""What a neuron diagram shows of a network: all of it, or the strongest units and edges of every part.

The strength of an edge is the Euclidean norm of its weights, relative to the strongest edge of its projection, so that
layers of different fan-in compare. A budget is shared so that no layer or projection is crowded out: each gets
all it has up to one common cap.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nestgraph.errors import RenderError
from nestgraph.graph.columns import ConnectionColumns
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Projection

MOST_NEURONS = 40  # of a layer, in a diagram that leaves units out
MOST_MAPS = 24
MOST_LAYERS = 100  # of a diagram: the first and the last of deeper networks


@dataclass(frozen=True)
class Edges:
    """Shown edges of one projection, weakest first; every array is (edges,).

    Attributes:
        projection: the record.
        source: ids of the units at the start.
        target: ids of the units at the end.
        value: the sum of an edge's weights.
        strength: relative to the projection's strongest edge, in (0, 1].
        connections: how many active weights an edge carries.
    """

    projection: Projection
    source: AnyArray
    target: AnyArray
    value: AnyArray
    strength: AnyArray
    connections: AnyArray


@dataclass(frozen=True)
class Selection:
    """Shown unit ids of every layer, ascending, and shown edges of every projection; with the totals of both."""

    units: Mapping[str, AnyArray]
    edges: tuple[Edges, ...]
    unit_total: int
    layer_total: int
    edge_total: int
    connection_total: int

    @property
    def unit_count(self) -> int:
        """How many units are shown."""
        return sum(len(ids) for ids in self.units.values())

    @property
    def edge_count(self) -> int:
        """How many edges are shown."""
        return sum(len(edges.value) for edges in self.edges)

    @property
    def connection_count(self) -> int:
        """How many connections the shown edges carry."""
        return sum(int(edges.connections.sum()) for edges in self.edges)

    @property
    def complete(self) -> bool:
        """Whether nothing is left out."""
        return self.unit_count == self.unit_total and self.edge_count == self.edge_total

    def statement(self, edges_only: bool = False) -> str:
        """What is shown and what is left out, in words; of edges alone where an edge is more than its connections."""
        blocks = self.edge_total != self.connection_total
        if self.complete:
            words = [f"{self.edge_total:,} edges"] if blocks or edges_only else []
            words += [] if edges_only else [f"{self.connection_total:,} connections"]
            return f"everything is shown: {self.unit_total:,} units, {' with '.join(words)}"
        units = _ratio(self.unit_count, self.unit_total, "units")
        if len(self.units) < self.layer_total:
            units += f" of {len(self.units):,} of {self.layer_total:,} layers"
        connections = _ratio(self.connection_count, self.connection_total, "connections")
        edges = _ratio(self.edge_count, self.edge_total, "edges")
        if edges_only:
            return f"{edges} shown; {units}"
        return f"{edges} ({connections}) shown; {units}" if blocks else f"{connections} shown; {units}"


def _ratio(shown: int, total: int, what: str) -> str:
    return f"all {total:,} {what}" if shown == total else f"{shown:,} of {total:,} {what}"


def select(
    structure: Structure, max_units: int, max_edges: int, units: Mapping[str, AnyArray] | None = None
) -> Selection:
    """Choose the units and edges to show; where `units` are given, by layer, the edges between those that live.

    Raises:
        RenderError: a limit is below 1.
    """
    if min(max_units, max_edges) < 1:
        raise RenderError(f"a diagram expected room for a unit and an edge, got limits {max_units} and {max_edges}")
    units = _ends(_units(structure, max_units)) if units is None else _living(structure, units)
    records = map(structure.projection, structure.projection_names)
    names = [p.name for p in records if p.source in units and p.target in units]
    candidates = [_edges(structure, name, units) for name in names]
    caps = shares([len(edges.value) for edges in candidates], max_edges)
    return Selection(
        units=units,
        edges=tuple(_strongest(edges, count) for edges, count in zip(candidates, caps, strict=True)),
        unit_total=structure.unit_count,
        layer_total=len(structure.layer_names),
        edge_total=edge_total(structure),
        connection_total=structure.connection_count,
    )


def edge_total(structure: Structure) -> int:
    """The number of edges: pairs of units joined by a projection, whatever block of weights each carries."""
    every = (structure.pairs(name) for name in structure.projection_names)
    return sum(int(pairs.degrees()[0].sum()) for pairs in every)


def shares(counts: Sequence[int], budget: int) -> list[int]:
    """Divide a budget: each count whole up to one common cap, the largest that keeps the sum within the budget.

    >>> shares([784, 300, 100, 10], 300)
    [96, 96, 96, 10]
    """
    left, cap = budget, budget
    for place, count in enumerate(sorted(counts)):
        cap = left // (len(counts) - place)
        if count > cap:
            break
        left -= count
    return [min(count, cap) for count in counts]


def _units(structure: Structure, max_units: int) -> dict[str, AnyArray]:
    names = structure.layer_names
    counts = [len(structure.unit_columns(name)) for name in names]
    if sum(counts) <= max_units:
        return {name: np.sort(structure.units(name)) for name in names}
    scores = _scores(structure)
    most = [MOST_MAPS if structure.layer(name).size else MOST_NEURONS for name in names]
    given = [max(1, min(share, limit)) for share, limit in zip(shares(counts, max_units), most, strict=True)]
    return {
        name: np.sort(structure.units(name)[np.argsort(-scores[name], kind="stable")[:count]])
        for name, count in zip(names, given, strict=True)
    }


def _ends(units: dict[str, AnyArray]) -> dict[str, AnyArray]:
    """Those of the first and the last layers, where there are too many to draw."""
    if len(units) <= MOST_LAYERS:
        return units
    names, half = list(units), MOST_LAYERS // 2
    return {name: units[name] for name in (*names[:half], *names[-half:])}


def _living(structure: Structure, units: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
    return {
        name: units[name][np.isin(units[name], structure.units(name))]
        for name in structure.layer_names
        if name in units
    }


def _scores(structure: Structure) -> dict[str, AnyArray]:
    """For each unit the sum of the strengths of its edges in and out."""
    scores = {name: np.zeros(len(structure.unit_columns(name))) for name in structure.layer_names}
    for name in structure.projection_names:
        projection, (columns, ends) = structure.projection(name), structure.wired(name)
        strength = edge_norms(columns)
        strength = strength / (float(strength.max(initial=0)) or 1.0)
        scores[projection.target] += columns.total(strength, 0, ends)
        scores[projection.source] += columns.total(strength, 1, ends)
    return scores


def edge_norms(columns: ConnectionColumns) -> AnyArray:
    """The Euclidean norm of every pair's weights, as `edges`."""
    if not columns.inner:
        return np.abs(columns.weight)
    return _norms(columns.weight.reshape(*columns.weight.shape[: columns.axes], math.prod(columns.inner)))


def _norms(rows: AnyArray) -> AnyArray:
    """The Euclidean norm along the last axis, without an array of all squares; in float64 where these overflow."""
    with np.errstate(over="ignore"):
        norms = np.sqrt(np.einsum("...i,...i->...", rows, rows))
    return norms if np.isfinite(norms).all() else np.sqrt(np.einsum("...i,...i->...", rows, rows, dtype=np.float64))


def _sums(rows: AnyArray) -> AnyArray:
    """The sum along the last axis, in double precision where it overflows."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = rows.sum(axis=-1)
    return sums if np.isfinite(sums).all() else rows.sum(axis=-1, dtype=np.float64)


def _edges(structure: Structure, name: str, shown: Mapping[str, AnyArray]) -> Edges:
    """All edges of a projection between shown units."""
    projection, (columns, ends) = structure.projection(name), structure.wired(name)
    chosen = (np.flatnonzero(np.isin(end.ids, shown[layer])) for end, layer in zip(ends, projection.ends, strict=True))
    targets, sources = structure.pairs(name).among(*chosen)
    source, target = ends.source.ids[sources], ends.target.ids[targets]
    if not projection.weighted:
        nothing = np.zeros(len(source))
        return Edges(projection, source, target, nothing, nothing, nothing.astype(np.int64))
    weight, mask = columns.blocks_between(targets, sources, ends)
    norms = _norms(weight)
    largest = max(float(edge_norms(columns).max(initial=0)), float(norms.max(initial=0))) or 1.0
    return Edges(projection, source, target, _sums(weight), norms / largest, mask.sum(axis=1))


def _strongest(edges: Edges, count: int) -> Edges:
    order = np.argsort(-edges.strength, kind="stable")[:count][::-1]
    return Edges(
        edges.projection,
        edges.source[order],
        edges.target[order],
        edges.value[order],
        edges.strength[order],
        edges.connections[order],
    )
