"""The shapes of what a network takes and gives, and which extents are free: where another size means something."""

from typing import TypeVar

import numpy as np

from nestgraph.graph.geometry import output_size
from nestgraph.graph.projections import meaning_of
from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.interface import InputPort, OutputPort

T = TypeVar("T")


def sample_shape(structure: Structure, port: InputPort | OutputPort) -> tuple[int | None, ...]:
    """The shape of a sample at a port; None for an extent of an input that is free."""
    layer = structure.layer(port.layer)
    if port.shape is not None and isinstance(port, InputPort) and port.free:
        extents = zip(port.shape, free_extents(structure, port), strict=True)
        return tuple(None if free else extent for extent, free in extents)
    if port.shape is not None:
        return port.shape
    if isinstance(port, OutputPort):
        return outside(port, (len(structure.units(port.layer)), *(output_size(layer) or ())))
    extents = zip(layer.size or (), free_extents(structure, port), strict=True)
    return outside(port, (layer.features, *(None if free else extent for extent, free in extents)))


def is_bare(port: InputPort | OutputPort, own: tuple[int, ...]) -> bool:
    """Whether a port has no axis for the one feature of a layer of shape (1, *size), so that its shape is the size."""
    return port.axis == 1 and own[0] == 1 and port.shape == own[1:]


def outside(port: InputPort | OutputPort, shape: tuple[T, ...]) -> tuple[T, ...]:
    """The shape (units, *size) of a sample of a layer, with the units where its port has them."""
    return (*shape[1 : port.axis], shape[0], *shape[port.axis :])


def taken_in(port: InputPort, samples: AnyArray, shape: tuple[int, ...]) -> AnyArray:
    """Samples as a port takes them, as (batch, features, *size) of a shape (features, *size)."""
    if is_bare(port, shape):
        return np.expand_dims(samples, 1)
    if port.shape is not None:
        samples = samples.reshape(len(samples), *outside(port, shape))
    return np.moveaxis(samples, port.axis, 1)


def given_out(port: OutputPort | InputPort, values: AnyArray) -> AnyArray:
    """What a layer holds, (batch, units, *size), as its port has it."""
    if isinstance(port, InputPort) and port.free and port.shape is not None:
        return values[:, 0]
    values = np.moveaxis(values, 1, port.axis)
    return values if port.shape is None else values.reshape(len(values), *port.shape)


def fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    """Whether a sample has a shape in which None stands for any extent."""
    return len(shape) == len(expected) and all(want in (None, got) for got, want in zip(shape, expected, strict=True))


def shape_words(shape: tuple[int | None, ...]) -> str:
    """A shape for people, such as `(3, any, any)`."""
    return str(shape).replace("None", "any")


def free_extents(structure: Structure, port: InputPort) -> tuple[bool, ...]:
    """For each extent of an input layer's size whether samples may have another.

    An extent is free where its port says so and nothing behind it holds it: no linear map of the places of a map, no
    values by place, no area, nothing that takes a map of one place for single values. An adaptive pooling ends what an
    extent reaches.
    """
    fixed = (False,) * len(structure.layer(port.layer).size or ())
    return fixed if not any(port.free) or _held(structure, port.layer) else port.free


def _held(structure: Structure, layer: str) -> bool:
    """Whether something on the way from an input has a size of its own."""
    reached, waiting = set[str](), [layer]
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        if structure.layer(name).places:
            return True
        if _settles(structure, name):
            continue
        if any(meaning_of(structure, projection).settled for projection in structure.outgoing(name)):
            return True
        if any(port.layer == name and port.shape is not None for port in structure.outputs):
            return True
        waiting += [projection.target for projection in structure.outgoing(name)]
    return False


def _settles(structure: Structure, layer: str) -> bool:
    """Whether a layer's output has one size whatever the size of its sum."""
    record = structure.layer(layer)
    return output_size(record) is None or any(operation.facts.settles for operation in record.operations)
