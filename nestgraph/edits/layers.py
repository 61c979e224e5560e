"""Edits of whole layers and projections."""

from typing import Annotated, Any, Literal, Self, TypeVar

import numpy as np
from pydantic import Field, PrivateAttr, Strict

from nestgraph.edits.edit import Edit
from nestgraph.edits.three_ways import Conflict, Merging
from nestgraph.errors import ConflictError
from nestgraph.graph.body import Body
from nestgraph.graph.columns import ConnectionColumns, Ends, UnitColumns, gathered
from nestgraph.graph.columns.areas import fits
from nestgraph.graph.projections import MEANINGS, meaning_of
from nestgraph.graph.structure import Structure
from nestgraph.graph.way import Way
from nestgraph.spec.arrays import AnyArray, Booleans, Floats, Integers
from nestgraph.spec.interface import Interface
from nestgraph.spec.layer import ColumnName, FreezableName, Layer
from nestgraph.spec.operations import Chain
from nestgraph.spec.projection import AnyProjection, Projection
from nestgraph.spec.record import ArrayRecord, Extent, Name, absent
from nestgraph.spec.unit_column import neutral

UnitValues = dict[ColumnName, Floats]
C = TypeVar("C", bound=ConnectionColumns)


class Block(ArrayRecord):
    """Connections as a record: a whole projection's, or the part of it that touches certain units."""

    weight: Floats
    mask: Booleans
    area: Booleans | None = None
    links: Integers | None = None

    @classmethod
    def of(cls, columns: ConnectionColumns) -> "Block":
        """The block of all connections of a projection."""
        return cls(**columns.arrays)

    def columns(self, kind: type[C]) -> C:
        """The connections, of a kind.

        Raises:
            ValueError: it has other arrays than that kind.
        """
        return kind.made_of(self.weight, self.mask, {"area": self.area, "links": self.links})


def neutral_values(layer: Layer, count: int) -> UnitValues:
    """Columns of `count` units that change nothing."""
    return dict(UnitColumns.new(layer, count).values)  # pyright: ignore[reportReturnType]


def check_columns(edit: Edit, values: UnitValues, layer: Layer, count: int) -> None:
    """Refuse columns that the units do not have, or of another shape.

    Raises:
        EditError: a column does not fit.
    """
    for name, column in values.items():
        shape = layer.column_shape(name, count) if name in layer.column_names else None
        if column.shape != shape:
            known = ", ".join(layer.column_names) or "none"
            expected = f"{count} values of each column ({known})" if shape in (None, (count,)) else f"shape {shape}"
            edit.refuse(f"expected {expected}, got {name} of shape {column.shape}")


def check_area(edit: Edit, structure: Structure, projection: Projection, area: AnyArray | None) -> None:
    """Refuse an area that does not fit the projection.

    Raises:
        EditError: it is not a convolution's, or of another shape.
    """
    if area is None:
        return
    if not projection.areas:
        edit.refuse(f"expected a convolution, got {projection.name!r}: only convolutions have areas")
    out, into = len(structure.units(projection.target)), len(structure.units(projection.source))
    size = structure.layer(projection.target).size or ()
    if not fits(area, (out, into), size):
        edit.refuse(f"expected an area of shape {(out, into, *size)} or {(out, 1, *size)}, got {area.shape}")


