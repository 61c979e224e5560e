"""The form that edits have in a journal: of connections their places, and weights of the active ones alone.

Edits in other files have the form of their records, which people write by hand. What this form cannot say (places that
do not ascend, weights of dormant connections) keeps that of the record, so that each edit has one form in a journal.
"""

import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, cast

import numpy as np
from pydantic import (
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    TypeAdapter,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from nestgraph.edits.batch import AnyEdit, Base, Batch, Reason
from nestgraph.edits.connections import SetArea, SetMask, SetValues
from nestgraph.edits.layers import (
    AddLayer,
    AddProjection,
    Block,
    RemoveLayer,
    RemoveProjection,
    SetInterface,
    SetOperations,
    UnitValues,
)
from nestgraph.edits.units import AddUnits, RemoveUnits
from nestgraph.snapshot.document import Shape
from nestgraph.snapshot.limits import LIMITS
from nestgraph.snapshot.packing import Places, PlacesOrNone, Singles, ascending, empty, no_places, no_values
from nestgraph.spec.arrays import AnyArray, Booleans, Integers, owned
from nestgraph.spec.projection import AnyProjection
from nestgraph.spec.record import ArrayRecord, Name, Text, absent


class Budget:
    """How many weights the blocks of a line may still become in memory. It is the context of its reading."""

    def __init__(self, entries: int) -> None:
        self.left, self._all = entries, entries

    def take(self, entries: int) -> None:
        """Count a block in, before it takes memory.

        Raises:
            ValueError: there are too many.
        """
        self.left -= entries
        if self.left < 0:
            raise ValueError(
                f"expected at most {self._all:,} weights in all blocks, got more: pass Limits(entries=...)"
            )


class CompactMask(ArrayRecord):
    """`SetMask`: the connections that are active afterwards, with their weights, and those that are not."""

    kind: Literal["compact_mask"] = "compact_mask"
    projection: Name
    woken: Annotated[Places, Field(exclude_if=empty)] = Field(default_factory=no_places)
    weights: Annotated[Singles, Field(exclude_if=empty)] = Field(default_factory=no_values)
    pruned: Annotated[Places, Field(exclude_if=empty)] = Field(default_factory=no_places)

    @classmethod
    def of(cls, edit: SetMask) -> Self | None:
        """The form of an edit; None where it cannot say it."""
        entries, active, weights = edit.entries, edit.active, edit.weights
        fits = ascending(entries) and entries.shape == active.shape == weights.shape
        if not fits or not _silent(weights, active):
            return None
        woken, pruned = entries[active], entries[~active]
        return cls(projection=edit.projection, woken=woken, weights=_written(weights[active]), pruned=pruned)

    @property
    def plain(self) -> SetMask:
        """The edit.

        Raises:
            ValueError: its parts do not fit each other.
        """
        _check(self.weights, len(self.woken))
        entries = np.concatenate([self.woken, self.pruned])
        order = np.argsort(entries, kind="stable")
        if not ascending(entries[order]):
            raise ValueError("expected each connection among the woken or the pruned ones, got one among both")
        active = order < len(self.woken)
        weights = np.zeros(len(entries), np.float32)
        if len(self.weights):
            weights[active] = self.weights
        return SetMask(
            projection=self.projection, entries=owned(entries[order]), active=owned(active), weights=owned(weights)
        )


class CompactBlock(ArrayRecord):
    """`Block`: the shape of its weights, the places of the active ones (absent where all are, an empty text where
    none is), and their values.
    """

    shape: Shape
    live: Annotated[PlacesOrNone | None, Field(exclude_if=absent)] = None
    weights: Annotated[Singles, Field(exclude_if=empty)] = Field(default_factory=no_values)
    area: Annotated[Booleans | None, Field(exclude_if=absent)] = None
    links: Annotated[Integers | None, Field(exclude_if=absent)] = None

    @model_validator(mode="after")
    def _check(self, info: ValidationInfo) -> Self:
        size, context = math.prod(self.shape), info.context
        (context if isinstance(context, Budget) else Budget(LIMITS.entries)).take(size)
        if self.live is not None and len(self.live) and int(self.live[-1]) >= size:
            raise ValueError(f"expected live places from 0 to {size - 1}, got {self.live[-1]}")
        if self.live is not None and len(self.live) == size:
            raise ValueError("expected no live places where all weights are active, got all")
        _check(self.weights, size if self.live is None else len(self.live))
        return self

    @classmethod
    def of(cls, block: Block) -> Self | None:
        """The form of a block; None where it cannot say it."""
        weight, mask = block.weight, block.mask
        if weight.shape != mask.shape or weight.ndim > 8 or not _silent(weight, mask):
            return None
        places = None if mask.all() else np.flatnonzero(mask)
        return cls(shape=weight.shape, live=places, weights=_written(weight[mask]), area=block.area, links=block.links)

    @property
    def plain(self) -> Block:
        """The block."""
        weight, mask = np.zeros(self.shape, np.float32), np.full(self.shape, self.live is None)
        if self.live is not None:
            mask.reshape(-1)[self.live] = True
        if len(self.weights):
            weight[mask] = self.weights
        return Block(weight=owned(weight), mask=owned(mask), area=self.area, links=self.links)


class CompactUnits(ArrayRecord):
    """`AddUnits`, with compact blocks."""

    kind: Literal["compact_units"] = "compact_units"
    layer: Name
    ids: Integers
    positions: Annotated[Integers | None, Field(exclude_if=absent)] = None
    values: UnitValues = Field(default_factory=dict)
    blocks: dict[Name, CompactBlock] = Field(default_factory=dict)

    @classmethod
    def of(cls, edit: AddUnits) -> Self | None:
        """The form of an edit; None where it cannot say it."""
        blocks = {name: found for name, block in edit.blocks.items() if (found := CompactBlock.of(block))}
        if len(blocks) < len(edit.blocks):
            return None
        return cls(layer=edit.layer, ids=edit.ids, positions=edit.positions, values=edit.values, blocks=blocks)

    @property
    def plain(self) -> AddUnits:
        """The edit."""
        blocks = {name: block.plain for name, block in self.blocks.items()}
        return AddUnits(layer=self.layer, ids=self.ids, positions=self.positions, values=self.values, blocks=blocks)


class CompactProjection(ArrayRecord):
    """`AddProjection`, with a compact block."""

    kind: Literal["compact_projection"] = "compact_projection"
    projection: AnyProjection
    connections: CompactBlock

    @classmethod
    def of(cls, edit: AddProjection) -> Self | None:
        """The form of an edit; None where it cannot say it."""
        block = CompactBlock.of(edit.connections)
        return cls(projection=edit.projection, connections=block) if block else None

    @property
    def plain(self) -> AddProjection:
        """The edit."""
        return AddProjection(projection=self.projection, connections=self.connections.plain)


class CompactBatch(ArrayRecord):
    """`Batch`, whose edits have the form of a journal."""

    kind: Literal["batch"] = "batch"
    edits: Annotated[tuple["JournalEdit", ...], Field(max_length=100_000), Strict(False)]
    title: Annotated[Text, Field(exclude_if=operator.not_)] = ""
    reasons: Annotated[tuple[Reason, ...], Field(max_length=100_000, exclude_if=empty), Strict(False)] = ()
    base: Base = None

    @property
    def plain(self) -> Batch:
        """The edit."""
        edits = tuple(plain(edit) for edit in self.edits)
        return Batch(edits=edits, title=self.title, reasons=self.reasons, base=self.base)


JournalEdit = Annotated[
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
    | CompactMask
    | CompactUnits
    | CompactProjection
    | CompactBatch,
    Field(discriminator="kind"),
]
"""Any edit, as a journal holds it."""

CompactBatch.model_rebuild()
FORMS: Mapping[type[Any], Any] = {SetMask: CompactMask, AddUnits: CompactUnits, AddProjection: CompactProjection}


def compact(edit: Any) -> Any:
    """The form that an edit has in a journal: itself where there is no other."""
    if isinstance(edit, Batch):
        edits = tuple(compact(inner) for inner in edit.edits)
        return CompactBatch.model_construct(edits=edits, title=edit.title, reasons=edit.reasons, base=edit.base)
    form = FORMS.get(cast("type[Any]", type(edit)))
    return (form and form.of(edit)) or edit


def plain(edit: Any) -> Any:
    """The edit of a form.

    Raises:
        ValueError: it is not the form that the edit has in a journal.
    """
    if isinstance(edit, CompactMask | CompactUnits | CompactProjection | CompactBatch):
        return edit.plain
    if compact(edit) is not edit:
        raise ValueError(f"expected the compact form of {edit.kind!r}, got that of other files")
    return edit


def _silent(weights: AnyArray, active: AnyArray) -> bool:
    """Whether weights are 0, with no sign, where they are dormant."""
    return not weights.view(np.uint32)[~active].any()


def _written(weights: AnyArray) -> AnyArray:
    """Weights of active connections as they are written: none where all are 0, as those of growth often are."""
    return weights if weights.view(np.uint32).any() else no_values()


def _check(weights: AnyArray, count: int) -> None:
    if not len(weights):
        return
    if len(weights) != count:
        raise ValueError(f"expected a weight for each of {count} active connections, or none, got {len(weights)}")
    if not weights.view(np.uint32).any():
        raise ValueError("expected no weights where all are 0, got them")


@dataclass(frozen=True)
class InJournal:
    """Annotation of a field with an edit: JSON has the form of journals, Python the edit."""

    kinds: Any = JournalEdit

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        adapter: TypeAdapter[Any] = TypeAdapter(self.kinds)
        return core_schema.json_or_python_schema(
            json_schema=core_schema.no_info_after_validator_function(plain, handler.generate_schema(self.kinds)),
            python_schema=handler(source),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda edit: adapter.dump_python(compact(edit), mode="json"), when_used="json"
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return handler(schema)


CompactEdit = Annotated[AnyEdit, InJournal()]
CompactProposal = Annotated[Batch, InJournal(CompactBatch)]
