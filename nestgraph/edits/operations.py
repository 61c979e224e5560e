"""Recipe functions on the operations of layers."""

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetValues
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import SetOperations, UnitValues
from nestgraph.edits.preserving import preserving
from nestgraph.edits.tying import check_own
from nestgraph.errors import EditError
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations import Activation, ActivationFunction, Affine, BatchNorm, ParametricReLU


@recipe_function
def shift_activations(
    structure: Structure, function: ActivationFunction = "relu", replaced: ActivationFunction = "leaky_relu"
) -> Batch:
    """Exchange every activation of one function for another: NeST's shift from leaky ReLU to ReLU (section 3).

    Raises:
        EditError: no layer has an activation that it would exchange for another.
    """
    edits: list[AnyEdit] = []
    for name in structure.layer_names:
        layer = structure.layer(name)
        shifted = tuple(
            Activation(function=function) if isinstance(op, Activation) and op.function == replaced else op
            for op in layer.operations
        )
        if shifted != layer.operations:
            edits.append(SetOperations(layer=name, operations=shifted, bias=layer.bias))
    if not edits:
        found = sorted({op.function for layer in structure.layers_by_name.values() for op in layer.activations})
        got = ", ".join(found) or "none"
        raise EditError(f"shift_activations expected layers with {replaced} to exchange for {function}, got {got}")
    return Batch(edits=tuple(edits), title=f"shift {replaced} to {function}")


@recipe_function
def replace_activation(
    structure: Structure, layer: str, function: ActivationFunction | None, slope: float = 0.01
) -> Batch:
    """Exchange a layer's activation for another, or for none; a layer without one gets it after its normalisation.

    The function stays only where both are the same on what the layer sums up. ReLU and leaky ReLU are the same where no
    sum is negative, and everywhere with slope 0; no activation is leaky ReLU with slope 1. All others differ.

    Args:
        structure: the network.
        layer: the layer.
        function: the new activation; None for none.
        slope: leaky ReLU's.

    Raises:
        EditError: the layer is an input, has several activations or that one, or the activation is none there is.
    """
    record = structure.layer(layer)
    old = [place for place, op in enumerate(record.operations) if isinstance(op, Activation | ParametricReLU)]
    if record.kind == "input" or len(old) > 1:
        got = "inputs" if record.kind == "input" else f"{len(old)} activations"
        raise EditError(f"replace_activation on {layer!r}: expected a layer with one activation or none, got {got}")
    new = () if function is None else (Activation(function=function, slope=slope),)
    normalised = bool(record.operations) and record.operations[0].facts.normalises
    start = old[0] if old else int(normalised)
    operations = (*record.operations[:start], *new, *record.operations[start + len(old) :])
    if operations == record.operations:
        got = f"{function}, which it has" if function else "none, as it has"
        raise EditError(f"replace_activation on {layer!r}: expected another activation than it has, got {got}")
    edit = SetOperations(layer=layer, operations=operations, bias=record.bias)
    title = f"replace activation of {layer} by {function or 'none'}"
    return Batch(edits=(edit,), title=title)


@recipe_function
def normalisation_factor(structure: Structure, layer: str) -> AnyArray:
    """(units,): what batch normalisation multiplies each unit's sum by, gamma / sqrt(variance + epsilon); 1 without.

    The effective weight of method.md section 4 is this times the weight.
    """
    first = _first_affine(structure, layer)
    return np.ones(len(structure.unit_columns(layer)), np.float32) if first is None else first.scale


def _first_affine(structure: Structure, layer: str) -> Affine | None:
    """What a layer's first operation does to its sums, where that is a straight line for each unit."""
    first = structure.layer(layer).operations[:1]
    return first[0].affine(structure.unit_columns(layer).values) if first else None


@preserving(1e-4)
@recipe_function
def fold_batch_norm(structure: Structure, layer: str) -> Batch:
    """Fold a layer's batch normalisation into its incoming weights and biases. Function-preserving in inference.

    Raises:
        EditError: the layer does not begin with a batch normalisation, or a fixed projection or a tied table feeds it,
            or a gate or a body stands between the sum and it.
    """
    record = structure.layer(layer)
    affine, values = _first_affine(structure, layer), structure.unit_columns(layer).values
    if affine is None:
        raise EditError(f"fold_batch_norm on {layer!r}: expected batch normalisation as its first operation, got none")
    if structure.gates(layer) or record.opaque is not None:
        got = "an opaque layer" if record.opaque is not None else f"gate {structure.gates(layer)[0].name!r}"
        raise EditError(f"fold_batch_norm on {layer!r}: expected a plain sum to fold into, got {got}")
    weights: dict[str, AnyArray] = {}
    for projection in structure.incoming(layer):
        check_own(structure, f"fold_batch_norm on {layer!r}", projection)
        old, ends = structure.wired(projection.name)
        if not projection.learns:
            raise EditError(f"fold_batch_norm on {layer!r}: fixed projection {projection.name!r} cannot be scaled")
        weights[projection.name] = (old.weight * old.spread(affine.scale, 0, ends))[old.mask]
    folded: UnitValues = {"bias": affine.scale * (values.get("bias", np.float32(0)) - affine.centre) + affine.shift}
    if record.places:
        folded["places"] = values["places"] * affine.scale.reshape(-1, *[1] * (values["places"].ndim - 1))
    return Batch(
        edits=(
            SetValues(weights=weights),
            SetOperations(layer=layer, operations=record.operations[1:], bias=True, values=folded),
        ),
        title=f"fold batch normalisation of {layer}",
    )


@preserving(1e-5)
@recipe_function
def insert_batch_norm(structure: Structure, layer: str, epsilon: float = 1e-5, momentum: float = 0.1) -> Batch:
    """Put a batch normalisation that starts as the identity first; `fold_batch_norm` is the way back.

    Function-preserving in inference; training normalises each batch from its first step on, and the running statistics
    follow.

    Raises:
        EditError: the layer is an input or has a batch normalisation, or the numbers are out of range.
    """
    record = structure.layer(layer)
    taken = {column.name for column in BatchNorm.possible}.intersection(record.column_names)
    if record.kind == "input" or taken:
        got = "an input" if record.kind == "input" else "one that has a normalisation"
        raise EditError(f"insert_batch_norm on {layer!r}: expected a layer without batch normalisation, got {got}")
    new = BatchNorm(epsilon=epsilon, momentum=momentum)
    gamma = np.full(len(structure.units(layer)), np.sqrt(1 + epsilon), np.float32)
    edit = SetOperations(layer=layer, operations=(new, *record.operations), bias=record.bias, values={"gamma": gamma})
    return Batch(edits=(edit,), title=f"insert batch normalisation in {layer}")
