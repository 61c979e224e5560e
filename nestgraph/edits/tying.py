"""Recipe functions on tables that serve at both ends of a network, as one parameter: see `graph.tying`."""

from collections.abc import Iterable, Iterator

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.edit import recipe_function
from nestgraph.edits.layers import AddProjection, Block, RemoveProjection
from nestgraph.edits.preserving import preserving
from nestgraph.errors import EditError
from nestgraph.graph.structure import Structure
from nestgraph.graph.tying import REMEDY, tie_faults
from nestgraph.spec.projection import Conv, Dense, Projection


def remade(structure: Structure, record: Projection) -> Iterator[AnyEdit]:
    """The edits that exchange the record of a projection for another one, with its connections."""
    block = Block.of(structure.connection_columns(record.name))
    yield RemoveProjection(projection=record.name)
    yield AddProjection(projection=record, connections=block)


@preserving(1e-12)
@recipe_function
def tie(structure: Structure, projection: str, like: str) -> Batch:
    """Let a projection that weighs classes have the table of a lookup: from here on they are one parameter.

    It trains once, by the gradients of both ends, edits change both, and a unit of the one end goes with that of the
    other. Function-preserving, as both have the same connections and weights already.

    Args:
        structure: the network.
        projection: dense, between neurons, or a convolution of one place; what it leads to is a unit for each class.
        like: the lookup, of the same units.

    Raises:
        EditError: it is tied already, or the two have not the same table, units and `frozen`.
    """
    record = structure.projection(projection)
    structure.projection(like)
    if record.follows is not None:
        raise EditError(f"tie on {projection!r}: expected weights of its own, got those of {record.follows!r} already")
    if not isinstance(record, Dense | Conv):
        raise EditError(f"tie on {projection!r}: expected a dense projection or a convolution, got {record.words}")
    batch = Batch(edits=tuple(remade(structure, record.model_copy(update={"like": like}))), title=f"tie {projection}")
    for name, problem in tie_faults(batch.change(structure)[0]):
        raise EditError(f"tie on {name!r}: {problem.removesuffix(REMEDY)}")
    return batch


@preserving(1e-12)
@recipe_function
def untie(structure: Structure, projection: str) -> Batch:
    """Give a projection that has the table of a lookup weights of its own, which start as they are.

    Function-preserving: both train and are edited apart from here on.

    Args:
        structure: the network.
        projection: what follows a lookup, or that lookup.

    Raises:
        EditError: it is not tied.
    """
    record = structure.projection(projection)
    if record.follows is None and projection in structure.tied:
        record = structure.projection(structure.tied[projection])
    if record.follows is None:
        raise EditError(f"untie on {projection!r}: expected one end of a tied table, got weights of its own")
    return Batch(edits=tuple(remade(structure, record.untied)), title=f"untie {record.name}")


def check_own(structure: Structure, who: str, projection: Projection) -> None:
    """Refuse a projection with a tied table, where a change of the one end alone would be none of the other.

    Args:
        structure: the network.
        who: begins the message.
        projection: whose weights would change.

    Raises:
        EditError: another projection has the table, too.
    """
    other = structure.tied.get(projection.name)
    if other is not None:
        raise EditError(
            f"{who}: expected weights of its own, got {projection.name!r}, which has one table with {other!r}{REMEDY}"
        )


def check_untied(structure: Structure, who: str, layers: Iterable[str]) -> None:
    """Refuse layers into which, or out of which, a tied table leads; see `check_own`.

    Raises:
        EditError: there is one.
    """
    for layer in layers if structure.tied else ():
        for projection in (*structure.incoming(layer), *structure.outgoing(layer)):
            check_own(structure, who, projection)
