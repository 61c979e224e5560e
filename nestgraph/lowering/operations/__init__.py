"""What PyTorch has of each operation: a room each, found by the class of the record.

A new kind is one record in `nestgraph.spec.operations` and one room here.
"""

from collections.abc import Iterator
from typing import Any

from torch import fx, nn

from nestgraph.lowering.emission import Emission
from nestgraph.lowering.operations import (
    activation,
    batch_norm,
    dropout,
    local_response_norm,
    norm,
    pad,
    pick,
    pooling,
    series,
    softmax,
    upsampling,
)
from nestgraph.lowering.operations.room import Handler, Room, Row, UncoveredError, Weaving
from nestgraph.spec import Layer, Operation
from nestgraph.spec.unit_column import BIAS, PLACES

ROOMS: dict[type[Operation], Room[Any]] = {}
"""By record, what PyTorch has of it."""
FUNCTIONS: dict[str, Handler] = {}
"""By the name of a function or method of PyTorch, what reads its calls."""
MODULES: dict[type[nn.Module], Row] = {}
"""By the class of a module, what reads its calls; a subclass is another class."""


def register(room: Room[Any]) -> None:
    """Let an operation be lowered to PyTorch and read from it.

    Where two have a function or module, the one that came last reads it.
    """
    ROOMS[room.record] = room
    FUNCTIONS.update(room.functions)
    MODULES.update(room.modules)


def emit_operation(emission: Emission, layer: Layer, operation: Operation, path: str, x: fx.Node) -> fx.Node:
    """Emit what an operation gives of `x`; a module of its own goes to `path`."""
    return ROOMS[type(operation)].emit(emission, layer, operation, path, x)


def steps(layer: Layer) -> Iterator[tuple[Layer, Operation]]:
    """The operations of a layer as they are computed, each with the layer as if what it is given were the sum.

    That is their order, but that maxima are taken before what rises: it gives the same numbers and gradients, with less
    to compute.
    """
    size, order = layer.size, list(layer.operations)
    for place in range(len(order) - 1, 0, -1):
        if order[place].facts.takes_largest and order[place - 1].facts.rises:
            order[place - 1 : place + 1] = order[place], order[place - 1]
    for operation in order:
        yield layer if size == layer.size else layer.model_copy(update={"size": size}), operation
        size = None if size is None else operation.resized(size)


def column_paths(layer: Layer) -> Iterator[tuple[str, str]]:
    """The columns of a layer, each with its path in the module of the layer."""
    held = {BIAS.name: BIAS.name, PLACES.name: PLACES.name}
    for operation in layer.operations:
        paths = ROOMS[type(operation)].paths
        held |= {column.name: paths[column.name] for column in operation.columns}
    return ((column, held[column]) for column in layer.column_names)


for _room in (
    batch_norm.ROOM,
    activation.ROOM,
    activation.PARAMETRIC,
    pooling.ROOM,
    pooling.ADAPTIVE,
    pick.ROOM,
    upsampling.ROOM,
    local_response_norm.ROOM,
    norm.ROOM,
    dropout.ROOM,
    softmax.ROOM,
    series.ROOM,
    pad.ROOM,
):
    register(_room)

__all__ = [
    "FUNCTIONS",
    "MODULES",
    "ROOMS",
    "Handler",
    "Room",
    "Row",
    "UncoveredError",
    "Weaving",
    "column_paths",
    "emit_operation",
    "register",
    "steps",
]
