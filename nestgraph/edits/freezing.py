"""Recipe functions on what trains: layers whose parameters stay as they are, under whatever optimizer."""

from collections.abc import Collection

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import SetOperations
from nestgraph.edits.preserving import preserving
from nestgraph.edits.tying import remade
from nestgraph.errors import EditError
from nestgraph.graph.body import parameters_of
from nestgraph.graph.structure import Structure
from nestgraph.spec.layer import BODY, Layer


@preserving(1e-5)
@recipe_function
def freeze(structure: Structure, layers: str | Collection[str]) -> Batch:
    """Let layers train no more: the weights into them, their biases, scales and bodies. Function-preserving.

    The network records it, and modules lowered from it have `requires_grad` off there. A tied table is frozen at both
    of its ends.

    Raises:
        EditError: a layer is an input, or none of them has anything to change.
    """
    return _set(structure, layers, frozen=True)


@preserving(1e-5)
@recipe_function
def thaw(structure: Structure, layers: str | Collection[str]) -> Batch:
    """Let layers train again that are frozen. Function-preserving.

    Raises:
        EditError: a layer is an input, or none of them has anything to change.
    """
    return _set(structure, layers, frozen=False)


def _columns(structure: Structure, record: Layer) -> tuple[str, ...]:
    """What of a layer trains."""
    body = record.opaque is not None and parameters_of(structure.bodies.get(record.name)) != 0
    return (*(column.name for column in record.columns if column.trained), *[BODY] * body)


def _set(structure: Structure, layers: str | Collection[str], frozen: bool) -> Batch:
    verb, edits, changed = "freeze" if frozen else "thaw", list[AnyEdit](), set[str]()
    names = (layers,) if isinstance(layers, str) else tuple(layers)
    for name in names:
        record = structure.layer(name)
        if record.kind == "input":
            raise EditError(f"{verb} on {name!r}: expected a layer with parameters, got an input: name those it feeds")
        columns = _columns(structure, record) if frozen else ()
        if columns != record.frozen:
            edits.append(SetOperations(layer=name, operations=record.operations, bias=record.bias, frozen=columns))
        for projection in structure.incoming(name):
            if projection.weighted and projection.learns and projection.held != frozen:
                changed |= {projection.name, structure.tied.get(projection.name, projection.name)}
    for projection in map(structure.projection, sorted(changed)):
        edits += remade(structure, projection.model_copy(update={"frozen": frozen}))
    if names and not edits:
        state = "that train, got those that are frozen" if frozen else "that are frozen, got those that train"
        raise EditError(f"{verb} expected layers {state} already: {', '.join(names)}"[:400] + ": name others")
    return Batch(edits=tuple(edits), title=f"{verb} {', '.join(names)}"[:256])
