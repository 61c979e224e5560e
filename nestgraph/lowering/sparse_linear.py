"""A linear map that holds, trains and computes its live connections alone, as a part of a module.

Three operators are closed under differentiation: the product of a sparse matrix, or of its transpose, and values with
samples as the last axis; for each entry of the matrix the product, over the samples, of the row and the column that it
joins; and the turning of values, laid out anew. Their gradients are made of the three, so second derivatives are right,
and no gradient has the size of the whole matrix. Tracers and compilers know no sparse tensors, so they are operators of
their own.
"""

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from nestgraph.graph.columns import ConnectionColumns
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.live import Live
from nestgraph.lowering.packing import Place
from nestgraph.lowering.sparse import LIBRARY
from nestgraph.spec import Dense
from nestgraph.spec.arrays import AnyArray

PATTERN = ("ends", "columns", "turned_ends", "turned_columns", "order")
"""What tells where entries stand, int32: by row the end of its entries, (1 + rows,); their columns, (entries,); the
same of the transpose; and for each entry of the transpose its place among those of the matrix."""

_WHERE = "Tensor ends, Tensor columns, Tensor turned_ends, Tensor turned_columns, Tensor order"
LIBRARY.define(f"sparse_linear(Tensor weights, Tensor values, Tensor? bias, {_WHERE}, bool transposed) -> Tensor")
LIBRARY.define(f"sparse_outer(Tensor sums, Tensor values, {_WHERE}) -> Tensor")
LIBRARY.define("turned(Tensor values) -> Tensor")
sparse_linear: Any = torch.ops.nestgraph.sparse_linear.default
"""(rows, samples): the product of the matrix of `weights` (entries,) and `values` (columns, samples), with a bias
(rows,) that is added; where it is `transposed`, of the transpose. All are contiguous float32 or float64."""
sparse_outer: Any = torch.ops.nestgraph.sparse_outer.default
"""(entries,): for each entry the product of its row of `sums` (rows, samples) and its column's of `values` (columns,
samples), added up over the samples."""
turned: Any = torch.ops.nestgraph.turned.default
"""The transpose of a matrix, contiguous; so is its gradient, as other operations are slow on what lies askew."""


def _product(weights: Tensor, values: Tensor, bias: Tensor | None, *where: Any) -> Tensor:
    *pattern, transposed = where
    ends, columns, turned_ends, turned_columns, order = pattern
    shape = (len(ends) - 1, len(turned_ends) - 1)
    if transposed:
        ends, columns, weights, shape = turned_ends, turned_columns, weights.index_select(0, order), shape[::-1]
    matrix = torch.sparse_csr_tensor(ends, columns, weights, shape, check_invariants=False)
    return torch.mm(matrix, values) if bias is None else torch.addmm(bias[:, None], matrix, values)


def _outer(sums: Tensor, values: Tensor, *pattern: Tensor) -> Tensor:
    ends, columns = pattern[:2]
    found, sampled = sums.new_zeros(len(columns)), cast(Any, torch.sparse.sampled_addmm)  # pyright: ignore[reportUnknownMemberType]
    matrix = torch.sparse_csr_tensor(ends, columns, found, (len(sums), len(values)), check_invariants=False)
    sampled(
        matrix, sums, values.t(), beta=0.0, out=matrix
    )  # into the memory of `found`, which becomes a gradient as it is
    return found


def _turned(values: Tensor) -> Tensor:
    return values.t().clone(memory_format=torch.contiguous_format)


def _product_shape(weights: Tensor, values: Tensor, bias: Tensor | None, *where: Any) -> Tensor:  # noqa: ARG001
    ends, _, turned_ends, _, _, transposed = where
    return values.new_empty((turned_ends if transposed else ends).shape[0] - 1, values.shape[1])


def _outer_shape(sums: Tensor, values: Tensor, *pattern: Tensor) -> Tensor:  # noqa: ARG001
    return sums.new_empty(pattern[1].shape[0])


def _turned_shape(values: Tensor) -> Tensor:
    return values.new_empty(values.shape[1], values.shape[0])


