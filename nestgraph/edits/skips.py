"""The recipe function that joins two layers past those between them."""

from typing import NoReturn

from nestgraph.edits.batch import Batch
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import AddProjection, Block
from nestgraph.edits.naming import free_name
from nestgraph.edits.preserving import preserving
from nestgraph.errors import EditError
from nestgraph.graph.geometry import output_size
from nestgraph.graph.heads import summed_size
from nestgraph.graph.projections import meaning_of
from nestgraph.graph.structure import Structure
from nestgraph.spec.extents import Size, along_all
from nestgraph.spec.projection import Conv, Dense, OneToOne, Projection


@preserving(1e-12)
@recipe_function
def insert_skip(
    structure: Structure, source: str, target: str, one_to_one: bool = False, name: str | None = None
) -> Batch:
    """Join two layers by a projection whose weights are all 0; `remove_projection` is the way back.

    To neurons it is dense; to maps it is a convolution by kernels of one place with the stride that fits. One to one,
    each unit of the target reads the unit of the source at the same position, as far as both have units, by a trained
    weight (ReZero, Bachlechner et al. 2020, arXiv:2003.04887), and they are coupled from then on. Function-preserving.

    Raises:
        EditError: the target leads to the source or is an input or opaque, or no stride fits, or the name is none or
            taken.
    """
    if structure.layer(target).opaque is not None:
        _refuse(source, target, "expected a target that sums up what it reads, got an opaque layer")
    if structure.layer(target).kind == "input" or source in _reached(structure, target):
        _refuse(source, target, f"expected a target that reads and does not lead to {source!r}, got {target!r}")
    if structure.layer(source).classes is not None:
        _refuse(source, target, "expected a source of numbers, got ids of classes")
    chosen = free_name(structure, f"{source}_to_{target}") if name is None else name
    projection = _record(structure, source, target, one_to_one, chosen)
    unconnected = meaning_of(structure, projection).unconnected()
    edit = AddProjection(projection=projection, connections=Block.of(unconnected))
    edit.change(structure)  # says if the name is taken
    return Batch(edits=(edit,), title=f"insert skip from {source} to {target}")


def _record(structure: Structure, source: str, target: str, one_to_one: bool, name: str) -> Projection:
    given, wanted = output_size(structure.layer(source)), summed_size(structure, target)
    if one_to_one and given == wanted:
        return OneToOne(source=source, target=target, name=name, trained=True)
    if wanted is None and not one_to_one:
        return Dense(source=source, target=target, name=name)
    if given is None or wanted is None:
        _refuse(source, target, "expected maps at both ends or at none, got neurons at one: try one_to_one=False")
    stride = _stride(given, wanted) if len(given) == len(wanted) else None
    if stride is None:
        _refuse(source, target, f"expected maps whose size a stride makes {wanted}, got {given}: pool them first")
    kernel = along_all(1, stride)
    if one_to_one:
        return OneToOne(source=source, target=target, name=name, kernel=kernel, stride=stride, trained=True)
    return Conv(source=source, target=target, name=name, kernel=kernel, stride=stride)


def _stride(given: Size, wanted: Size) -> Size | None:
    """The smallest stride with which a kernel of one place makes maps of one size into maps of another."""
    fits = [
        next((step for step in range(1, extent + 1) if (extent - 1) // step + 1 == goal), None)
        for extent, goal in zip(given, wanted, strict=True)
    ]
    found = tuple(step for step in fits if step is not None)
    return found if len(found) == len(fits) else None


def _reached(structure: Structure, layer: str) -> set[str]:
    """A layer and all that it leads to."""
    reached, fresh = {layer}, [layer]
    while fresh:
        targets = {p.target for p in structure.outgoing(fresh.pop())} - reached
        reached |= targets
        fresh += targets
    return reached


def _refuse(source: str, target: str, problem: str) -> NoReturn:
    raise EditError(f"insert_skip from {source!r} to {target!r}: {problem}")
