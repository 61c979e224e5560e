"""Layer, root mean square, group and instance normalisation in PyTorch."""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.extents import by_unit
from nestgraph.lowering.operations.batch_norm import batch_norm
from nestgraph.lowering.operations.room import Handler, Room, UncoveredError, Weaving, with_attributes
from nestgraph.lowering.tensors import as_array, as_tensor
from nestgraph.spec import Layer, Norm
from nestgraph.spec.arrays import AnyArray

PATHS = {"gamma": "norm.weight", "beta": "norm.bias"}


def emit(emission: Emission, layer: Layer, operation: Norm, path: str, x: fx.Node) -> fx.Node:
    """PyTorch's kernel where what lives is what is counted, and wherever the root mean square is taken over units."""
    ids, columns = emission.network.units(layer.name), {column.name for column in operation.columns}
    values = emission.network.unit_columns(layer.name).values
    gamma, beta = (
        emission.keep(f"{emission.layers[layer.name]}.{PATHS[name]}", emission.parameter(values[name]))
        if name in columns
        else None
        for name in ("gamma", "beta")
    )
    if operation.over == "units" and operation.groups == 1 and (not operation.center or len(ids) == operation.count):
        return _emit_over_units(emission, layer, operation, len(ids), x, gamma, beta)
    groups = len(ids) if operation.over == "places" else _whole_groups(operation, ids)
    if operation.over == "units" and groups:
        return _emit_by_group(emission, layer, operation, (groups, len(ids) // groups), x, gamma, beta)
    if gamma is None and beta is not None:  # the kernel has no gradient for a shift without a factor
        gamma = emission.keep(f"{emission.layers[layer.name]}.norm.ones", torch.ones(len(ids)))
    if operation.center and groups:
        return emission.call(torch.group_norm, x, groups, gamma, beta, operation.epsilon)
    return _Passes(emission, layer, operation, ids, path).emit(x, gamma, beta)


def _whole_groups(operation: Norm, ids: AnyArray) -> int:
    """How many groups the units are, if they are whole ones, one after the other; else 0."""
    known = np.unique(operation.groups_of(ids))
    members = np.repeat(known, operation.count // operation.groups)
    whole = np.array_equal(operation.groups_of(ids), members) and not operation.absent(ids).any()
    return len(known) if whole else 0


def _emit_by_group(
    emission: Emission,
    layer: Layer,
    operation: Norm,
    split: tuple[int, int],
    x: fx.Node,
    gamma: fx.Node | None,
    beta: fx.Node | None,
) -> fx.Node:
    """A kernel over the last of two axes, (groups, units of each), as of heads that are normalised apart."""
    moved = x if layer.size is None else emission.call(torch.movedim, x, 1, -1)
    apart = emission.call(torch.unflatten, moved, -1, split)
    if operation.center:
        apart = emission.call(functional.layer_norm, apart, split[1:], None, None, operation.epsilon)
    else:
        apart = emission.call(functional.rms_norm, apart, split[1:], None, operation.epsilon)
    moved = emission.call(torch.flatten, apart, -2)
    for column, function in ((gamma, torch.mul), (beta, torch.add)):
        moved = moved if column is None else emission.call(function, moved, column)
    return moved if layer.size is None else emission.call(torch.movedim, moved, -1, 1)


def _emit_over_units(
    emission: Emission,
    layer: Layer,
    operation: Norm,
    units: int,
    x: fx.Node,
    gamma: fx.Node | None,
    beta: fx.Node | None,
) -> fx.Node:
    """A kernel over the last axis; a mean square over more or fewer units than live is a multiple of theirs."""
    moved = x if layer.size is None else emission.call(torch.movedim, x, 1, -1)
    if operation.center:
        moved = emission.call(functional.layer_norm, moved, (units,), gamma, beta, operation.epsilon)
    else:
        counted = operation.count / units
        moved = emission.call(functional.rms_norm, moved, (units,), gamma, operation.epsilon * counted)
        moved = moved if counted == 1 else emission.call(torch.mul, moved, math.sqrt(counted))
        moved = moved if beta is None else emission.call(torch.add, moved, beta)
    return moved if layer.size is None else emission.call(torch.movedim, moved, -1, 1)


class _Passes:
    """The form of two passes: the mean first and then what is apart from it; at least in single precision."""

    def __init__(self, emission: Emission, layer: Layer, operation: Norm, ids: AnyArray, path: str) -> None:
        self._emission, self._operation, self._ids, self._path = emission, operation, ids, path
        self._axes = tuple(range(2, 2 + len(layer.size or ()))) if operation.over != "units" else ()
        self._broadcast = by_unit(layer.size)

    def emit(self, x: fx.Node, gamma: fx.Node | None, beta: fx.Node | None) -> fx.Node:
        """The nodes of all of it."""
        call, operation = self._emission.call, self._operation
        precision = call(torch.promote_types, call(getattr, x, "dtype"), torch.float32)
        apart = wide = self._emission.graph.call_method("to", (x, precision))
        mean = self._average(wide) if operation.center else None
        if mean is not None:
            apart = call(torch.sub, wide, mean)
        variance = self._average(call(torch.square, apart))
        if mean is not None and operation.over != "places":
            variance = self._with_absent(variance, mean)
        result = call(torch.mul, apart, call(torch.rsqrt, call(torch.add, variance, operation.epsilon)))
        for column, function in ((gamma, torch.mul), (beta, torch.add)):
            if column is not None:
                result = call(function, result, call(torch.reshape, column, self._broadcast))
        return self._emission.graph.call_method("type_as", (result, x))

    def _with_absent(self, variance: fx.Node, mean: fx.Node) -> fx.Node:
        """The variance with the zeros of absent units; where more live than are counted, without what is too much."""
        absent, call = self._operation.absent(self._ids), self._emission.call
        if not absent.any():
            return variance
        share: float | fx.Node = float(absent[0])
        if (absent != absent[0]).any():
            divisors = self._operation.divided_by(self._ids)
            each = (np.rint(absent * divisors), divisors)  # whole numbers, which no precision rounds
            counts = [as_tensor(values.reshape(self._broadcast), torch.int64) for values in each]
            held = [self._held(name, counts[place]) for place, name in enumerate(("absent", "counted"))]
            share = call(torch.div, call(torch.mul, call(torch.ones_like, mean), held[0]), held[1])
        variance = call(torch.add, variance, call(torch.mul, call(torch.square, mean), share))
        return variance if (absent >= 0).all() else call(torch.clamp, variance, 0)

    def _average(self, x: fx.Node) -> fx.Node:
        call, operation = self._emission.call, self._operation
        if self._axes:
            x = call(torch.mean, x, self._axes, True)
        if operation.over == "places":
            return x
        divisors = operation.divided_by(self._ids)
        together = call(torch.sum, x, 1, True) if operation.groups == 1 else self._by_group(x)
        if (divisors == divisors[0]).all():
            return call(torch.div, together, int(divisors[0]))
        each = as_tensor(divisors.reshape(self._broadcast), torch.int64)
        return call(torch.div, together, self._held("divisors", each))

    def _by_group(self, x: fx.Node) -> fx.Node:
        """For each unit the sum over the units of its group."""
        call = self._emission.call
        known, members = np.unique(self._operation.groups_of(self._ids), return_inverse=True)
        belongs = as_tensor(members[:, None] == np.arange(len(known)))
        table = self._emission.graph.call_method("type_as", (self._held("groups", belongs), x))
        sums = call(torch.matmul, call(torch.movedim, x, 1, -1), table)
        chosen = call(torch.index_select, sums, -1, self._held("members", as_tensor(members, torch.int64)))
        return call(torch.movedim, chosen, -1, 1)

    def _held(self, name: str, tensor: torch.Tensor) -> fx.Node:
        return self._emission.keep(f"{self._path}.{name}", tensor)


# -- reading ------------------------------------------------------------------------------------------


def layer_norm(
    weaving: Weaving[Any],
    input: Any,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Any:
    """A call of `layer_norm` over the axis of units, the last."""
    return _over_last(weaving, input, normalized_shape, weight, bias, eps, center=True)


def rms_norm(
    weaving: Weaving[Any], input: Any, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None
) -> Any:
    """A call of `rms_norm`; without an epsilon it adds the smallest step of single precision."""
    added = torch.finfo(torch.float32).eps if eps is None else eps
    return _over_last(weaving, input, normalized_shape, weight, None, added, center=False)


def _over_last(
    weaving: Weaving[Any], x: Any, shape: Any, weight: Tensor | None, bias: Tensor | None, eps: float, center: bool
) -> Any:
    if isinstance(shape, Sequence) and len(cast("Sequence[int]", shape)) != 1:
        raise UncoveredError("a normalisation over several axes")
    inner, outward = weaving.inward(x)
    (each,) = cast("Sequence[int]", shape) if isinstance(shape, Sequence) else (shape,)
    units = weaving.shape(inner)[0]
    norm = Norm(
        groups=units // each,
        center=center,
        count=units,
        epsilon=eps,
        gamma=weight is not None,
        beta=bias is not None,
    )
    result = outward(_normalised(weaving, inner, norm, weight, bias))
    if units > each and norm.columns:
        weaving.note(result, "values that heads share have copies here, which train apart")
    return result


def group_norm(
    weaving: Weaving[Any],
    input: Any,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,  # noqa: ARG001
) -> Any:
    """A call of `group_norm`; of a group for each map it is an instance normalisation."""
    units, *size = weaving.shape(input)
    alone = bool(size) and units == num_groups
    norm = Norm(
        over="places" if alone else "both",
        groups=1 if alone else num_groups,
        count=0 if alone else units,
        epsilon=eps,
        gamma=weight is not None,
        beta=bias is not None,
    )
    return _normalised(weaving, input, norm, weight, bias)


def instance_norm(
    weaving: Weaving[Any],
    input: Any,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    """A call of `instance_norm`; by running statistics it is a batch normalisation."""
    if not use_input_stats:
        return batch_norm(weaving, input, running_mean, running_var, weight, bias, False, momentum, eps)
    if len(weaving.shape(input)) < 2:
        raise UncoveredError("an instance normalisation of single values")
    norm = Norm(over="places", epsilon=eps, gamma=weight is not None, beta=bias is not None)
    return _normalised(weaving, input, norm, weight, bias)


def _normalised(weaving: Weaving[Any], x: Any, norm: Norm, weight: Tensor | None, bias: Tensor | None) -> Any:
    given = {"gamma": weight, "beta": bias}
    columns = {name: as_array(tensor) for name, tensor in given.items() if tensor is not None}
    columns = {name: np.tile(values, weaving.shape(x)[0] // len(values)) for name, values in columns.items()}
    return weaving.operated(x, norm, columns, [name for name in columns if weaving.is_frozen(given[name])])


def _instance_row(module: nn.InstanceNorm2d) -> Handler:
    kept = module.track_running_stats
    columns: tuple[Any, Any] = (module.weight, module.bias)

    def row(weaving: Weaving[Any], x: Any) -> Any:
        statistics = (module.running_mean, module.running_var) if kept else (None, None)
        result = instance_norm(weaving, x, *statistics, *columns, not kept, module.momentum or 0.1, module.eps)
        if kept:
            weaving.note(result, "in training the module normalises each sample, this each batch")
        return result

    return row


ROOM = Room(
    Norm,
    emit,
    PATHS,
    functions={
        "layer_norm": layer_norm,
        "rms_norm": rms_norm,
        "group_norm": group_norm,
        "instance_norm": instance_norm,
    },
    modules={
        nn.LayerNorm: with_attributes(layer_norm, "normalized_shape", "weight", "bias", "eps"),
        nn.RMSNorm: with_attributes(rms_norm, "normalized_shape", "weight", "eps"),
        nn.GroupNorm: with_attributes(group_norm, "num_groups", "weight", "bias", "eps"),
        **dict.fromkeys((nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d), _instance_row),
    },
)