def _keep_product(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    weights, values, _, *pattern, ctx.transposed = inputs
    ctx.save_for_backward(weights, values, *pattern)


def _back_product(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    weights, values, *pattern = ctx.saved_tensors
    gradient, found = gradient.contiguous(), list[Tensor | None]([None, None, None])
    if ctx.needs_input_grad[0]:
        found[0] = sparse_outer(*((values, gradient) if ctx.transposed else (gradient, values)), *pattern)
    if ctx.needs_input_grad[1]:
        found[1] = sparse_linear(weights, gradient, None, *pattern, not ctx.transposed)
    if ctx.needs_input_grad[2]:
        found[2] = gradient.sum(1)
    return *found, *[None] * 6


def _keep_outer(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001
    ctx.save_for_backward(*inputs)


def _back_outer(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
    sums, values, *pattern = ctx.saved_tensors
    gradient = gradient.contiguous()
    to_sums = sparse_linear(gradient, values, None, *pattern, False) if ctx.needs_input_grad[0] else None
    to_values = sparse_linear(gradient, sums, None, *pattern, True) if ctx.needs_input_grad[1] else None
    return to_sums, to_values, *[None] * 5


def _back_turned(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG001
    return turned(gradient)


for _name, _compute, _shape, _back, _keep in (
    ("sparse_linear", _product, _product_shape, _back_product, _keep_product),
    ("sparse_outer", _outer, _outer_shape, _back_outer, _keep_outer),
    ("turned", _turned, _turned_shape, _back_turned, None),
):
    LIBRARY.impl(_name, _compute, "CompositeExplicitAutograd")
    torch.library.register_fake(f"nestgraph::{_name}", _shape)
    torch.library.register_autograd(f"nestgraph::{_name}", _back, setup_context=_keep)


for _name in ("sparse_linear", "sparse_outer"):
    for _device in ("cpu", "cuda"):
        torch.library.register_autocast(f"nestgraph::{_name}", _device, torch.float32)


class Matrix(nn.Module):
    """A sparse matrix without its values, as a part of a module that copies and pickles keep whole."""

    ends: Tensor
    columns: Tensor
    turned_ends: Tensor
    turned_columns: Tensor
    order: Tensor

    def __init__(self, pattern: Mapping[str, Tensor]) -> None:
        """Hold where the entries stand; see `PATTERN`."""
        super().__init__()
        for name in PATTERN:
            self.register_buffer(name, pattern[name])

    @property
    def entries(self) -> Tensor:
        """int64 (entries,): where they are in the whole matrix, row by row."""
        return entries_of(self.ends, self.columns, len(self.turned_ends) - 1)

    def product(self, weights: Tensor, x: Tensor, bias: Tensor | None) -> Tensor:
        """(samples, rows) of the matrix of weights (entries,), for x (samples, columns), and a bias (rows,).

        Transforms of functions, and tangents, see into no operator: to them it is gathering, multiplying and summing.
        """
        if not _is_transformed():
            pattern = (self.ends, self.columns, self.turned_ends, self.turned_columns, self.order)
            return turned(sparse_linear(weights, turned(x), bias, *pattern, False))
        rows = torch.repeat_interleave(self.ends.diff(), output_size=len(self.columns))
        read = x.index_select(1, self.columns) * weights
        sums = read.new_zeros(len(x), len(self.ends) - 1).index_add(1, rows, read)
        return sums if bias is None else sums + bias


class SparseLinear(Matrix):
    """A linear map over neurons whose weight is the vector of its live connections, (live,), row by row."""

    weight: nn.Parameter

    def __init__(self, weight: nn.Parameter, pattern: Mapping[str, Tensor]) -> None:
        """Hold a weight and where it stands; see `PATTERN`."""
        super().__init__(pattern)
        self.weight = weight

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """(samples, rows) from (samples, columns), or from maps, which are flattened."""
        return self.product(self.weight, x.flatten(1), bias)


def _is_transformed() -> bool:
    """Whether a transform of torch.func, or differentiation forwards, is under way."""
    forwards: Any = torch.autograd.forward_ad
    private: Any = torch._C  # pyright: ignore[reportPrivateUsage]
    return bool(private._are_functorch_transforms_active()) or forwards._current_level >= 0


def emit_live(emission: Emission, projection: Dense, source: fx.Node, bias: fx.Node | None) -> fx.Node:
    """Emit a projection between neurons, or from maps to neurons, over its live connections."""
    columns, path = emission.network.connection_columns(projection.name), emission.projections[projection.name]
    live = Live.of(columns)
    given = {name: emission.kept.get((id(columns.mask), name.encode())) for name in PATTERN}
    pattern = {name: part for name, part in given.items() if part is not None} or pattern_of(columns)
    emission.state[path] = SparseLinear(emission.parameter(columns.weight, live), pattern)
    return emission.graph.call_module(path, (source,) if bias is None else (source, bias))


def pattern_of(columns: ConnectionColumns) -> dict[str, Tensor]:
    """Where the live connections of a projection stand; see `PATTERN`."""
    return {name: torch.from_numpy(part) for name, part in zip(PATTERN, Live.of(columns).pattern(), strict=True)}


def entries_of(ends: Tensor, columns: Tensor, width: int) -> Tensor:
    """int64 (entries,): the places of a matrix in compressed rows of so many columns, row by row."""
    rows = torch.repeat_interleave(torch.arange(len(ends) - 1, device=ends.device), ends.diff())
    return rows * width + columns


def given_pattern(mask: AnyArray, module: nn.Module) -> dict[Place, Tensor]:
    """The pattern that a module at a projection gives up, by the place of the mask that it is of."""
    if not isinstance(module, SparseLinear):
        return {}
    return {(id(mask), name.encode()): module.get_buffer(name) for name in PATTERN}
