"""What operations are as functions of a number or steps: a row for each kind."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nestgraph.chip.moves import Ended, Taken
from nestgraph.chip.norms import Normalised, Responded, Softened
from nestgraph.chip.pointwise import Function, Line, Pointwise, expression
from nestgraph.chip.program import Step, Value
from nestgraph.chip.sums import Window
from nestgraph.chip.windows import Blended, Pooled
from nestgraph.errors import ExportError
from nestgraph.spec import Layer
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations import (
    Activation,
    AdaptivePooling,
    LocalResponseNorm,
    Norm,
    Operation,
    Pad,
    ParametricReLU,
    Pick,
    Pooling,
    Series,
    Softmax,
    Upsampling,
)
from nestgraph.spec.operations.pooling import intervals
from nestgraph.spec.operations.upsampling import nearest
from nestgraph.spec.windows import framed


@dataclass
class At:
    """Where a chain of operations stands.

    Attributes:
        layer: whose.
        ids: (units,) of its units.
        columns: of its units, float64.
        value: what was made last.
        size: of its maps.
        fresh: makes a value of a size.
    """

    layer: Layer
    ids: AnyArray
    columns: dict[str, AnyArray]
    value: Value
    size: tuple[int, ...]
    fresh: Callable[[tuple[int, ...]], Value] = field(repr=False)


def pointwise(layer: Layer, operation: Operation, columns: Mapping[str, AnyArray]) -> Pointwise | None:
    """What an operation makes of each number by itself; None where it looks at others.

    Raises:
        ExportError: it is a function that C is not known for.
    """
    if isinstance(operation, Activation):
        text = expression(operation)
        if text is None:
            raise ExportError(
                f"layer {layer.name!r}: expected functions that C is known for, got {operation.function!r}: export it "
                "as ONNX or Python"
            )
        return Function(operation, text)
    if isinstance(operation, ParametricReLU):
        slope = columns["slope"]
        return Line(np.ones(len(slope)), np.zeros(len(slope)), slope)
    affine = operation.affine(columns)
    if affine is None:
        return None
    scale, shift = (np.broadcast_to(each, affine.scale.shape) for each in (affine.scale, affine.shift))
    return Line(scale, shift - affine.centre * scale)


def window_of(operation: Operation, size: tuple[int, ...]) -> Window | None:
    """The windows of a maximum that can be taken of sums as they are made; None where it is another operation.

    They lie within the map and do not overlap, so that no sum is made twice.
    """
    if not isinstance(operation, Pooling) or operation.function != "max" or any(operation.padding):
        return None
    given = operation.resized(size)
    axes = tuple(zip(given, operation.stride, operation.kernel, size, strict=True))
    if any(step < kernel or (count - 1) * step + kernel > extent for count, step, kernel, extent in axes):
        return None
    return Window(operation.kernel, operation.stride, given)


def taken(at: At, places: list[AnyArray], fill: float = 0.0) -> Step:
    """Places of maps along each axis, -1 for none."""
    target = at.fresh(tuple(map(len, places)))
    return Taken(at.layer.name, target, at.value, at.size, tuple(places), fill)


def _pick(operation: Pick, at: At) -> Iterator[Step]:
    yield taken(at, [np.array([place % extent]) for place, extent in zip(operation.place, at.size, strict=True)])


def _pad(operation: Pad, at: At) -> Iterator[Step]:
    places: list[AnyArray] = []
    for extent, ends in zip(at.size, zip(operation.before, operation.after, strict=True), strict=True):
        numbers = np.arange(extent).reshape(1, 1, -1)
        places.append(framed(numbers, (ends,), operation.mode, -1.0)[0, 0])
    yield taken(at, places, operation.value)


def _series(operation: Series, at: At) -> Iterator[Step]:
    count = math.prod(at.size)
    if not operation.columns:
        at.size = (count,)
        return
    target = at.fresh((count + operation.before + operation.after,))
    yield Ended(at.layer.name, target, at.value, at.columns["ends"], operation.before)


def _upsampling(operation: Upsampling, at: At) -> Iterator[Step]:
    size = operation.resized(at.size)
    scales = operation.scale or (None,) * len(size)
    if operation.mode == "nearest":
        yield taken(at, [nearest(*axis) for axis in zip(at.size, size, scales, strict=True)])
        return
    for axis, (count, scale) in enumerate(zip(size, scales, strict=True)):
        places = operation.between(at.size[axis], count, scale)
        low = places.astype(np.int64)
        given = (*at.size[:axis], count, *at.size[axis + 1 :])
        lengths = len(at.ids) * math.prod(at.size[:axis]), at.size[axis], math.prod(at.size[axis + 1 :])
        step = Blended(at.layer.name, at.fresh(given), at.value, lengths, low, places - low)
        at.value, at.size = step.target, given
        yield step


def _pooling(operation: Pooling, at: At) -> Iterator[Step]:
    size = operation.resized(at.size)
    starts, ends, counts = list[AnyArray](), list[AnyArray](), list[AnyArray]()
    for axis, (extent, windows) in enumerate(zip(at.size, size, strict=True)):
        first = np.arange(windows) * operation.stride[axis] - operation.padding[axis]
        starts.append(np.maximum(first, 0))
        ends.append(np.minimum(first + operation.kernel[axis], extent))
        counts.append(operation.counted(axis, extent, windows))
    yield _pooled(at, operation.function == "max", starts, ends, counts)


def _adaptive(operation: AdaptivePooling, at: At) -> Iterator[Step]:
    parts = [np.array([*intervals(*axis)]).T for axis in zip(at.size, operation.size, strict=True)]
    starts, ends = [first for first, _ in parts], [last for _, last in parts]
    counts = [last - first for first, last in zip(starts, ends, strict=True)]
    yield _pooled(at, operation.function == "max", starts, ends, counts)


def _pooled(at: At, largest: bool, starts: list[AnyArray], ends: list[AnyArray], counts: list[AnyArray]) -> Step:
    target = at.fresh(tuple(map(len, starts)))
    return Pooled(
        at.layer.name, target, at.value, at.size, tuple(starts), tuple(ends), None if largest else tuple(counts)
    )


def _norm(operation: Norm, at: At) -> Iterator[Step]:
    yield Normalised(at.layer.name, at.fresh(at.size), at.value, operation, at.ids, at.columns)


def _local_response_norm(operation: LocalResponseNorm, at: At) -> Iterator[Step]:
    yield Responded(at.layer.name, at.fresh(at.size), at.value, operation, at.ids)


def _softmax(operation: Softmax, at: At) -> Iterator[Step]:
    yield Softened(at.layer.name, at.fresh(at.size), at.value, operation)


STEPS: Mapping[type[Operation], Callable[[Any, At], Iterator[Step]]] = {
    Pick: _pick,
    Pad: _pad,
    Series: _series,
    Upsampling: _upsampling,
    Pooling: _pooling,
    AdaptivePooling: _adaptive,
    Norm: _norm,
    LocalResponseNorm: _local_response_norm,
    Softmax: _softmax,
}
"""By kind of an operation that looks at more than one number, the steps that it is."""


def steps_of(operation: Operation, at: At) -> Iterator[Step]:
    """The steps of an operation; `at` moves on.

    Raises:
        ExportError: it is of a kind that C is not known for.
    """
    make = STEPS.get(type(operation))
    if make is None:
        raise ExportError(
            f"layer {at.layer.name!r}: expected operations that C is known for, got {operation.kind!r}: export it as "
            "ONNX or Python"
        )
    for step in make(operation, at):
        at.value, at.size = step.target, step.target.shape[1:]
        yield step
