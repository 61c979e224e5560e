"""The table from the kind of a projection to the function that emits it.

A new kind is one record in `nestgraph.spec` and one row here.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from nestgraph.graph.columns.areas import paired, shortest
from nestgraph.graph.geometry import output_size
from nestgraph.graph.heads import summed_size
from nestgraph.lowering.areas import emit_partial_conv
from nestgraph.lowering.blocks import trained_blocks
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.extents import by_unit, convolved, emit_reshaped, sweeps_places
from nestgraph.lowering.sparse_linear import emit_live
from nestgraph.lowering.sparse_sweep import emit_swept
from nestgraph.lowering.tensors import as_tensor
from nestgraph.spec import Conv, Dense, Lookup, OneToOne, Projection
from nestgraph.spec.arrays import AnyArray


def folds_bias(emission: Emission, projection: Projection) -> bool:
    """Whether the emitter of a projection can add its target's bias for free."""
    return projection.kind in FOLDING and emission.network.connection_columns(projection.name).everywhere


def emit_dense(emission: Emission, projection: Dense, source: fx.Node, bias: fx.Node | None) -> fx.Node:
    """Any unit to any neuron; maps are flattened as (maps, *size)."""
    if projection.name in emission.sparse:
        return emit_live(emission, projection, source, bias)
    weight = emission.weight(projection)
    if emission.network.connection_columns(projection.name).weight.ndim > 2:
        source, weight = emission.call(torch.flatten, source, 1), emission.call(torch.flatten, weight, 1)
    return emission.call(functional.linear, source, weight, bias)


def emit_conv(emission: Emission, projection: Conv, source: fx.Node, bias: fx.Node | None) -> fx.Node:
    """A convolution, at the positions of its area only."""
    area = shortest(emission.network.connection_columns(projection.name).area)
    if area is None:
        return _emit_kernels(emission, projection, source, bias)
    if projection.name in emission.sparse:
        return emit_swept(emission, projection, source, emission.weight(projection))
    if paired(area):
        return emit_partial_conv(emission, projection, source, emission.weight(projection), area)
    everywhere = _emit_kernels(emission, projection, source, bias)
    kept = emission.keep(f"{emission.projections[projection.name]}.area", as_tensor(area[:, 0]))
    return emission.call(torch.mul, everywhere, kept)


def _emit_kernels(emission: Emission, projection: Conv, source: fx.Node, bias: fx.Node | None) -> fx.Node:
    """A convolution everywhere: by groups where the mask has blocks and the module trains under it."""
    blocks = trained_blocks(emission.network, projection.name) if emission.masked else None
    if blocks is None and sweeps_places(projection):
        weight = emission.call(torch.flatten, emission.weight(projection), 1)
        sums = emission.call(functional.linear, emission.call(torch.movedim, source, 1, 2), weight, bias)
        return emission.call(torch.movedim, sums, 2, 1)
    if blocks is None:
        return convolved(emission.call, projection, source, emission.weight(projection), bias)
    path, columns = emission.projections[projection.name], emission.network.connection_columns(projection.name)
    source = emission.select(source, f"{path}.sources", blocks.read, columns.edges.shape[1])
    ordered = np.array_equal(blocks.places, np.arange(blocks.targets.size))
    weight, added = emission.weight(projection, blocks), bias if ordered else None
    sums = convolved(emission.call, projection, source, weight, added, len(blocks.targets))
    if ordered:
        return sums
    sums = emission.select(sums, f"{path}.targets", blocks.places, blocks.targets.size)
    if bias is None:
        return sums
    return emission.call(torch.add, sums, emission.call(torch.reshape, bias, by_unit(projection.kernel)))


def emit_lookup(emission: Emission, projection: Lookup, source: fx.Node, _bias: fx.Node | None) -> fx.Node:
    """A row of a table, the weights of a class, for each id; ids may come as floats."""
    ids = emission.graph.call_method("long", (emission.call(torch.select, source, 1, 0),))
    table = emission.call(torch.transpose, emission.call(torch.flatten, emission.weight(projection), 1), 0, 1)
    return emission.call(torch.movedim, emission.call(functional.embedding, ids, table), -1, 1)


def emit_one_to_one(emission: Emission, projection: OneToOne, source: fx.Node, _bias: fx.Node | None) -> fx.Node:
    """Linked units: chosen from the source, weighted, placed in the target; all three where needed."""
    return emit_joined(emission, [projection], [source])


def emit_joined(emission: Emission, projections: Sequence[OneToOne], sources: Sequence[fx.Node]) -> fx.Node:
    """The sum of projections of which no two link the same target: what they carry side by side, then placed."""
    network, first = emission.network, projections[0]
    parts = [_carried(emission, *pair) for pair in zip(projections, sources, strict=True)]
    values = parts[0] if len(parts) == 1 else emission.call(torch.cat, parts, 1)
    linked = np.concatenate([linked_targets(emission, projection) for projection in projections])
    targets, path = network.unit_columns(first.target), emission.projections[first.name]
    # Targets without a link read the row of zeros (of ones, where it gates) that padding appends.
    place = {unit: row for row, unit in enumerate(linked.tolist())}
    rows = np.array([place.get(unit, len(linked)) for unit in targets.ids.tolist()], np.int64)
    extent = len(linked)
    if extent < len(targets):
        axes_behind = len(summed_size(network, first.target) or ())
        values = emission.call(functional.pad, values, (0, 0) * axes_behind + (0, 1), value=float(first.gate))
        extent += 1
    return emission.select(values, f"{path}.targets", rows, extent)


def linked_targets(emission: Emission, projection: OneToOne) -> AnyArray:
    """The ids of the targets that a projection links, in the order of its links."""
    return emission.network.linked(projection.name)[0].ids(0)


def _carried(emission: Emission, projection: OneToOne, source: fx.Node) -> fx.Node:
    """What the links of a projection carry, in their order: chosen from the source and weighted."""
    network, path = emission.network, emission.projections[projection.name]
    columns, ends = network.linked(projection.name)
    values = emission.select(source, f"{path}.sources", columns.at(1, ends), len(ends.source))
    sizes = output_size(network.layer(projection.source)), summed_size(network, projection.target)
    return _weighted(emission, projection, emit_reshaped(emission, values, *sizes))


def _weighted(emission: Emission, projection: OneToOne, values: fx.Node) -> fx.Node:
    columns = emission.network.connection_columns(projection.name)
    if projection.kernel is not None:
        kernels = emission.call(torch.unsqueeze, emission.weight(projection), 1)
        return convolved(emission.call, projection, values, kernels, groups=len(columns.weight))
    if not projection.trained and (columns.weight == 1).all():
        return values
    weight = emission.weight(projection)
    size = summed_size(emission.network, projection.target)
    if size is not None and not projection.placed:
        weight = emission.call(torch.reshape, weight, by_unit(size))
    return emission.call(torch.mul, values, weight)


PROJECTIONS: Mapping[str, Callable[..., fx.Node]] = {
    "dense": emit_dense,
    "conv": emit_conv,
    "lookup": emit_lookup,
    "one_to_one": emit_one_to_one,
}
"""kind -> emitter(emission, projection, source, bias or None): what the projection adds to its target's sum, or
multiplies it by. Arguments have no row: `opaque.emit_body` reads them."""
FOLDING = frozenset({"dense", "conv"})
"""The kinds whose emitters add a bias."""
