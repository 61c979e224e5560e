"""Taking along what an edit cuts off: units without a path go, and constants move into the layers after them."""

from collections.abc import Mapping
from typing import NoReturn

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetMask
from nestgraph.edits.constants import absorb_constants
from nestgraph.edits.layers import RemoveLayer, RemoveProjection
from nestgraph.edits.units import RemoveUnits
from nestgraph.errors import EditError
from nestgraph.graph.structure import Structure
from nestgraph.graph.tying import REMEDY, sides, ties
from nestgraph.graph.verify import fed_units, read_units
from nestgraph.spec.arrays import AnyArray


def island_edits(structure: Structure, exact: bool = False) -> tuple[AnyEdit, ...]:
    """The edits that remove every unit without a path from an input or to an output.

    An input layer stays even where all its units go: what a network takes is not for pruning to decide.

    A unit that nothing feeds gives a constant; it is absorbed into the biases after it (into the running mean of a
    normalised layer without bias), or, where it gates a unit, into all that the unit's sum adds up. That is exact where
    it is the same at all positions of a map: not at the border of a padded convolution, nor under an area; there the
    median over the positions is absorbed. Units that a layer mixes (`Layer.mixes_units`) stay as long as one of them
    is fed and one is read, as each has a part in what the others give. A unit of a layer that works unit by unit goes
    with the unit that it reads, as it gives nothing without it. A unit at one end of a tied table goes with that at the
    other.

    Args:
        structure: the layers and projections.
        exact: whether to refuse what would not be exact.

    Raises:
        EditError: an output unit, or one that an opaque layer reads, has no path from an input, or an output layer has
            no unit, or what a unit without inputs gives is not constant, as a gate still multiplies its bias; where it
            has to be exact, also if it is not the same at all positions of what reads it.
    """
    fed = fed_units(structure)
    needed = read_units(structure, fed)
    _check_outputs(structure, fed)
    if left := (*_left_alone(structure), *_left_at_ends(structure, exact)):
        return (*left, *island_edits(Batch(edits=left).change(structure)[0], exact))
    _check_arguments(structure, fed, needed)
    edits: list[AnyEdit] = list(absorb_constants(structure, fed, read_units(structure), exact))
    doomed = {name: structure.units(name)[~(fed[name] & needed[name])] for name in structure.layer_names}
    emptied = [name for name, units in doomed.items() if len(units) == len(structure.unit_columns(name))]
    cut = {p.name: p for name in emptied for p in (*structure.incoming(name), *structure.outgoing(name))}
    gone = [name for name in emptied if structure.layer(name).kind != "input"]
    edits += [RemoveProjection(projection=name) for name in cut]
    edits += [RemoveLayer(layer=name) for name in gone]
    edits += [RemoveUnits(layer=name, units=units) for name, units in doomed.items() if len(units) and name not in gone]
    if not (edits and structure.tied):
        return tuple(edits)
    return (*edits, *island_edits(Batch(edits=tuple(edits)).change(structure)[0], exact))


def _left_alone(structure: Structure) -> tuple[RemoveUnits, ...]:
    """What removes units of layers that work unit by unit whose bodies read a unit that is gone."""
    tied = [p for name in structure.layer_names for p in structure.arguments(name) if structure.ties(p)]
    kept = {p.name: np.isin(structure.units(p.target), structure.units(p.source)) for p in tied}
    lost = {p.target: structure.units(p.target)[~kept[p.name]] for p in tied if not kept[p.name].all()}
    return tuple(RemoveUnits(layer=name, units=units) for name, units in lost.items())


def _left_at_ends(structure: Structure, exact: bool) -> tuple[AnyEdit, ...]:
    """What removes units at one end of a tied table whose unit at the other is gone, and connections of such classes.

    Raises:
        EditError: the unit is an input or output, or it has to be exact.
    """
    edits: list[AnyEdit] = []
    for layers in sides(structure):
        for near, far in (layers, layers[::-1]):
            lost = np.setdiff1d(structure.units(near), structure.units(far))
            hidden = structure.layer(near).kind != "input" and not structure.layer(near).output
            if len(lost) and (exact or not hidden):
                raise EditError(
                    f"unit {(near, int(lost[0]))} expected its twin of layer {far!r}, with which it has one row of a "
                    f"table, to stay, got it removed{REMEDY}"
                )
            edits += [RemoveUnits(layer=near, units=lost)] if len(lost) else []
    for tie in ties(structure):
        known, gone = structure.connection_columns(tie.leader).mask, tie.targets < 0
        entries = np.flatnonzero(known & gone)
        if len(entries):
            dormant = np.zeros(len(entries), bool)
            weights = dormant.astype(np.float32)
            edits.append(SetMask(projection=tie.leader, entries=entries, active=dormant, weights=weights))
    return tuple(edits)


def _check_outputs(structure: Structure, fed: Mapping[str, AnyArray]) -> None:
    for name in structure.output_names:
        if not len(structure.units(name)):
            raise EditError(f"output layer {name!r} expected a unit, got none left: keep at least one")
        if not fed[name].all():
            _refuse_unfed("output unit", structure, name, fed)


def _check_arguments(structure: Structure, fed: Mapping[str, AnyArray], needed: Mapping[str, AnyArray]) -> None:
    """Refuse units that nothing feeds where an opaque layer that is read needs them."""
    for name in structure.layer_names:
        for argument in structure.arguments(name) if needed[name].any() else ():
            heeded = fed[argument.source]
            if structure.ties(argument):  # a unit that nothing feeds gives a constant where its partners do as well
                heeded = heeded | ~structure.pairs(argument.name).back(fed[name] & needed[name])
            if not heeded.all():
                _refuse_unfed(
                    f"argument of opaque layer {name!r}: unit", structure, argument.source, {argument.source: heeded}
                )


def _refuse_unfed(what: str, structure: Structure, layer: str, fed: Mapping[str, AnyArray]) -> NoReturn:
    unit = int(structure.units(layer)[~fed[layer]][0])
    raise EditError(
        f"{what} {(layer, unit)} expected a path from an input, got none left: keep at least one connection into it"
    )
