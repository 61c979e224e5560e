"""Edits that add and remove units, with every connection that touches them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from nestgraph.edits.edit import Edit
from nestgraph.edits.layers import Block, UnitValues
from nestgraph.graph.columns import NEUTRAL, ConnectionColumns, UnitColumns
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray, Integers
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
    """

    kind: Literal["add_units"] = "add_units"
    layer: Name
    ids: Integers
    positions: Integers | None = None
    values: UnitValues = {}
    blocks: dict[Name, Block] = {}

    @property
    def words(self) -> str:
        """What the edit does."""
        return f"AddUnits of {len(self.ids)} units to layer {self.layer!r}"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Add the units."""
        if not len(self.ids):
            return structure, RemoveUnits(layer=self.layer, units=self.ids)
        columns = structure.unit_columns(self.layer)
        living = sorted(set(self.ids.tolist()) & columns.position.keys())
        if living:
            self.refuse(f"expected ids that do not live, got {_some(living)}: network.fresh_ids gives new ones")
        places = self._places(len(columns))
        order = np.argsort(np.concatenate([np.setdiff1d(np.arange(len(columns) + len(places)), places), places]))
        values = {
            name: np.concatenate([old, self.values.get(name, np.full(len(places), NEUTRAL[name], np.float32))])[order]
            for name, old in columns.values.items()
        }
        units = UnitColumns.of(np.concatenate([columns.ids, self.ids])[order], values, columns.next_id)
        connections = {
            side.projection.name: self._grown(structure, side, order) for side in _sides(structure, self.layer)
        }
        changed = structure.replace(units={self.layer: units}, connections=connections)
        return changed, RemoveUnits(layer=self.layer, units=self.ids)

    def _places(self, old_count: int) -> AnyArray:
        added = len(self.ids)
        places = np.arange(old_count, old_count + added) if self.positions is None else self.positions
        if places.shape != (added,) or (np.diff(places) <= 0).any() or places[0] < 0 or places[-1] >= old_count + added:
            self.refuse(f"expected {added} ascending positions below {old_count + added}, got {_some(places.tolist())}")
        for name, column in self.values.items():
            if column.shape != (added,):
                self.refuse(f"expected {added} values of {name}, got shape {column.shape}")
        return places

    def _grown(self, structure: Structure, side: "_Side", order: AnyArray) -> ConnectionColumns:
        old = structure.connection_columns(side.projection.name)
        block = self.blocks.get(side.projection.name)
        if old.links is not None:
            return old if block is None else self._linked(old, block)
        shape = list(old.weight.shape)
        shape[side.axis] = len(self.ids)
        if block is None:
            block = Block(weight=np.zeros(shape, np.float32), mask=np.zeros(shape, bool))
        if block.weight.shape != tuple(shape) or block.mask.shape != tuple(shape):
            self.refuse(
                f"expected a block of shape {tuple(shape)} for {side.projection.name!r}, got {block.weight.shape}"
            )
        area = old.area
        if area is not None and area.shape[side.axis] == old.weight.shape[side.axis]:
            shape = [len(self.ids) if axis == side.axis else extent for axis, extent in enumerate(area.shape)]
            added = np.ones(shape, bool) if block.area is None else block.area
            area = _insert(area, added, side.axis, order)
        return ConnectionColumns.of(
            _insert(old.weight, block.weight, side.axis, order), _insert(old.mask, block.mask, side.axis, order), area
        )

    def _linked(self, old: ConnectionColumns, block: Block) -> ConnectionColumns:
        assert old.links is not None
        if block.links is None:
            self.refuse("expected links for a one-to-one projection, got none")
        links = np.concatenate([old.links, block.links])
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
        dead = [unit for unit in self.units.tolist() if unit not in columns.position]
        if dead or len(set(self.units.tolist())) != len(self.units):
            listing = f"network.units({self.layer!r}) lists them"
            self.refuse(f"expected distinct living unit ids, got {_some(dead or self.units.tolist())}; {listing}")
        places = np.sort(np.array([columns.position[unit] for unit in self.units.tolist()], np.int64))
        kept = np.setdiff1d(np.arange(len(columns)), places)
        blocks: dict[str, Block] = {}
        connections: dict[str, ConnectionColumns] = {}
        for side in _sides(structure, self.layer):
            old = structure.connection_columns(side.projection.name)
            blocks[side.projection.name] = _taken(old, side, places, columns.ids[places])
            rest = _taken(old, side, kept, columns.ids[kept])
            connections[side.projection.name] = ConnectionColumns.of(
                rest.weight, rest.mask, old.area if rest.area is None else rest.area, rest.links
            )
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


@dataclass(frozen=True)
class _Side:
    """A projection at a layer, and the axis of its weights that runs over the layer's units."""

    projection: Projection
    axis: int


def _sides(structure: Structure, layer: str) -> list[_Side]:
    return [_Side(p, 0) for p in structure.incoming(layer)] + [_Side(p, 1) for p in structure.outgoing(layer)]


def _taken(old: ConnectionColumns, side: _Side, places: AnyArray, ids: AnyArray) -> Block:
    """The connections of the units at `places`, with ids `ids`."""
    if old.links is not None:
        chosen = np.isin(old.links[:, 1 - side.axis], ids)
        return Block(weight=old.weight[chosen], mask=old.mask[chosen], links=old.links[chosen])
    area = old.area
    if area is not None:
        area = area.take(places, side.axis) if area.shape[side.axis] == old.weight.shape[side.axis] else None
    return Block(weight=old.weight.take(places, side.axis), mask=old.mask.take(places, side.axis), area=area)


def _insert(old: AnyArray, added: AnyArray, axis: int, order: AnyArray) -> AnyArray:
    return np.concatenate([old, added], axis).take(order, axis)


def _some(items: list[int]) -> str:
    shown = ", ".join(str(item) for item in items[:5])
    return f"{shown} and {len(items) - 5} more" if len(items) > 5 else shown
