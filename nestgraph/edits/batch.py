"""Many edits as one: carried out in order, verified once, undone together."""

import operator
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
from nestgraph.edits.units import AddUnits, RemoveUnits
from nestgraph.graph.structure import Structure
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
EDIT: Form[AnyEdit] = Form(AnyEdit)
"""Reads and writes edits as JSON."""
