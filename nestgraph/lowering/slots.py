"""Where each column of a network lives in the modules lowered from it, and under which generated names."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from nestgraph.errors import LoweringError
from nestgraph.graph import Structure
from nestgraph.lowering.blocks import trained_blocks
from nestgraph.lowering.live import Live
from nestgraph.lowering.opaque import PREFIX, ModuleBody
from nestgraph.lowering.operations import column_paths
from nestgraph.lowering.packing import Packing
from nestgraph.lowering.paths import layer_paths, projection_paths
from nestgraph.spec import Dense, Projection
from nestgraph.spec.arrays import AnyArray

BODY = "body"
"""What the module of an opaque layer is called beside the layer's own columns."""


@dataclass(frozen=True)
class Slot:
    """The place of one column.

    Attributes:
        path: dotted name of the parameter or buffer in the module, made of numbers and never of a user's text, but for
            what a body's own module calls it.
        owner: name of the projection (of a weight) or layer (of any other column).
        column: `weight`, or the name of a unit column, or `body` and a number for a tensor of an opaque layer's body.
        packing: the form in which a module may hold the column, as its tensor tells; None where it has but the column's
            own.
    """

    path: str
    owner: str
    column: str
    packing: Packing | None = field(default=None, compare=False)

    @property
    def is_weight(self) -> bool:
        """Whether the column holds a projection's weights rather than values of units."""
        return self.column == "weight"

    @property
    def is_body(self) -> bool:
        """Whether it is of the body of an opaque layer, of any shape."""
        return self.column.startswith(PREFIX)

    def values(self, structure: Structure) -> AnyArray:
        """The column in a network; the module's tensor has its shape, but for `packing`."""
        if self.is_body:
            return module_body(structure, self.owner).values(self.column)
        if self.is_weight:
            return structure.connection_columns(self.owner).weight
        return structure.unit_columns(self.owner).values[self.column]  # type: ignore[index]

    def tensor(self, module: nn.Module) -> Tensor:
        """The column in a lowered module, packed as the module holds it.

        Raises:
            LoweringError: the module has no such tensor.
        """
        parent, _, field = self.path.rpartition(".")
        try:
            found = getattr(module.get_submodule(parent), field)
        except AttributeError:
            found = None
        if not isinstance(found, Tensor):
            raise LoweringError(
                f"{self.owner!r}: expected its {self.column} as {self.path!r} in the module, got none: "
                "use the module that nestgraph.lower gave for this network"
            )
        return found

    def spread(self, values: Tensor, structure: Structure) -> Tensor:
        """What the module holds for the column (values, gradients, state), in the column's shape."""
        if self.packing is None or not self.packing.holds(values):
            return values
        return self.packing.spread(values, self.values(structure).shape)

    def packed(self, values: Tensor, held: Tensor) -> Tensor:
        """Values of the column's shape as a module holds them that holds `held` for the column."""
        return values if self.packing is None or not self.packing.holds(held) else self.packing.packed(values)


def slots(structure: Structure) -> tuple[Slot, ...]:
    """The slots of all columns that training changes: trained weights, the columns of units, then bodies.

    A table at both ends of the network has one slot, that of the lookup.
    """
    projections, layers = projection_paths(structure), layer_paths(structure)
    weights = [
        Slot(f"{projections[name]}.weight", name, "weight", trained_packing(structure, name))
        for name in structure.projection_names
        if _is_own(structure.projection(name)) and structure.connection_columns(name).weight.size
    ]
    columns = [
        Slot(f"{layers[name]}.{path}", name, column)
        for name in structure.layer_names
        for column, path in column_paths(structure.layer(name))
    ]
    return (*weights, *columns, *_body_slots(structure, layers))


def trained_packing(structure: Structure, projection: str) -> Packing | None:
    """The form beside the column's own in which a module that trains may hold the weights of a projection."""
    if isinstance(structure.projection(projection), Dense):
        return Live.of(structure.connection_columns(projection))
    return trained_blocks(structure, projection)


def _is_own(projection: Projection) -> bool:
    """Whether a projection has weights that train and that no lookup holds."""
    return projection.learns and projection.follows is None


def module_body(structure: Structure, layer: str) -> ModuleBody:
    """The body of an opaque layer that has slots."""
    body: Any = structure.bodies[layer]
    assert isinstance(body, ModuleBody), "only bodies that are modules have slots"
    return body


def _body_slots(structure: Structure, layers: Mapping[str, str]) -> Iterator[Slot]:
    held = ((name, structure.bodies.get(name)) for name in structure.layer_names)
    for name, body in held:
        if isinstance(body, ModuleBody):
            for column, (path, _) in body.tensors.items():
                yield Slot(f"{layers[name]}.{BODY}.{path}", name, column)
