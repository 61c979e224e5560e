"""Several versions of a network as one structure to draw, so that a unit has one place in the pictures of all.

Its projections hold one number an edge, how strong it is: (out, in), or (links,) for one-to-one. That is what a choice
of units and edges needs, and it is no network: nothing verifies it or computes with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from nestgraph.graph.columns import ConnectionColumns, UnitColumns
from nestgraph.graph.matching import same_make
from nestgraph.graph.structure import Structure
from nestgraph.render.selection import edge_norms
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.layer import Layer
from nestgraph.spec.projection import Argument, Projection

WEAKEST = 1e-3  # the strength of a live edge whose weights are 0


@dataclass(frozen=True)
class Part:
    """A projection of the union, and in which of the versions it is; those whose make differs are parts apart."""

    projection: Projection
    versions: tuple[Structure, ...]
    name: str


def united_units(versions: Sequence[Structure]) -> dict[str, UnitColumns]:
    """All units of any version, by layer, ascending."""
    names = dict.fromkeys(name for version in versions for name in version.layers_by_name)
    found: dict[str, UnitColumns] = {}
    for name in names:
        ids = [version.units(name) for version in versions if version.has_layer(name)]
        found[name] = UnitColumns.of(np.unique(np.concatenate(ids)), {})
    return found


def united_layers(versions: Sequence[Structure]) -> dict[str, Layer]:
    """The records of all layers, that of the last version where they differ."""
    return {name: layer for version in versions for name, layer in version.layers_by_name.items()}


def parts(versions: Sequence[Structure]) -> tuple[tuple[Part, ...], int]:
    """The projections of the union, and how many were left out because they lead backwards.

    Layers may change places from one version to another. The last version's order holds; of the earlier ones, latest
    first, what leads against it is left out.
    """
    order: nx.DiGraph[str] = nx.DiGraph()
    found: list[Part] = []
    left_out = 0
    for index in reversed(range(len(versions))):
        version = versions[index]
        for name in version.projection_names:
            record = version.projection(name)
            later = next((place for place, part in enumerate(found) if _fits(part, version, name)), None)
            if later is not None:
                part = found[later]
                found[later] = Part(part.projection, (version, *part.versions), name)
            elif order.has_node(record.target) and _leads(order, record.target, record.source):
                left_out += 1
            else:
                order.add_edge(record.source, record.target)
                again = sum(part.name == name for part in found)
                key = f"{name}~{again}" if again else name
                found.append(Part(record.model_copy(update={"name": key}), (version,), name))
    return tuple(found), left_out


def _fits(part: Part, version: Structure, name: str) -> bool:
    if part.name != name:
        return False
    if isinstance(part.projection, Argument):
        other = version.projection(name)
        return isinstance(other, Argument) and (other.source, other.target) == (
            part.projection.source,
            part.projection.target,
        )
    return same_make(version, part.versions[-1], name)


def _leads(order: "nx.DiGraph[str]", source: str, target: str) -> bool:
    return order.has_node(target) and nx.has_path(order, source, target)


def union(versions: Sequence[Structure]) -> Structure:
    """The union of versions; the strength of an edge is the greatest that it has in any of them."""
    units, (found, _) = united_units(versions), parts(versions)
    connections = {part.projection.name: _joined(part, units) for part in found}
    records = [part.projection for part in found]
    return Structure(united_layers(versions).values(), records, units, connections)


def _joined(part: Part, units: dict[str, UnitColumns]) -> ConnectionColumns:
    if isinstance(part.projection, Argument):
        return ConnectionColumns.of(np.zeros(0))
    if part.projection.kind == "one_to_one":
        keys, weights = zip(*(link_strengths(v, part, units) for v in part.versions), strict=True)
        every, place = np.unique(np.concatenate(keys), return_inverse=True)
        strength = np.zeros(len(every), np.float32)
        np.maximum.at(strength, place, np.concatenate(weights))
        return ConnectionColumns.of(strength, links=links_of(every, part, units))
    strength = matrix_strengths(part.versions[0], part, units)
    for version in part.versions[1:]:
        strength = np.maximum(strength, matrix_strengths(version, part, units))
    return ConnectionColumns.of(strength, strength > 0)


def places(version: Structure, part: Part, units: dict[str, UnitColumns]) -> tuple[AnyArray, AnyArray]:
    """Where a version's targets and sources of a part are among those of the union."""
    ends = part.projection.target, part.projection.source
    rows, columns = (units[layer].positions(version.units(layer)) for layer in ends)
    return rows, columns


def spread(values: AnyArray, version: Structure, part: Part, units: dict[str, UnitColumns]) -> AnyArray:
    """Values (out, in) of a version in the places of the union, and 0 elsewhere."""
    rows, columns = places(version, part, units)
    shape = len(units[part.projection.target]), len(units[part.projection.source])
    if values.shape == shape and (np.diff(rows) > 0).all() and (np.diff(columns) > 0).all():
        return values
    full = np.zeros(shape, values.dtype)
    full[np.ix_(rows, columns)] = values
    return full


def matrix_strengths(version: Structure, part: Part, units: dict[str, UnitColumns]) -> AnyArray:
    """Float32 (out, in): the strength of each edge relative to the strongest, 0 where there is none."""
    columns = version.connection_columns(part.name)
    return spread(_relative(edge_norms(columns), columns.edges), version, part, units)


def link_strengths(version: Structure, part: Part, units: dict[str, UnitColumns]) -> tuple[AnyArray, AnyArray]:
    """The live links of a version as places `target * sources + source` in the union, and their strengths."""
    columns = version.connection_columns(part.name)
    keys = link_keys(version, part, units)
    return keys[columns.live], _relative(edge_norms(columns), columns.live)[columns.live]


def link_keys(version: Structure, part: Part, units: dict[str, UnitColumns]) -> AnyArray:
    """(links,): all links of a version, live or not, as places `target * sources + source` in the union."""
    links = version.connection_columns(part.name).links
    assert links is not None
    target, source = units[part.projection.target], units[part.projection.source]
    return target.positions(links[:, 1]) * len(source) + source.positions(links[:, 0])


def links_of(keys: AnyArray, part: Part, units: dict[str, UnitColumns]) -> AnyArray:
    """The ids (links, 2) of places `target * sources + source`."""
    target, source = units[part.projection.target], units[part.projection.source]
    return np.stack([source.ids[keys % len(source)], target.ids[keys // len(source)]], axis=1)


def _relative(norms: AnyArray, live: AnyArray) -> AnyArray:
    largest = float(norms.max(initial=0)) or 1.0
    return np.where(live, np.maximum(norms / norms.dtype.type(largest), np.float32(WEAKEST)), np.float32(0))
