"""Edits of connections and values that leave the units as they are."""

import operator
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, PrivateAttr

from nestgraph.edits.edit import Edit
from nestgraph.edits.layers import UnitValues, check_area, check_columns
from nestgraph.errors import EditError
from nestgraph.graph.body import Body
from nestgraph.graph.columns import ConnectionColumns, UnitColumns
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray, Booleans, Floats, Integers, owned
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
        weight, mask = columns.weight.copy(), columns.mask.copy()
        weights, active = weight.reshape(-1), mask.reshape(-1)
        inverse = SetMask(
            projection=self.projection,
            entries=self.entries,
            active=active[self.entries],
            weights=weights[self.entries],
        )
        weights[self.entries], active[self.entries] = self.weights, self.active
        changed = columns.with_weight(owned(weight), owned(mask))
        return structure.replace(connections={self.projection: changed}), inverse


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
            check_columns(self, values, tuple(columns.values), len(columns))
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
        counted = {name: self._counted(structure, name, count) for name, count in self.batches.items()}
        inverse = SetValues(
            units=old_units,
            weights=old_weights,
            batches={name: norm.batches for name in counted if (norm := structure.layer(name).batch_norm)},
        ).with_bodies(self._replaced(structure))
        return structure.replace(layers=counted, units=units, connections=connections).with_bodies(self.bodies), inverse

    def _replaced(self, structure: Structure) -> dict[str, Body]:
        """The bodies before the edit, of those that it exchanges."""
        for name in self.bodies:
            if name not in structure.bodies:
                self.refuse(f"expected a network that holds the body of {name!r}, got none: give it by with_bodies")
        return {name: structure.bodies[name] for name in self.bodies}

    def _counted(self, structure: Structure, name: str, count: int) -> Layer:
        """The record of a layer whose averages have seen so many batches."""
        record = structure.layer(name)
        norm = record.batch_norm
        if norm is None or norm.momentum is not None:
            self.refuse(f"expected batches of a normalisation that averages over all, got layer {name!r}")
        new = norm.model_copy(update={"batches": count})
        return record.model_copy(update={"operations": tuple(new if op is norm else op for op in record.operations)})
