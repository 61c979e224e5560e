"""What an opaque layer computes: a function that no kind of layer covers."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from nestgraph.spec.arrays import AnyArray


class Body(Protocol):
    """The function of an opaque layer, in inference. It belongs to a network in memory and is in no file of it.

    It is a value, as a network is: training gives another one. One that has an attribute `parameter_count` is counted
    where parameters are, one that has a method `flops(*shapes)` where FLOPs are, and `==` says whether two compute the
    same from the same numbers.
    """

    def __call__(self, *sources: AnyArray) -> AnyArray:
        """The layer's sum, (batch, units, *size), from the outputs of its arguments in their order."""
        ...


def parameters_of(body: Body | None) -> int | None:
    """How many parameters a body has; None where there is none, or it does not say."""
    count: Any = getattr(body, "parameter_count", None)
    return count if isinstance(count, int) else None


def flops_of(body: Body | None, shapes: Sequence[tuple[int, ...]]) -> int | None:
    """FLOPs of a body for arguments of these shapes, (1, units, *size); None where it does not say."""
    count: Callable[..., int | None] | None = getattr(body, "flops", None)
    return None if count is None else count(*shapes)


def same_body(before: Body | None, after: Body | None) -> bool:
    """Whether two versions of a layer compute the same; a body that is missing, as in files, differs from none."""
    return before is None or after is None or before is after or bool(before == after)
