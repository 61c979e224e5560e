"""Moving what units without inputs give, which is constant, into the layers that read it."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from nestgraph.edits.connections import SetValues
from nestgraph.edits.layers import UnitValues
from nestgraph.edits.tying import check_own
from nestgraph.errors import EditError
from nestgraph.graph.geometry import output_size
from nestgraph.graph.heads import mixing, summed_size
from nestgraph.graph.reference import activate, preactivation, project
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Projection
from nestgraph.spec.windows import by_unit

Marks = Mapping[str, AnyArray]
"""By layer, bool (units,)."""


def absorb_constants(structure: Structure, fed: Marks, read: Marks, exact: bool = False) -> tuple[SetValues, ...]:
    """The edit after which nothing depends on units that no input leads to; see `island_edits` for where it is exact.

    Args:
        structure: the network.
        fed: the units to which a path leads from an input.
        read: the units from which a path leads to an output.
        exact: whether to refuse a constant that differs from position to position of a map.

    Raises:
        EditError: a layer has nowhere to absorb a constant, or a gate multiplies the bias of a unit that is not fed.
    """
    constant = {name for name in structure.layer_names if np.any(~fed[name] & read[name])}
    outputs: dict[str, AnyArray] = {}
    units: dict[str, UnitValues] = {}
    weights: dict[str, AnyArray] = {}
    for name in structure.layer_names if constant else ():
        inflow = _Inflow.of(structure, name, constant, fed, outputs)
        outputs[name] = _constant_output(structure, name, fed[name], read[name], inflow, outputs)
        if exact and not inflow.even(fed[name]):
            raise EditError(
                f"layer {name!r} expected constants that are the same at all its positions, got others at the border "
                "of a padded convolution or under an area: keep a connection into the units that give them"
            )
        shift, factor = inflow.shift(fed[name]), inflow.scale(fed[name])
        if (factor != 1).any():
            weights |= {p.name: _scaled(structure, p, factor) for p in structure.summed(name)}
        if shift.any() or (factor != 1).any():
            units[name] = _settled(structure, name, shift, factor, inflow.live)
    return (SetValues(units=units, weights=weights),) if units or weights else ()


@dataclass(frozen=True)
class _Inflow:
    """What reaches a layer, for one sample, from units that nothing feeds.

    Attributes:
        terms: what each projection adds to the sums, (1, units, *size).
        factor: what constant gates multiply them by, (1, units, *size), or of one place.
        live: bool (units,): whether a gate multiplies the unit that depends on the input.
    """

    terms: tuple[AnyArray, ...]
    factor: AnyArray
    live: AnyArray

    @classmethod
    def of(cls, structure: Structure, layer: str, constant: Collection[str], fed: Marks, outputs: Marks) -> Self:
        """What reaches a layer from the constant units of others, whose outputs are 0 where an input feeds them."""
        sources = [p for p in structure.summed(layer) if p.source in constant]
        columns, rank = structure.unit_columns(layer), len(structure.layer(layer).size or ())
        factor, live = np.ones((1, len(columns), *(1,) * rank)), np.zeros(len(columns), bool)
        _check_heads(structure, layer, constant, fed, outputs)
        for gate in structure.gates(layer):
            wired, ends = structure.wired(gate.name)
            moving = wired.edges & wired.beside(fed[gate.source], 1, ends)
            live |= wired.touched(moving, 0, ends)
            if gate.mixes:
                continue
            steady = wired.touched(wired.edges & ~moving, 0, ends)
            values = project(structure, gate, outputs[gate.source])
            factor = factor * np.where(by_unit(steady, values), values, 1)
        return cls(tuple(project(structure, p, outputs[p.source]) for p in sources), factor, live)

    def even(self, fed: AnyArray) -> bool:
        """Whether all that reaches units that are fed is the same at all positions."""
        arrays = [array[0, fed] for array in (*self.terms, self.factor)] if fed.any() else []
        spread = [(np.ptp(array.reshape(len(array), -1), axis=1), np.abs(array).max()) for array in arrays]
        return all((differs <= 1e-9 * largest).all() for differs, largest in spread)  # sums are rounded

    def shift(self, fed: AnyArray) -> AnyArray:
        """(units,) float32: what is added to the sums of units that are fed."""
        return np.where(fed, sum(map(per_unit, self.terms), np.zeros(len(fed))), 0).astype(np.float32)

    def scale(self, fed: AnyArray) -> AnyArray:
        """(units,) float32: what the sums of units that are fed are multiplied by."""
        return np.where(fed, per_unit(self.factor), 1).astype(np.float32)


def _check_heads(structure: Structure, layer: str, constant: Collection[str], fed: Marks, outputs: Marks) -> None:
    """Refuse constants that a head compares or mixes by, as no bias is what they are behind it.

    Raises:
        EditError: a query or key that nothing feeds is not 0, or a head that nothing feeds mixes a layer.
    """
    for match in structure.matches(layer):
        still = ~fed[match.source]
        if match.source in constant and (outputs[match.source][0, still] != 0).any():
            raise EditError(
                f"layer {match.source!r} expected a path from an input into each {match.words} of {layer!r}, got a "
                "constant one that is not 0: keep a connection into it, or set its bias to 0"
            )
    for gate in structure.gates(layer):
        if gate.mixes and not fed[gate.source].all() and fed[layer].any():
            raise EditError(
                f"layer {gate.source!r} expected a query and a key for each head that mixes {layer!r}, got a head "
                "without: remove the head by remove_heads"
            )


def _constant_output(
    structure: Structure, name: str, fed: AnyArray, read: AnyArray, inflow: _Inflow, outputs: Marks
) -> AnyArray:
    """A layer's output for one sample, 0 where an input feeds it."""
    layer, columns = structure.layer(name), structure.unit_columns(name)
    if fed.all():
        return np.zeros((1, len(columns), *(output_size(layer) or ())))
    if layer.opaque is not None:  # one that works unit by unit: of another one input feeds all
        if not structure.arguments(name):
            raise EditError(f"opaque layer {name!r} expected its arguments, got none left: remove the layer with them")
        given = activate(layer, columns, preactivation(structure, name, outputs))
        return np.where(by_unit(fed, given), 0, given)
    total = np.zeros((1, len(columns), *(summed_size(structure, name) or ())))
    for term in inflow.terms:
        total += term
    if layer.bias:
        total = total + by_unit(columns.values["bias"].astype(total.dtype), total)
    if layer.places:
        total = total + columns.values["places"]
    total = total * inflow.factor
    moving = ~fed & read & inflow.live & (total != 0).reshape(len(columns), -1).any(axis=1)
    if moving.any():
        unit = (name, int(columns.ids[moving][0]))
        raise EditError(
            f"unit {unit} expected a path from an input into its sum, got none left, and gates multiply its bias: set "
            "the bias to 0, or keep a connection into it"
        )
    if mixing(structure, name) is not None:
        total = np.zeros((1, len(columns), *(layer.size or ())))  # of units that are read only 0 was let through
    given = activate(layer, columns, total)
    return np.where(by_unit(fed, given), 0, given)


