"""The operations a layer applies to the sum of its incoming projections, in the order of its chain: a file each."""

from typing import Annotated

from pydantic import Field, Strict

from nestgraph.errors import StructureError
from nestgraph.spec.operations.activation import Activation, ParametricReLU
from nestgraph.spec.operations.batch_norm import BatchNorm
from nestgraph.spec.operations.dropout import Dropout
from nestgraph.spec.operations.local_response_norm import LocalResponseNorm
from nestgraph.spec.operations.norm import Norm
from nestgraph.spec.operations.operation import Affine, Facts, Operation
from nestgraph.spec.operations.pad import Pad
from nestgraph.spec.operations.pick import Pick
from nestgraph.spec.operations.pointwise import ActivationFunction
from nestgraph.spec.operations.pooling import AdaptivePooling, Pooling
from nestgraph.spec.operations.series import Series
from nestgraph.spec.operations.softmax import Softmax
from nestgraph.spec.operations.upsampling import Upsampling
from nestgraph.spec.registered import ByKind, Registered
from nestgraph.spec.unit_column import COLUMNS

_BuiltIn = Annotated[
    BatchNorm
    | Activation
    | ParametricReLU
    | Pooling
    | AdaptivePooling
    | Pick
    | Upsampling
    | LocalResponseNorm
    | Norm
    | Dropout
    | Softmax
    | Series
    | Pad,
    Field(discriminator="kind"),
]
OPERATIONS: Registered[Operation] = Registered("operation", _BuiltIn)
"""All kinds of operations: those of this package, and those that others register."""
AnyOperation = Annotated[Operation, ByKind(OPERATIONS)]
"""Any operation, told apart by its `kind`."""
Chain = Annotated[tuple[AnyOperation, ...], Field(max_length=16), Strict(False)]


def register(record: type[Operation]) -> None:
    """Let a kind of operation be used by the tag of its record, as those of this package are.

    How it is lowered to PyTorch and read from it is said by `nestgraph.lowering.operations.register`.

    Raises:
        StructureError: the tag is another record's, or a column of its is known as another one.
    """
    _enter(record)
    OPERATIONS.add(record)


def _enter(record: type[Operation]) -> None:
    """Make the columns of a kind known."""
    for column in record.possible:
        if COLUMNS.get(column.name, column) != column:
            raise StructureError(
                f"register expected the column {column.name!r} of {record.__name__} as it is known, "
                f"{COLUMNS[column.name]}, got {column}: give it another name"
            )
    COLUMNS.update({column.name: column for column in record.possible})


for _record in OPERATIONS:
    _enter(_record)

__all__ = [
    "OPERATIONS",
    "Activation",
    "ActivationFunction",
    "AdaptivePooling",
    "Affine",
    "AnyOperation",
    "BatchNorm",
    "Chain",
    "Dropout",
    "Facts",
    "LocalResponseNorm",
    "Norm",
    "Operation",
    "Pad",
    "ParametricReLU",
    "Pick",
    "Pooling",
    "Series",
    "Softmax",
    "Upsampling",
    "register",
]
