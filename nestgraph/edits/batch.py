"""Many edits as one: carried out in order, verified once, undone together."""

import operator
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

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
from nestgraph.edits.three_ways import Conflict, ConflictError
from nestgraph.edits.units import AddUnits, RemoveUnits
from nestgraph.graph.structure import Structure
from nestgraph.graph.way import Way
from nestgraph.spec.record import Extent, Form, Name, Record, Text


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


class Batch(Edit):
    """Edits carried out in order as one. An empty batch changes nothing.

    Attributes:
        edits: what is done.
        title: what it is for.
        reasons: what policies chose its units and connections by.
    """

    kind: Literal["batch"] = "batch"
    edits: Annotated[tuple["AnyEdit", ...], Field(max_length=100_000), Strict(False)]  # a list will do
    title: Text = ""
    reasons: Annotated[tuple[Reason, ...], Field(max_length=100_000, exclude_if=operator.not_), Strict(False)] = ()

    @property
    def words(self) -> str:
        """What the edit does."""
        return self.title or f"Batch of {len(self.edits)} edits"

    def _repr_mimebundle_(self, **chosen: Any) -> dict[str, str]:  # noqa: ARG002  (notebooks pass include and exclude)
        return notebook.shown(self)

    def change(self, structure: Structure) -> tuple[Structure, Edit]:
        """Carry the edits out in order."""
        inverses: list[AnyEdit] = []
        for edit in self.edits:
            structure, inverse = edit.change(structure)
            inverses.append(inverse)  # type: ignore[arg-type]  # every inverse is one of the kinds below
        return structure, Batch(edits=tuple(reversed(inverses)), title=f"undo {self.words}"[:256])

    def moved(self, way: Way) -> Edit | None:
        """Its parts in order, each by the way from where it stood to where it now stands: all of them or none."""
        found: list[AnyEdit] = []
        conflicts: list[Conflict] = []
        for place, part in enumerate(self.edits):
            later = self.edits[place + 1 :]
            try:
                mapped: Any = part.map(way)
            except ConflictError as error:
                conflicts += error.conflicts
                mapped = self.nothing  # to find what else clashes
            found.append(mapped)
            if later and (conflicts or any(_looks_at(each, part) for each in later)):
                way = past(way, part, mapped)
        if conflicts:
            raise ConflictError(self.words, tuple(conflicts))
        edits = tuple(each for each in found if each != self.nothing)
        return self.model_copy(update={"edits": edits}) if edits or not self.edits else None


def _looks_at(later: "AnyEdit", part: "AnyEdit") -> bool:
    """Whether an edit is merged by what a part before it did: others are not carried out, as that is dear."""
    if isinstance(later, Batch):
        return any(_looks_at(each, part) for each in later.edits)
    if isinstance(part, SetMask | SetArea):
        if isinstance(later, SetMask | SetArea):
            return later.projection == part.projection
        return not isinstance(later, RemoveUnits)
    return True


def past(way: Way, part: Edit, mapped: Edit) -> Way:
    """The way from where an edit leads to where what it was mapped to leads."""
    base, here = part.change(way.base)[0], mapped.change(way.here)[0]
    born = {}
    if isinstance(part, AddUnits) and isinstance(mapped, AddUnits):
        born = {part.layer: (part.ids, mapped.ids)}
    return way.on(base, here, born, removed_by(part))


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
