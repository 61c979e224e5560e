"""Many edits as one: carried out in order, verified once, undone together."""

from typing import Annotated, Any, Literal

from pydantic import Field, Strict, TypeAdapter

import nestgraph.display as notebook
from nestgraph.edits.connections import SetArea, SetMask, SetValues
from nestgraph.edits.edit import Edit
from nestgraph.edits.layers import AddLayer, AddProjection, RemoveLayer, RemoveProjection, SetOperations
from nestgraph.edits.units import AddUnits, RemoveUnits
from nestgraph.graph.structure import Structure
from nestgraph.spec.record import Text


class Batch(Edit):
    """Edits carried out in order as one. An empty batch changes nothing."""

    kind: Literal["batch"] = "batch"
    edits: Annotated[tuple["AnyEdit", ...], Field(max_length=100_000), Strict(False)]  # a list will do
    title: Text = ""

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
    | Batch,
    Field(discriminator="kind"),
]
"""Any edit, told apart by its `kind`."""

Batch.model_rebuild()
EDIT: TypeAdapter[AnyEdit] = TypeAdapter(AnyEdit)
"""Reads and writes edits as JSON."""
