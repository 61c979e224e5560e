"""The values of nodes, as an import holds them: elements of layers, in tuples, lists and mappings like the module's."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.fx.node import map_aggregate

from nestgraph.interop.elements import Elements
from nestgraph.interop.tracing import TensorFact
from nestgraph.lowering.operations import UncoveredError

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Foreign:
    """A value inside an opaque layer: a tuple, integers, or a tensor without an axis of samples.

    Attributes:
        regions: what it was made from.
        reason: why no kind covers the first step.
    """

    regions: frozenset[int]
    reason: str

    def check(self) -> None:
        """Refuse to read it.

        Raises:
            UncoveredError: no kind covers it.
        """
        raise UncoveredError(self.reason)


def leaves(value: Any, kinds: type[Kind] | tuple[type[Kind], ...]) -> Iterator[Kind]:
    """What is of these kinds in a value, in order."""
    if isinstance(value, kinds):
        yield value
    elif isinstance(value, Mapping):
        for inner in cast("Mapping[Any, Any]", value).values():
            yield from leaves(inner, kinds)
    elif isinstance(value, (list, tuple)):
        for inner in cast("list[Any]", value):
            yield from leaves(inner, kinds)


def contains(value: Any, *kinds: type[Any]) -> bool:
    """Whether something in a value is of one of these kinds."""
    return any(True for _ in leaves(value, kinds))


def regions_of(value: Any) -> frozenset[int]:
    """The regions that a value was made from."""
    return frozenset[int]().union(*(leaf.regions for leaf in leaves(value, (Elements, Foreign))))


def moved(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a function that moves elements makes of them: it runs on their numbers.

    Raises:
        UncoveredError: it does more than that.
    """
    regions = regions_of((args, kwargs))

    def number(leaf: Any) -> Any:
        return leaf.index if isinstance(leaf, Elements) else leaf

    def entered(leaf: Any) -> Any:
        return Elements(leaf, regions) if isinstance(leaf, Tensor) else leaf

    numbers: Any = map_aggregate((args, kwargs), number)
    result = function(*numbers[0], **numbers[1])
    if any(leaf.dtype != torch.int64 for leaf in leaves(result, Tensor)):
        raise UncoveredError("elements are converted to another type")
    return map_aggregate(result, entered)


def same_type(x: Any, fact: TensorFact) -> Elements:
    """A tensor after a conversion that converts nothing.

    Raises:
        UncoveredError: it does.
    """
    if fact.dtype != torch.float32 or not isinstance(x, Elements):
        raise UncoveredError(f"a conversion to {fact.dtype}")
    return x


def written(target: Any, result: Any) -> Any:
    """The result of a node that works in place on `target`, seen by whatever shares memory with it."""
    if not isinstance(target, Elements) or not isinstance(result, Elements) or result is target:
        return result
    return target.overwritten(result)
