"""Recipe functions on the operations of layers."""

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetValues
from nestgraph.edits.layers import SetOperations
from nestgraph.errors import EditError
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations import Activation, ActivationFunction
from nestgraph.spec.projection import OneToOne


def shift_activations(
    structure: Structure, function: ActivationFunction = "relu", replaced: ActivationFunction = "leaky_relu"
) -> Batch:
    """Exchange every activation of one function for another: NeST's shift from leaky ReLU to ReLU (section 3)."""
    edits: list[AnyEdit] = []
    for name in structure.layer_names:
        layer = structure.layer(name)
        shifted = tuple(
            Activation(function=function) if isinstance(op, Activation) and op.function == replaced else op
            for op in layer.operations
        )
        if shifted != layer.operations:
            edits.append(SetOperations(layer=name, operations=shifted, bias=layer.bias))
    return Batch(edits=tuple(edits), title=f"shift {replaced} to {function}")


def normalisation_factor(structure: Structure, layer: str) -> AnyArray:
    """(units,): what batch normalisation multiplies each unit's sum by, gamma / sqrt(variance + epsilon); 1 without.

    The effective weight of method.md section 4 is this times the weight.
    """
    record, values = structure.layer(layer), structure.unit_columns(layer).values
    if record.batch_norm is None or record.operations[0].kind != "batch_norm":
        return np.ones(len(structure.unit_columns(layer)), np.float32)
    return values["gamma"] / np.sqrt(values["variance"] + np.float32(record.batch_norm.epsilon))


def fold_batch_norm(structure: Structure, layer: str) -> Batch:
    """Fold a layer's batch normalisation into its incoming weights and biases. Function-preserving in inference.

    Raises:
        EditError: the layer does not begin with a batch normalisation, or a fixed projection feeds it.
    """
    record, columns = structure.layer(layer), structure.unit_columns(layer)
    if not record.operations or record.operations[0].kind != "batch_norm":
        raise EditError(f"fold_batch_norm on {layer!r}: expected batch normalisation as its first operation, got none")
    factor, values = normalisation_factor(structure, layer), columns.values
    weights: dict[str, AnyArray] = {}
    for projection in structure.incoming(layer):
        old = structure.connection_columns(projection.name)
        if isinstance(projection, OneToOne) and not projection.trained:
            raise EditError(f"fold_batch_norm on {layer!r}: fixed projection {projection.name!r} cannot be scaled")
        rows = factor if old.links is None else factor[[columns.position[unit] for unit in old.links[:, 1].tolist()]]
        scaled = old.weight * rows.reshape(-1, *([1] * (old.weight.ndim - 1)))
        weights[projection.name] = scaled[old.mask]
    bias = factor * (values.get("bias", np.float32(0)) - values["mean"]) + values["beta"]
    return Batch(
        edits=(
            SetValues(weights=weights),
            SetOperations(layer=layer, operations=record.operations[1:], bias=True, values={"bias": bias}),
        ),
        title=f"fold batch normalisation of {layer}",
    )
