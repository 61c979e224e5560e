"""Layer, root mean square, group and instance normalisation in PyTorch."""

import math

import numpy as np
import torch
from torch import fx
from torch.nn import functional

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.extents import by_unit
from nestgraph.lowering.operations.room import Room
from nestgraph.lowering.tensors import as_tensor
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
    whole = operation.over == "places" or _are_whole(operation, ids)
    if operation.center and operation.over != "units" and whole:
        groups = len(ids) if operation.over == "places" else operation.groups
        return emission.call(torch.group_norm, x, groups, gamma, beta, operation.epsilon)
    return _Passes(emission, layer, operation, ids, path).emit(x, gamma, beta)


def _are_whole(operation: Norm, ids: AnyArray) -> bool:
    """Whether the units are those of all groups, one group after the other."""
    groups = np.repeat(np.arange(operation.groups), operation.count // operation.groups)
    return np.array_equal(operation.groups_of(ids), groups) and not operation.absent(ids).any()


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
            share = self._emission.keep(f"{self._path}.absent", as_tensor(absent.reshape(self._broadcast)))
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


ROOM = Room(Norm, emit, PATHS)
