"""The network that is deployed: smaller arrays, normalisation folded, constants in the biases."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nestgraph.graph.columns import ConnectionColumns, UnitColumns
from nestgraph.graph.liveness import Liveness, first_affine, in_inference, is_identity, liveness
from nestgraph.graph.structure import Structure
from nestgraph.spec import Layer, Projection
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations import Affine


@dataclass(frozen=True, eq=False)
class Compaction:
    """A structure, not verified, that gives the same outputs in inference.

    Attributes:
        structure: every layer has a bias; no layer has dropout; normalisation is left only where it cannot be folded.
        offsets: by layer, float32 (units, *size): what differs from position to position, to add to its sums.
        absolute: whether it holds constants that were computed for maps of the declared sizes.
    """

    structure: Structure
    offsets: Mapping[str, AnyArray]
    absolute: bool


def compacted(network: Structure) -> Compaction:
    """Leave out what no output depends on, and fold what can be folded."""
    alive = liveness(network)
    names = [name for name in network.layer_names if alive.kept[name].any()]
    folded = {name: _folded(alive.structure, name) for name in names}
    layers, units, offsets = list[Layer](), dict[str, UnitColumns](), dict[str, AnyArray]()
    for name in names:
        layer = network.layer(name)
        layers.append(layer if layer.kind == "input" else _folded_layer(layer, folded[name] is not None))
        units[name], offset = _unit_columns(alive, name, folded[name])
        offsets |= {} if offset is None else {name: offset}
    bodies = {name: body for name, body in network.bodies.items() if name in units}
    projections, connections = list[Projection](), dict[str, ConnectionColumns]()
    for name in network.projection_names:
        projection = network.projection(name)
        if projection.source in units and projection.target in units:
            columns = _connection_columns(alive, projection, folded[projection.target])
            if columns.active or not projection.weighted:
                projections.append(projection)
                connections[name] = columns
    structure = Structure(layers, projections, units, connections, bodies)
    unfed = any(layer.kind != "input" and not structure.incoming(layer.name) for layer in layers)
    return Compaction(structure, offsets, unfed or any(offset.ndim > 1 for offset in alive.offsets.values()))


def _folded(structure: Structure, name: str) -> Affine | None:
    """The first operation, where the layer's incoming weights and bias can take it over."""
    incoming = [(p, structure.connection_columns(p.name)) for p in structure.incoming(name)]
    if any(is_identity(p, columns) or not p.adds for p, columns in incoming):
        return None
    return first_affine(structure, name)


def _folded_layer(layer: Layer, folded: bool) -> Layer:
    operations = in_inference(layer.operations)
    chain = operations[1:] if folded else operations
    return layer.model_copy(update={"operations": chain, "bias": True, "places": False})


def _unit_columns(alive: Liveness, name: str, folded: Affine | None) -> tuple[UnitColumns, AnyArray | None]:
    """The columns of the units that stay, and the part of their offset that differs from position to position."""
    columns, kept = alive.structure.unit_columns(name), alive.kept[name]
    if alive.structure.layer(name).kind == "input":
        return UnitColumns.of(columns.ids[kept], {}), None
    values = {column: array.astype(np.float64) for column, array in columns.values.items()}
    bias, offset = values.get("bias", np.zeros(len(kept))), alive.offsets.get(name)
    if (places := values.pop("places", None)) is not None:
        offset = places if offset is None else places + offset
    if offset is not None and np.ptp(offset.reshape(len(kept), -1), axis=1).max() == 0:
        bias, offset = bias + offset.reshape(len(kept), -1)[:, 0], None
    first = in_inference(alive.structure.layer(name).operations)[:1]
    centre = first[0].facts.subtracts if first else None
    if folded is not None:
        bias = (bias - folded.centre) * folded.scale + folded.shift
        offset = None if offset is None else offset * folded.scale.reshape(-1, *[1] * (offset.ndim - 1))
        gone = {column.name for column in first[0].columns}
        values = {column: array for column, array in values.items() if column not in gone}
    elif centre is not None and not alive.structure.gates(name):
        values[centre], bias = values[centre] - bias, np.zeros(len(kept))
    values["bias"] = bias
    units = UnitColumns.of(columns.ids[kept], {column: array[kept] for column, array in values.items()})
    return units, None if offset is None else offset[kept].astype(np.float32)


def _connection_columns(alive: Liveness, projection: Projection, folded: Affine | None) -> ConnectionColumns:
    """The connections of the units that stay, scaled; links that are dormant are left out."""
    columns, ends = alive.structure.wired(projection.name)
    if folded is not None:
        columns = columns.scaled(folded.scale, 0, ends)
    for end, layer in enumerate((projection.target, projection.source)):
        if not alive.kept[layer].all():
            columns = columns.take(np.flatnonzero(alive.kept[layer]), end, ends)
    return columns.joined_only(ends)
