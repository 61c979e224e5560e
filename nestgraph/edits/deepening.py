"""The recipe function that makes a network deeper: Net2Deeper (Chen et al. 2016, arXiv:1511.05641)."""

import numpy as np

from nestgraph.edits.batch import Batch
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import AddLayer, AddProjection, Block, RemoveProjection
from nestgraph.edits.naming import free_name
from nestgraph.edits.preserving import preserving
from nestgraph.edits.tying import check_untied
from nestgraph.errors import EditError
from nestgraph.graph.geometry import output_size
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size, along_all
from nestgraph.spec.layer import Layer
from nestgraph.spec.operations import Activation, ActivationFunction, Operation
from nestgraph.spec.projection import Conv, Dense, Projection


@preserving(1e-12)
@recipe_function
def deepen(
    structure: Structure,
    layer: str,
    name: str,
    function: ActivationFunction | None = "relu",
    kernel: Size | None = None,
    exact: bool = True,
) -> Batch:
    """Put a new layer after `layer` that starts as the identity; `bypass_layer` is the way back.

    The new layer has a unit for each of `layer` that is read, one active connection each from its own
    (`wake_connections` opens more), and takes over all that reads `layer`. Function-preserving where its activation
    leaves what it reads as it is: ReLU and leaky ReLU do after what is never negative (ReLU, ReLU6, both sigmoids), no
    activation always does, the others never do.

    Args:
        structure: the network.
        layer: the layer to put the new one after.
        name: the new layer's name.
        function: the new layer's activation.
        kernel: between maps, the odd extents of the kernels, of which the middle is active; None is one place.
        exact: whether to refuse what is not function-preserving.

    Raises:
        EditError: the function would change, or the layer has no outgoing projection, or name or kernel do not fit.
    """
    record, moved = structure.layer(layer), structure.outgoing(layer)
    if exact and not _left_alone(record, function):
        problem = f"expected what {function} leaves as it is, got other outputs: choose another function or exact=False"
        raise EditError(f"deepen after {layer!r}: {problem}")
    if not moved or record.output:
        raise EditError(f"deepen after {layer!r}: expected a layer with outgoing projections that is no output")
    if record.classes is not None:
        raise EditError(f"deepen after {layer!r}: expected a layer of numbers, got ids of classes")
    if structure.has_layer(name):
        raise EditError(f"deepen after {layer!r}: expected a new name, got {name!r}, which a layer has: choose another")
    size = output_size(record)
    operations: tuple[Operation, ...] = () if function is None else (Activation(function=function),)
    kind = "neurons" if size is None else "feature_maps"
    new = Layer(name=name, kind=kind, size=size, operations=operations)
    places = _read_places(structure, layer)
    if len(places) < len(structure.units(layer)):
        check_untied(structure, f"deepen after {layer!r}", [layer])
    bridge, weight = _identity(structure, layer, name, kernel, places)
    kept = {p.name: _of_sources(structure, p, places) for p in moved}
    return Batch(
        edits=(
            *(RemoveProjection(projection=p.name) for p in moved),
            AddLayer(layer=new, ids=structure.units(layer)[places]),
            AddProjection(projection=bridge, connections=Block(weight=weight, mask=weight != 0)),
            *(AddProjection(projection=p.model_copy(update={"source": name}), connections=kept[p.name]) for p in moved),
        ),
        title=f"deepen after {layer}",
    )


def _left_alone(layer: Layer, function: ActivationFunction | None) -> bool:
    """Whether an activation gives every output of a layer as it is."""
    last = [operation for operation in layer.operations if not operation.facts.keeps_sign][-1:]
    positive = bool(last) and last[0].facts.never_negative
    return function is None or (positive and function in ("relu", "leaky_relu"))


def _read_places(structure: Structure, layer: str) -> AnyArray:
    """The positions of the units that a projection reads; where a layer mixes its units others may live."""
    read = np.zeros(len(structure.units(layer)), bool)
    for projection in structure.outgoing(layer):
        read |= structure.pairs(projection.name).back(np.ones(len(structure.units(projection.target)), bool))
    return np.flatnonzero(read)


def _of_sources(structure: Structure, projection: Projection, places: AnyArray) -> Block:
    """The connections of a projection from the units at some positions."""
    columns, ends = structure.wired(projection.name)
    return Block.of(columns if len(places) == len(ends.source) else columns.take(places, 1, ends))


def _identity(
    structure: Structure, layer: str, name: str, kernel: Size | None, places: AnyArray
) -> tuple[Projection, AnyArray]:
    """A projection from a layer to a new one after it, and weights that give units at some positions to their own."""
    bridge = free_name(structure, f"{layer}_to_{name}")
    identity = np.eye(len(structure.units(layer)), dtype=np.float32)[places]
    size = output_size(structure.layer(layer))
    if size is None:
        if kernel is not None and set(kernel) != {1}:
            raise EditError(f"deepen after {layer!r}: expected no kernel between neurons, got {kernel}")
        return Dense(source=layer, target=name, name=bridge), identity
    kernel = along_all(1, size) if kernel is None else kernel
    if len(kernel) != len(size) or any(extent < 1 or extent % 2 == 0 for extent in kernel):
        raise EditError(f"deepen after {layer!r}: expected a kernel of {len(size)} odd extents, got {kernel}")
    middle = tuple(extent // 2 for extent in kernel)
    weight = np.zeros((*identity.shape, *kernel), np.float32)
    weight[:, :, *middle] = identity
    return Conv(source=layer, target=name, name=bridge, kernel=kernel, padding=middle), weight
