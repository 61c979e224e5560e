"""The record of a layer: everything about it that is not an array."""

import operator
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, Strict, WithJsonSchema, model_validator

from nestgraph.spec.extents import Size
from nestgraph.spec.operations import Activation, Chain, Operation
from nestgraph.spec.record import Count, Name, Record, Text, absent
from nestgraph.spec.unit_column import BIAS, COLUMNS, PLACES, UnitColumn

BODY = "body"
"""What of an opaque layer can be frozen, as a column can."""


def check_column(name: str) -> str:
    """Return `name` if a unit can have a column of that name.

    Raises:
        ValueError: there is no such column.
    """
    if name not in COLUMNS:
        raise ValueError(f"expected one of the columns {', '.join(COLUMNS)}, got {name[:80]!r}")
    return name


def freezable() -> tuple[str, ...]:
    """What can be frozen of a layer: the columns that train, and the body."""
    return (*(name for name, column in COLUMNS.items() if column.trained), BODY)


def check_freezable(name: str) -> str:
    """Return `name` if it names what can be frozen of a layer.

    Raises:
        ValueError: it does not.
    """
    if name not in freezable():
        raise ValueError(f"expected one of {', '.join(freezable())}, got {name[:80]!r}")
    return name


ColumnName = Annotated[str, AfterValidator(check_column), WithJsonSchema({"type": "string", "enum": list(COLUMNS)})]


FreezableName = Annotated[
    str, AfterValidator(check_freezable), WithJsonSchema({"type": "string", "enum": list(freezable())})
]


class Layer(Record):
    """A layer: a set of units of one kind, and the operations each applies to its incoming sum.

    Attributes:
        name: identifier, the first half of every node key `(layer, id)`.
        kind: `input` (places in the data), `neurons` (scalars) or `feature_maps` (grids).
        size: of the incoming sum of a map: (length,), (height, width) or (depth, height, width); None for neurons and
            flat inputs.
        features: inputs only: how many values (or channels) a sample has. The ids of the living input units
            are their places in the sample, so an input that nothing reads is simply absent.
        operations: applied to the sum in order.
        bias: whether each unit has a trained bias (a batch-normalised layer needs none).
        output: the units of this layer are outputs of the network.
        label: free text for diagrams.
        opaque: what the layer is and why no kind covers it; None for an ordinary layer. An opaque layer is what its
            body (`Structure.bodies`) computes from its arguments. Its units are frozen, and it has no bias.
        unitwise: whether each unit of an opaque layer depends on the units of its id alone, of each argument, by a
            body that takes any number of units. They come and go together.
        note: what an import did otherwise than the module, for people; left out where there is nothing to say.
        frozen: the columns that do not train (`requires_grad` of their parameters), such as the bias of a body under
            a new head; of columns that the layer does not have it says nothing. Of an opaque layer also `body`.
        places: whether each place of a map has a value of its own that is added to the sum, such as the position of a
            token; trained unless it is frozen.
        classes: inputs of one feature only: the values are ids from 0 up to below this, such as those of tokens, which
            lookups read; None where they are numbers.
    """

    name: Name
    kind: Literal["input", "neurons", "feature_maps"]
    size: Size | None = None
    features: Count | None = None
    operations: Chain = ()
    bias: bool = True
    output: bool = False
    label: Text = ""
    opaque: Annotated[Text | None, Field(exclude_if=absent)] = None  # left out of older records, so digests stay
    unitwise: Annotated[bool, Field(exclude_if=operator.not_)] = False
    note: Annotated[Text, Field(exclude_if=operator.not_)] = ""
    frozen: Annotated[tuple[FreezableName, ...], Field(max_length=8, exclude_if=operator.not_), Strict(False)] = ()
    places: Annotated[bool, Field(exclude_if=operator.not_)] = False
    classes: Annotated[Count | None, Field(exclude_if=absent)] = None

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.kind == "feature_maps" and self.size is None:
            raise ValueError(f"layer {self.name!r} of feature maps expects a size, such as (height, width), got none")
        if self.kind == "neurons" and self.size is not None:
            raise ValueError(f"layer {self.name!r} of neurons expects no size, got {self.size}")
        if (self.kind == "input") != (self.features is not None):
            raise ValueError(f"layer {self.name!r} of kind {self.kind!r}: features go with inputs, and only there")
        if self.kind == "input" and (self.operations or self.output or self.opaque is not None):
            raise ValueError(f"input layer {self.name!r} expects no operations and cannot be an output or opaque")
        if len(set(self.frozen)) < len(self.frozen) or (BODY in self.frozen and self.opaque is None):
            raise ValueError(
                f"layer {self.name!r} expected distinct frozen columns of {', '.join(freezable()[:-1])}, the body of "
                f"an opaque layer among them, got {', '.join(self.frozen)}"
            )
        if self.unitwise and self.opaque is None:
            raise ValueError(f"layer {self.name!r} expected unitwise of an opaque layer only: others have links")
        self._check_added()
        spatial = next((operation for operation in self.operations if operation.facts.spatial), None)
        if self.size is None and spatial is not None:
            raise ValueError(f"layer {self.name!r} expected no {spatial.kind}, as it has no maps: remove it")
        names = [column.name for operation in self.operations for column in operation.columns]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"layer {self.name!r} expects each column once, got two operations with {twice[0]}")
        return self

    def _check_added(self) -> None:
        """Refuse what is added to sums, or ids in the place of numbers, where there can be none.

        Raises:
            ValueError: the layer is of another kind.
        """
        if self.classes is not None and (self.kind != "input" or self.features != 1):
            raise ValueError(f"layer {self.name!r} expected classes of an input of one feature, got another layer")
        if self.places and (self.kind != "feature_maps" or self.opaque is not None):
            raise ValueError(f"layer {self.name!r} expected values by place of maps that are summed, got no such layer")
        if self.opaque is not None and self.bias:
            raise ValueError(f"opaque layer {self.name!r} expected no bias, got one: give bias=False")

    @property
    def activation(self) -> Activation | None:
        """The layer's first activation, if it has one."""
        return next(iter(self.activations), None)

    @property
    def activations(self) -> tuple[Activation, ...]:
        """The layer's activations, in their order."""
        return tuple(operation for operation in self.operations if isinstance(operation, Activation))

    @property
    def counting(self) -> Operation | None:
        """The operation whose statistics are an average of batches that are counted, if there is one."""
        return next((operation for operation in self.operations if operation.seen is not None), None)

    @property
    def mixes_units(self) -> bool:
        """Whether a unit's output depends on the sums of others, by an operation or by the body of an opaque layer."""
        whole = self.opaque is not None and not self.unitwise
        return whole or any(operation.facts.reach == "layer" for operation in self.operations)

    @property
    def columns(self) -> tuple[UnitColumn, ...]:
        """The floats that each unit of the layer carries."""
        if self.kind == "input":
            return ()
        added = (*[BIAS] * self.bias, *[PLACES] * self.places)
        return (*added, *(column for operation in self.operations for column in operation.columns))

    @property
    def column_names(self) -> tuple[ColumnName, ...]:
        """Their names."""
        return tuple(column.name for column in self.columns)

    def column_shape(self, column: str, units: int) -> tuple[int, ...]:
        """The shape of a column of so many units: (units,), or that and an axis for each of several values."""
        own = next((known for known in self.columns if known.name == column), COLUMNS[column])
        return own.shape(units, self.size)
