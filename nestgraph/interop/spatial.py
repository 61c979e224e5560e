"""What reductions become: poolings, and sums over axes along which units of layers stand."""

import math
from typing import Any

from nestgraph.interop.elements import Arrangement, Elements
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering.operations import Handler, UncoveredError
from nestgraph.lowering.operations.pooling import adapted

MOST_TERMS = 16
"""Of a sum along an axis, each of which is a projection."""


def reduced(function: Any) -> Handler:
    """A mean, sum or maximum over the extents of maps; a mean or sum over an axis along which units of layers stand."""

    def handle(weaver: Weaver, input: Elements, dim: Any = None, keepdim: bool = False, axis: Any = None) -> Elements:
        chosen, axes = axis if dim is None else dim, input.ndim
        over = {number % axes for number in ((chosen,) if isinstance(chosen, int) else chosen or ())}
        stood = weaver.ledger.arrangement(input) if axes > 2 else None
        if stood is not None and over and not over & {0, stood.axis} and weaver.ledger.holds(stood.inward(input)):
            pooled = _pooled(weaver, input, function, over, stood)
            return pooled if keepdim else Elements(pooled.index.squeeze(tuple(over)), pooled.regions)
        if len(over) != 1 or function == "max":
            raise UncoveredError("a reduction over other axes than the extents of maps")
        (place,) = over
        total = _added(weaver, input, place, function)
        return Elements(total.index.unsqueeze(place), total.regions) if keepdim else total

    return handle


def _pooled(weaver: Weaver, x: Elements, function: Any, over: set[int], stood: Arrangement) -> Elements:
    """Maps reduced along some axes of a tensor, which keep one place."""
    extents = [axis for axis in range(1, x.ndim) if axis != stood.axis]
    wanted = tuple(1 if axis in over else None for axis in extents)
    if stood.size != stood.places:  # in a row
        if None in wanted:
            raise UncoveredError("a reduction over a part of the extents of maps whose places are in a row")
        wanted = (1,) * len(stood.size)
    pooled = adapted(weaver, stood.inward(x), "average" if function == "sum" else function, wanted)
    if function == "sum":
        pooled = weaver.placed(pooled, float(math.prod(x.shape[axis] for axis in over)))
    left = tuple(1 if axis in over else x.shape[axis] for axis in extents)
    return Arrangement(stood.axes, left, tuple(pooled.shape[2:])).outward(pooled)


def _added(weaver: Weaver, x: Elements, axis: int, function: Any) -> Elements:
    """The sum or average along an axis, of tensors that were stacked, say."""
    count = x.shape[axis]
    if not 0 < count <= MOST_TERMS:
        raise UncoveredError(f"a reduction over an axis of {count}")
    terms = [Elements(part, x.regions) for part in x.index.unbind(axis)]
    return weaver.sum(terms, [1 / count if function == "average" else 1] * count)
