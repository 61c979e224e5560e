"""What a network costs: connections, parameters and static FLOPs (method.md section 5).

Connections are active weights. Parameters are trained connections plus one bias for each unit that has a bias or
normalisation, which is what is left after folding. FLOPs are 2 for each multiply-accumulate, counted at every
position that a convolution computes; a fixed connection (an identity skip) costs one addition, and a gate one
multiplication at each position. A table at both ends of a network has its parameters once, at the lookup, and its
connections and FLOPs at both. Of opaque layers the parameters and FLOPs of bodies that say how many they have are
counted; the others are named.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nestgraph.errors import StructureError
from nestgraph.graph.body import flops_of, parameters_of
from nestgraph.graph.geometry import output_size
from nestgraph.graph.projections import meaning_of
from nestgraph.graph.structure import Structure
from nestgraph.graph.tally import Added
from nestgraph.spec.arguments import checked


@dataclass(frozen=True)
class Cost(Added):
    """Counts of a projection, a layer (its incoming projections and units) or a whole network."""

    units: int = 0
    connections: int = 0
    possible: int = 0
    parameters: int = 0
    flops: int = 0


@dataclass(frozen=True)
class NetworkCost:
    """The cost by layer and by projection, in order, and their total.

    Attributes:
        by_layer: a layer's own, with its incoming projections.
        by_projection: of each projection.
        total: of the network.
        uncounted: opaque layers whose parameters are in no count, as their bodies are not there or do not say.
        unmeasured: opaque layers whose FLOPs are in no count, as their bodies are not there or look at values.
    """

    by_layer: Mapping[str, Cost]
    by_projection: Mapping[str, Cost]
    total: Cost
    uncounted: tuple[str, ...] = ()
    unmeasured: tuple[str, ...] = ()


@checked(StructureError)
def cost(structure: Structure) -> NetworkCost:
    """Count a network's connections, parameters and static FLOPs per layer and projection."""
    by_projection = {name: projection_cost(structure, name) for name in structure.projection_names}
    by_layer: dict[str, Cost] = {}
    uncounted, unmeasured = list[str](), list[str]()
    for name in structure.layer_names:
        layer, units = structure.layer(name), len(structure.unit_columns(name))
        inside, flops = (0, 0) if layer.opaque is None else _inside(structure, name)
        uncounted += [name] if inside is None else []
        unmeasured += [name] if flops is None else []
        several = sum(math.prod(column.shape(units, layer.size)) for column in layer.columns if not column.single)
        parameters = several + units * any(column.single for column in layer.columns)  # biases are folded into one
        parameters += inside or 0
        own = Cost(units=units, parameters=parameters, flops=flops or 0)
        by_layer[name] = sum((by_projection[p.name] for p in structure.incoming(name)), own)
    total = sum(by_layer.values(), Cost())
    return NetworkCost(by_layer, by_projection, total, tuple(uncounted), tuple(unmeasured))


def _inside(structure: Structure, name: str) -> tuple[int | None, int | None]:
    """Parameters and FLOPs of the body of an opaque layer."""
    body, arguments = structure.bodies.get(name), structure.arguments(name)
    sizes = (output_size(structure.layer(argument.source)) or () for argument in arguments)
    shapes = [(1, len(structure.read_by(p)), *size) for p, size in zip(arguments, sizes, strict=True)]
    return parameters_of(body), flops_of(body, shapes)


def projection_cost(structure: Structure, name: str) -> Cost:
    """Count one projection."""
    projection, columns = structure.projection(name), structure.connection_columns(name)
    return Cost(
        connections=columns.active,
        possible=columns.mask.size,
        parameters=columns.active if projection.learns and projection.follows is None else 0,
        flops=projection.flops * meaning_of(structure, projection).applications,
    )
