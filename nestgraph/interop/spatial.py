"""What reductions become: poolings, and sums over axes along which units of layers stand."""

from typing import Any

from nestgraph.interop.elements import Elements
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering.operations import Handler, UncoveredError
from nestgraph.lowering.operations.pooling import adapted

MOST_TERMS = 16
"""Of a sum along an axis, each of which is a projection."""


def reduced(function: Any) -> Handler:
    """A mean, sum or maximum over height and width; a mean or sum over an axis along which units of layers stand."""

    def handle(weaver: Weaver, input: Elements, dim: Any = None, keepdim: bool = False, axis: Any = None) -> Elements:
        chosen, axes = axis if dim is None else dim, input.index.ndim
        over = {number % axes for number in ((chosen,) if isinstance(chosen, int) else chosen or ())}
        if axes == 4 and over == {2, 3}:
            pooled = adapted(weaver, input, "average" if function == "sum" else function, (1, 1))
            if function == "sum":
                pooled = weaver.placed(pooled, float(input.index[0, 0].numel()))
            return pooled if keepdim else Elements(pooled.index.flatten(1), pooled.regions)
        if len(over) != 1 or function == "max":
            raise UncoveredError("a reduction over other axes than height and width")
        (place,) = over
        total = _added(weaver, input, place, function)
        return Elements(total.index.unsqueeze(place), total.regions) if keepdim else total

    return handle


def _added(weaver: Weaver, x: Elements, axis: int, function: Any) -> Elements:
    """The sum or average along an axis, of tensors that were stacked, say."""
    count = x.index.shape[axis]
    if not 0 < count <= MOST_TERMS:
        raise UncoveredError(f"a reduction over an axis of {count}")
    terms = [Elements(part, x.regions) for part in x.index.unbind(axis)]
    return weaver.sum(terms, [1 / count if function == "average" else 1] * count)
