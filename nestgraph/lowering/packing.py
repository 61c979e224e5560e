"""How a module may hold a column in another shape than the network's: one protocol for all forms."""

from typing import Protocol

from torch import Tensor

from nestgraph.spec.arrays import AnyArray

Place = tuple[int, bytes]


class Packing(Protocol):
    """A form of a column's tensor, with the ways there and back."""

    @property
    def key(self) -> bytes:
        """The same for the same packing."""
        ...

    def holds(self, values: Tensor) -> bool:
        """Whether a tensor is packed so rather than of the column's shape; told from its own."""
        ...

    def weights(self, weight: AnyArray) -> AnyArray:
        """A column, packed."""
        ...

    def packed(self, values: Tensor) -> Tensor:
        """`weights` of a tensor of the column's shape."""
        ...

    def spread(self, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        """A tensor of the column's shape from one that is packed; 0 where that holds nothing."""
        ...


def place(column: AnyArray, packing: Packing | None) -> Place:
    """The identity of a column's array, and of the form that it is packed in."""
    return id(column), b"" if packing is None else packing.key
