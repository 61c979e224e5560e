"""What arithmetic of tensors becomes: sums and gates of layers, and scales and shifts of their units."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nestgraph.interop.elements import Arrangement, Elements, together
from nestgraph.interop.masks import are_scores, hidden, hides
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering.operations import Handler, UncoveredError
from nestgraph.lowering.operations.activation import power
from nestgraph.spec import Activation
from nestgraph.spec.arrays import AnyArray

Number = float | Tensor


def add(weaver: Weaver, input: Any, other: Any, alpha: float = 1) -> Elements:
    """A sum of layers, or of a layer and a constant of each unit, or of each place of each."""
    if isinstance(input, Elements) and isinstance(other, Elements):
        return weaver.sum([input, other], [1, alpha])
    if not isinstance(input, Elements | Tensor) and input == 0 and alpha == 1:  # where Python's sum begins
        return other
    x, shift, scale, by = (input, other, 1, alpha) if isinstance(input, Elements) else (other, input, alpha, 1)
    x = _widened(x, shift)
    if by == scale == 1 and hides(shift) and are_scores(weaver, x):
        return hidden(weaver, x, shift)
    stood = weaver.ledger.arrangement(x, split=True)
    values, frozen = _by_place(x, shift, stood), weaver.is_frozen(shift)
    if values.ndim == 1:
        return weaver.placed(x, scale, values * by, frozen=frozen, stood=stood)
    trained = isinstance(shift, nn.Parameter)  # else it is a mask, say
    result = weaver.placed(x, scale, values * by, frozen=frozen or not trained, stood=stood)
    _note_copies(weaver, result, shift, values)
    return result


def sub(weaver: Weaver, input: Any, other: Any, alpha: float = 1) -> Elements:
    """A difference."""
    return add(weaver, input, other, -alpha)


def mul(weaver: Weaver, input: Any, other: Any) -> Elements:
    """A product of layers, or of a layer and a constant of each unit, or of each place of each."""
    x, y = (input, other) if isinstance(input, Elements) else (other, input)
    if not isinstance(y, Elements):
        x = _widened(x, y)
        stood, trained = weaver.ledger.arrangement(x, split=True), isinstance(y, nn.Parameter)
        factors = _by_place(x, y, stood)
        result = weaver.placed(x, factors, trained=trained, frozen=weaver.is_frozen(y), stood=stood)
        if factors.ndim > 1:
            _note_copies(weaver, result, y, factors)
        return result
    if y.shape[1:].numel() > x.shape[1:].numel():
        x, y = y, x
    try:
        return weaver.product(x, y)
    except UncoveredError:
        flat = [_in_a_row(x, y), _in_a_row(y, x)]  # of neurons each element is a unit
        if not all(map(weaver.ledger.holds, flat)):
            raise
        found = weaver.product(*flat)
        return Elements(found.index.reshape(together(x.shape, y.shape)), found.regions)


def _in_a_row(x: Elements, y: Elements) -> Elements:
    """(batch, elements): those of one tensor, repeated as far as another has more."""
    return Elements(x.index.expand(together(x.shape, y.shape)).flatten(1), x.regions)


def div(weaver: Weaver, input: Any, other: Any, rounding_mode: str | None = None) -> Elements:
    """A layer divided by a constant of each unit, or what is divided by a layer."""
    if rounding_mode is not None:
        raise UncoveredError("a division that rounds")
    if isinstance(other, Elements):
        if isinstance(input, Elements) and input.regions & other.regions:  # which are read as they were, too
            other = weaver.placed(other, stood=weaver.ledger.arrangement(other))
        return mul(weaver, input, weaver.pointwise(other, Activation(function="reciprocal")))
    x = _widened(input, other)
    stood = weaver.ledger.arrangement(x, split=True)
    return weaver.placed(x, 1 / _by_place(x, other, stood), stood=stood)


def neg(weaver: Weaver, input: Elements) -> Elements:
    """The negative."""
    return weaver.placed(input, -1, stood=weaver.ledger.arrangement(input, split=True))


def rsub(weaver: Weaver, input: Any, other: Any, alpha: float = 1) -> Elements:
    """A difference the other way round."""
    return add(weaver, other, input, -alpha)


def times(factor: float) -> Handler:
    """A function that multiplies by a number."""

    def handle(weaver: Weaver, input: Elements) -> Elements:
        return mul(weaver, input, factor)

    return handle


def turned(weaver: Weaver, x: Elements, factors: Any) -> Elements:
    """Pairs (..., 2) as complex numbers times constants, as rotary positions turn them."""
    if not isinstance(factors, Tensor):
        raise UncoveredError("a product of complex numbers that are no constants")
    real, imaginary = (Elements(part, x.regions) for part in x.index.unbind(-1))
    cosines, sines = torch.view_as_real(factors).unbind(-1)
    both = [
        weaver.sum([mul(weaver, real, first), mul(weaver, imaginary, second)], [1, sign])
        for first, second, sign in ((cosines, sines, -1), (sines, cosines, 1))
    ]
    return Elements(torch.stack([part.index for part in both], -1), both[0].regions | both[1].regions)


def addcmul(weaver: Weaver, input: Any, tensor1: Any, tensor2: Any, value: float = 1) -> Elements:
    """A sum with a product."""
    return add(weaver, input, mul(weaver, tensor1, tensor2), value)


def addcdiv(weaver: Weaver, input: Any, tensor1: Any, tensor2: Any, value: float = 1) -> Elements:
    """A sum with a quotient."""
    return add(weaver, input, div(weaver, tensor1, tensor2), value)


def lerp(weaver: Weaver, input: Any, end: Any, weight: Any) -> Elements:
    """What lies between two tensors."""
    if not isinstance(weight, Elements | Tensor) and isinstance(input, Elements) and isinstance(end, Elements):
        return weaver.sum([input, end], [1 - weight, weight])
    return add(weaver, input, mul(weaver, sub(weaver, end, input), weight))


def raised(weaver: Weaver, input: Any, exponent: Any) -> Elements:
    """A power by a number, or of numbers."""
    if not isinstance(exponent, Elements):
        if isinstance(exponent, Tensor) and exponent.numel() != 1:
            raise UncoveredError("a power by a tensor")
        return power(weaver, input, float(exponent))
    if isinstance(input, Elements):
        raise UncoveredError("a power of a tensor by a tensor")
    stood = weaver.ledger.arrangement(exponent, split=True)
    bases = _by_place(exponent, input, stood)
    if (bases <= 0).any():
        raise UncoveredError("a power of numbers that are not positive")
    return weaver.pointwise(weaver.placed(exponent, np.log(bases), stood=stood), Activation(function="exp"))


def _widened(x: Elements, value: Number) -> Elements:
    """`x` repeated along the axes on which a constant has more than it: a number of each sample times a row, say.

    Raises:
        UncoveredError: the shapes do not go together.
    """
    shape = together(x.shape, value.shape if isinstance(value, Tensor) else ())
    return x if shape == x.shape else Elements(x.index.expand(shape), x.regions)


def _by_place(x: Elements, value: Number, stood: Arrangement) -> AnyArray:
    """(channels,): a constant of each unit of `x`; (channels, *size) where it differs from place to place.

    Of a parameter its shape says so: which network comes of a module does not depend on what it was trained to.

    Raises:
        UncoveredError: it differs between samples.
    """
    spread = _spread(x, value, stood)
    flat = spread.reshape(len(spread), -1)
    by_place = bool((flat != flat[:, :1]).any())
    if isinstance(value, nn.Parameter):
        extents = enumerate(value.shape, x.ndim - value.ndim)
        by_place = any(extent > 1 for axis, extent in extents if axis not in stood.axes)
    return spread.reshape(len(spread), *stood.size) if by_place else flat[:, 0]


def _spread(x: Elements, value: Number, stood: Arrangement) -> AnyArray:
    """(channels, *places): a constant for each element of `x`.

    Raises:
        UncoveredError: the constant differs between samples.
    """
    given = value.detach().to("cpu", torch.float32) if isinstance(value, Tensor) else torch.tensor(float(value))
    try:
        return stood.units_first(given.expand(1, *x.shape[1:]))[0].numpy()
    except RuntimeError:
        raise UncoveredError("a constant of a shape that gives no value to each unit") from None


def _note_copies(weaver: Weaver, result: Elements, value: Number, copies: AnyArray) -> None:
    """Say that places or units share a parameter in the module."""
    if isinstance(value, nn.Parameter) and value.numel() < copies.size:
        weaver.note(result, "a value that places or units share has copies here, which train apart")
