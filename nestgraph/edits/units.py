"""Edits that add and remove units, with every connection that touches them."""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import numpy as np
from pydantic import Field

from nestgraph.edits.edit import Edit
from nestgraph.edits.layers import Block, UnitValues, check_columns
from nestgraph.graph.columns import NEUTRAL, ConnectionColumns, UnitColumns
from nestgraph.graph.pinning import why_pinned
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray, Integers, owned
from nestgraph.spec.projection import Projection
from nestgraph.spec.record import Name


class AddUnits(Edit):
    """Add units to a layer, with their columns and connections.

    Attributes:
        layer: the layer's name.
        ids: the new units' ids; `network.fresh_ids` gives some that were never used.
        positions: where the new units stand in the grown layer, ascending; at the end if None.
        values: columns; those not given are neutral.
        blocks: by projection, the connections of the new units: rows of the weights where the layer is the
            projection's target, columns where it is the source, links for one-to-one. Dormant if not given.
            A block has an area where the projection has one for each pair of maps; without, its area is full.
    """

    kind: Literal["add_units"] = "add_units"
    layer: Name
    ids: Integers
    positions: Integers | None = None
    values: UnitValues = Field(default_factory=dict)
    blocks: dict[Name, Block] = Field(default_factory=dict)

    @property
    def words(self) -> str:
        """What the edit does."""
        return f"AddUnits of {self.ids.size} units to layer {self.layer!r}"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Add the units."""
        columns, inverse = structure.unit_columns(self.layer), RemoveUnits(layer=self.layer, units=self.ids)
        self._check(structure)
        if not len(self.ids):
            return structure, inverse
        _check_free(self, structure)
        order = self._order(len(columns))
        added = {name: np.full(len(self.ids), NEUTRAL[name], np.float32) for name in columns.values} | self.values
        values = {name: np.concatenate([old, added[name]])[order] for name, old in columns.values.items()}
        units = UnitColumns.of(np.concatenate([columns.ids, self.ids])[order], values, columns.next_id)
        connections = {
            side.projection.name: self._grown(structure.connection_columns(side.projection.name), side, order)
            for side in _sides(structure, self.layer)
        }
        return structure.replace(units={self.layer: units}, connections=connections), inverse

    def _check(self, structure: Structure) -> None:
        ids, columns = self.ids, structure.unit_columns(self.layer)
        living = sorted(set(ids.flatten().tolist()) & columns.position.keys())
        if ids.ndim != 1 or living or len(np.unique(ids)) != len(ids):
            got = _some(living or ids.flatten().tolist())
            self.refuse(f"expected distinct ids that do not live, got {got}: network.fresh_ids gives new ones")
        check_columns(self, self.values, tuple(columns.values), len(ids))
        strange = self.blocks.keys() - {side.projection.name for side in _sides(structure, self.layer)}
        if strange:
            self.refuse(f"expected blocks of the layer's own projections, got {', '.join(sorted(strange))}")

    def _order(self, old_count: int) -> AnyArray:
        """(units,): for each position of the grown layer its place among the old units followed by the new ones."""
        total = old_count + len(self.ids)
        places = np.arange(old_count, total) if self.positions is None else self.positions
        if places.shape != self.ids.shape or (np.diff(places) <= 0).any() or places[0] < 0 or places[-1] >= total:
            got = _some(places.flatten().tolist())
            self.refuse(f"expected {len(self.ids)} ascending positions from 0 to {total - 1}, got {got}")
        return np.argsort(np.concatenate([np.setdiff1d(np.arange(total), places), places]))

    def _grown(self, old: ConnectionColumns, side: "_Side", order: AnyArray) -> ConnectionColumns:
        block, axis = self.blocks.get(side.projection.name), side.axis
        if old.links is not None:
            return old if block is None else self._linked(old, block, side)
        shape = _resized(old.weight, axis, len(self.ids))
        if block is None:
            block = Block(weight=np.zeros(shape, np.float32), mask=np.zeros(shape, bool))
        self._check_shape(block, shape, side)
        weight, mask = _insert(old.weight, block.weight, axis, order), _insert(old.mask, block.mask, axis, order)
        return ConnectionColumns.of(weight, mask, self._area(old, block, side, order))

    def _check_shape(self, block: Block, shape: tuple[int, ...], side: "_Side") -> None:
        if block.weight.shape != shape or block.mask.shape != shape:
            got = f"{block.weight.shape} and {block.mask.shape}"
            self.refuse(f"expected weights and mask of shape {shape} for {side.projection.name!r}, got {got}")

    def _area(self, old: ConnectionColumns, block: Block, side: "_Side", order: AnyArray) -> AnyArray | None:
        """The area with the new units. A shared one of a single unit stays shared unless the block has one."""
        area, name = old.area, side.projection.name
        from_single = side.axis == 1 and old.weight.shape[1] == 1
        if area is None or not _by_unit(old, side.axis) or (from_single and block.area is None):
            if block.area is not None:
                self.refuse(f"expected no area for {name!r}, which has none for each pair of maps: SetArea gives one")
            return area
        shape = _resized(area, side.axis, len(self.ids))
        added = np.ones(shape, bool) if block.area is None else block.area
        if added.shape != shape:
            self.refuse(f"expected an area of shape {shape} for {name!r}, got {added.shape}")
        return _insert(area, added, side.axis, order)

    def _linked(self, old: ConnectionColumns, block: Block, side: "_Side") -> ConnectionColumns:
        assert old.links is not None
        added, name = block.links, side.projection.name
        if added is None or added.ndim != 2 or added.shape[1] != 2:
            self.refuse(f"expected a block with links of shape (links, 2) for {name!r}")
        self._check_shape(block, (len(added), *old.weight.shape[1:]), side)
        if not np.isin(added[:, 1 - side.axis], self.ids).all():
            self.refuse(f"expected links of the new units only for {name!r}, got links of others")
        links = np.concatenate([old.links, added])
        order = np.argsort(links[:, 1], kind="stable")
        weight, mask = np.concatenate([old.weight, block.weight]), np.concatenate([old.mask, block.mask])
        return ConnectionColumns.of(weight[order], mask[order], None, links[order])


class RemoveUnits(Edit):
    """Remove units from a layer, with every connection that touches them.

    Whatever this cuts off from the inputs or outputs would be an island, and is refused: the recipe
    function `remove_units` takes it along.
    """

    kind: Literal["remove_units"] = "remove_units"
    layer: Name
    units: Integers

    @property
    def words(self) -> str:
        """What the edit does."""
        return f"RemoveUnits on layer {self.layer!r}"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Remove the units."""
        columns = structure.unit_columns(self.layer)
        chosen: list[int] = self.units.flatten().tolist()
        dead = [unit for unit in chosen if unit not in columns.position]
        if dead or self.units.ndim != 1 or len(set(chosen)) != len(chosen):
            listing = f"network.units({self.layer!r}) lists them"
            self.refuse(f"expected distinct living unit ids, got {_some(dead or chosen)}; {listing}")
        if chosen:
            _check_free(self, structure)
        places = np.sort(columns.positions(self.units))
        kept = np.setdiff1d(np.arange(len(columns)), places)
        blocks: dict[str, Block] = {}
        connections: dict[str, ConnectionColumns] = {}
        for side in _sides(structure, self.layer):
            old = structure.connection_columns(side.projection.name)
            gone, rest = (_taken(old, side, chosen, columns.ids[chosen]) for chosen in (places, kept))
            blocks[side.projection.name] = Block.of(gone)
            area = old.area if rest.area is None else rest.area  # one for all units stays with those that are left
            connections[side.projection.name] = replace(rest, area=area)
        inverse = AddUnits(
            layer=self.layer,
            ids=columns.ids[places],
            positions=places,
            values={name: column[places] for name, column in columns.values.items()},
            blocks=blocks,
        )
        values = {name: column[kept] for name, column in columns.values.items()}
        units = UnitColumns.of(columns.ids[kept], values, columns.next_id)
        return structure.replace(units={self.layer: units}, connections=connections), inverse


