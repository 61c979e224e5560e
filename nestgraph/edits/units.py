"""Edits that add and remove units, with every connection that touches them."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field

from nestgraph.edits.connections import SetArea
from nestgraph.edits.edit import Edit
from nestgraph.edits.layers import Block, UnitValues, check_columns, neutral_values
from nestgraph.graph.columns import ConnectionColumns, Ends, UnitColumns
from nestgraph.graph.columns.areas import paired
from nestgraph.graph.pinning import why_pinned
from nestgraph.graph.structure import Structure
from nestgraph.graph.way import Way
from nestgraph.spec.arrays import AnyArray, Integers
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
        added = neutral_values(structure.layer(self.layer), len(self.ids)) | self.values
        values = {name: np.concatenate([old, added[name]])[order] for name, old in columns.values.items()}
        units = UnitColumns.of(np.concatenate([columns.ids, self.ids])[order], values, columns.next_id)
        connections = {name: self._grown(structure, name, end, order) for name, end in _sides(structure, self.layer)}
        return structure.replace(units={self.layer: units}, connections=connections), inverse

    def mapped(self, way: Way) -> Edit:
        """The same units behind the same neighbours; what they join elsewhere follows its units.

        Where the areas of new units have no room in how those here are spelled, an edit before spells these out.

        Ids of units that never lived in the base, but may be another's here, are exchanged for fresh ones.
        """
        if not self.kept(way, self.layer, layer=True):
            self.refuse(f"expected layer {self.layer!r} to be there, got none: it was removed")
        base, here = way.base.unit_columns(self.layer), way.here.unit_columns(self.layer)
        ids = self._ids(base, here, way.here.layer(self.layer).kind == "input")
        values = {name: column for name, column in self.values.items() if name in here.values}
        places = None if self.positions is None else _behind(self.positions, here.find(way.twins[self.layer]))
        fitted = {name: self._fitted(way, name, end, ids) for name, end in self._joined(way)}
        areas = [SetArea(projection=name, area=there.area) for name, (there, _) in fitted.items() if there]
        blocks = {
            name: Block.of(part) for name, (_, part) in fitted.items() if part.area is not None or name in self.blocks
        }
        edit = AddUnits(layer=self.layer, ids=ids, positions=places, values=values, blocks=blocks)
        return edit.after(areas)

    def _joined(self, way: Way) -> Iterator[tuple[str, int]]:
        """The projections in which the new units have connections or areas of their own, and at which end they are."""
        for name, end in _sides(way.base, self.layer):
            own = name not in way.remade and paired(way.base.connection_columns(name).area)
            if (own or name in self.blocks) and self.kept(way, name):
                yield name, end

    def _ids(self, base: UnitColumns, here: UnitColumns, is_input: bool) -> AnyArray:
        new = self.ids >= base.next_id
        if not is_input and (new & (self.ids < here.next_id)).any():
            return np.where(new, here.next_id + np.arange(len(self.ids)), self.ids)
        living = self.ids[here.find(self.ids) >= 0]
        if len(living):
            self.refuse(f"expected units that do not live yet, got {_some(living.tolist())}: the other side has them")
        return self.ids

    def _fitted(
        self, way: Way, name: str, end: int, ids: AnyArray
    ) -> tuple[ConnectionColumns | None, ConnectionColumns]:
        """The connections of the new units through a projection at the end of a way.

        Before them come those that are there, where these have to be spelled otherwise, so that both can be joined.
        """
        base, columns = way.base.connection_columns(name), way.here.connection_columns(name)
        far = way.here.projection(name).ends[1 - end]
        sides = ((self.ids, way.base.unit_columns(far)), (ids, way.here.unit_columns(far)))
        pairs = ((UnitColumns.of(born, {}), units) for born, units in sides)
        ends, here = (Ends(*(pair if end == 0 else reversed(pair))) for pair in pairs)
        own, others = np.arange(len(ids)), way.old(far)
        given = self.blocks.get(name)
        part = base.dormant(len(ids), end) if given is None else given.columns(type(columns))
        part = base.explicit(part, end, columns).moved(ends, here, (own, others) if end == 0 else (others, own))
        try:
            there, part = columns.fitted(part, end, others >= 0)
        except ValueError as error:
            self.refuse(f"{name!r}: {error}")
        return None if there is columns else there, part

    def _check(self, structure: Structure) -> None:
        ids, columns = self.ids, structure.unit_columns(self.layer)
        living = sorted(set(ids.flatten().tolist()) & columns.position.keys())
        if ids.ndim != 1 or living or len(np.unique(ids)) != len(ids):
            got = _some(living or ids.flatten().tolist())
            self.refuse(f"expected distinct ids that do not live, got {got}: network.fresh_ids gives new ones")
        check_columns(self, self.values, structure.layer(self.layer), len(ids))
        strange = self.blocks.keys() - dict(_sides(structure, self.layer)).keys()
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

    def _grown(self, structure: Structure, name: str, end: int, order: AnyArray) -> ConnectionColumns:
        columns = structure.connection_columns(name)
        if name not in self.blocks:
            return columns.joined(columns.dormant(len(self.ids), end), end, order)
        try:
            part = self.blocks[name].columns(type(columns))
        except ValueError as error:
            self.refuse(f"{name!r}: {error}")
        for problem in columns.misfits(part, end, self.ids):
            self.refuse(problem.format(name))
        return columns.joined(part, end, order)


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
        for name, end in _sides(structure, self.layer):
            old, ends = structure.wired(name)
            blocks[name] = Block.of(old.own(places, end, ends))
            connections[name] = old.take(kept, end, ends)
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

    def mapped(self, way: Way) -> Edit | None:
        """Those of the units that still live."""
        if not self.kept(way, self.layer, layer=True):
            return None
        units = way.twin(self.layer, self.units)
        units = units[units >= 0]
        return RemoveUnits(layer=self.layer, units=units) if len(units) else None


def _behind(positions: AnyArray, survivors: AnyArray) -> AnyArray:
    """Where units stand behind the same old ones as before, of which `survivors` are the new positions or -1."""
    before = positions - np.arange(len(positions))  # how many old units stand before each
    reach = np.maximum.accumulate(np.append(-1, survivors))
    return reach[before] + 1 + np.arange(len(positions))


def _check_free(edit: AddUnits | RemoveUnits, structure: Structure) -> None:
    reason = why_pinned(structure, edit.layer)
    if reason:
        edit.refuse(f"expected a layer whose units can change, got {reason}: edit other layers")


def _sides(structure: Structure, layer: str) -> list[tuple[str, int]]:
    """The projections at a layer, by name, and at which of their ends it is."""
    return [(p.name, 0) for p in structure.incoming(layer)] + [(p.name, 1) for p in structure.outgoing(layer)]


def _some(items: list[int]) -> str:
    shown = ", ".join(str(item) for item in items[:5])
    return f"{shown} and {len(items) - 5} more" if len(items) > 5 else shown
