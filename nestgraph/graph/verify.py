"""The laws of a network, and who breaks them: no islands, no cycles, shapes agree, values are finite."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nestgraph.errors import StructureError
from nestgraph.graph.columns import UnitColumns
from nestgraph.graph.extents import is_bare
from nestgraph.graph.geometry import output_size
from nestgraph.graph.heads import links_of, meeting
from nestgraph.graph.projections import Meaning, meaning_of
from nestgraph.graph.structure import Structure
from nestgraph.graph.tying import tie_faults
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.interface import InputPort, OutputPort
from nestgraph.spec.layer import Layer
from nestgraph.spec.limits import MAX_LAYERS, MAX_PROJECTIONS, MAX_UNITS
from nestgraph.spec.operations import Operation
from nestgraph.spec.projection import Projection
from nestgraph.spec.unit_column import COLUMNS


@dataclass(frozen=True)
class Violation:
    """One broken law. `place` is a layer, a projection or a unit `(layer, id)`."""

    law: str
    place: str | tuple[str, int]
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}" if isinstance(self.place, str) else f"unit {self.place}: {self.problem}"


def violations(structure: Structure) -> tuple[Violation, ...]:
    """All broken laws of a structure; later laws are checked only where earlier ones hold."""
    for check in CHECKS:
        found = tuple(check(structure))
        if found:
            return found
    return ()


def _check_counts(structure: Structure) -> Iterator[Violation]:
    """What is more than may be saved is no network: so whatever is saved can be loaded."""
    layers, projections = len(structure.layers_by_name), len(structure.projections_by_name)
    for what, count, most in (("layers", layers, MAX_LAYERS), ("projections", projections, MAX_PROJECTIONS)):
        if count > most:
            yield Violation("counts", "network", f"expected at most {most:,} {what}, got {count:,}")
    for name in structure.layers_by_name:
        if len(structure.unit_columns(name)) > MAX_UNITS:
            units = f"{len(structure.unit_columns(name)):,}"
            yield Violation("counts", name, f"expected at most {MAX_UNITS:,} units, got {units}")


def _check_records(structure: Structure) -> Iterator[Violation]:
    for name, projection in sorted(structure.projections_by_name.items()):
        for end in (projection.source, projection.target):
            if not structure.has_layer(end):
                yield Violation("records", name, f"expected a layer {end!r} at its end, got none of that name")
    if not structure.layers_by_name:
        yield Violation("records", "network", "expected at least an input and an output layer, got no layer")


def _check_order(structure: Structure) -> Iterator[Violation]:
    try:
        names = structure.layer_names
    except StructureError as error:
        yield Violation("acyclic", "network", str(error))
        return
    if not structure.input_names or not structure.output_names:
        yield Violation("records", "network", "expected at least one input and one output layer")
    for name in names:
        layer = structure.layer(name)
        if layer.kind == "input" and structure.incoming(name):
            yield Violation("records", name, "expected an input layer to have no incoming projection")
        yield from _check_arguments(structure, layer)
        try:
            output_size(layer)
        except StructureError as error:
            yield Violation("shapes", name, str(error))


def _check_interface(structure: Structure) -> Iterator[Violation]:
    """Each input layer has one port and each output layer at least one, in a form that its units can have."""
    layers = structure.layers_by_name.values()
    taken = Counter(port.layer for port in structure.inputs)
    if taken != Counter(layer.name for layer in layers if layer.kind == "input"):
        yield Violation(
            "interface", "network", f"expected one port for each input layer, got {sorted(taken.elements())}"
        )
    given, outputs = {port.layer for port in structure.outputs}, {layer.name for layer in layers if layer.output}
    if given != outputs:
        problem = f"expected ports for the output layers {sorted(outputs)}, got them for {sorted(given)}"
        yield Violation("interface", "network", f"{problem}: set the interface together with the layers")
    for port in (*structure.inputs, *structure.outputs) if structure.interface is not None else ():
        if structure.has_layer(port.layer):
            yield from _check_port(structure, port)


def _check_port(structure: Structure, port: InputPort | OutputPort) -> Iterator[Violation]:
    layer = structure.layer(port.layer)
    own = (layer.features or len(structure.units(port.layer)), *(output_size(layer) or ()))
    if port.axis > len(own):
        problem = f"expected units at one of the axes 1 to {len(own)} of its port, got axis {port.axis}"
        yield Violation("interface", port.layer, problem)
        return
    if port.shape is not None and math.prod(port.shape) != math.prod(own):
        yield Violation("interface", port.layer, f"expected a port of as many values as {own}, got {port.shape}")
    if isinstance(port, InputPort):
        if port.free and (len(port.free) != len(own) - 1 or not (port.shape is None or is_bare(port, own))):
            problem = f"expected free to say of each of {own[1:]} whether it may differ, and no other shape"
            yield Violation("interface", port.layer, f"{problem}, got {port.free} and {port.shape}")
        if port.integers is not None and port.integers[0] > port.integers[1]:
            problem = f"expected the least of the integers before the largest, got {port.integers}"
            yield Violation("interface", port.layer, problem)


def _check_arguments(structure: Structure, layer: Layer) -> Iterator[Violation]:
    """Arguments lead to opaque layers, each to a place of its own, and nothing else does."""
    incoming, arguments = structure.incoming(layer.name), structure.arguments(layer.name)
    if layer.opaque is None and arguments:
        yield Violation("records", arguments[0].name, f"expected to lead to an opaque layer, got {layer.name!r}")
    elif layer.opaque is not None:
        places = [argument.place for argument in arguments]
        if not places or places != list(range(len(incoming))):
            expected = "an opaque layer to read arguments at places from 0 up, each once, and nothing else"
            names = ", ".join(p.name for p in incoming if p.weighted)
            yield Violation("records", layer.name, f"expected {expected}, got places {places}{names and f', {names}'}")
        yield from _check_tied(structure, layer)


def _check_tied(structure: Structure, layer: Layer) -> Iterator[Violation]:
    """A layer that works unit by unit reads units of its own ids, of layers that are no inputs."""
    for argument in structure.arguments(layer.name) if layer.unitwise else ():
        if structure.layer(argument.source).kind == "input":
            problem = f"expected to work unit by unit on layers that are no inputs, got {argument.source!r}"
            yield Violation("records", layer.name, problem)
        ids = structure.units(layer.name)
        missing = ids[structure.unit_columns(argument.source).find(ids) < 0]
        if len(missing):
            problem = f"expected a unit of its id in {argument.source!r}, which is read unit by unit, got none"
            yield Violation("links", (layer.name, int(missing[0])), problem)


def _check_units(structure: Structure) -> Iterator[Violation]:
    for name in structure.layer_names:
        layer, columns = structure.layer(name), structure.unit_columns(name)
        yield from _check_ids(layer, columns)
        if set(columns.values) != set(layer.column_names):
            problem = f"expected the columns {sorted(layer.column_names)}, got {sorted(columns.values)}"
            yield Violation("shapes", name, problem)
        yield from _check_values(layer, columns)


def _distinct(ids: AnyArray) -> bool:
    """Whether all differ; in ascending order, as they mostly are, it is plain to see."""
    return bool((np.diff(ids) > 0).all()) or len(np.unique(ids)) == len(ids)


def _check_ids(layer: Layer, columns: UnitColumns) -> Iterator[Violation]:
    name, ids = layer.name, columns.ids
    if ids.ndim != 1 or not (len(ids) or layer.kind == "input"):
        yield Violation("shapes", name, "expected at least one unit: remove an empty layer instead")
    elif not len(ids):
        return  # an input that nothing reads: its port stays
    elif not _distinct(ids) or ids.min() < 0:
        yield Violation("ids", name, "expected unit ids that are distinct and not negative")
    elif layer.features is not None and ids.max() >= layer.features:
        yield Violation("ids", (name, int(ids.max())), f"expected an input id below {layer.features} features")
    elif ids.max() >= columns.next_id:
        yield Violation("ids", (name, int(ids.max())), f"expected an id below next_id {columns.next_id}")


def _check_values(layer: Layer, columns: UnitColumns) -> Iterator[Violation]:
    name, ids = layer.name, columns.ids
    for column, values in sorted(columns.values.items()):
        shape = layer.column_shape(column, len(ids)) if column in COLUMNS else ids.shape
        if values.shape != shape:
            yield Violation("shapes", name, f"expected {column} of shape {shape}, got {values.shape}")
        elif not np.isfinite(values).all():
            unit = int(ids[np.argwhere(~np.isfinite(values))[0, 0]])
            yield Violation("finite", (name, unit), f"expected a finite {column}")
        elif (least := COLUMNS[column].least if column in COLUMNS else None) is not None and (values < least).any():
            unit = int(ids[np.argwhere(values < least)[0, 0]])
            yield Violation("finite", (name, unit), f"expected a {column} of at least {least:g}")


def _check_shapes(structure: Structure) -> Iterator[Violation]:
    for name in structure.projection_names:
        meaning, columns = meaning_of(structure, structure.projection(name)), structure.connection_columns(name)
        yield from _check_ends(structure, meaning)
        if not isinstance(columns, meaning.kind) or not columns.formed:
            got = f"{columns.what} of shapes {', '.join(str(array.shape) for array in columns.arrays.values())}"
            yield Violation(
                "shapes", name, f"expected {meaning.kind.what} for a {meaning.record.kind} projection, got {got}"
            )
        elif columns.weight.shape != meaning.shape or columns.mask.shape != meaning.shape:
            got = f"{columns.weight.shape} and {columns.mask.shape}"
            yield Violation("shapes", name, f"expected weight and mask of shape {meaning.shape}, got {got}")
        else:
            yield from (Violation(*fault) for fault in meaning.faults())
            if not columns.sound:
                yield _unsound(structure, meaning.record)


def _check_ends(structure: Structure, meaning: Meaning[Any, Any]) -> Iterator[Violation]:
    record = meaning.record
    source, target = structure.layer(record.source), structure.layer(record.target)
    try:
        leads, size = meaning.leads, meaning.size
    except StructureError as error:
        yield Violation("shapes", record.name, str(error))
        return
    if record.weighted and record.names_classes != (source.classes is not None):
        expected, got = ("ids of classes", "numbers") if record.names_classes else ("numbers", "ids of classes")
        yield Violation("shapes", record.name, f"expected to read {expected}, got {got} from {source.name!r}")
    elif not leads:
        ends = f"{source.name!r} ({_form(source)}) to {target.name!r} ({_form(target)})"
        yield Violation("shapes", record.name, f"a {record.kind} projection cannot lead from {ends}")
    elif (summed := meaning.target_size) != size:
        yield Violation("shapes", record.name, f"expected to give maps of size {summed}, got {size}")


def _form(layer: Layer) -> str:
    return "neurons" if layer.size is None else "maps"


def _unsound(structure: Structure, projection: Projection) -> Violation:
    columns, ends = structure.wired(projection.name)
    bad = ~np.isfinite(columns.weight) | ((columns.weight != 0) & ~columns.mask)
    unit = int(columns.addresses(np.flatnonzero(bad)[:1], ends)[0, 0])
    problem = "finite weights, and 0 where dormant"
    return Violation("finite", (projection.target, unit), f"expected {problem}, in projection {projection.name!r}")


def _check_ties(structure: Structure) -> Iterator[Violation]:
    for projection, problem in tie_faults(structure):
        yield Violation("tied", projection, problem)


def _check_islands(structure: Structure) -> Iterator[Violation]:
    fed, read = fed_units(structure), read_units(structure)
    for name in structure.layer_names:
        ids = structure.units(name)
        for position in np.flatnonzero(~(fed[name] & read[name])):
            lacks = [
                text
                for text, reached in (("from an input", fed[name]), ("to an output", read[name]))
                if not reached[position]
            ]
            yield Violation("islands", (name, int(ids[position])), f"is an island: no path {' and none '.join(lacks)}")


def fed_units(structure: Structure) -> dict[str, AnyArray]:
    """For each layer, bool (units,): whether a path of active connections leads to the unit from an input.

    A gate alone does not feed a unit. Where units are mixed, a path to one of them is one to all.
    """
    reached: dict[str, AnyArray] = {}
    for name in structure.layer_names:
        here = np.full(len(structure.unit_columns(name)), structure.layer(name).kind == "input")
        for projection in (*structure.summed(name), *structure.arguments(name)):
            here |= structure.pairs(projection.name).onward(reached[projection.source])
        for projection in structure.matches(name):
            columns, ends = links_of(structure, projection), structure.ends(projection.name)
            marks = meeting(structure, projection, reached) & reached[projection.source][columns.at(1, ends)]
            here |= columns.touched(marks, 0, ends)
        reached[name] = _together(structure, name, here, structure.layer(name).operations)
    return reached


def _together(structure: Structure, name: str, here: AnyArray, operations: Sequence[Operation]) -> AnyArray:
    """The units that are marked, with those that a layer mixes them with, by one operation after the other."""
    layer = structure.layer(name)
    if layer.opaque is not None and not layer.unitwise:
        here = here | here.any()
    for operation in operations:
        if operation.facts.reach == "layer" and not here.all():
            groups = operation.mixed(structure.units(name))
            here = np.isin(groups, groups[here])
    return here


def read_units(structure: Structure, fed: Mapping[str, AnyArray] | None = None) -> dict[str, AnyArray]:
    """For each layer, bool (units,): whether a path of active connections leads from the unit to an output.

    Where units are mixed, as by the body of an opaque layer, one that is read is enough.

    Args:
        structure: the layers and projections.
        fed: the units that are fed. Where it is given a gate counts only if it multiplies one of them: others are 0.
    """
    reached: dict[str, AnyArray] = {}
    for name in reversed(structure.layer_names):
        here = np.full(len(structure.unit_columns(name)), structure.layer(name).output)
        for projection in structure.outgoing(name):
            heeds = reached[projection.target]
            if fed is not None and projection.gates:
                heeds = heeds & fed[projection.target]
            if projection.matches:
                columns, ends = links_of(structure, projection), structure.ends(projection.name)
                marks = meeting(structure, projection, fed) & heeds[columns.at(0, ends)]
                here |= columns.touched(marks, 1, ends)
                continue
            here |= structure.pairs(projection.name).back(heeds)
        reached[name] = _together(structure, name, here, structure.layer(name).operations[::-1])
    return reached


CHECKS: tuple[Callable[[Structure], Iterator[Violation]], ...] = (
    _check_counts,
    _check_records,
    _check_order,
    _check_interface,
    _check_units,
    _check_shapes,
    _check_ties,
    _check_islands,
)
