"""What two people, or two policies, did to one network, joined: merges of networks and of proposals."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast

from nestgraph.edits.batch import AnyEdit, Batch, Reason, carry, removed_by
from nestgraph.edits.difference import diff
from nestgraph.edits.edit import Edit, recipe_function
from nestgraph.edits.islands import island_edits
from nestgraph.edits.three_ways import Conflict
from nestgraph.errors import ConflictError, EditError
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.graph.way import Way
from nestgraph.spec.arguments import checked


@checked(EditError)
def way_over(network: Structure, edits: Sequence[Edit]) -> Way:
    """The way from a network to what edits make of it, one after the other.

    Raises:
        EditError: an edit does not fit.
    """
    here, gone = network, set[str]()
    for edit in edits:
        here, _ = edit.change(here)
        gone |= set(removed_by(edit))
    way = Way.between(network, here)
    return Way(way.base, way.here, way.twins, frozenset(gone))


@recipe_function
def side_by_side(network: Network, edits: Sequence[Edit]) -> Batch:
    """Edits that were each made for the same network, such as the proposals of several policies, as one.

    Each is carried over those before it (see `Edit.map`), and units that lose their last path to all of them together
    go as well.

    Raises:
        ConflictError: two of them change the same thing otherwise.
        EditError: one builds on what another takes away.
    """
    parts: list[AnyEdit] = []
    for edit in edits:
        parts.append(edit.map(way_over(network, parts)))  # type: ignore[arg-type]
    return _swept(network, parts, f"{len(edits)} edits side by side")


@recipe_function
def merge(base: Network, ours: Network, theirs: Network) -> Batch:
    """The edit of `ours` that does what led from `base` to `theirs`; `merge(...).apply(ours)` has both.

    Args:
        base: what both come from.
        ours: what one side made of it, and what the edit is for.
        theirs: what the other side made of it.

    Raises:
        ConflictError: both sides changed the same thing otherwise; its `conflicts` list the units.
        EditError: one side builds on what the other took away.
    """
    mine, other = diff(base, ours), diff(base, theirs)
    return carried(base, ours, [mine], [other])


def carried(base: Structure, ours: Network, mine: Sequence[Edit], others: Sequence[Edit]) -> Batch:
    """What `others` do to the base, done to `ours`, which `mine` made of it.

    Raises:
        ConflictError: both sides changed the same thing otherwise, with the reasons that both gave.
        EditError: one builds on what the other took away.
    """
    over = way_over(base, mine)
    try:
        moved = Batch(edits=tuple(others)).map(Way(base, ours, over.twins, over.remade))  # type: ignore[arg-type]
    except ConflictError as error:
        found = cast("tuple[Conflict, ...]", error.conflicts)
        raise ConflictError("merge", tuple(_reasoned(each, mine, others) for each in found)) from None
    return _swept(ours, [moved], "merge")  # type: ignore[list-item]


def _swept(network: Structure, edits: Sequence[AnyEdit], title: str) -> Batch:
    """Edits, then the removal of the islands that they leave together."""
    after, _ = Batch(edits=tuple(edits)).change(network)
    parts = tuple(edit for edit in edits if not edit.idle)
    return Batch(edits=(*parts, *island_edits(after)), title=title)


def _reasoned(conflict: Conflict, mine: Sequence[Edit], others: Sequence[Edit]) -> Conflict:
    """A conflict with what policies of both sides chose its units by."""
    sides = (tuple(_reasons(conflict, edits)) for edits in (others, mine))
    return replace(conflict, reasons=tuple(sides))


def _reasons(conflict: Conflict, edits: Iterable[Edit]) -> Iterator[str]:
    for edit in edits:
        if isinstance(edit, Batch):
            yield from (_words(reason) for reason in edit.reasons if _is_of(reason, conflict))
            yield from _reasons(conflict, edit.edits)


def _is_of(reason: Reason, conflict: Conflict) -> bool:
    return reason.place == conflict.place and (reason.unit is None or reason.unit in conflict.units)


def _words(reason: Reason) -> str:
    bound = "" if reason.bound is None else f" against {reason.bound:.3g}"
    return f"{reason.measure} {reason.value:.3g}{bound}"


def moved_on(edits: Sequence[Edit], way: Way) -> Iterator[Edit]:
    """Edits, each carried on from where it stood to where it now stands.

    Raises:
        EditError: one of them cannot be.
    """
    for edit in edits:
        moved, way = carry(edit, way)
        yield moved
