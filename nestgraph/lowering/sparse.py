"""Projections as sparse matrices over single connections: time and bytes that follow what lives.

A row of the matrix is a sum at one place, a column a value at one place of the source, so a convolution with areas of
any form is what its network says, edge by edge. Samples are the last axis meanwhile, over which each connection is one
run of multiply-adds; from matrix to matrix they stay so.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, fx

from nestgraph.graph import Structure
from nestgraph.graph.columns.areas import paired, shortest
from nestgraph.graph.geometry import output_size
from nestgraph.graph.heads import summed_size
from nestgraph.lowering.areas import window_places
from nestgraph.lowering.costs import KnownCosts
from nestgraph.lowering.terms import CompactEmission, Term
from nestgraph.snapshot.costs import Costs
from nestgraph.spec import Conv, Dense, OneToOne, Projection
from nestgraph.spec.arrays import AnyArray

Execution = Literal["auto", "dense", "sparse"]

EXECUTION = "execution"
"""Where the meta of a compact module has the choices, by projection."""

MOST = 2**24
"""Entries of a matrix up to which it is made."""


with warnings.catch_warnings():  # torch says once in a process that not all of it takes such tensors yet
    warnings.filterwarnings("ignore", "Sparse CSR", UserWarning)
    torch.zeros(1, 1).to_sparse_csr()

LIBRARY = torch.library.Library("nestgraph", "DEF")  # pyright: ignore[reportPrivateImportUsage]
LIBRARY.define("sparse_product(Tensor ends, Tensor columns, Tensor weights, Tensor values, Tensor? bias) -> Tensor")
sparse_product: Any = torch.ops.nestgraph.sparse_product.default
"""(rows of a matrix, samples): its product with values (columns, samples), and a bias (rows, 1) that is added.

An operator of its own, since tracers and compilers know no sparse tensors; `ends`, `columns` and `weights` are the
parts of the matrix in compressed rows. Gradients go back to the values.
"""


def _product(ends: Tensor, columns: Tensor, weights: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    shape = len(ends) - 1, len(values)
    matrix = torch.sparse_csr_tensor(ends, columns, weights, shape, check_invariants=False)
    return torch.mm(matrix, values) if bias is None else torch.addmm(bias, matrix, values)


def _shape(ends: Tensor, columns: Tensor, weights: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:  # noqa: ARG001
    return values.new_empty(ends.shape[0] - 1, values.shape[1])


def _kept(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs[:3], inputs[3])


def _back(ctx: Any, gradient: Tensor) -> tuple[None, None, None, Tensor, None]:
    ends, columns, weights, values = ctx.saved_tensors
    rows = torch.repeat_interleave(torch.arange(len(ends) - 1, device=ends.device), ends.diff())
    read = weights[:, None] * gradient[rows]
    return None, None, None, torch.zeros_like(values).index_add(0, columns, read), None


LIBRARY.impl("sparse_product", _product, "CompositeExplicitAutograd")
torch.library.register_fake("nestgraph::sparse_product", _shape)
torch.library.register_autograd("nestgraph::sparse_product", _back, setup_context=_kept)


@dataclass(frozen=True)
class Choice:
    """How a projection is computed, and what was expected of the two ways.

    Attributes:
        sparse: whether by a sparse matrix.
        nanoseconds: expected for a batch: dense, and sparse; none is known of what has one way.
        costs: by which costs that was expected, in words.
    """

    sparse: bool
    nanoseconds: tuple[float, float] | None = None
    costs: str = ""


def choices(structure: Structure, execution: Execution, batch: int, known: KnownCosts) -> dict[str, Choice]:
    """The choice for each projection, from the inputs on: what lies in samples-last order already costs no move.

    Args:
        structure: what is computed, of fixed sizes.
        execution: "auto" for the cheaper way, "sparse" wherever there is one.
        batch: how many samples at a time.
        known: what computing costs.
    """
    table, found, turned = known.costs, dict[str, Choice](), set[str]()
    for name in structure.layer_names:
        own = [projection for projection in structure.incoming(name) if projection.weighted]
        for projection in own:
            entries = _count(structure, projection)
            if execution == "dense" or entries is None or entries > MOST:
                found[projection.name] = Choice(sparse=False)
                continue
            moved = table.move * batch * _values(structure, projection.source)
            lies = projection.source in turned
            dense = (
                _calls(structure, projection, table)
                + _dense(structure, projection, table) * batch
                + (moved if lies else 0.0)
            )
            sparse = table.product + entries * (table.entry + table.sparse * batch) + (0.0 if lies else moved)
            cheaper = execution == "sparse" or bool(sparse < dense)
            found[projection.name] = Choice(cheaper, (dense, sparse), known.words)
        if own and all(found[projection.name].sparse for projection in own):
            turned.add(name)
    return found


def emit_chosen(emission: CompactEmission, sample: fx.Node, path: str, places: AnyArray, extent: int) -> fx.Node:
    """Emit the choice of features of a sample that matrices alone read: of rows, with samples as the last axis."""
    if np.array_equal(places, np.arange(extent)):
        return sample
    turned = emission.call(torch.movedim, sample, 0, -1)
    index = emission.keep(path, torch.from_numpy(places.astype(np.int64)))
    return emission.call(torch.movedim, emission.call(torch.index_select, turned, 0, index), -1, 0)


def emit_product(
    emission: CompactEmission, projection: Projection, source: fx.Node, rows: AnyArray, bias: AnyArray | None
) -> Term:
    """Emit the product of a projection's matrix and its source, with the bias of these rows if there is one."""
    path, size = emission.projections[projection.name], summed_size(emission.network, projection.target)
    values = emission.call(torch.movedim, source, 0, -1)
    if (axes := len(output_size(emission.network.layer(projection.source)) or ())) > 0:
        values = emission.call(torch.flatten, values, 0, axes)
    ends, columns, weights = compressed(emission.network, projection, rows)
    parts = {"ends": ends, "columns": columns, "weights": weights}  # plain tensors, which anything may copy and save
    held = [emission.keep(f"{path}_{part}", torch.from_numpy(array)) for part, array in parts.items()]
    column = None
    if bias is not None:
        repeated = np.repeat(bias, math.prod(size or ()))[:, None].astype(np.float32)
        column = emission.keep(f"{path}_bias", torch.from_numpy(repeated))
    sums = emission.call(sparse_product, *held, values, column)
    if size:
        sums = emission.call(torch.unflatten, sums, 0, (len(rows), *size))
    return Term(emission.call(torch.movedim, sums, -1, 0), rows, bias is not None)


