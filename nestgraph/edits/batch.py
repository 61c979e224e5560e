"""Many edits as one: carried out in order, verified once, undone together."""

import operator
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, cast

import numpy as np
from pydantic import Field, Strict, StringConstraints

import nestgraph.display as notebook
from nestgraph.edits.connections import SetArea, SetMask, SetValues
from nestgraph.edits.edit import Edit
from nestgraph.edits.layers import (
    AddLayer,
    AddProjection,
    RemoveLayer,
    RemoveProjection,
    SetInterface,
    SetOperations,
)
from nestgraph.edits.three_ways import Conflict
from nestgraph.edits.units import AddUnits, RemoveUnits
from nestgraph.errors import ConflictError
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.graph.way import Way
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.record import Extent, Form, Name, Record, Text, absent


class Reason(Record):
    """What a unit, or the last of the connections of a projection, was chosen by. For people: it changes nothing.

    Attributes:
        place: the layer of the unit, or the projection.
        unit: its id; None for connections.
        measure: what was compared.
        value: of the unit, or of the connection that was only just chosen.
        bound: what the value was held against; None where the best of all were taken.
    """

    place: Name
    unit: Extent | None = None
    measure: Text
    value: float
    bound: float | None = None


Base = Annotated[str | None, StringConstraints(pattern=r"^[0-9a-f]{64}$"), Field(exclude_if=absent)]
"""The digest of the network that a batch is for, if it names one."""


