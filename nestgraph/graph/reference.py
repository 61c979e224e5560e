"""The meaning of a network: a plain NumPy forward pass, in inference mode, that every lowering must agree with."""

from collections.abc import Mapping

import numpy as np

from nestgraph.errors import StructureError
from nestgraph.graph.body import Body
from nestgraph.graph.columns import UnitColumns
from nestgraph.graph.extents import fits, sample_shape, shape_words, taken_in
from nestgraph.graph.geometry import output_size
from nestgraph.graph.heads import summed_size
from nestgraph.graph.projections import meaning_of
from nestgraph.graph.projections.match import scores
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.interface import InputPort
from nestgraph.spec.layer import Layer
from nestgraph.spec.projection import Argument, Projection
from nestgraph.spec.windows import by_unit

Inputs = AnyArray | Mapping[str, AnyArray] | tuple[AnyArray, ...]


def forward(structure: Structure, inputs: Inputs, dtype: type = np.float64) -> dict[str, AnyArray]:
    """The output of every layer, by name.

    Args:
        structure: the network.
        inputs: (batch, features) or (batch, channels, *size), or what the port's shape says; where there are
            several a mapping by input layer, or a tuple in the order of `structure.inputs`.
        dtype: the type to compute in.

    Raises:
        StructureError: the inputs do not have the shape of the input layers, or an opaque layer has no body, or one
            that gives another shape.
    """
    given = zip(structure.input_names, samples_of(structure, inputs), strict=True)
    outputs: dict[str, AnyArray] = {name: array[:, structure.units(name)].astype(dtype) for name, array in given}
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


def samples_of(structure: Structure, inputs: Inputs) -> list[AnyArray]:
    """The samples of each input layer in the order of `structure.inputs`, (batch, features, *size).

    Raises:
        StructureError: they do not have the shape of the input layers, or there is another number of them.
    """
    names = structure.input_names
    if isinstance(inputs, Mapping):
        given = dict(inputs)
    elif isinstance(inputs, tuple) and len(inputs) != len(names):
        raise StructureError(f"expected inputs for the layers {', '.join(names)}, got {len(inputs)}")
    else:
        given = dict(zip(names, inputs if isinstance(inputs, tuple) else [inputs] * len(names), strict=True))
    if set(given) != set(names):
        raise StructureError(f"expected inputs for the layers {sorted(names)}, got {sorted(given)}")
    arrays = [_own_form(structure, port, np.asarray(given[port.layer])) for port in structure.inputs]
    if len(set(map(len, arrays))) > 1:
        counts = dict(zip(names, map(len, arrays), strict=True))
        raise StructureError(f"expected as many samples for each input layer, got {counts}")
    return arrays


def _own_form(structure: Structure, port: InputPort, array: AnyArray) -> AnyArray:
    """The samples for an input layer, (batch, features, *size).

    Raises:
        StructureError: they are none for it.
    """
    layer, expected = structure.layer(port.layer), sample_shape(structure, port)
    own = (layer.features or 0, *(layer.size or ()))
    if array.dtype.kind in "biuf" and array.ndim:
        if fits(array.shape[1:], expected):
            return taken_in(port, array, own)
        if array.shape[1:] == own:
            return array
    got = f"{array.dtype.name} of shape {array.shape[1:]}"
    raise StructureError(
        f"input layer {port.layer!r} expected samples of numbers of shape {shape_words(expected)}, got {got}"
    )


def preactivation(structure: Structure, name: str, outputs: Mapping[str, AnyArray]) -> AnyArray:
    """The u of method.md, the sum of its projections and bias times its gates, (batch, units, *size).

    That of an opaque layer is what its body gives.
    """
    layer, columns = structure.layer(name), structure.unit_columns(name)
    if layer.opaque is not None:
        return _computed(structure, name, outputs)
    batch = len(next(iter(outputs.values())))
    dtype = next(iter(outputs.values())).dtype
    terms = [project(structure, projection, outputs[projection.source]) for projection in structure.summed(name)]
    size = terms[0].shape[2:] if terms else (summed_size(structure, name) or ())  # of free extents a sample says which
    total = np.zeros((batch, len(columns), *size), dtype)
    for term in terms:
        total += term
    if (compared := scores(structure, name, outputs)) is not None:
        total += compared
    if layer.bias:
        total = total + by_unit(columns.values["bias"].astype(dtype), total)
    if layer.places:
        total = total + columns.values["places"].astype(dtype)
    for gate in structure.gates(name):
        total = meaning_of(structure, gate).gate(total, outputs[gate.source])
    return total


def activate(layer: Layer, columns: UnitColumns, total: AnyArray) -> AnyArray:
    """A layer's operations in order, in inference, of its sums (batch, units, *size)."""
    for operation in layer.operations:
        total = operation.apply(total, columns.values, columns.ids)
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


def _read(structure: Structure, argument: Argument, output: AnyArray) -> AnyArray:
    """What a body reads of a layer's output."""
    return output[:, structure.read_by(argument)] if structure.ties(argument) else output


def _computed(structure: Structure, name: str, outputs: Mapping[str, AnyArray]) -> AnyArray:
    """What the body of an opaque layer gives, in the dtype of its arguments."""
    arguments = structure.arguments(name)
    sources = [_read(structure, argument, outputs[argument.source]) for argument in arguments]
    result = np.asarray(body_of(structure, name)(*sources), sources[0].dtype)
    size = structure.layer(name).size or ()
    declared = [output_size(structure.layer(argument.source)) or () for argument in structure.arguments(name)]
    if any(source.shape[2:] != extents for source, extents in zip(sources, declared, strict=True)):
        size = result.shape[2 : 2 + len(size)]  # of free extents the body says which
    expected = (len(sources[0]), len(structure.units(name)), *size)
    if result.shape != expected:
        raise StructureError(
            f"opaque layer {name!r} expected a body that gives an array of shape {expected}, got {result.shape}: "
            "give it another body, or the layer another size"
        )
    return result


def project(structure: Structure, projection: Projection, source: AnyArray) -> AnyArray:
    """What one projection adds to its target's sum, or multiplies it by, from the outputs of its source.

    A gate's factors may be of one place, for all positions of a map.
    """
    return meaning_of(structure, projection).project(source)
