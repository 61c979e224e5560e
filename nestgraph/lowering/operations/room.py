"""What PyTorch has of an operation: how it is emitted, where its columns live, and under which names it is read."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

from torch import fx, nn

from nestgraph.lowering.emission import Emission
from nestgraph.spec import Layer, Operation
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.extents import Size

T = TypeVar("T")
Op = TypeVar("Op", bound=Operation)


class UncoveredError(Exception):
    """What no kind covers; its message says why. An import makes it an opaque layer."""


class Weaving(Protocol[T]):
    """What an import offers those who read a call; `T` stands for a tensor of the module that is read."""

    def operated(
        self, x: T, operation: Operation, columns: Mapping[str, AnyArray] | None = None, frozen: Sequence[str] = ()
    ) -> T:
        """`x` after an operation of its units, with the columns that it brings: (channels,), or one value for all."""
        ...

    def pointwise(
        self, x: T, operation: Operation, columns: Mapping[str, AnyArray] | None = None, frozen: Sequence[str] = ()
    ) -> T:
        """`x` after an operation on each element, however they are arranged, with columns of one value for all."""
        ...

    def size(self, x: T) -> Size:
        """The extents of maps (batch, maps, *size).

        Raises:
            UncoveredError: `x` is none.
        """
        ...

    def shape(self, x: T) -> tuple[int, ...]:
        """The axes of `x` but that of samples: (units, *size)."""
        ...

    def of_units(self, x: T) -> bool:
        """Whether each channel of maps `x` is a unit of a layer."""
        ...

    def inward(self, x: T) -> tuple[T, Callable[[T], T]]:
        """`x`, whose units stand along its last axis, as (batch, units, *size), and what turns such a tensor back."""
        ...

    def note(self, x: T, text: str) -> None:
        """Say of the layers that a tensor is of what is otherwise than in the module."""
        ...

    def is_frozen(self, *parameters: Any) -> bool:
        """Whether what a layer is made of does not train."""
        ...


Handler = Callable[..., Any]
"""(weaving, input, arguments as the function takes them) -> the result."""
Row = Callable[[Any], Handler]
"""A module -> what reads its call: (weaving, input) -> the result."""


@dataclass(frozen=True)
class Room(Generic[Op]):
    """An operation in PyTorch.

    Attributes:
        record: the class of the operation.
        emit: (emission, layer, operation, path, x) -> the node of its result; a module of its own goes to `path`.
        paths: by column, where a lowered layer holds it: the path of a parameter or buffer under that of the layer.
        counter: likewise, of the tensor that counts batches; None where none are counted.
        functions: what reads a call of a function or method of PyTorch, by its name.
        modules: what reads a call of a module, by its class.
    """

    record: type[Op]
    emit: Callable[[Emission, Layer, Op, str, fx.Node], fx.Node]
    paths: Mapping[str, str] = field(default_factory=dict[str, str])
    counter: str | None = None
    functions: Mapping[str, Handler] = field(default_factory=dict[str, Handler])
    modules: Mapping[type[nn.Module], Row] = field(default_factory=dict[type[nn.Module], Row])


def with_attributes(handler: Handler, *names: str) -> Row:
    """The row of a module that calls a function with some of its attributes."""

    def row(module: nn.Module) -> Handler:
        def read(weaving: Weaving[Any], x: Any) -> Any:
            return handler(weaving, x, *(getattr(module, name) for name in names))

        return read

    return row


def along(value: Any, axes: int) -> tuple[Any, ...]:
    """An extent for each of some axes, from one value for all or one each."""
    values = tuple(cast("Sequence[Any]", value)) if isinstance(value, Sequence) else (value,)
    return values * axes if len(values) == 1 else values
