"""The laws of a network, and who breaks them: no islands, no cycles, shapes agree, values are finite."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nestgraph.errors import StructureError
from nestgraph.graph.columns import ConnectionColumns, UnitColumns
from nestgraph.graph.geometry import output_size, target_size, weight_shape
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.layer import Layer
from nestgraph.spec.projection import Conv, OneToOne, Projection


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
        try:
            output_size(layer)
        except StructureError as error:
            yield Violation("shapes", name, str(error))


def _check_units(structure: Structure) -> Iterator[Violation]:
    for name in structure.layer_names:
        layer, columns = structure.layer(name), structure.unit_columns(name)
        yield from _check_ids(layer, columns)
        if set(columns.values) != set(layer.column_names):
            problem = f"expected the columns {sorted(layer.column_names)}, got {sorted(columns.values)}"
            yield Violation("shapes", name, problem)
        yield from _check_values(name, columns)


def _check_ids(layer: Layer, columns: UnitColumns) -> Iterator[Violation]:
    name, ids = layer.name, columns.ids
    if ids.ndim != 1 or not len(ids):
        yield Violation("shapes", name, "expected at least one unit: remove an empty layer instead")
    elif len(np.unique(ids)) != len(ids) or ids.min() < 0:
        yield Violation("ids", name, "expected unit ids that are distinct and not negative")
    elif layer.features is not None and ids.max() >= layer.features:
        yield Violation("ids", (name, int(ids.max())), f"expected an input id below {layer.features} features")
    elif ids.max() >= columns.next_id:
        yield Violation("ids", (name, int(ids.max())), f"expected an id below next_id {columns.next_id}")


def _check_values(name: str, columns: UnitColumns) -> Iterator[Violation]:
    ids = columns.ids
    for column, values in sorted(columns.values.items()):
        if values.shape != ids.shape:
            yield Violation("shapes", name, f"expected {column} of shape {ids.shape}, got {values.shape}")
        elif not np.isfinite(values).all():
            place = int(ids[np.flatnonzero(~np.isfinite(values))[0]])
            yield Violation("finite", (name, place), f"expected a finite {column}")
        elif column == "variance" and (values < 0).any():
            yield Violation("finite", (name, int(ids[values.argmin()])), "expected a variance of at least 0")


def _check_shapes(structure: Structure) -> Iterator[Violation]:
    for name in structure.projection_names:
        projection, columns = structure.projection(name), structure.connection_columns(name)
        yield from _check_kinds(structure, projection)
        if not _has_its_links(projection, columns):
            yield Violation("shapes", name, "expected links (links, 2) for a one-to-one projection, and only there")
            continue
        shape = weight_shape(structure, projection)
        if columns.weight.shape != shape or columns.mask.shape != shape:
            got = f"{columns.weight.shape} and {columns.mask.shape}"
            yield Violation("shapes", name, f"expected weight and mask of shape {shape}, got {got}")
            continue
        yield from _check_area(structure, projection, columns)
        yield from _check_links(structure, projection, columns)
        if not columns.sound:
            yield _unsound(structure, projection, columns)


def _has_its_links(projection: Projection, columns: ConnectionColumns) -> bool:
    if columns.links is None or not isinstance(projection, OneToOne):
        return columns.links is None and not isinstance(projection, OneToOne)
    return columns.links.ndim == 2 and columns.links.shape[1] == 2


def _check_kinds(structure: Structure, projection: Projection) -> Iterator[Violation]:
    source, target = structure.layer(projection.source), structure.layer(projection.target)
    maps = (source.size is not None, target.size is not None)
    fits = {"dense": not maps[1], "conv": maps == (True, True), "one_to_one": maps[0] == maps[1]}[projection.kind]
    if not fits:
        ends = f"{source.name!r} ({_form(maps[0])}) to {target.name!r} ({_form(maps[1])})"
        yield Violation("shapes", projection.name, f"a {projection.kind} projection cannot lead from {ends}")
    elif target.size != target_size(structure, projection):
        got = target_size(structure, projection)
        yield Violation("shapes", projection.name, f"expected to give maps of size {target.size}, got {got}")


def _form(has_maps: bool) -> str:
    return "maps" if has_maps else "neurons"


def _check_area(structure: Structure, projection: Projection, columns: ConnectionColumns) -> Iterator[Violation]:
    if columns.area is None:
        return
    size = structure.layer(projection.target).size or ()
    out, into = columns.weight.shape[:2] if isinstance(projection, Conv) else (0, 0)
    if not isinstance(projection, Conv) or columns.area.shape not in ((out, into, *size), (out, 1, *size)):
        expected = f"an area of shape {(out, into, *size)}, or one for each output map, on a convolution"
        yield Violation("shapes", projection.name, f"expected {expected}, got {columns.area.shape}")


def _check_links(structure: Structure, projection: Projection, columns: ConnectionColumns) -> Iterator[Violation]:
    if columns.links is None:
        return
    for side, layer in enumerate((projection.source, projection.target)):
        strange = np.setdiff1d(columns.links[:, side], structure.units(layer))
        if len(strange):
            yield Violation("links", (layer, int(strange[0])), f"is linked by {projection.name!r} but does not live")
    if (np.diff(columns.links[:, 1]) <= 0).any():
        yield Violation("links", projection.name, "expected links in ascending order of target ids, at most one each")


def _unsound(structure: Structure, projection: Projection, columns: ConnectionColumns) -> Violation:
    bad = ~np.isfinite(columns.weight) | ((columns.weight != 0) & ~columns.mask)
    first = np.argwhere(bad)[0]
    if columns.links is not None:
        unit = int(columns.links[first[0], 1])
    else:
        unit = int(structure.units(projection.target)[first[0]])
    problem = "finite weights, and 0 where dormant"
    return Violation("finite", (projection.target, unit), f"expected {problem}, in projection {projection.name!r}")


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
    """For each layer, bool (units,): whether a path of active connections leads to the unit from an input."""
    reached: dict[str, AnyArray] = {}
    for name in structure.layer_names:
        here = np.full(len(structure.unit_columns(name)), structure.layer(name).kind == "input")
        for projection in structure.incoming(name):
            here |= _spread(structure, projection, reached[projection.source], forward=True)
        reached[name] = here
    return reached


def read_units(structure: Structure) -> dict[str, AnyArray]:
    """For each layer, bool (units,): whether a path of active connections leads from the unit to an output."""
    reached: dict[str, AnyArray] = {}
    for name in reversed(structure.layer_names):
        here = np.full(len(structure.unit_columns(name)), structure.layer(name).output)
        for projection in structure.outgoing(name):
            here |= _spread(structure, projection, reached[projection.target], forward=False)
        reached[name] = here
    return reached


def _spread(structure: Structure, projection: Projection, reached: AnyArray, forward: bool) -> AnyArray:
    """Units at one end of a projection that touch a reached unit at the other end."""
    columns = structure.connection_columns(projection.name)
    if columns.links is not None:
        ends = (projection.source, projection.target)
        near, far = (0, 1) if forward else (1, 0)
        start, goal = structure.unit_columns(ends[near]), structure.unit_columns(ends[far])
        links = columns.links[columns.live]
        touched = np.zeros(len(goal), bool)
        touched[goal.positions(links[reached[start.positions(links[:, near])], far])] = True
        return touched
    edges = columns.edges if forward else columns.edges.T
    return np.any(edges if reached.all() else edges[:, reached], axis=1)


CHECKS: tuple[Callable[[Structure], Iterator[Violation]], ...] = (
    _check_records,
    _check_order,
    _check_units,
    _check_shapes,
    _check_islands,
)
