"""The meaning of a network: a plain NumPy forward pass, in inference mode, that every lowering must agree with."""

from collections.abc import Mapping

import numpy as np

from nestgraph.errors import StructureError
from nestgraph.graph.body import Body
from nestgraph.graph.operating import activate, by_unit, windows_of
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Argument, Conv, Dense, OneToOne, Projection

Inputs = AnyArray | Mapping[str, AnyArray]


def forward(structure: Structure, inputs: Inputs, dtype: type = np.float64) -> dict[str, AnyArray]:
    """The output of every layer, by name.

    Args:
        structure: the network.
        inputs: (batch, features) or (batch, channels, height, width); a mapping by input layer where there are
            several.
        dtype: the type to compute in.

    Raises:
        StructureError: the inputs do not have the shape of the input layers, or an opaque layer has no body, or one
            that gives another shape.
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
    """The u of method.md, the sum of its projections and bias times its gates, (batch, units[, height, width]).

    That of an opaque layer is what its body gives.
    """
    layer, columns = structure.layer(name), structure.unit_columns(name)
    if layer.opaque is not None:
        return _computed(structure, name, outputs)
    batch = len(next(iter(outputs.values())))
    dtype = next(iter(outputs.values())).dtype
    total = np.zeros((batch, len(columns), *(layer.size or ())), dtype)
    for projection in structure.summed(name):
        total += project(structure, projection, outputs[projection.source])
    if layer.bias:
        total = total + by_unit(columns.values["bias"].astype(dtype), total)
    for gate in structure.gates(name):
        total = total * project(structure, gate, outputs[gate.source])
    return total


def body_of(structure: Structure, layer: str) -> Body:
    """What an opaque layer computes.

    Raises:
        StructureError: the network has no body for it, as one that was loaded from a file.
    """
    body = structure.bodies.get(layer)
    if body is None:
        raise StructureError(
            f"opaque layer {layer!r} ({structure.layer(layer).opaque}) expected its body, got none (files hold none): "
            f"import the model again, or give it by network.with_bodies({{{layer!r}: body}})"
        )
    return body


def _computed(structure: Structure, name: str, outputs: Mapping[str, AnyArray]) -> AnyArray:
    """What the body of an opaque layer gives, in the dtype of its arguments."""
    sources = [outputs[argument.source] for argument in structure.arguments(name)]
    result = np.asarray(body_of(structure, name)(*sources), sources[0].dtype)
    expected = (len(sources[0]), len(structure.units(name)), *(structure.layer(name).size or ()))
    if result.shape != expected:
        raise StructureError(
            f"opaque layer {name!r} expected a body that gives an array of shape {expected}, got {result.shape}: "
            "give it another body, or the layer another size"
        )
    return result


def project(structure: Structure, projection: Projection, source: AnyArray) -> AnyArray:
    """What one projection adds to its target's sum, or multiplies it by, from the outputs of its source.

    A gate's factors may be (batch, units, 1, 1), for all positions of a map.
    """
    columns = structure.connection_columns(projection.name)
    if isinstance(projection, Argument):
        raise StructureError(f"expected a projection with weights, got argument {projection.name!r}")
    weight = np.where(columns.mask, columns.weight, 0).astype(source.dtype)
    if isinstance(projection, Dense):
        return np.tensordot(source, weight, (range(1, source.ndim), range(1, weight.ndim)))
    if isinstance(projection, Conv):
        windows = windows_of(source, projection.kernel, projection.stride, projection.padding, projection.dilation)
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
        values = read * by_unit(weight, read)
    else:
        windows = windows_of(read, projection.kernel, projection.stride, projection.padding, projection.dilation)
        values = np.einsum("bkpqhw,khw->bkpq", windows, weight)
    if (values.ndim > 2) != (structure.layer(projection.target).size is not None):  # neurons and maps of size (1, 1)
        values = values[..., None, None] if values.ndim == 2 else values[..., 0, 0]
    total = np.full((len(source), len(targets), *values.shape[2:]), float(projection.gate), source.dtype)
    total[:, targets.positions(links[:, 1])] = values
    return total
