"""What an opaque layer computes: a function that no kind of layer covers."""

from typing import Protocol

from nestgraph.spec.arrays import AnyArray


class Body(Protocol):
    """The function of an opaque layer, in inference. It belongs to a network in memory and is in no file of it."""

    def __call__(self, *sources: AnyArray) -> AnyArray:
        """The layer's sum, (batch, units[, height, width]), from the outputs of its arguments in their order."""
        ...
