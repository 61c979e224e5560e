"""The recipe function that takes a layer out and joins what it read to what read it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetValues
from nestgraph.edits.constants import absorbed, per_unit
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import AddProjection, Block, RemoveLayer, RemoveProjection
from nestgraph.edits.naming import free_name
from nestgraph.edits.tying import check_untied
from nestgraph.errors import EditError
from nestgraph.graph.columns import ConnectionColumns, Links
from nestgraph.graph.projections import meaning_of
from nestgraph.graph.reference import project
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Conv, OneToOne, Projection, Swept


@recipe_function
def bypass_layer(structure: Structure, layer: str) -> Batch:
    """Remove a hidden layer: all that read it reads what it read, by the products of the weights.

    The way back from `deepen`. Its activation and dropout go; its biases and normalisation move into the layers after
    it. So the function stays where the activation left the sums as they were, as ReLU leaves sums that are never
    negative, but for the border of padded convolutions, which see no bias there. One of any two projections that
    meet at the layer has to be pointwise: between neurons, one to one, or of 1 x 1 kernels.

    Raises:
        EditError: the layer is not hidden, pools, resizes or mixes its units, or is gated or opaque, or gates a
            layer or is read by an opaque one, or joins projections whose product is no projection, or is at a tied
            table.
    """
    record = structure.layer(layer)
    scaling = all(operation.facts.reach == "value" for operation in record.operations)
    if record.kind == "input" or record.output or not scaling:
        _refuse(layer, "expected a hidden layer that does not pool, resize or mix its units, got another")
    check_untied(structure, f"bypass_layer on {layer!r}", [layer])
    if record.places:
        _refuse(layer, "expected a layer that adds the same at all places, got one with values by place")
    scale, constant = _linear(structure, layer)
    before, after = (_plain(structure, layer, side) for side in (structure.incoming(layer), structure.outgoing(layer)))
    cut: list[AnyEdit] = [RemoveProjection(projection=p.name) for p in (*before, *after)]
    edits = [*cut, *_absorbing(structure, layer, constant), RemoveLayer(layer=layer)]
    joined, _ = Batch(edits=tuple(edits)).change(structure)
    for second in after:
        for first in before:
            stem = second.name if len(before) == 1 else f"{first.source}_to_{second.target}"
            edit = _Joint(structure, first, second, scale).edit(free_name(joined, stem))
            if edit is not None:
                edits.append(edit)
                joined, _ = edit.change(joined)
    return Batch(edits=tuple(edits), title=f"bypass {layer}")


def _plain(structure: Structure, layer: str, projections: Sequence[Projection]) -> list[Projection]:
    """The projections at a side of a layer, whose products are projections: they add up units of one form."""
    found: list[Projection] = []
    for p in projections:
        meaning = meaning_of(structure, p)
        reforms = p.couples and meaning.pointwise and meaning.source_size != meaning.size
        if not p.adds or reforms:
            what = "a gate" if p.gates else "one that flattens maps" if reforms else "an argument of an opaque layer"
            _refuse(layer, f"expected projections that add to sums as they are, got {p.name!r}, {what}")
        found.append(p)
    return found


def _linear(structure: Structure, layer: str) -> tuple[AnyArray, AnyArray]:
    """(units,) each: what a layer without activations multiplies its sums by, and what it adds."""
    record, values = structure.layer(layer), structure.unit_columns(layer).values
    scale = np.ones(len(structure.units(layer)), np.float32)
    constant = values["bias"] if record.bias else np.zeros_like(scale)
    for operation in record.operations:
        if (affine := operation.affine(values)) is not None:
            scale, constant = scale * affine.scale, (constant - affine.centre) * affine.scale + affine.shift
    return scale, constant


def _absorbing(structure: Structure, layer: str, constant: AnyArray) -> tuple[SetValues, ...]:
    """What moves a constant output (units,) of a layer into the layers that read it."""
    size = structure.layer(layer).size or ()
    output = np.broadcast_to(constant.astype(np.float64).reshape(1, -1, *([1] * len(size))), (1, len(constant), *size))
    shifts: dict[str, AnyArray] = {}
    for projection in structure.outgoing(layer):
        shift = per_unit(project(structure, projection, output)).astype(np.float32)
        shifts[projection.target] = shifts.get(projection.target, np.float32(0)) + shift
    shifts = {name: shift for name, shift in shifts.items() if shift.any()}
    gated = [name for name in shifts if structure.gates(name) and not structure.layer(name).bias]
    if gated:  # a running mean is taken off behind the gates
        _refuse(layer, f"expected a bias of {gated[0]!r}, which is gated, to take over its constant, got none")
    moved = {name: absorbed(structure, name, shift) for name, shift in shifts.items()}
    return (SetValues(units=moved),) if moved else ()


@dataclass(frozen=True)
class _Joint:
    """Two projections that meet at a layer, which multiplies by `scale` between them."""

    structure: Structure
    first: Projection
    second: Projection
    scale: AnyArray

    def edit(self, name: str) -> AddProjection | None:
        """The projection that is both, one after the other; None where no path leads through them."""
        ends = {"source": self.first.source, "target": self.second.target, "name": name}
        if self._identity():
            return AddProjection(projection=self.second.model_copy(update=ends), connections=self._renamed())
        carrier, other = self.first, self.second
        if not self._pointwise(other) or (carrier.couples and self._pointwise(carrier)):
            carrier, other = other, carrier
        if not self._pointwise(other) or not all(self._columns(p).everywhere for p in (carrier, other)):
            names = f"{self.first.name!r} and {self.second.name!r}"
            _refuse(
                self.second.source, f"expected one of {names} to be pointwise and neither to have areas, got others"
            )
        weight, mask = self._product(carrier)
        if not mask.any():
            return None
        if carrier.couples and other.couples:
            record = carrier.model_copy(update={**ends, "trained": carrier.learns or other.learns})
            return AddProjection(projection=record, connections=self._linked(weight, mask))
        if isinstance(carrier, OneToOne):
            if carrier.placed:
                _refuse(
                    self.second.source, f"expected {carrier.name!r} to meet links alone, as it has weights by place"
                )
            swept = carrier.model_dump(include={*Swept.model_fields} - {*Projection.model_fields})
            carrier = Conv.model_validate({**ends, **swept})
        return AddProjection(projection=carrier.model_copy(update=ends), connections=Block(weight=weight, mask=mask))

    def _identity(self) -> bool:
        """Whether the layer gives every unit of its source as it is, at the same position."""
        first, columns = self.first, self._columns(self.first)
        weight, mask = self._table(first)
        middle = weight.shape[2] // 2
        if not (meaning_of(self.structure, first).centred and columns.everywhere):
            return False
        eye = np.zeros(weight.shape, np.float32)
        eye[:, :, middle] = np.eye(*weight.shape[:2])
        same = np.array_equal(weight, eye) and np.array_equal(mask, eye != 0) and bool((self.scale == 1).all())
        return same and weight.shape[0] == weight.shape[1]

    def _renamed(self) -> Block:
        """The connections of the second projection, led from the units of the first one's source."""
        if not self.second.couples:
            return Block.of(self._columns(self.second))
        columns, ends = self.structure.linked(self.second.name)
        sources = self.structure.units(self.first.source)[columns.at(1, ends)]
        return Block.of(columns.relinked(np.stack([sources, columns.ids(0)], 1)))

    def _pointwise(self, projection: Projection) -> bool:
        alone = math.prod(self._columns(projection).inner) == 1
        return alone and meaning_of(self.structure, projection).pointwise

    def _product(self, carrier: Projection) -> tuple[AnyArray, AnyArray]:
        """Weights and mask (out, in, ...) of both as one, extended over the grid or kernel of the carrier."""
        (weight, mask), (onward, heeded) = self._table(self.first), self._table(self.second)
        weight = weight * self.scale.reshape(-1, 1, 1)
        pairs = ((onward, weight), (heeded.astype(np.float32), mask.astype(np.float32)))
        product, paths = (np.moveaxis(np.tensordot(late, early, (1, 0)), 1, 3) for late, early in pairs)
        shape = (*product.shape[:2], *self._columns(carrier).inner)
        return product.reshape(shape), paths.reshape(shape) > 0

    def _table(self, projection: Projection) -> tuple[AnyArray, AnyArray]:
        """Weights and mask (out, in, places) of a projection, 0 where there is no link."""
        columns, ends = self.structure.wired(projection.name)
        weight, mask = columns.spread_out(ends)
        shape = (*ends.shape, math.prod(columns.inner))
        return weight.reshape(shape), mask.reshape(shape)

    def _linked(self, weight: AnyArray, mask: AnyArray) -> Block:
        """A table of which each target has one source at most, as links in the order of targets."""
        targets, sources = self.structure.units(self.second.target), self.structure.units(self.first.source)
        rows, places = np.nonzero(mask.reshape(*mask.shape[:2], -1).any(axis=2))
        order = np.argsort(targets[rows])
        rows, places = rows[order], places[order]
        links = np.stack([sources[places], targets[rows]], 1)
        return Block.of(Links.of(weight[rows, places], mask[rows, places], links))

    def _columns(self, projection: Projection) -> ConnectionColumns:
        return self.structure.connection_columns(projection.name)


def _refuse(layer: str, problem: str) -> NoReturn:
    raise EditError(f"bypass_layer on {layer!r}: {problem}")
