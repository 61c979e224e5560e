"""The meaning of a network: a plain NumPy forward pass, in inference mode, that every lowering must agree with."""

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from nestgraph.errors import StructureError
from nestgraph.graph.columns import UnitColumns
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.layer import Layer
from nestgraph.spec.operations import Activation, BatchNorm, Operation, Pooling
from nestgraph.spec.projection import Conv, Dense, OneToOne, Projection

Inputs = AnyArray | Mapping[str, AnyArray]


def forward(structure: Structure, inputs: Inputs, dtype: type = np.float64) -> dict[str, AnyArray]:
    """The output of every layer, by name.

    Args:
        structure: the network.
        inputs: (batch, features) or (batch, channels, height, width); a mapping by input layer where there are
            several.
        dtype: the type to compute in.

    Raises:
        StructureError: the inputs do not have the shape of the input layers.
    """
    given = _by_layer(structure, inputs)
    outputs: dict[str, AnyArray] = {
        name: given[name][:, structure.units(name)].astype(dtype) for name in structure.input_names
    }
    for name in structure.layer_names:
        if name not in outputs:
            total = preactivation(structure, name, outputs)
            outputs[name] = activate(structure.layer(name), structure.unit_columns(name), total)
    return outputs


def predict(structure: Structure, inputs: Inputs, dtype: type = np.float64) -> AnyArray:
    """The output of the network's one output layer.

    Raises:
        StructureError: the network has several output layers.
    """
    if len(structure.output_names) != 1:
        raise StructureError(f"predict expected one output layer, got {structure.output_names}: use forward")
    return forward(structure, inputs, dtype)[structure.output_names[0]]


def _by_layer(structure: Structure, inputs: Inputs) -> dict[str, AnyArray]:
    names = structure.input_names
    given = dict(inputs) if isinstance(inputs, Mapping) else dict.fromkeys(names, inputs)
    if set(given) != set(names) or not names:
        raise StructureError(f"expected inputs for the layers {sorted(names)}, got {sorted(given)}")
    arrays = {name: np.asarray(values) for name, values in given.items()}
    for name, array in arrays.items():
        expected = (structure.layer(name).features, *(structure.layer(name).size or ()))
        if array.dtype.kind not in "biuf" or array.shape[1:] != expected:
            got = f"{array.dtype.name} of shape {array.shape[1:]}"
            raise StructureError(f"input layer {name!r} expected samples of numbers of shape {expected}, got {got}")
    if len({len(array) for array in arrays.values()}) > 1:
        counts = {name: len(array) for name, array in arrays.items()}
        raise StructureError(f"expected as many samples for each input layer, got {counts}")
    return arrays


def preactivation(structure: Structure, name: str, outputs: Mapping[str, AnyArray]) -> AnyArray:
    """The u of method.md, the sum of its projections and bias, (batch, units[, height, width])."""
    layer, columns = structure.layer(name), structure.unit_columns(name)
    batch = len(next(iter(outputs.values())))
    dtype = next(iter(outputs.values())).dtype
    total = np.zeros((batch, len(columns), *(layer.size or ())), dtype)
    for projection in structure.incoming(name):
        total += project(structure, projection, outputs[projection.source])
    return total + _by_unit(columns.values["bias"].astype(dtype), total) if layer.bias else total


def project(structure: Structure, projection: Projection, source: AnyArray) -> AnyArray:
    """What one projection adds to its target's sum, from the outputs of its source."""
    columns = structure.connection_columns(projection.name)
    weight = np.where(columns.mask, columns.weight, 0).astype(source.dtype)
    if isinstance(projection, Dense):
        return np.tensordot(source, weight, (range(1, source.ndim), range(1, weight.ndim)))
    if isinstance(projection, Conv):
        windows = _windows(source, projection.kernel, projection.stride, projection.padding, projection.dilation)
        if columns.area is None:
            return np.einsum("bipqhw,oihw->bopq", windows, weight, optimize=True)
        responses = np.einsum("bipqhw,oihw->boipq", windows, weight, optimize=True)
        return (responses * columns.area).sum(axis=2)
    return _project_links(structure, projection, source, weight)


def _project_links(structure: Structure, projection: OneToOne, source: AnyArray, weight: AnyArray) -> AnyArray:
    links = structure.connection_columns(projection.name).links
    assert links is not None
    sources, targets = structure.unit_columns(projection.source), structure.unit_columns(projection.target)
    read = source[:, sources.positions(links[:, 0])]
    if projection.kernel is None:
        values = read * _by_unit(weight, read)
    else:
        windows = _windows(read, projection.kernel, projection.stride, projection.padding, projection.dilation)
        values = np.einsum("bkpqhw,khw->bkpq", windows, weight)
    total = np.zeros((len(source), len(targets), *values.shape[2:]), source.dtype)
    total[:, targets.positions(links[:, 1])] = values
    return total


def activate(layer: Layer, columns: UnitColumns, total: AnyArray) -> AnyArray:
    """Apply a layer's operations in order; dropout does nothing in inference."""
    for operation in layer.operations:
        total = _apply(operation, columns, total)
    return total


def _apply(operation: Operation, columns: UnitColumns, x: AnyArray) -> AnyArray:
    if isinstance(operation, BatchNorm):
        values = {name: _by_unit(column.astype(x.dtype), x) for name, column in columns.values.items()}
        deviation = np.sqrt(values["variance"] + operation.epsilon)
        return values["gamma"] * (x - values["mean"]) / deviation + values["beta"]
    if isinstance(operation, Activation):
        return pointwise(operation, x)
    if isinstance(operation, Pooling):
        return _pool(operation, x)
    return x


def pointwise(operation: Activation, x: AnyArray) -> AnyArray:
    """An activation's function of `x`."""
    if operation.function == "relu":
        return np.maximum(x, 0)
    if operation.function == "leaky_relu":
        return np.where(x >= 0, x, x * operation.slope)
    if operation.function == "tanh":
        return np.tanh(x)
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))


def _pool(operation: Pooling, x: AnyArray) -> AnyArray:
    fill = -np.inf if operation.function == "max" else 0.0
    windows = _windows(x, operation.kernel, operation.stride, operation.padding, (1, 1), fill)
    return windows.max(axis=(-2, -1)) if operation.function == "max" else windows.mean(axis=(-2, -1))


def _windows(
    x: AnyArray,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    fill: float = 0.0,
) -> AnyArray:
    """(batch, maps, P, Q, kernel height, kernel width): the values under a kernel at each of its positions."""
    pads = [(0, 0), (0, 0), (padding[0], padding[0]), (padding[1], padding[1])]
    padded = np.pad(x, pads, constant_values=fill)
    extent = (dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1)
    windows = sliding_window_view(padded, extent, axis=(2, 3))
    return windows[:, :, :: stride[0], :: stride[1], :: dilation[0], :: dilation[1]]


def _by_unit(values: AnyArray, like: AnyArray) -> AnyArray:
    """Shape (units,) to broadcast against (batch, units[, height, width])."""
    return values.reshape(1, -1, *([1] * (like.ndim - 2)))
