"""Edits of connections and values that leave the units as they are."""

import math
import operator
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr

from nestgraph.edits.edit import Edit
from nestgraph.edits.layers import UnitValues, check_area, check_columns
from nestgraph.edits.three_ways import Merging
from nestgraph.errors import EditError
from nestgraph.graph.body import Body
from nestgraph.graph.columns import ConnectionColumns, UnitColumns, gathered
from nestgraph.graph.columns.areas import Area, laid_out, paired, shortest, spelled_alike
from nestgraph.graph.matching import same_area
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.graph.tying import Tie, agree
from nestgraph.graph.way import Way
from nestgraph.spec.arrays import AnyArray, Booleans, Floats, Integers, owned, same_bits
from nestgraph.spec.layer import Layer
from nestgraph.spec.record import Extent, Name


def within(entries: AnyArray, size: int) -> bool:
    """Whether all entries are positions in an array of `size` elements."""
    return not len(entries) or bool(entries.min() >= 0 and entries.max() < size)


def chosen_entries(structure: Structure, projection: str, entries: Sequence[int] | AnyArray) -> AnyArray:
    """(k,) int64: `entries` as row-major positions in a projection's weights.

    Raises:
        EditError: they are something else.
    """
    size = structure.connection_columns(projection).mask.size
    chosen = np.asarray(entries)
    if chosen.ndim != 1 or (len(chosen) and (chosen.dtype.kind not in "iu" or not within(chosen, size))):
        got = f"{chosen.dtype.name} of shape {chosen.shape}"
        raise EditError(f"connections of {projection!r}: expected positions from 0 to {size - 1}, got {got}")
    return chosen.astype(np.int64)


def _unmoved(way: Way, projection: str) -> bool:
    """Whether the units at both ends of a projection are those of the base, all of them and in their order."""
    layers = way.base.projection(projection).ends
    return all(way.twins[layer] is way.here.units(layer) for layer in layers)