def _check_free(edit: AddUnits | RemoveUnits, structure: Structure) -> None:
    reason = why_pinned(structure, edit.layer)
    if reason:
        edit.refuse(f"expected a layer whose units can change, got {reason}: edit other layers")


@dataclass(frozen=True)
class _Side:
    """A projection at a layer, and the axis of its weights that runs over the layer's units."""

    projection: Projection
    axis: int


def _sides(structure: Structure, layer: str) -> list[_Side]:
    return [_Side(p, 0) for p in structure.incoming(layer)] + [_Side(p, 1) for p in structure.outgoing(layer)]


def _taken(old: ConnectionColumns, side: _Side, places: AnyArray, ids: AnyArray) -> ConnectionColumns:
    """The connections of the units at `places`, with ids `ids`; an area only where there is one for each unit."""
    if old.links is not None:
        chosen = np.isin(old.links[:, 1 - side.axis], ids)
        return ConnectionColumns.of(old.weight[chosen], old.mask[chosen], None, old.links[chosen])
    area = owned(old.area.take(places, side.axis)) if old.area is not None and _by_unit(old, side.axis) else None
    weight, mask = (owned(array.take(places, side.axis)) for array in (old.weight, old.mask))
    return ConnectionColumns.of(weight, mask, area)


def _by_unit(columns: ConnectionColumns, axis: int) -> bool:
    """Whether the area has an entry for each unit along an axis, rather than one for all of them."""
    return columns.area is not None and columns.area.shape[axis] == columns.weight.shape[axis]


def _resized(array: AnyArray, axis: int, count: int) -> tuple[int, ...]:
    return (*array.shape[:axis], count, *array.shape[axis + 1 :])


def _insert(old: AnyArray, added: AnyArray, axis: int, order: AnyArray) -> AnyArray:
    """Old entries along an axis and those added after them, in the order given; copied run by run."""
    count, before = old.shape[axis], (slice(None),) * axis
    grown = np.empty(_resized(old, axis, len(order)), old.dtype)
    breaks = (np.diff(order) != 1) | (order[1:] == count)
    ends = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(order)]
    for start, end in pairwise(ends):
        first = int(order[start])
        source, first = (added, first - count) if first >= count else (old, first)
        grown[(*before, slice(start, end))] = source[(*before, slice(first, first + end - start))]
    return owned(grown)


def _some(items: list[int]) -> str:
    shown = ", ".join(str(item) for item in items[:5])
    return f"{shown} and {len(items) - 5} more" if len(items) > 5 else shown
