"""Structure queries on big networks, answered by arrays: who reaches whom, how deep, in how many parts.

networkx visits edges one by one; here a whole layer takes one step along a projection. Each unit's row and column is
read once, so a query costs about one pass over the pairs of units that could be joined.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np

from nestgraph.errors import StructureError
from nestgraph.graph.pairs import Pairs, united
from nestgraph.graph.structure import Structure
from nestgraph.graph.verify import fed_units, read_units
from nestgraph.spec.arrays import AnyArray, frozen

Node = tuple[str, int]


@dataclass(frozen=True, eq=False)
class _Step:
    """The way along one projection: the numbers of the units at both ends, and which of them it joins."""

    source: slice
    target: slice
    pairs: Pairs


class Topology:
    """The units of a structure, numbered from 0 in the order of layers and positions, and who is joined to whom.

    Answers are arrays with an entry for each unit; `nodes` and `ids` name chosen units. Where a query takes units, it
    takes a node `(layer, id)`, several nodes, or a bool array (units,), such as another answer.
    """

    def __init__(self, structure: Structure) -> None:
        self._structure = structure
        ends = np.cumsum([0, *(len(structure.unit_columns(name)) for name in structure.layer_names)]).tolist()
        self._places = {name: slice(*ends[i : i + 2]) for i, name in enumerate(structure.layer_names)}

    def __len__(self) -> int:
        return self._structure.unit_count

    @cached_property
    def _steps(self) -> tuple[_Step, ...]:
        """In the order of their target layers, so that one pass carries a mark all the way."""
        projections = [self._structure.projection(name) for name in self._structure.projection_names]
        return tuple(
            _Step(self._places[p.source], self._places[p.target], self._structure.pairs(p.name)) for p in projections
        )

    # -- names ---------------------------------------------------------------------------------------

    @cached_property
    def _nodes(self) -> list[Node]:
        return [(name, unit) for name in self._places for unit in self._structure.units(name).tolist()]

    def nodes(self, chosen: AnyArray) -> list[Node]:
        """The nodes of a bool array (units,), or of unit numbers in their order."""
        numbers = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        return [self._nodes[number] for number in numbers.tolist()]

    def ids(self, chosen: AnyArray) -> dict[str, AnyArray]:
        """The ids that a bool array (units,) chooses, by layer, as edits take them; layers without one are absent."""
        named = {name: self._structure.units(name)[chosen[place]] for name, place in self._places.items()}
        return {name: units for name, units in named.items() if len(units)}

    def number(self, node: Node) -> int:
        """The number of a unit.

        Raises:
            StructureError: there is no such unit.
        """
        position = position_of(self._structure, node)
        if position is None:
            raise StructureError(
                f"topology expected a living unit (layer, id), got {repr(node)[:80]}: network.units(layer) lists them"
            )
        return self._places[node[0]].start + position

    def _chosen(self, units: "Node | Iterable[Node] | AnyArray") -> AnyArray:
        if isinstance(units, np.ndarray):
            if units.dtype != bool or units.shape != (len(self),):
                raise StructureError(
                    f"topology expected bool ({len(self)},) to choose units, got {units.dtype} {units.shape}"
                )
            return cast(AnyArray, units)
        one = isinstance(units, tuple) and len(units) == 2 and isinstance(units[0], str)
        chosen = np.zeros(len(self), bool)
        for node in cast("Iterable[Node]", [units] if one else units):
            chosen[self.number(node)] = True
        return chosen

    # -- reach ---------------------------------------------------------------------------------------

    def descendants(self, units: "Node | Iterable[Node] | AnyArray") -> AnyArray:
        """Bool (units,): to which units a path of at least one edge leads from any of the given."""
        start, reached = self._chosen(units), np.zeros(len(self), bool)
        for step in self._steps:
            near = start[step.source] | reached[step.source]
            if near.any():
                reached[step.target] |= step.pairs.onward(near)
        return reached

    def ancestors(self, units: "Node | Iterable[Node] | AnyArray") -> AnyArray:
        """Bool (units,): from which units a path of at least one edge leads to any of the given."""
        start, reached = self._chosen(units), np.zeros(len(self), bool)
        for step in reversed(self._steps):
            far = start[step.target] | reached[step.target]
            if far.any():
                reached[step.source] |= step.pairs.back(far)
        return reached

    def has_path(self, source: Node, target: Node) -> bool:
        """Whether a path leads from one unit to another; each has one to itself."""
        start, goal = self.number(source), self.number(target)
        return start == goal or bool(self.descendants(source)[goal])

    def distances(self, units: "Node | Iterable[Node] | AnyArray") -> AnyArray:
        """Int64 (units,): the edges of a shortest path from the nearest of the given; -1 where none leads."""
        frontier, found = self._chosen(units), np.full(len(self), -1)
        for distance in range(len(self._places)):
            found[frontier] = distance
            frontier = self._neighbours(frontier, found < 0, backward=False)
        return found

    @cached_property
    def islands(self) -> AnyArray:
        """Bool (units,): on no path from an input to an output. A `Network` has none; a `Structure` may."""
        fed, read = fed_units(self._structure), read_units(self._structure)
        on_path = [fed[name] & read[name] for name in self._places]
        return frozen(~np.concatenate([np.zeros(0, bool), *on_path]), bool)

    def _neighbours(self, chosen: AnyArray, wanted: AnyArray, backward: bool) -> AnyArray:
        """Bool (units,): of the wanted units those one edge after the chosen, or also before."""
        touched = np.zeros(len(self), bool)
        for step in self._steps:
            if chosen[step.source].any() and wanted[step.target].any():
                touched[step.target] |= step.pairs.onward(chosen[step.source])
            if backward and chosen[step.target].any() and wanted[step.source].any():
                touched[step.source] |= step.pairs.back(chosen[step.target])
        return touched & wanted

    # -- parts ---------------------------------------------------------------------------------------

    @cached_property
    def components(self) -> AnyArray:
        """Int64 (units,): the weakly connected component of each, numbered in the order of their first units."""
        label = np.full(len(self), -1)
        for component in range(len(self)):
            if label.min() >= 0:
                break
            frontier = np.arange(len(self)) == np.argmin(label)
            while frontier.any():
                label[frontier] = component
                frontier = self._neighbours(frontier, label < 0, backward=True)
        return frozen(label, np.int64)

    # -- depth ---------------------------------------------------------------------------------------

    @cached_property
    def generations(self) -> tuple[AnyArray, ...]:
        """Numbers of the units by the length of the longest path to them, in the order that networkx gives.

        Units on a cycle, which no network has, are in none.
        """
        return tuple(self._generations())

    @cached_property
    def depth(self) -> AnyArray:
        """Int64 (units,): the edges of the longest path to each; -1 on a cycle."""
        depth = np.full(len(self), -1)
        for length, numbers in enumerate(self.generations):
            depth[numbers] = length
        return frozen(depth, np.int64)

    @cached_property
    def is_acyclic(self) -> bool:
        """Whether no path leads back to its start; computed, though every network is so by construction."""
        return sum(len(numbers) for numbers in self.generations) == len(self)

    def _generations(self) -> Iterator[AnyArray]:
        waiting = np.zeros(len(self), np.int64)
        for step in self._steps:
            waiting[step.target] += step.pairs.degrees()[0]
        numbers = np.flatnonzero(waiting == 0)
        while len(numbers):
            yield frozen(numbers, np.int64)
            last = self._lead(numbers, waiting)
            free = np.flatnonzero((waiting == 0) & (last >= 0))
            numbers = free[np.lexsort((self._among_neighbours(free, numbers[last[free]]), last[free]))]

    def _lead(self, numbers: AnyArray, waiting: AnyArray) -> AnyArray:
        """Take a generation's edges off what waits; for each unit the place of the last of them that leads to it."""
        last = np.full(len(self), -1)
        for step in self._steps:
            places = np.flatnonzero((numbers >= step.source.start) & (numbers < step.source.stop))
            if len(places):
                counts, latest = step.pairs.lead(numbers[places] - step.source.start)
                waiting[step.target] -= counts
                last[step.target] = np.maximum(last[step.target], np.where(latest < 0, -1, places[latest]))
        return last

    def _among_neighbours(self, targets: AnyArray, sources: AnyArray) -> AnyArray:
        """Where each target comes in the adjacency of the source at its side: by name of projection, then its order."""
        place = np.full(len(targets), -1)
        by_name = sorted(zip(self._structure.projection_names, self._steps, strict=True), key=lambda pair: pair[0])
        for before, (_, step) in enumerate(by_name):
            ends = (targets, step.target), (sources, step.source)
            inside = [(numbers >= end.start) & (numbers < end.stop) for numbers, end in ends]
            here = np.flatnonzero(inside[0] & inside[1] & (place < 0))
            far, near = (numbers[here] - end.start for numbers, end in ends)
            held = step.pairs.holds(far, near)
            place[here[held]] = before * len(self) + step.pairs.rank(far[held])
        return place

    # -- degrees -------------------------------------------------------------------------------------

    @cached_property
    def in_degrees(self) -> AnyArray:
        """Int64 (units,): the edges into each."""
        return self._degrees[0]

    @cached_property
    def out_degrees(self) -> AnyArray:
        """Int64 (units,): the edges out of each."""
        return self._degrees[1]

    @cached_property
    def _degrees(self) -> tuple[AnyArray, AnyArray]:
        together: dict[tuple[int, int], list[_Step]] = {}
        for step in self._steps:
            together.setdefault((step.source.start, step.target.start), []).append(step)
        into, out = np.zeros(len(self), np.int64), np.zeros(len(self), np.int64)
        for steps in together.values():
            at_targets, at_sources = united([step.pairs for step in steps]).degrees()
            into[steps[0].target] += at_targets
            out[steps[0].source] += at_sources
        return frozen(into, np.int64), frozen(out, np.int64)


def position_of(structure: Structure, node: object) -> int | None:
    """The position of a unit in its layer; None for anything that is not a node of the structure."""
    if not isinstance(node, tuple) or len(node) != 2:  # pyright: ignore[reportUnknownArgumentType]
        return None
    layer, unit = node  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(layer, str) or not structure.has_layer(layer):
        return None
    try:
        return structure.unit_columns(layer).position.get(unit)  # pyright: ignore[reportUnknownArgumentType]
    except TypeError:  # not even hashable
        return None
