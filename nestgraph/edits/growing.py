"""Recipe functions that add something."""

from collections.abc import Mapping

import numpy as np
from pydantic import ValidationError

from nestgraph.edits.batch import Batch
from nestgraph.edits.connections import SetMask, chosen_entries
from nestgraph.edits.layers import AddLayer, AddProjection, Block, RemoveProjection, UnitValues
from nestgraph.edits.units import AddUnits
from nestgraph.errors import EditError
from nestgraph.graph.geometry import output_size
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.layer import Layer
from nestgraph.spec.operations import Activation, Pooling
from nestgraph.spec.projection import Conv, Dense, Projection
from nestgraph.spec.record import plain_problem


def wake_connections(
    structure: Structure, projection: str, entries: AnyArray, weights: AnyArray | None = None
) -> SetMask:
    """Make dormant connections active, with weight 0 unless given.

    Raises:
        EditError: an entry is active already.
    """
    chosen = chosen_entries(structure, projection, entries)
    if structure.connection_columns(projection).mask.flat[chosen].any():
        raise EditError(f"wake_connections in {projection!r}: expected dormant entries, got active ones")
    given = np.zeros(len(chosen), np.float32) if weights is None else np.asarray(weights, np.float32)
    return SetMask(projection=projection, entries=chosen, active=np.ones(len(chosen), bool), weights=given)


def grow_unit(
    structure: Structure, layer: str, weights: Mapping[str, AnyArray], values: UnitValues | None = None
) -> AddUnits:
    """Add one unit to a layer, connected where its weights are not zero.

    Args:
        structure: the network.
        layer: the layer that gains a unit.
        weights: by projection, the unit's incoming weights (in, ...) or outgoing weights (out, ...).
        values: the unit's columns, (1,) each; neutral where not given.
    """
    blocks: dict[str, Block] = {}
    for name, given in weights.items():
        axis = 0 if structure.projection(name).target == layer else 1
        weight = np.expand_dims(np.asarray(given, np.float32), axis)
        blocks[name] = Block(weight=weight, mask=weight != 0)
    return AddUnits(layer=layer, ids=np.array(structure.fresh_ids(layer, 1)), values=values or {}, blocks=blocks)


def split_unit(structure: Structure, layer: str, unit: int) -> Batch:
    """Split a unit in two with the same input, each with half of its outgoing weights (Net2Wider, Chen et al. 2016).

    Function-preserving.
    """
    columns = structure.unit_columns(layer)
    if unit not in columns.position or structure.layer(layer).kind == "input" or structure.layer(layer).output:
        raise EditError(f"split_unit on {layer!r}: expected a living hidden unit, got {unit}")
    place = columns.position[unit]
    blocks: dict[str, Block] = {}
    halved: list[SetMask] = []
    for projection in (*structure.incoming(layer), *structure.outgoing(layer)):
        old = structure.connection_columns(projection.name)
        if old.links is not None:
            raise EditError(f"split_unit on {layer!r}: one-to-one projection {projection.name!r} cannot follow a split")
        axis = 0 if projection.target == layer else 1
        weight, mask = old.weight.take([place], axis), old.mask.take([place], axis)
        if axis == 1:
            weight = weight / 2
            entries = np.take(np.arange(old.mask.size).reshape(old.mask.shape), [place], axis)[mask]
            live = np.ones(len(entries), bool)
            halved.append(SetMask(projection=projection.name, entries=entries, active=live, weights=weight[mask]))
        area = None
        if old.area is not None and old.area.shape[axis] == old.weight.shape[axis]:
            area = old.area.take([place], axis)
        blocks[projection.name] = Block(weight=weight, mask=mask, area=area)
    values = {name: column[[place]] for name, column in columns.values.items()}
    twin = AddUnits(layer=layer, ids=np.array(structure.fresh_ids(layer, 1)), values=values, blocks=blocks)
    return Batch(edits=(*halved, twin), title=f"split unit {unit} of {layer}")


def deepen(structure: Structure, layer: str, name: str) -> Batch:
    """Put a new layer after `layer` that starts as the identity (Net2Deeper, Chen et al. 2016).

    The new layer has as many units as `layer`, one active connection each from its own (a 1 x 1 kernel between maps;
    `wake_connections` opens more), and ReLU, so what it reads must not be negative. Function-preserving.

    Raises:
        EditError: the layer's outputs may be negative, or it has no outgoing projection.
    """
    record, ids = structure.layer(layer), structure.units(layer)
    last = [op for op in record.operations if not isinstance(op, Pooling) and op.kind != "dropout"][-1:]
    if not (last and isinstance(last[0], Activation) and last[0].function in ("relu", "sigmoid")):
        raise EditError(f"deepen after {layer!r}: expected outputs of ReLU or sigmoid, which ReLU leaves as they are")
    moved = structure.outgoing(layer)
    if not moved or record.output:
        raise EditError(f"deepen after {layer!r}: expected a hidden layer with outgoing projections")
    size, count = output_size(record), len(ids)
    kind = "neurons" if size is None else "feature_maps"
    try:
        new = Layer(name=name, kind=kind, size=size, operations=(Activation(function="relu"),))
    except ValidationError as error:
        raise EditError(f"deepen after {layer!r}: {plain_problem(error)}") from None
    identity = np.eye(count, dtype=np.float32)
    bridge: Projection = Dense(source=layer, target=name)
    if size is not None:
        bridge, identity = Conv(source=layer, target=name, kernel=(1, 1)), identity[:, :, None, None]
    kept = {p.name: Block.of(structure.connection_columns(p.name)) for p in moved}
    return Batch(
        edits=(
            *(RemoveProjection(projection=p.name) for p in moved),
            AddLayer(layer=new, ids=ids),
            AddProjection(projection=bridge, connections=Block(weight=identity, mask=identity != 0)),
            *(AddProjection(projection=p.model_copy(update={"source": name}), connections=kept[p.name]) for p in moved),
        ),
        title=f"deepen after {layer}",
    )