class AddLayer(Edit):
    """Add a layer and its units; columns that are not given are neutral.

    The inverse of an edit that removed an opaque layer holds what the layer computed, in memory: neither JSON nor
    equality know of it, as they do not of a network's bodies.
    """

    kind: Literal["add_layer"] = "add_layer"
    layer: Layer
    ids: Integers
    values: UnitValues = Field(default_factory=dict)
    next_id: Extent = 0
    _body: Body | None = PrivateAttr(default=None)

    @classmethod
    def of(cls, structure: Structure, name: str) -> Self:
        """The edit that adds a layer as it is in a structure, with its body."""
        columns = structure.unit_columns(name)
        values = dict(columns.values)
        edit = cls(layer=structure.layer(name), ids=columns.ids, values=values, next_id=columns.next_id)
        edit._body = structure.bodies.get(name)
        return edit

    @property
    def words(self) -> str:
        """What the edit does."""
        return f"AddLayer {self.layer.name!r} of {self.ids.size} units"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Add the layer."""
        name = self.layer.name
        if structure.has_layer(name):
            self.refuse(f"expected a new name, got {name!r}, which a layer has: choose another")
        if self.ids.ndim != 1:
            self.refuse(f"expected a list of ids, got an array of shape {self.ids.shape}")
        check_columns(self, self.values, self.layer, len(self.ids))
        values = neutral_values(self.layer, len(self.ids)) | self.values
        columns = UnitColumns.of(self.ids, values, self.next_id)
        added = structure.replace(layers={name: self.layer}, units={name: columns})
        return added if self._body is None else added.with_bodies({name: self._body}), RemoveLayer(layer=name)

    def mapped(self, way: Way) -> Edit:
        """The same layer; nothing of its name may be there."""
        if way.here.has_layer(self.layer.name):
            self.refuse(f"expected a free name, got {self.layer.name!r}, which a layer of the other side has")
        return self


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
        return structure.replace(layers={self.layer: None}), AddLayer.of(structure, self.layer)

    def mapped(self, way: Way) -> Edit | None:
        """The same, if it is still there."""
        return self if self.kept(way, self.layer, layer=True) else None


class AddProjection(Edit):
    """Add a projection with its connections."""

    kind: Literal["add_projection"] = "add_projection"
    projection: AnyProjection
    connections: Block

    @property
    def words(self) -> str:
        """What the edit does."""
        return f"AddProjection {self.projection.name!r}"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Add the projection."""
        name = self.projection.name
        if structure.has_projection(name):
            self.refuse(f"expected a new name, got {name!r}, which a projection has: choose another")
        try:
            columns = self.connections.columns(MEANINGS[type(self.projection)].kind)
        except ValueError as error:
            self.refuse(str(error))
        changed = structure.replace(projections={name: self.projection}, connections={name: columns})
        self._check(changed, columns)
        return changed, RemoveProjection(projection=name)

    def _check(self, structure: Structure, columns: ConnectionColumns) -> None:
        """Refuse arrays that do not fit the units; whether the grids fit is verified after the whole batch."""
        shape, block = meaning_of(structure, self.projection).shape if columns.formed else (), columns.weight.shape
        units = shape[: columns.axes]
        if (
            not columns.formed
            or len(block) != len(shape)
            or block[: columns.axes] != units
            or columns.mask.shape != block
        ):
            inner = len(shape) - columns.axes
            where = f"{units} and {inner} extent{'s'[: inner > 1]} of a kernel or map" if inner else str(units)
            self.refuse(f"expected weights and mask of shape {where}, got {block} and {columns.mask.shape}")
        check_area(self, structure, self.projection, columns.area)

    def mapped(self, way: Way) -> Edit:
        """The same between the units that live; those that are new at its ends have no connections through it."""
        record = self.projection
        if way.here.has_projection(record.name):
            self.refuse(f"expected a free name, got {record.name!r}, which a projection of the other side has")
        for layer in record.ends:
            if not self.kept(way, layer, layer=True):
                self.refuse(f"expected layer {layer!r} to be there, got none: it was removed")
        kind = MEANINGS[type(record)].kind
        ends, here = (Ends(*(side.unit_columns(layer) for layer in record.ends)) for side in (way.base, way.here))
        target, source = record.ends
        part = self.connections.columns(kind).moved(ends, here, (way.old(target), way.old(source)))
        return AddProjection(projection=record, connections=Block.of(part))


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

    def mapped(self, way: Way) -> Edit | None:
        """The same, if it is still there."""
        return self if self.kept(way, self.projection) else None


