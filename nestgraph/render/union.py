"""Several versions of a network as one structure to draw, so that a unit has one place in the pictures of all.

Its projections hold one number an edge, how strong it is: (out, in), or (links,) for one-to-one. That is what a choice
of units and edges needs, and it is no network: nothing verifies it or computes with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from nestgraph.graph.columns import ConnectionColumns, Ends, UnitColumns, gathered
from nestgraph.graph.matching import same_make
from nestgraph.graph.structure import Structure
from nestgraph.render.selection import edge_norms
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.layer import Layer
from nestgraph.spec.projection import Projection

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
    if not part.projection.weighted:
        other, own = version.projection(name), part.projection
        return not other.weighted and (other.source, other.target) == (own.source, own.target)
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
    block, ends = united_block(part, units)
    strength = np.zeros(block.edges.shape, np.float32)
    for version in part.versions:
        strength = np.maximum(strength, in_union(strengths(version, part), version, part, (block, ends)))
    return block.with_weight(strength, strength > 0)


Wired = tuple[ConnectionColumns, Ends]


def united_block(part: Part, units: dict[str, UnitColumns]) -> Wired:
    """Dormant connections, one an edge that any version has, and the units of the union at their ends."""
    ends = Ends(units[part.projection.target], units[part.projection.source])
    wired = [version.wired(part.name) for version in part.versions]
    return type(wired[0][0]).united(wired, ends), ends


def in_union(values: AnyArray, version: Structure, part: Part, union: Wired) -> AnyArray:
    """Values of the edges of a version in the places of the union's, and 0 elsewhere."""
    (columns, own), (block, ends) = version.wired(part.name), union
    old = own.target.find(ends.target.ids), own.source.find(ends.source.ids)
    places = block.follow(columns, old, ends, own)
    return gathered(values, places, 0)


def strengths(version: Structure, part: Part) -> AnyArray:
    """Float32, as `edges`: the strength of each edge relative to the strongest, 0 where there is none."""
    columns = version.connection_columns(part.name)
    return _relative(edge_norms(columns), columns.edges)


def _relative(norms: AnyArray, live: AnyArray) -> AnyArray:
    largest = float(norms.max(initial=0)) or 1.0
    return np.where(live, np.maximum(norms / norms.dtype.type(largest), np.float32(WEAKEST)), np.float32(0))