class Batch(Edit):
    """Edits carried out in order as one. An empty batch changes nothing.

    Attributes:
        edits: what is done.
        title: what it is for.
        reasons: what policies chose its units and connections by.
        base: the digest of the one network that it is for; None where it may be applied to any that it fits.
    """

    kind: Literal["batch"] = "batch"
    edits: Annotated[tuple["AnyEdit", ...], Field(max_length=100_000), Strict(False)]  # a list will do
    title: Text = ""
    reasons: Annotated[tuple[Reason, ...], Field(max_length=100_000, exclude_if=operator.not_), Strict(False)] = ()
    base: Base = None

    @property
    def words(self) -> str:
        """What the edit does."""
        return self.title or f"Batch of {len(self.edits)} edits"

    @property
    def idle(self) -> bool:
        """See `Edit.idle`."""
        return all(edit.idle for edit in self.edits)

    def _repr_mimebundle_(self, **chosen: Any) -> dict[str, str]:  # noqa: ARG002  (notebooks pass include and exclude)
        return notebook.shown(self)

    def check_base(self, network: Network) -> None:
        """See `Edit.check_base`."""
        if self.base is not None and network.digest != self.base:
            remedy = "`map` maps an edit to another one"
            self.refuse(f"expected the network {self.base:.12} that it names, got {network.digest:.12}: {remedy}")

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Carry the edits out in order."""
        inverses: list[AnyEdit] = []
        for edit in self.edits:
            structure, inverse = edit.change(structure)
            inverses.append(inverse)  # type: ignore[arg-type]  # every inverse is one of the kinds below
        return structure, Batch(edits=tuple(reversed(inverses)), title=f"undo {self.words}"[:256])

    def mapped(self, way: Way) -> Edit | None:
        """Its parts in order, each by the way from where it stood to where it now stands: all of them or none."""
        mapped, _ = map_onward(self, way, onward=False)
        return None if mapped.idle else mapped


def map_onward(edit: Edit, way: Way, onward: bool = True) -> tuple[Edit, Way]:
    """An edit mapped along a way, and the way from where it leads to where the mapped one does.

    Args:
        edit: made for the beginning of the way.
        way: to where it is mapped.
        onward: whether the way after it is asked for; without, what no part looks at is not carried out, as it is dear.

    Raises:
        ConflictError: what clashes, of all its parts.
        EditError: a part cannot be mapped.
    """
    conflicts: list[Conflict] = []
    needed = iter(_needed(list(_leaves(edit)), onward, way.base.tied))
    begin, born = way, dict[tuple[str, int], int]()

    def through(part: Any) -> Edit:
        nonlocal way
        if isinstance(part, Batch):
            parts = [through(each) for each in part.edits]
            kept = tuple(each for each in parts if not each.idle)
            reasons = tuple(_followed(reason, begin, born) for reason in part.reasons)
            return part.model_copy(update={"edits": kept, "reasons": reasons, "base": None})
        wanted = next(needed)
        try:
            mapped = part.map(way)
        except ConflictError as error:
            conflicts.extend(cast("tuple[Conflict, ...]", error.conflicts))
            mapped = part.nothing  # to find what else clashes
        for layer, (given, becomes) in _born(part, mapped).items():
            pairs = zip(given.tolist(), becomes.tolist(), strict=True)
            born.update({(layer, one): other for one, other in pairs})
        if wanted:
            way = _past(way, part, mapped)
        return mapped

    done = through(edit)
    if conflicts:
        raise ConflictError(edit.words, tuple(conflicts))
    return done, way


def _followed(reason: Reason, way: Way, born: Mapping[tuple[str, int], int]) -> Reason:
    """A reason with the id that its unit has at the end of a way."""
    if reason.unit is None:
        return reason
    twin = born.get((reason.place, reason.unit), int(way.twin(reason.place, np.array(reason.unit))))
    return reason if twin in (-1, reason.unit) else reason.model_copy(update={"unit": twin})


def _leaves(edit: Edit) -> Iterator[Edit]:
    """The edits of a batch and of the batches in it, in order."""
    if isinstance(edit, Batch):
        for each in edit.edits:
            yield from _leaves(each)
    else:
        yield edit


def _needed(leaves: list[Edit], onward: bool, tied: Mapping[str, str]) -> list[bool]:
    """For each edit whether where one after it leads, or what it is merged by, depends on what it did.

    Args:
        leaves: the edits.
        onward: whether the way after them is asked for.
        tied: by projection what has the same table, which changes with it.
    """
    masks: set[str] = set()
    found, any_later, others = [onward] * len(leaves), onward, onward
    for place in reversed(range(len(leaves))):
        leaf = leaves[place]
        found[place] = others or leaf.projection in masks if isinstance(leaf, SetMask | SetArea) else any_later
        if isinstance(leaf, SetMask | SetArea):
            masks |= {leaf.projection, tied.get(leaf.projection, leaf.projection)}
        others, any_later = others or not isinstance(leaf, SetMask | SetArea | RemoveUnits), True
    return found


def _past(way: Way, part: Edit, mapped: Edit) -> Way:
    """The way from where an edit leads to where what it was mapped to leads."""
    base, here = part.change(way.base)[0], mapped.change(way.here)[0]
    return way.on(base, here, _born(part, mapped), removed_by(part))


def _born(part: Edit, mapped: Edit) -> dict[str, tuple[AnyArray, AnyArray]]:
    """By layer, the ids that an edit gives to new units, and those that what it was mapped to gives to them."""
    added = (each for each in _leaves(mapped) if isinstance(each, AddUnits))
    return {each.layer: (part.ids, each.ids) for each in added} if isinstance(part, AddUnits) else {}


def removed_by(edit: Edit) -> Iterator[str]:
    """The names of layers and projections that an edit removes."""
    if isinstance(edit, RemoveLayer):
        yield edit.layer
    elif isinstance(edit, RemoveProjection):
        yield edit.projection
    elif isinstance(edit, Batch):
        for each in edit.edits:
            yield from removed_by(each)


AnyEdit = Annotated[
    AddLayer
    | RemoveLayer
    | AddProjection
    | RemoveProjection
    | AddUnits
    | RemoveUnits
    | SetMask
    | SetArea
    | SetValues
    | SetOperations
    | SetInterface
    | Batch,
    Field(discriminator="kind"),
]
"""Any edit, told apart by its `kind`."""

Batch.model_rebuild()
Edit.nothing = Batch(edits=())
EDIT: Form[AnyEdit] = Form(AnyEdit)
"""Reads and writes edits as JSON."""
