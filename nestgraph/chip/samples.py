"""Samples on which a file is tried: real ones where they are given, random ones that the interface allows else."""

from collections.abc import Sequence

import numpy as np

from nestgraph.chip.program import Program
from nestgraph.errors import ExportError, StructureError
from nestgraph.graph import Network, cost
from nestgraph.graph.extents import given_out
from nestgraph.graph.reference import Inputs, forward, samples_of
from nestgraph.spec.arrays import AnyArray

RANDOM, MOST = 4, 64
AFFORDABLE = 4e9
"""Multiplications and additions that the reference may take; of fewer samples where one takes more."""


def random_samples(program: Program, count: int = RANDOM) -> list[AnyArray]:
    """Samples by port, (count, ...), float32, the same each time: standard normal numbers, or ids of classes."""
    rng = np.random.default_rng(count)
    found: list[AnyArray] = []
    for port, value in program.inputs:
        bounds = port.integers if value.classes is None else (0, value.classes - 1)
        shape = (count, *value.shape)
        drawn = rng.standard_normal(shape) if bounds is None else rng.integers(*bounds, shape, endpoint=True)
        found.append(drawn.astype(np.float32))
    return found


def real_samples(network: Network, what: str, inputs: Inputs) -> list[AnyArray]:
    """Given samples by port, (batch, ...), float32, of the declared size.

    Raises:
        ExportError: they are none of the network's, or there is none.
    """
    try:
        arrays = samples_of(network, _flat(network, inputs))
    except StructureError as error:
        raise ExportError(f"{what}: {error}") from error
    if not all(map(len, arrays)):
        raise ExportError(f"{what}: expected at least one sample in inputs, got none")
    for port, array in zip(network.inputs, arrays, strict=True):
        if array.shape[2:] != (size := network.layer(port.layer).size or ()):
            raise ExportError(f"{what}: expected samples of size {size} for {port.layer!r}, got {array.shape[2:]}")
    return [given_out(port, array).astype(np.float32) for port, array in zip(network.inputs, arrays, strict=True)]


def _flat(network: Network, inputs: Inputs) -> Inputs:
    """Images as rows of numbers, for a network of one input that takes these."""
    (name, *others) = network.input_names
    layer = network.layer(name)
    if others or not isinstance(inputs, np.ndarray) or layer.size is not None or inputs.ndim < 3:
        return inputs
    flat = inputs.reshape(len(inputs), -1)
    return flat if flat.shape[1] == layer.features else inputs


def expected(network: Network, samples: Sequence[AnyArray], dtype: type = np.float64) -> list[AnyArray]:
    """What the network gives for samples by port, by port."""
    outputs = forward(network, tuple(samples), dtype)
    return [given_out(port, outputs[port.layer]) for port in network.outputs]


def affordable(network: Network, samples: Sequence[AnyArray]) -> list[AnyArray]:
    """The first samples, as many as the reference computes in a while: one at least."""
    count = int(min(MOST, max(1, AFFORDABLE // max(1, cost(network).total.flops))))
    return [array[:count] for array in samples]
