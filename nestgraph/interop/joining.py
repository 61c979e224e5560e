"""What joins of tensors along places become: series, in which layers and values of their own stand in a row."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from nestgraph.interop.elements import Elements
from nestgraph.interop.values import contains, moved
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering.operations import UncoveredError
from nestgraph.lowering.tensors import as_array
from nestgraph.spec import Series
from nestgraph.spec.arrays import AnyArray

Parts = Sequence[Any]


def joined(weaver: Weaver, name: str, function: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """What a function that puts tensors together makes of them.

    Raises:
        UncoveredError: there are constants among them that cannot be places of their own.
    """
    args = tuple(map(_without_empty, args))
    if contains((args, kwargs), Tensor):
        return _with_constants(weaver, name, *args, **kwargs)
    return moved(function, args, kwargs)


def _without_empty(arg: Any) -> Any:
    """What is joined without constants that have no elements, such as caches that hold nothing yet."""
    if not isinstance(arg, (list, tuple)):
        return arg
    parts = cast("Sequence[Any]", arg)
    return [part for part in parts if not (isinstance(part, Tensor) and not part.numel())]


def _with_constants(weaver: Weaver, name: str, tensors: Parts, dim: int = 0) -> Elements:
    """What a join makes of elements and, before or behind them, constants: places of values of their own.

    Raises:
        UncoveredError: constants are between elements, or differ between samples, or are joined to units.
    """
    if name == "stack":
        raise UncoveredError("constants are stacked with elements")
    parts = list(tensors)
    at = [place for place, part in enumerate(parts) if isinstance(part, Elements)]
    first, last = at[0], at[-1] + 1
    inner = [part for part in parts[first:last] if isinstance(part, Elements)]
    if len(inner) < last - first:
        raise UncoveredError("constants are joined between elements")
    x = Elements(torch.cat([part.index for part in inner], dim), frozenset[int]().union(*(p.regions for p in inner)))
    dim %= x.ndim
    stood = weaver.ledger.arrangement(x, axes=[axis for axis in range(1, x.ndim) if axis != dim])
    if x.ndim != 3 or dim in (0, stood.axis):
        raise UncoveredError("constants are joined to elements along something else than their places")
    turned = stood.inward(x)
    weaver.ledger.refs(turned)
    constants = parts[:first], parts[last:]
    ends = [_column(each, dim, turned.shape[1]) for each in constants]
    frozen = all(weaver.is_frozen(part) or not isinstance(part, nn.Parameter) for each in constants for part in each)
    series = Series(before=ends[0].shape[1], after=ends[1].shape[1])
    grown = weaver.operated(turned, series, {"ends": np.concatenate(ends, 1)}, ("ends",) if frozen else ())
    return grown.turned(1, stood.axis)


def _column(constants: Sequence[Tensor], dim: int, units: int) -> AnyArray:
    """(units, places): constants of three axes, those of samples among them, which agree.

    Raises:
        UncoveredError: they do not.
    """
    if not constants:
        return np.zeros((units, 0), np.float32)
    values = as_array(torch.cat([constant.detach() for constant in constants], dim))
    if (values != values[:1]).any():
        raise UncoveredError("constants that differ between samples are joined to elements")
    return values[0].T if dim == 1 else values[0]