class SetOperations(Edit):
    """Exchange a layer's chain of operations, whether it has a bias and values by place, and what does not train.

    Columns that the new chain needs and the old did not are neutral, or taken from `values`.

    Attributes:
        layer: which.
        operations: the new chain.
        bias: whether its units have one.
        values: of columns, by name.
        frozen: the columns that do not train; None leaves them as they are.
        places: whether its maps have values by place; None leaves that as it is.
    """

    kind: Literal["set_operations"] = "set_operations"
    layer: Name
    operations: Chain
    bias: bool
    values: UnitValues = Field(default_factory=dict)
    frozen: Annotated[tuple[FreezableName, ...] | None, Field(exclude_if=absent), Strict(False)] = None
    places: Annotated[bool | None, Field(exclude_if=absent)] = None

    @property
    def words(self) -> str:
        """What the edit does."""
        return f"SetOperations of layer {self.layer!r}"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Exchange the operations."""
        old, columns = structure.layer(self.layer), structure.unit_columns(self.layer)
        held = {name: value for name in ("frozen", "places") if (value := getattr(self, name)) is not None}
        new = Layer.model_validate({**dict(old), "operations": self.operations, "bias": self.bias, **held})
        check_columns(self, self.values, new, len(columns))
        neutral = neutral_values(new, len(columns))
        kept = {n: v for n, v in columns.values.items() if n in neutral and v.shape == neutral[n].shape}
        changed = UnitColumns.of(columns.ids, neutral | kept | self.values, columns.next_id)
        lost = {n: v for n, v in columns.values.items() if n not in kept or n in self.values}
        before: dict[str, Any] = {name: getattr(old, name) for name in held}
        inverse = SetOperations(layer=self.layer, operations=old.operations, bias=old.bias, values=lost, **before)
        return structure.replace(layers={self.layer: new}, units={self.layer: changed}), inverse

    def mapped(self, way: Way) -> Edit | None:
        """The same chain, if only one side changed it; units that are new keep the columns that they came with."""
        if not self.kept(way, self.layer, layer=True):
            return None
        base, here = way.base.layer(self.layer), way.here.layer(self.layer)
        sides: dict[str, tuple[Any, Any, Any]] = {
            "operations": (base.operations, here.operations, self.operations),
            "bias": (base.bias, here.bias, self.bias),
        }
        for held in ("frozen", "places"):
            if (given := getattr(self, held)) is not None:  # else it leaves them as they are
                sides[held] = (getattr(base, held), getattr(here, held), given)
        merged: dict[str, Any] = {}
        for what, (before, theirs, mine) in sides.items():
            if before not in (theirs, mine) and theirs != mine:
                conflict = Conflict(self.layer, what, (), str(mine), str(theirs))
                raise ConflictError(self.words, (conflict,))
            merged[what] = theirs if mine == before else mine
        return SetOperations(layer=self.layer, values=self._columns(way), **merged)

    def _columns(self, way: Way) -> UnitValues:
        """The values by the units that there are, merged three ways with what else became of their columns."""
        base, here, old = way.base.unit_columns(self.layer), way.here.unit_columns(self.layer), (way.old(self.layer),)
        moved: UnitValues = {}
        for name, ours in self.values.items():
            before, now = (columns.values.get(name) for columns in (base, here))
            if now is None or now.shape[1:] != ours.shape[1:]:
                moved[name] = gathered(ours, old, neutral(name))
                continue
            if before is None or before.shape[1:] != ours.shape[1:]:
                before = np.full_like(ours, neutral(name))  # what it is given where nobody says otherwise
            each = now.size // max(len(now), 1)
            merging = Merging(self.words, self.layer, lambda clash, each=each: here.ids[clash // each])
            moved[name] = merging(name, gathered(before, old, now), now, gathered(ours, old, now))
        return moved


class SetInterface(Edit):
    """Exchange what a network says of the tensors that it takes and gives: their order, form and names.

    Edits that add or remove inputs or outputs of a network with a recorded interface go into one batch with it.

    Attributes:
        interface: the new one; None for the order of the layers.
    """

    kind: Literal["set_interface"] = "set_interface"
    interface: Interface | None

    @property
    def words(self) -> str:
        """What the edit does."""
        return "SetInterface"

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Exchange the interface."""
        return structure.with_interface(self.interface), SetInterface(interface=structure.interface)

    def mapped(self, way: Way) -> Edit | None:
        """The same, if only one side changed it."""
        base, here = way.base.interface, way.here.interface
        if here == self.interface:
            return None
        if here != base:
            conflict = Conflict("network", "interface", (), str(self.interface), str(here))
            raise ConflictError(self.words, (conflict,))
        return self