class SetMask(Edit):
    """Wake or prune connections.

    Attributes:
        projection: the projection's name.
        entries: (k,) row-major positions in the projection's weights, distinct.
        active: (k,) whether each is active afterwards.
        weights: (k,) the weight of each afterwards; 0 where it is dormant.
    """

    kind: Literal["set_mask"] = "set_mask"
    projection: Name
    entries: Integers
    active: Booleans
    weights: Floats

    @property
    def words(self) -> str:
        """What the edit does."""
        woken = int(self.active.sum())
        return f"SetMask of {self.projection!r}: {woken} active, {self.active.size - woken} dormant"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Set the mask."""
        columns = structure.connection_columns(self.projection)
        size = columns.mask.size
        shapes = {self.entries.shape, self.active.shape, self.weights.shape}
        if len(shapes) != 1 or self.entries.ndim != 1:
            self.refuse(f"expected entries, active and weights of one length, got shapes {sorted(shapes)}")
        ascending = bool((np.diff(self.entries) > 0).all())  # as recipes and policies give them
        if not (ascending or len(np.unique(self.entries)) == len(self.entries)) or not within(self.entries, size):
            self.refuse(f"expected distinct entries from 0 to {size - 1}, got others: they are row-major positions")
        if np.any(self.weights[~self.active]):
            self.refuse("expected weight 0 for dormant entries, got another")
        inverse = SetMask(
            projection=self.projection,
            entries=self.entries,
            active=columns.mask.reshape(-1)[self.entries],
            weights=columns.weight.reshape(-1)[self.entries],
        )
        changed = {self.projection: self._set(columns)}
        if (tie := Tie.of(structure, self.projection)) is not None:
            twin = self._twin(structure, tie)
            before = structure.connection_columns(twin.projection)
            if not inverse._twin(structure, tie)._is_state_of(before):
                self.refuse(
                    f"expected {twin.projection!r}, which has the same table, to agree before, got other connections "
                    "there: add or remove units at both ends first"
                )
            changed[twin.projection] = twin._set(before)
        return structure.replace(connections=changed), inverse

    def _set(self, columns: ConnectionColumns) -> ConnectionColumns:
        """Connections with the states and weights of the edit."""
        weight, mask = columns.weight.copy(), columns.mask.copy()
        weight.reshape(-1)[self.entries], mask.reshape(-1)[self.entries] = self.weights, self.active
        return columns.with_weight(owned(weight), owned(mask))

    def _twin(self, structure: Structure, tie: Tie) -> "SetMask":
        """What the edit does at the other end of a tie."""
        at = tie.partner(self.projection, self.entries)
        there = at >= 0
        return SetMask(
            projection=structure.tied[self.projection],
            entries=at[there],
            active=self.active[there],
            weights=self.weights[there],
        )

    def _is_state_of(self, columns: ConnectionColumns) -> bool:
        """Whether connections have the states and weights of the edit already, to the bit."""
        mask, weight = (values.reshape(-1)[self.entries] for values in (columns.mask, columns.weight))
        return np.array_equal(mask, self.active) and same_bits(weight, self.weights)

    def mapped(self, way: Way) -> Edit | None:
        """The same connections by the units at their ends; their states and weights merged three ways.

        What has the same table is changed with it, wherever it has become one of its own.
        """
        tie = Tie.of(way.base, self.projection)
        sides = [self] if tie is None else [self, self._twin(way.base, tie)]
        there = [side for side in sides if self.kept(way, side.projection)]
        if len(there) == 2 and way.here.tied.get(self.projection) == there[1].projection:
            there = there[:1]
        moved = [edit for side in there if (edit := side._moved(way)) is not None]
        return moved[-1].after(moved[:-1]) if moved else None

    def _moved(self, way: Way) -> "SetMask | None":
        """The edit of one projection."""
        (base, ends), (here, here_ends) = way.base.wired(self.projection), way.here.wired(self.projection)
        at = self.entries
        if not (base.joins_as(here) and _unmoved(way, self.projection)):
            addresses = base.addresses(self.entries, ends)
            for end, layer in enumerate(way.base.projection(self.projection).ends):
                addresses[:, end] = way.twin(layer, addresses[:, end])
            at = here.entries(addresses, here_ends)
        left = at >= 0
        old, at, active, weights = self.entries[left], at[left], self.active[left], self.weights[left]
        merging = Merging(self.words, self.projection, lambda clash: here.addresses(at[clash], here_ends)[:, 0])
        before, now = ((c.mask.reshape(-1)[e], c.weight.reshape(-1)[e]) for c, e in ((base, old), (here, at)))
        mask = merging("state", before[0], now[0], active)
        known = (np.where(mask, values, 0) for values in (before[1], now[1], weights))
        values = np.where(mask, merging("weight", *known), 0).astype(np.float32)
        return SetMask(projection=self.projection, entries=at, active=mask, weights=values) if len(at) else None


class SetArea(Edit):
    """Set the positions at which a convolution is computed; None for all of them."""

    kind: Literal["set_area"] = "set_area"
    projection: Name
    area: Booleans | None

    @property
    def words(self) -> str:
        """What the edit does."""
        return f"SetArea of {self.projection!r}"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Set the area."""
        check_area(self, structure, structure.projection(self.projection), self.area)
        columns = structure.connection_columns(self.projection)
        changed = columns.with_area(self.area)
        inverse = SetArea(projection=self.projection, area=columns.area)
        return structure.replace(connections={self.projection: changed}), inverse

    def mapped(self, way: Way) -> Edit | None:
        """The area of the same pairs of maps, merged three ways; new pairs keep theirs.

        Where one side alone changed it, it stays as that spelled it; else it has the shortest spelling.
        """
        if not self.kept(way, self.projection):
            return None
        base, (here, ends) = way.base.connection_columns(self.projection), way.here.wired(self.projection)
        if same_area(base.area, self.area):
            return None
        given = (base.area, here.area, self.area)
        by_pair = any(paired(area) for area in given)
        size = next(area for area in given if area is not None).shape[2:]
        shapes = (columns.edges.shape if by_pair else (len(columns.edges), 1) for columns in (base, here, base))
        old, now, ours = (laid_out(area, shape, size) for area, shape in zip(given, shapes, strict=True))
        places = way.follow(self.projection)[: 2 if by_pair else 1]
        old, ours = (gathered(area, places, now) for area in (old, ours))
        block = max(math.prod(now.shape[1:]), 1)
        merging = Merging(self.words, self.projection, lambda clash: ends.target.ids[clash // block])
        like = self._spelled(base, here) if np.array_equal(old, now) else None
        area = shortest(merging("area", old, now, ours), like)
        return None if same_area(area, here.area) else SetArea(projection=self.projection, area=area)

    def _spelled(self, base: ConnectionColumns, here: ConnectionColumns) -> Area:
        """An area as which to spell what this edit alone changed; None for the shortest spelling."""
        sources = base.edges.shape[1], here.edges.shape[1]
        if not spelled_alike(base.area, here.area, sources):
            return None
        either = sources[0] == 1 and self.area is not None and here.area is not None
        return here.area if either else self.area


class SetValues(Edit):
    """Set weights and unit columns: what training changed.

    Attributes:
        units: by layer and column, one value a unit in the order of positions.
        weights: by projection, one value an active connection in row-major order.
        batches: by layer, how many batches the averages of its normalisation have seen, where they are over all.

    What bodies of opaque layers were trained to is held in memory, as in `AddLayer`.
    """

    kind: Literal["set_values"] = "set_values"
    units: dict[Name, UnitValues] = Field(default_factory=dict)
    weights: dict[Name, Floats] = Field(default_factory=dict)
    batches: Annotated[dict[Name, Extent], Field(exclude_if=operator.not_)] = Field(default_factory=dict)

    _bodies: dict[str, Body] = PrivateAttr(default_factory=dict[str, Body])

    @property
    def bodies(self) -> Mapping[str, Body]:
        """What opaque layers compute after the edit, by layer, where it is something else."""
        return self._bodies

    def with_bodies(self, bodies: Mapping[str, Body]) -> Self:
        """The edit that also exchanges what opaque layers compute, by layer."""
        twin = self.model_copy()
        twin._bodies = dict(bodies)
        return twin

    @property
    def words(self) -> str:
        """What the edit does."""
        return f"SetValues of {len(self.weights)} projections and {len(self.units)} layers"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Set the values."""
        old_units: dict[str, UnitValues] = {}
        units: dict[str, UnitColumns] = {}
        for layer, values in self.units.items():
            columns = structure.unit_columns(layer)
            check_columns(self, values, structure.layer(layer), len(columns))
            old_units[layer] = {name: columns.values[name] for name in values}
            units[layer] = UnitColumns.of(columns.ids, {**columns.values, **values}, columns.next_id)
        old_weights: dict[str, Floats] = {}
        connections: dict[str, ConnectionColumns] = {}
        for projection, live in self.weights.items():
            columns = structure.connection_columns(projection)
            if live.shape != (columns.active,):
                self.refuse(f"expected {columns.active} active weights of {projection!r}, got shape {live.shape}")
            old_weights[projection] = owned(columns.living(columns.weight))
            connections[projection] = columns.with_living(live)
        connections |= self._at_other_ends(structure, connections)
        counted = {name: self._counted(structure, name, count) for name, count in self.batches.items()}
        inverse = SetValues(
            units=old_units,
            weights=old_weights,
            batches={name: old for name in counted if (old := _seen(structure.layer(name))) is not None},
        ).with_bodies(self._replaced(structure))
        return structure.replace(layers=counted, units=units, connections=connections).with_bodies(self.bodies), inverse

    def _at_other_ends(
        self, structure: Structure, changed: Mapping[str, ConnectionColumns]
    ) -> dict[str, ConnectionColumns]:
        """What has the same table as projections that change, with their weights."""
        found: dict[str, ConnectionColumns] = {}
        for projection, columns in changed.items():
            if (tie := Tie.of(structure, projection)) is None:
                continue
            other = structure.tied[projection]
            if not isinstance(structure, Network) and not agree(structure, tie):
                self.refuse(f"expected {projection!r} and {other!r}, which have one table, to agree before, got others")
            known = changed.get(other, structure.connection_columns(other))
            weight = np.ascontiguousarray(tie.other(projection, columns.weight, known.weight))
            if other in changed and not same_bits(weight, known.weight):
                self.refuse(f"expected one table for {projection!r} and {other!r}, got others: give one of them")
            found[other] = known.with_weight(weight)
        return found

    def mapped(self, way: Way) -> Edit | None:
        """The values of units that still live and of connections that are live here, merged three ways.

        What training changed on one side is taken from it; two trainings of the same values do not merge.
        """
        units = {name: self._columns(way, name) for name in self.units if self.kept(way, name, layer=True)}
        given = {name: way.base.connection_columns(name).with_living(live) for name, live in self.weights.items()}
        given |= {name: columns for name, columns in self._at_other_ends(way.base, given).items() if name not in given}
        there = {name: columns for name, columns in given.items() if self.kept(way, name)}
        told = [name for name in there if name in self.weights or way.here.tied.get(name) not in there]
        weights = {name: self._living(way, name, there[name].weight) for name in told}
        batches = {name: count for name, count in self.batches.items() if self.kept(way, name, layer=True)}
        bodies = {name: body for name, body in self.bodies.items() if self.kept(way, name, layer=True)}
        moved = SetValues(units=units, weights=weights, batches=batches).with_bodies(bodies)
        return moved if units or weights or batches or bodies else None

    def _columns(self, way: Way, layer: str) -> UnitValues:
        base, here, old = way.base.unit_columns(layer), way.here.unit_columns(layer), (way.old(layer),)
        moved: UnitValues = {}
        for name, values in self.units[layer].items():
            if (now := here.values.get(name)) is not None:
                each = now.size // max(len(now), 1)
                merging = Merging(self.words, layer, lambda clash, each=each: here.ids[clash // each])
                moved[name] = merging(name, gathered(base.values[name], old, now), now, gathered(values, old, now))
        return moved

    def _living(self, way: Way, projection: str, ours: AnyArray) -> AnyArray:
        """The weights of the living connections of a projection, where this side set all to `ours`."""
        base, (here, ends) = way.base.connection_columns(projection), way.here.wired(projection)
        places = way.follow(projection)
        both = here.mask & gathered(base.mask, places, False)
        at = np.flatnonzero(both)
        merging = Merging(self.words, projection, lambda clash: here.addresses(at[clash], ends)[:, 0])
        before, given = (gathered(weight, places, 0)[both] for weight in (base.weight, ours))
        weight = here.weight.copy()
        weight[both] = merging("weight", before, here.weight[both], given)
        return here.living(weight)

    def _replaced(self, structure: Structure) -> dict[str, Body]:
        """The bodies before the edit, of those that it exchanges."""
        for name in self.bodies:
            if name not in structure.bodies:
                self.refuse(f"expected a network that holds the body of {name!r}, got none: give it by with_bodies")
        return {name: structure.bodies[name] for name in self.bodies}

    def _counted(self, structure: Structure, name: str, count: int) -> Layer:
        """The record of a layer whose averages have seen so many batches."""
        record = structure.layer(name)
        norm = record.counting
        if norm is None:
            self.refuse(f"expected batches of a normalisation that averages over all, got layer {name!r}")
        new = norm.with_seen(count)
        return record.model_copy(update={"operations": tuple(new if op is norm else op for op in record.operations)})


def _seen(layer: Layer) -> int | None:
    """How many batches the averages of a layer have seen; None where it has none that count them."""
    return None if layer.counting is None else layer.counting.seen
