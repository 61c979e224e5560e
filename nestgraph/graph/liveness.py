"""Which connections and units a compact module needs, and the constants that the others leave behind."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from nestgraph.graph.columns import ConnectionColumns
from nestgraph.graph.reference import forward, project
from nestgraph.graph.structure import Structure
from nestgraph.spec import Operation, Projection
from nestgraph.spec.arrays import AnyArray, owned
from nestgraph.spec.operations import Affine


@dataclass(frozen=True, eq=False)
class Liveness:
    """What is left of a network whose constants are absorbed.

    Attributes:
        structure: the network whose masks leave out what cannot reach a sum: weights of 0, empty areas, units that a
            normalisation multiplies by 0.
        kept: by layer, bool (units,): whether the unit's output depends on the sample and is used.
        offsets: by layer, float64 (units, *size): what units that give constants add to its sums. A layer
            that none feeds is absent.
    """

    structure: Structure
    kept: Mapping[str, AnyArray]
    offsets: Mapping[str, AnyArray]


def liveness(network: Structure) -> Liveness:
    """Find out what a compact module needs."""
    structure = _tightened(network)
    pinned = _pinned(structure)
    varying = _varying(structure, pinned)
    used = _used(structure, pinned, varying)
    kept = {name: varying[name] & used[name] for name in structure.layer_names}
    return Liveness(structure, kept, _offsets(structure, varying, kept))


def in_inference(operations: tuple[Operation, ...]) -> tuple[Operation, ...]:
    """The operations without those that do nothing in inference."""
    return tuple(operation for operation in operations if not operation.facts.idle)


def first_affine(structure: Structure, name: str) -> Affine | None:
    """What the operation that comes first does to a layer's sums, in float64, where it is a straight line."""
    first = in_inference(structure.layer(name).operations)[:1]
    values = {column: array.astype(np.float64) for column, array in structure.unit_columns(name).values.items()}
    return first[0].affine(values) if first else None


def _tightened(network: Structure) -> Structure:
    changed: dict[str, ConnectionColumns] = {}
    for name in network.projection_names:
        projection, columns = network.projection(name), network.connection_columns(name)
        if not projection.adds:
            continue
        rows = _reached_rows(network, projection)
        if columns.lasting == columns.active and rows is None and columns.everywhere:
            continue
        mask: AnyArray = np.logical_and(columns.mask, columns.weight)
        if rows is not None:
            mask &= rows
        if not columns.everywhere:
            mask &= columns.computed
        changed[name] = columns.with_weight(owned(np.where(mask, columns.weight, 0)), owned(mask))
    return network.replace(connections=changed) if changed else network


def _reached_rows(network: Structure, projection: Projection) -> AnyArray | None:
    """Bool, broadcasting to its weights: whether the target's normalisation lets them through; None if all."""
    affine, (columns, ends) = first_affine(network, projection.target), network.wired(projection.name)
    return None if affine is None or affine.scale.all() else columns.spread(affine.scale, 0, ends) != 0


def _along(rows: AnyArray, like: AnyArray) -> AnyArray:
    return rows.reshape(-1, *([1] * (like.ndim - 1)))


def _pinned(structure: Structure) -> frozenset[str]:
    """Layers of which every unit stays, as something reads them together or by their number."""
    readers = [p for p in structure.projections_by_name.values() if not p.adds]
    layers = structure.layers_by_name.items()
    whole = {name for name, layer in layers if layer.output or layer.mixes_units or layer.opaque is not None}
    return frozenset(whole | {p.source for p in readers})


def _varying(structure: Structure, pinned: frozenset[str]) -> dict[str, AnyArray]:
    """By layer, whether a unit's output depends on the sample; all of a pinned layer count as if they did."""
    found: dict[str, AnyArray] = {}
    for name in structure.layer_names:
        whole = name in pinned or structure.layer(name).kind == "input"
        found[name] = np.full(len(structure.unit_columns(name)), whole)
        for projection in () if whole else structure.incoming(name):
            found[name] |= structure.pairs(projection.name).onward(found[projection.source])
    return found


def _used(structure: Structure, pinned: frozenset[str], varying: dict[str, AnyArray]) -> dict[str, AnyArray]:
    """By layer, whether a path of units that vary leads from a unit to an output."""
    found: dict[str, AnyArray] = {}
    for name in reversed(structure.layer_names):
        found[name] = np.full(len(structure.unit_columns(name)), name in pinned)
        for projection in () if name in pinned else structure.outgoing(name):
            target = projection.target
            found[name] |= structure.pairs(projection.name).back(found[target] & varying[target])
    return found


def _offsets(
    structure: Structure, varying: Mapping[str, AnyArray], kept: Mapping[str, AnyArray]
) -> dict[str, AnyArray]:
    constant = {name for name, moves in varying.items() if not moves.all()}
    sources = [p for p in structure.projections_by_name.values() if p.source in constant and kept[p.target].any()]
    if not sources:
        return {}
    inputs = [structure.layer(name) for name in structure.input_names]
    outputs = forward(structure, {x.name: np.zeros((1, x.features or 0, *(x.size or ()))) for x in inputs})
    found: dict[str, AnyArray] = {}
    for projection in sources:
        values = outputs[projection.source]
        values = np.where(_along(varying[projection.source], values[0]), 0, values)
        found[projection.target] = found.get(projection.target, 0) + project(structure, projection, values)[0]
    return found


def is_identity(projection: Projection, columns: ConnectionColumns) -> bool:
    """Whether a projection passes on outputs as they are."""
    return projection.couples and not columns.inner and bool((columns.weight == 1).all())
