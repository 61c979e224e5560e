"""Edits of whole layers and projections."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from nestgraph.edits.edit import Edit
from nestgraph.graph.columns import NEUTRAL, ConnectionColumns, UnitColumns
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import Booleans, Floats, Integers
from nestgraph.spec.layer import ColumnName, Layer
from nestgraph.spec.operations import Operation
from nestgraph.spec.projection import Projection
from nestgraph.spec.record import Name, Record

UnitValues = dict[ColumnName, Floats]


class Block(Record):
    """Connections as a record: a whole projection's, or the part of it that touches certain units."""

    weight: Floats
    mask: Booleans
    area: Booleans | None = None
    links: Integers | None = None

    @classmethod
    def of(cls, columns: ConnectionColumns) -> "Block":
        """The block of all connections of a projection."""
        return cls(weight=columns.weight, mask=columns.mask, area=columns.area, links=columns.links)


class AddLayer(Edit):
    """Add a layer and its units; columns that are not given are neutral."""

    kind: Literal["add_layer"] = "add_layer"
    layer: Layer
    ids: Integers
    values: UnitValues = {}
    next_id: Annotated[int, Field(ge=0)] = 0

    @property
    def words(self) -> str:
        """What the edit does."""
        return f"AddLayer {self.layer.name!r} of {len(self.ids)} units"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Add the layer."""
        name = self.layer.name
        if structure.has_layer(name):
            self.refuse(f"expected a new name, got {name!r}, which a layer has: choose another")
        values = {column: np.full(self.ids.shape, NEUTRAL[column], np.float32) for column in self.layer.column_names}
        columns = UnitColumns.of(self.ids, values | self.values, self.next_id)
        return structure.replace(layers={name: self.layer}, units={name: columns}), RemoveLayer(layer=name)


class RemoveLayer(Edit):
    """Remove a layer that no projection touches any more."""

    kind: Literal["remove_layer"] = "remove_layer"
    layer: Name

    @property
    def words(self) -> str:
        """What the edit does."""
        return f"RemoveLayer {self.layer!r}"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Remove the layer."""
        touching = [p.name for p in (*structure.incoming(self.layer), *structure.outgoing(self.layer))]
        if touching:
            self.refuse(f"expected no projection at the layer, got {', '.join(touching)}: remove them first")
        columns = structure.unit_columns(self.layer)
        inverse = AddLayer(
            layer=structure.layer(self.layer), ids=columns.ids, values=dict(columns.values), next_id=columns.next_id
        )
        return structure.replace(layers={self.layer: None}), inverse


class AddProjection(Edit):
    """Add a projection with its connections."""

    kind: Literal["add_projection"] = "add_projection"
    projection: Projection
    connections: Block

    @property
    def words(self) -> str:
        """What the edit does."""
        return f"AddProjection {self.projection.name!r}"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Add the projection."""
        name, block = self.projection.name, self.connections
        if structure.has_projection(name):
            self.refuse(f"expected a new name, got {name!r}, which a projection has: choose another")
        columns = ConnectionColumns.of(block.weight, block.mask, block.area, block.links)
        changed = structure.replace(projections={name: self.projection}, connections={name: columns})
        return changed, RemoveProjection(projection=name)


class RemoveProjection(Edit):
    """Remove a projection and all its connections."""

    kind: Literal["remove_projection"] = "remove_projection"
    projection: Name

    @property
    def words(self) -> str:
        """What the edit does."""
        return f"RemoveProjection {self.projection!r}"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Remove the projection."""
        block = Block.of(structure.connection_columns(self.projection))
        inverse = AddProjection(projection=structure.projection(self.projection), connections=block)
        return structure.replace(projections={self.projection: None}), inverse


class SetOperations(Edit):
    """Exchange a layer's chain of operations, and whether its units have a bias.

    Columns that the new chain needs and the old did not are neutral, or taken from `values`.
    """

    kind: Literal["set_operations"] = "set_operations"
    layer: Name
    operations: Annotated[tuple[Operation, ...], Field(max_length=16)]
    bias: bool
    values: UnitValues = {}

    @property
    def words(self) -> str:
        """What the edit does."""
        return f"SetOperations of layer {self.layer!r}"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Exchange the operations."""
        old, columns = structure.layer(self.layer), structure.unit_columns(self.layer)
        new = Layer.model_validate({**dict(old), "operations": self.operations, "bias": self.bias})
        neutral = {name: np.full(len(columns), NEUTRAL[name], np.float32) for name in new.column_names}
        kept = {name: column for name, column in columns.values.items() if name in neutral}
        changed = UnitColumns.of(columns.ids, neutral | kept | self.values, columns.next_id)
        lost = {n: v for n, v in columns.values.items() if n not in neutral or n in self.values}
        inverse = SetOperations(layer=self.layer, operations=old.operations, bias=old.bias, values=lost)
        return structure.replace(layers={self.layer: new}, units={self.layer: changed}), inverse
