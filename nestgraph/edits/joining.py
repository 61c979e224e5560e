"""What two people, or two policies, did to one network, joined: merges of networks and of proposals."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from nestgraph.edits.batch import AnyEdit, Batch, Reason, map_onward, removed_by
from nestgraph.edits.connections import SetValues
from nestgraph.edits.difference import diff
from nestgraph.edits.edit import Edit, recipe_function
from nestgraph.edits.islands import island_edits
from nestgraph.edits.layers import RemoveLayer, RemoveProjection
from nestgraph.edits.three_ways import Conflict
from nestgraph.edits.units import RemoveUnits
from nestgraph.errors import ConflictError, EditError, RecordError, StructureError, VerificationError
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
    return _way(network, here, gone)


@dataclass(frozen=True)
class Joined:
    """Edits that were each made for the same network, such as the proposals of several policies, as one.

    Attributes:
        parts: of each edit what is left of it to do after those before it; of one that is left out nothing.
        rest: what all of them together leave without a path goes, where constants are absorbed; no edit's own.
        left_out: by its place, why an edit is none of them.
    """

    parts: tuple[Edit, ...]
    rest: Batch
    left_out: Mapping[int, EditError]

    @classmethod
    @recipe_function
    def of(cls, network: Network, edits: Sequence[Edit]) -> "Joined":
        """Join edits, each mapped over those before it (see `Edit.map`); the earlier ones come first.

        What an edit removes at its end as it leaves it without a path is found anew for all of them together. One that
        changes what an earlier one changed otherwise, builds on what that took away, or together with it cuts an
        output off is left out as a whole.
        """
        here, gone, rest = cast(Structure, network), set[str](), Batch(edits=())
        parts, left_out = list[Edit](), dict[int, EditError]()
        for place, edit in enumerate(edits):
            part = edit.nothing
            try:
                mapped = _own(network, edit).map(_way(network, here, gone))
                here, rest = _settled(here, mapped)
                part = mapped
            except ConflictError as error:
                left_out[place] = _with_reasons(error, "side_by_side", edits[:place], [edit])
            except EditError as error:
                left_out[place] = error
            except (StructureError, RecordError) as error:
                left_out[place] = EditError(f"{edit.words}: {error}")
            gone |= set(removed_by(part))
            parts.append(part)
        return cls(tuple(parts), rest, left_out)

    @property
    def edit(self) -> Batch:
        """All of them as one."""
        done: tuple[Any, ...] = tuple(part for part in self.parts if not part.idle)
        return Batch(edits=(*done, *self.rest.edits), title=f"{len(self.parts)} edits side by side")


@recipe_function
def side_by_side(network: Network, edits: Sequence[Edit]) -> Batch:
    """Edits that were each made for the same network, as one, none of them left out: see `Joined`.

    Raises:
        ConflictError: two of them change the same thing otherwise, with the reasons that both gave.
        EditError: one builds on what another takes away, or together they cut an output off.
    """
    joined = Joined.of(network, edits)
    for error in joined.left_out.values():
        raise error
    return joined.edit


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
    return merging_edit(base, ours, [mine], [other])


def merging_edit(base: Structure, ours: Network, mine: Sequence[Edit], others: Sequence[Edit]) -> Batch:
    """What `others` do to the base, done to `ours`, which `mine` made of it.

    Raises:
        ConflictError: both sides changed the same thing otherwise, with the reasons that both gave.
        EditError: one builds on what the other took away.
    """
    over = way_over(base, mine)
    try:
        mapped = Batch(edits=tuple(others)).map(Way(base, ours, over.twins, over.remade))  # type: ignore[arg-type]
    except ConflictError as error:
        raise _with_reasons(error, "merge", mine, others) from None
    after, _ = mapped.change(ours)
    done: tuple[Any, ...] = () if mapped.idle else (mapped,)
    return Batch(edits=(*done, *island_edits(after)), title="merge")


def _way(network: Structure, here: Structure, gone: set[str]) -> Way:
    """The way to what edits made of a network, which removed these names."""
    way = Way.between(network, here)
    return Way(way.base, way.here, way.twins, frozenset(gone))


def _settled(here: Structure, part: Edit) -> tuple[Structure, Batch]:
    """What an edit leads to, and what then goes as no path leads to it; both together are a legal network.

    Raises:
        EditError: they are not.
    """
    after, _ = part.change(here)
    rest = Batch(edits=island_edits(after))
    settled, _ = rest.change(after)
    try:
        Network.of(settled)
    except VerificationError as error:
        part.refuse(f"expected a network without broken laws, got: {error}")
    return after, rest


FOLLOWING = SetValues | RemoveProjection | RemoveLayer | RemoveUnits
"""What the removal of islands consists of."""


def _own(network: Network, edit: Edit) -> Edit:
    """An edit without the removal, at its end, of the islands that it leaves."""
    if not isinstance(edit, Batch):
        return edit
    first = len(edit.edits)
    while first and isinstance(edit.edits[first - 1], FOLLOWING):
        first -= 1
    structure: Structure = network
    for place, part in enumerate(edit.edits if first < len(edit.edits) else ()):
        if first <= place and Batch(edits=edit.edits[place:]) == Batch(edits=_islands(structure)):
            return edit.model_copy(update={"edits": edit.edits[:place]})
        structure, _ = part.change(structure)
    return edit


def _islands(structure: Structure) -> tuple[AnyEdit, ...]:
    """The removal of the islands in the middle of an edit, where an output may be one."""
    try:
        return island_edits(structure)
    except EditError:
        return ()


def _with_reasons(error: ConflictError, words: str, mine: Sequence[Edit], others: Sequence[Edit]) -> ConflictError:
    """The error with what policies of both sides chose its units by."""

    def reasoned(conflict: Conflict) -> Conflict:
        return replace(conflict, reasons=tuple(tuple(_reasons(conflict, edits)) for edits in (others, mine)))

    return ConflictError(words, tuple(map(reasoned, cast("tuple[Conflict, ...]", error.conflicts))))


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


def mapped_onward(edits: Sequence[Edit], way: Way) -> Iterator[Edit]:
    """Edits, each mapped from where it stood to where it now stands.

    Raises:
        EditError: one of them cannot be.
    """
    for edit in edits:
        mapped, way = map_onward(edit, way)
        yield mapped
