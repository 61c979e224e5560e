"""The record of a layer: everything about it that is not an array."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, WithJsonSchema, model_validator

from nestgraph.spec.operations import Activation, BatchNorm, Chain, Pair, Pooling
from nestgraph.spec.record import Count, Name, Record, Text

NORMALISATION_COLUMNS = ("gamma", "beta", "mean", "variance")
COLUMNS = ("bias", *NORMALISATION_COLUMNS)


def check_column(name: str) -> str:
    """Return `name` if a unit can have a column of that name.

    Raises:
        ValueError: there is no such column.
    """
    if name not in COLUMNS:
        raise ValueError(f"expected one of the columns {', '.join(COLUMNS)}, got {name[:80]!r}")
    return name


ColumnName = Annotated[str, AfterValidator(check_column), WithJsonSchema({"type": "string", "enum": list(COLUMNS)})]


class Layer(Record):
    """A layer: a set of units of one kind, and the operations each applies to its incoming sum.

    Attributes:
        name: identifier, the first half of every node key `(layer, id)`.
        kind: `input` (places in the data), `neurons` (scalars) or `feature_maps` (grids).
        size: (height, width) of the incoming sum of a map; None for neurons and flat inputs.
        features: inputs only: how many values (or channels) a sample has. The ids of the living input units
            are their places in the sample, so an input that nothing reads is simply absent.
        operations: applied to the sum in order.
        bias: whether each unit has a trained bias (a batch-normalised layer needs none).
        output: the units of this layer are outputs of the network.
        label: free text for diagrams.
    """

    name: Name
    kind: Literal["input", "neurons", "feature_maps"]
    size: Pair | None = None
    features: Count | None = None
    operations: Chain = ()
    bias: bool = True
    output: bool = False
    label: Text = ""

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        if self.kind == "feature_maps" and self.size is None:
            raise ValueError(f"layer {self.name!r} of feature maps expects a size (height, width), got none")
        if self.kind == "neurons" and self.size is not None:
            raise ValueError(f"layer {self.name!r} of neurons expects no size, got {self.size}")
        if (self.kind == "input") != (self.features is not None):
            raise ValueError(f"layer {self.name!r} of kind {self.kind!r}: features go with inputs, and only there")
        if self.kind == "input" and (self.operations or self.output):
            raise ValueError(f"input layer {self.name!r} expects no operations and cannot be an output")
        if self.size is None and any(isinstance(operation, Pooling) for operation in self.operations):
            raise ValueError(f"layer {self.name!r} expected no pooling, as it has no maps: remove it")
        if sum(isinstance(operation, BatchNorm) for operation in self.operations) > 1:
            raise ValueError(f"layer {self.name!r} expects at most one batch normalisation")
        return self

    @property
    def batch_norm(self) -> BatchNorm | None:
        """The layer's batch normalisation, if it has one."""
        return next((op for op in self.operations if isinstance(op, BatchNorm)), None)

    @property
    def activation(self) -> Activation | None:
        """The layer's first activation, if it has one."""
        return next((op for op in self.operations if isinstance(op, Activation)), None)

    @property
    def column_names(self) -> tuple[ColumnName, ...]:
        """The float columns that each unit of the layer carries."""
        if self.kind == "input":
            return ()
        return (("bias",) if self.bias else ()) + (NORMALISATION_COLUMNS if self.batch_norm else ())