def compressed(structure: Structure, projection: Projection, rows: AnyArray) -> tuple[AnyArray, AnyArray, AnyArray]:
    """The connections of a projection to the target units at `rows` as a matrix in compressed sparse rows.

    Returns:
        Where each row ends, int64 (1 + rows of the matrix,); columns, int64, and weights, float32, of entries,
        (entries,). Rows are those of sums, columns values of a sample: units before places, places row by row.
    """
    places = _places(structure, projection)
    targets, sources, weights = _entries(structure, projection, rows, places)
    order = np.lexsort((sources, targets))
    ends = np.concatenate([[0], np.cumsum(np.bincount(targets, minlength=len(rows) * places))])
    return ends, sources[order], weights[order].astype(np.float32)


Entries = tuple[AnyArray, AnyArray, AnyArray]
"""Rows, columns and weights of entries of a matrix, (k,) each."""


def _entries(structure: Structure, projection: Projection, rows: AnyArray, places: int) -> Entries:
    """The connections of a projection, place by place."""
    columns = structure.connection_columns(projection.name)
    if isinstance(projection, Dense):
        weight = columns.weight[rows].reshape(len(rows), -1)
        targets, sources = np.nonzero(weight)
        return targets, sources, weight[targets, sources]
    assert isinstance(projection, Conv | OneToOne)
    if isinstance(projection, Conv):
        weight = columns.weight[rows].reshape(len(rows), columns.weight.shape[1], -1)
        targets, maps, kernel = np.nonzero(weight)
        values = weight[targets, maps, kernel]
    else:
        linked, ends = structure.linked(projection.name)
        weight = linked.weight.reshape(len(linked.weight), -1)
        targets, kernel = np.nonzero(weight)
        maps, values = linked.at(1, ends)[targets], weight[targets, kernel]
    read = window_places(structure, projection).reshape(places, -1, weight.shape[-1])[:, maps, kernel]
    kept = read >= 0
    if columns.area is not None:
        area = columns.area[rows].reshape(len(rows), -1, places)
        kept &= area[targets, maps if area.shape[1] > 1 else 0].T
    place, entry = np.nonzero(kept)
    return targets[entry] * places + place, read[place, entry], values[entry]


def _count(structure: Structure, projection: Projection) -> int | None:
    """How many entries the matrix of a projection has at most; None where it has none."""
    columns, places = structure.connection_columns(projection.name), _places(structure, projection)
    if isinstance(projection, Dense) or (isinstance(projection, OneToOne) and projection.kernel):
        return columns.lasting * places
    if not isinstance(projection, Conv):
        return None
    if columns.area is None:
        return columns.lasting * places
    live = np.count_nonzero(columns.weight.reshape(*columns.weight.shape[:2], -1), axis=2)
    return int((live * np.count_nonzero(columns.area.reshape(*columns.area.shape[:2], -1), axis=2)).sum())


def _calls(structure: Structure, projection: Projection, costs: Costs) -> float:
    """What the calls of the dense form of a projection take, in nanoseconds."""
    if isinstance(projection, Dense):
        return costs.call
    return (5 if paired(shortest(structure.connection_columns(projection.name).area)) else 1) * costs.sweep


def _dense(structure: Structure, projection: Projection, costs: Costs) -> float:
    """What the dense form of a projection takes for a sample, in nanoseconds."""
    columns, places = structure.connection_columns(projection.name), _places(structure, projection)
    weight = columns.weight
    if isinstance(projection, Dense):
        rows = weight.reshape(len(weight), -1)
        return float(costs.linear * rows.any(axis=1).sum() * rows.any(axis=0).sum())
    if isinstance(projection, OneToOne):
        return costs.kernel * 2 * weight.size * places
    if paired(shortest(columns.area)):  # a matrix for each place and its window, or a map for each pair
        moved = max(weight[0].size, len(weight) * weight.shape[1])
        return places * (costs.linear * weight.size + costs.move * moved)
    filled = -(-len(weight) // costs.lanes) * costs.lanes * max(2, weight.shape[1])
    return costs.kernel * filled * math.prod(weight.shape[2:]) * places


def _places(structure: Structure, projection: Projection) -> int:
    """At how many places the units of a projection's target have sums, each of a window; 1 for linear maps."""
    return 1 if isinstance(projection, Dense) else math.prod(summed_size(structure, projection.target) or ())


def _values(structure: Structure, layer: str) -> int:
    """How many numbers a sample of a layer's output has."""
    return len(structure.units(layer)) * math.prod(output_size(structure.layer(layer)) or ())
