"""Taking along what an edit cuts off: units without a path go, and constants move into the biases after them."""

import numpy as np

from nestgraph.edits.batch import AnyEdit
from nestgraph.edits.connections import SetValues
from nestgraph.edits.layers import RemoveLayer, RemoveProjection, UnitValues
from nestgraph.edits.units import RemoveUnits
from nestgraph.errors import EditError
from nestgraph.graph.reference import forward, project
from nestgraph.graph.structure import Structure
from nestgraph.graph.verify import fed_units, read_units
from nestgraph.spec.arrays import AnyArray


def island_edits(structure: Structure) -> tuple[AnyEdit, ...]:
    """The edits that remove every unit without a path from an input or to an output.

    A unit that nothing feeds gives a constant; it is absorbed into the biases after it (into the running mean of a
    normalised layer without bias). That is exact where it is the same at all positions of a map: not at the border of
    a padded convolution, nor under an area; there the median over the positions is absorbed.

    Raises:
        EditError: an output unit itself has no path from an input, or an output layer has no unit.
    """
    fed, read = fed_units(structure), read_units(structure)
    _check_outputs(structure, fed)
    edits: list[AnyEdit] = list(_absorb_constants(structure, fed, read))
    doomed = {name: structure.units(name)[~(fed[name] & read[name])] for name in structure.layer_names}
    gone = [name for name, units in doomed.items() if len(units) == len(structure.unit_columns(name))]
    cut = {p.name: p for name in gone for p in (*structure.incoming(name), *structure.outgoing(name))}
    edits += [RemoveProjection(projection=name) for name in cut]
    edits += [RemoveLayer(layer=name) for name in gone]
    edits += [RemoveUnits(layer=name, units=units) for name, units in doomed.items() if len(units) and name not in gone]
    return tuple(edits)


def _check_outputs(structure: Structure, fed: dict[str, AnyArray]) -> None:
    for name in structure.output_names:
        if not len(structure.units(name)):
            raise EditError(f"output layer {name!r} expected a unit, got none left: keep at least one")
        if not fed[name].all():
            unit = int(structure.units(name)[~fed[name]][0])
            raise EditError(
                f"output unit {(name, unit)} expected a path from an input, got none left: "
                "keep at least one connection into it"
            )


def _absorb_constants(
    structure: Structure, fed: dict[str, AnyArray], read: dict[str, AnyArray]
) -> tuple[SetValues, ...]:
    constant = {name for name in structure.layer_names if np.any(~fed[name] & read[name])}
    if not constant:
        return ()
    outputs = _constant_outputs(structure, fed)
    changes: dict[str, UnitValues] = {}
    for name in structure.layer_names:
        sources = [p for p in structure.incoming(name) if p.source in constant]
        shift = sum(
            (per_unit(project(structure, p, outputs[p.source])) for p in sources),
            np.zeros(len(structure.unit_columns(name))),
        )
        moved = np.where(fed[name], shift, 0).astype(np.float32)
        if moved.any():
            changes[name] = absorbed(structure, name, moved)
    return (SetValues(units=changes),) if changes else ()


def absorbed(structure: Structure, layer: str, constant: AnyArray) -> UnitValues:
    """The columns of a layer that adds a constant (units,) to its sums: in the bias, or in the running mean.

    Raises:
        EditError: the layer has neither.
    """
    record, values = structure.layer(layer), structure.unit_columns(layer).values
    if record.bias:
        return {"bias": values["bias"] + constant}
    if record.operations and record.operations[0].kind == "batch_norm":
        return {"mean": values["mean"] - constant}
    raise EditError(f"layer {layer!r} expected a bias to absorb a constant, got none: give it one by SetOperations")


def _constant_outputs(structure: Structure, fed: dict[str, AnyArray]) -> dict[str, AnyArray]:
    """Each layer's outputs for one sample, 0 where they depend on the input."""
    zeros: dict[str, AnyArray] = {}
    for name in structure.input_names:
        layer = structure.layer(name)
        zeros[name] = np.zeros((1, layer.features or 0, *(layer.size or ())))
    outputs = forward(structure, zeros)
    return {
        name: np.where(fed[name].reshape(1, -1, *([1] * (values.ndim - 2))), 0, values)
        for name, values in outputs.items()
    }


def per_unit(values: AnyArray) -> AnyArray:
    """(units,) from (1, units[, height, width]): the median over a map."""
    return values[0] if values.ndim == 2 else np.median(values[0], axis=(1, 2))
