"""The edits that lead from one network to another."""

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetArea, SetMask, SetValues
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import (
    AddLayer,
    AddProjection,
    Block,
    RemoveLayer,
    RemoveProjection,
    SetInterface,
    SetOperations,
    UnitValues,
)
from nestgraph.edits.units import AddUnits, RemoveUnits
from nestgraph.graph.body import same_body
from nestgraph.graph.matching import same_area, same_record
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Projection


@recipe_function
def diff(old: Network, new: Network) -> Batch:
    """The batch that turns `old` into `new`: units matched by id, then connections, then values. O(n).

    `diff(old, new).apply(old).network == new`; equal networks whose bodies agree give an empty batch. Bodies of opaque
    layers come along where both networks hold one.
    """
    steps: list[AnyEdit] = []
    structure: Structure = old
    for stage in (_shaped, _outdated, _layers, _units, _projections, _masks, _values, _followers, _interface):
        for edit in stage(structure, new):
            structure, _ = edit.change(structure)
            steps.append(edit)
    return Batch(edits=tuple(steps), title="difference")


def _shaped(old: Structure, new: Structure) -> list[AnyEdit]:
    """Take outputs out of the shapes that hold their units, where these come and go."""
    shaped = {port.layer for port in old.outputs if port.shape is not None}
    held = any(not new.has_layer(name) or not np.array_equal(old.units(name), new.units(name)) for name in shaped)
    return [SetInterface(interface=None)] if held else []


def _interface(old: Structure, new: Structure) -> list[AnyEdit]:
    return [SetInterface(interface=new.interface)] if not same_record(old.interface, new.interface) else []


def _outdated(old: Structure, new: Structure) -> list[AnyEdit]:
    """Remove the layers and projections that are gone or of another make."""
    layers = [name for name in old.layer_names if not new.has_layer(name) or not _same_layer(old, new, name)]
    projections = [
        p.name
        for p in old.projections_by_name.values()
        if p.source in layers
        or p.target in layers
        or not new.has_projection(p.name)
        or not same_record(new.projection(p.name), p)
        or not _same_form(old, new, p.name)
        or _changes_argument(old, new, p)
    ]
    projections += [p.name for p in old.projections_by_name.values() if p.follows in projections]
    return [
        *(RemoveProjection(projection=name) for name in dict.fromkeys(sorted(projections))),
        *(RemoveLayer(layer=name) for name in layers),
    ]


def _changes_argument(old: Structure, new: Structure, projection: Projection) -> bool:
    """Whether a body that reads all of a layer, which that freezes, would read other units."""
    source = projection.source
    return not (projection.weighted or old.ties(projection) or np.array_equal(old.units(source), new.units(source)))


def _same_layer(old: Structure, new: Structure, name: str) -> bool:
    """Whether a layer differs at most in its operations and in which units live, not in their order."""
    plain = {"operations": (), "bias": True, "frozen": (), "places": False}
    before, after = old.layer(name).model_copy(update=plain), new.layer(name).model_copy(update=plain)
    ids, later = old.units(name), new.units(name)
    common = np.intersect1d(ids, later)
    kept = np.array_equal(ids[np.isin(ids, common)], later[np.isin(later, common)])
    frozen = before.opaque is not None and not before.unitwise and not np.array_equal(ids, later)
    some = len(common) > 0 or before.kind == "input"  # of which any units may live
    return same_record(before, after) and kept and some and not frozen


def _same_form(old: Structure, new: Structure, name: str) -> bool:
    """Whether a projection keeps its links, or the extent of its weights beside the units."""
    before, after = old.connection_columns(name), new.connection_columns(name)
    return before.joins_as(after)


def _layers(old: Structure, new: Structure) -> list[AnyEdit]:
    edits: list[AnyEdit] = []
    for name in new.layer_names:
        layer = new.layer(name)
        if not old.has_layer(name):
            edits.append(AddLayer.of(new, name))
        elif not same_record(old.layer(name), layer):
            before = old.layer(name)
            frozen = layer.frozen if layer.frozen != before.frozen else None
            places = layer.places if layer.places != before.places else None
            chain = SetOperations(
                layer=name, operations=layer.operations, bias=layer.bias, frozen=frozen, places=places
            )
            edits.append(chain)
    return edits


def _units(old: Structure, new: Structure) -> list[AnyEdit]:
    edits: list[AnyEdit] = []
    for name in new.layer_names:
        before, after = old.units(name), new.units(name)
        gone = before[~np.isin(before, after)]
        born = np.flatnonzero(~np.isin(after, before))
        if len(gone):
            edits.append(RemoveUnits(layer=name, units=gone))
        if len(born):
            values = {column: array[born] for column, array in new.unit_columns(name).values.items()}
            edits.append(AddUnits(layer=name, ids=after[born], positions=born, values=values))
    return edits


def _projections(old: Structure, new: Structure) -> list[AnyEdit]:
    return [edit for edit in _followers(old, new) if edit.projection.follows is None]


def _followers(old: Structure, new: Structure) -> list[AddProjection]:
    """Add what is not there yet: what has the table of a lookup once that is as it will be."""
    return [
        AddProjection(projection=new.projection(name), connections=Block.of(new.connection_columns(name)))
        for name in new.projection_names
        if not old.has_projection(name)
    ]


def _own(old: Structure, new: Structure) -> list[str]:
    """The projections of both whose connections are to be told: what follows a lookup changes with it."""
    return [n for n in new.projection_names if old.has_projection(n) and new.projection(n).follows is None]


def _masks(old: Structure, new: Structure) -> list[AnyEdit]:
    edits: list[AnyEdit] = []
    for name in _own(old, new):
        before, after = old.connection_columns(name), new.connection_columns(name)
        if before is after:
            continue
        entries = np.flatnonzero(before.mask != after.mask)
        if len(entries):
            active, weights = after.mask.reshape(-1)[entries], after.weight.reshape(-1)[entries]
            edits.append(SetMask(projection=name, entries=entries, active=active, weights=weights))
        if not same_area(before.area, after.area):
            edits.append(SetArea(projection=name, area=after.area))
    return edits


def _values(old: Structure, new: Structure) -> list[AnyEdit]:
    weights: dict[str, AnyArray] = {}
    for name in _own(old, new):
        before, after = old.connection_columns(name), new.connection_columns(name)
        live = after.weight[after.mask]
        if before is not after and before.weight[before.mask].tobytes() != live.tobytes():
            weights[name] = live
    units: dict[str, UnitValues] = {}
    for name in new.layer_names:
        before, after = old.unit_columns(name).values, new.unit_columns(name).values
        changed = {n: v for n, v in after.items() if before[n].tobytes() != v.tobytes()}
        if changed:
            units[name] = changed
    bodies = {n: body for n, body in new.bodies.items() if not same_body(old.bodies.get(n), body)}
    return [SetValues(units=units, weights=weights).with_bodies(bodies)] if units or weights or bodies else []
