"""The table from the kind of a projection to the function that emits what it adds in a compact module."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from nestgraph.graph.geometry import output_size
from nestgraph.graph.heads import summed_size
from nestgraph.graph.liveness import is_identity
from nestgraph.lowering.compact_conv import emit_conv
from nestgraph.lowering.extents import emit_reshaped
from nestgraph.lowering.tensors import as_tensor
from nestgraph.lowering.terms import CompactEmission, Term, by_place, convolution, filled
from nestgraph.spec import Dense, Lookup, OneToOne
from nestgraph.spec.arrays import AnyArray


def emit_dense(
    emission: CompactEmission, projection: Dense, source: fx.Node, rows: AnyArray, bias: AnyArray | None
) -> Term:
    """A linear module of the rows and columns that are used, where leaving out columns pays."""
    columns, path = emission.network.connection_columns(projection.name), emission.projections[projection.name]
    weight = columns.weight[rows].reshape(len(rows), -1)
    if columns.weight.ndim > 2:
        source = emission.call(torch.flatten, source, 1)
    used = np.flatnonzero(weight.any(axis=0))
    if emission.pays((weight.shape[1] - len(used)) * len(rows), len(used)):
        source = emission.choose(source, f"{path}_columns", used, weight.shape[1])
        weight = weight[:, used]
    linear = nn.Linear(weight.shape[1], len(rows), bias=bias is not None, device="meta")
    return Term(emission.apply(path, filled(linear, weight, bias), source), rows, bias is not None)


def emit_lookup(
    emission: CompactEmission, projection: Lookup, source: fx.Node, rows: AnyArray, bias: AnyArray | None
) -> Term:
    """A row of a table for each id, with the bias in all of them."""
    columns, path = emission.network.connection_columns(projection.name), emission.projections[projection.name]
    values = columns.weight[rows, 0].T if bias is None else columns.weight[rows, 0].T + bias
    table = emission.keep(f"{path}_table", as_tensor(values))
    ids = emission.graph.call_method("long", (emission.call(torch.select, source, 1, 0),))
    found = emission.call(torch.movedim, emission.call(functional.embedding, ids, table), -1, 1)
    return Term(found, rows, bias is not None)


def emit_one_to_one(
    emission: CompactEmission, projection: OneToOne, source: fx.Node, rows: AnyArray, bias: AnyArray | None
) -> Term:
    """Linked units: chosen from the source, and weighted where their weights are not 1."""
    network, path = emission.network, emission.projections[projection.name]
    columns, ends = network.linked(projection.name)
    values = emission.choose(source, f"{path}_sources", columns.at(1, ends), len(ends.source))
    sizes = output_size(network.layer(projection.source)), summed_size(network, projection.target)
    values = emit_reshaped(emission, values, *sizes)
    if projection.kernel is not None:
        module = convolution(
            projection, len(rows), len(rows), bias is not None, groups=len(rows), padding=projection.padding
        )
        module = filled(module, columns.weight[:, None], bias)
        return Term(emission.apply(path, module, values), rows, bias is not None)
    if is_identity(projection, columns):
        return Term(values, rows)
    weight = as_tensor(columns.weight) if projection.placed else by_place(emission, projection.target, columns.weight)
    return Term(emission.call(torch.mul, values, emission.keep(f"{path}_weight", weight)), rows)


TERMS: Mapping[str, Callable[..., Term]] = {
    "dense": emit_dense,
    "conv": emit_conv,
    "lookup": emit_lookup,
    "one_to_one": emit_one_to_one,
}
"""kind -> emitter(emission, projection, source, rows, bias or None): what the projection adds to the rows, or what it
multiplies them by. Arguments have no row: `inner.emit_inner` reads them."""