def _scaled(structure: Structure, projection: Projection, factor: AnyArray) -> AnyArray:
    """The live weights of a projection, with those into each unit multiplied by its factor.

    Raises:
        EditError: its table is tied.
    """
    check_own(structure, f"layer {projection.target!r}", projection)
    columns, ends = structure.wired(projection.name)
    return (columns.weight * columns.spread(factor, 0, ends))[columns.mask]


def _settled(structure: Structure, name: str, shift: AnyArray, factor: AnyArray, live: AnyArray) -> UnitValues:
    """The columns of a layer whose sums have a shift (units,) added and are then multiplied by a factor (units,)."""
    record, values = structure.layer(name), structure.unit_columns(name).values
    scaled: UnitValues = {}
    if record.places:
        scaled["places"] = values["places"] * factor.reshape(-1, *[1] * (values["places"].ndim - 1))
    if record.bias:
        return {**scaled, "bias": (values["bias"] + shift) * factor}
    if not shift.any():
        return scaled
    if shift[live].any():
        _refuse(name)  # a running mean is taken off after the gates
    return {**scaled, **absorbed(structure, name, shift * factor)}


def absorbed(structure: Structure, layer: str, constant: AnyArray) -> UnitValues:
    """The columns of a layer that adds a constant (units,) to its sums: in the bias, or in the running mean.

    Raises:
        EditError: the layer has neither.
    """
    record, values = structure.layer(layer), structure.unit_columns(layer).values
    if record.bias:
        return {"bias": values["bias"] + constant}
    if record.operations and (centre := record.operations[0].facts.subtracts) is not None:
        return {centre: values[centre] - constant}
    return _refuse(layer)


def _refuse(layer: str) -> UnitValues:
    raise EditError(f"layer {layer!r} expected a bias to absorb a constant, got none: give it one by SetOperations")


def per_unit(values: AnyArray) -> AnyArray:
    """(units,) from (1, units, *size): the median over a map."""
    _, units, *size = values.shape
    return np.median(values[0].reshape(units, math.prod(size)), axis=1)
