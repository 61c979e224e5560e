"""Whether what was exported computes the network: its outputs beside the network's own, on random and real inputs."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, cast

import numpy as np
import torch

from nestgraph.errors import ExportError, StructureError
from nestgraph.graph import Network, cost
from nestgraph.graph.extents import given_out, outside, sample_shape
from nestgraph.graph.reference import Inputs, forward, samples_of
from nestgraph.lowering import lower
from nestgraph.spec import InputPort
from nestgraph.spec.arrays import AnyArray

Runner = Callable[[list[AnyArray]], Sequence[AnyArray]]
"""What computes exported outputs from samples, both by position: float32, or int64 where a port holds integers."""

TOLERANCE = 1e-4
"""The largest difference that is accepted, relative to the largest output; and beside it some of the difference that
single precision makes to the network itself."""

BATCHES = (1, 3)
MOST = 64
"""Of the real inputs so many are computed."""

AFFORDABLE = 4e9
"""Multiplications and additions up to which the NumPy reference says what is right; beyond, the masked module does."""


def check_agreement(network: Network, what: str, run: Runner, inputs: Inputs | None = None) -> float:
    """Compare what was exported with the network, by position, in batches of one and of several.

    Args:
        network: what was exported.
        what: how messages begin.
        run: computes the exported outputs.
        inputs: real samples, as `forward` takes them; random ones that the interface allows are compared in any case,
            but not where the network itself gives nothing finite for them.

    Returns:
        The largest difference, relative to the largest output of its port.

    Raises:
        ExportError: an output differs by more than is accepted, or the inputs are not the network's, or nothing could
            be compared.
    """
    found: list[float] = []
    expected = _Expected(network)
    for kind, samples in _batches(network, what, inputs):
        exact = expected(samples, np.float64)
        if not all(np.isfinite(values).all() for values in exact):
            continue
        single = cache(partial(expected, samples, np.float32))
        for place, (port, values, got) in enumerate(zip(network.outputs, exact, run(samples), strict=True)):
            where = f"{what}: output {place} (layer {port.layer!r}) on {kind}"
            found.append(difference(where, values, lambda place=place, single=single: single()[place], got))
    if not found:
        raise ExportError(
            f"{what}: expected samples for which the network gives finite values, got none at random: "
            "give some as inputs"
        )
    return max(found)


def example_inputs(network: Network, batch: int) -> list[AnyArray]:
    """Random samples by position, the same each time: standard normal float32, or int64 where a port holds integers."""
    return _random(network, batch, _shapes(network))


def _random(network: Network, batch: int, shapes: Sequence[tuple[int, ...]]) -> list[AnyArray]:
    rng = np.random.default_rng(batch)
    return [
        rng.standard_normal((batch, *shape), np.float32)
        if (bounds := _integers(network, port)) is None
        else rng.integers(*bounds, (batch, *shape), np.int64, endpoint=True)
        for port, shape in zip(network.inputs, shapes, strict=True)
    ]


def _integers(network: Network, port: InputPort) -> tuple[int, int] | None:
    """The least and the largest of the whole numbers that a port holds; None where it holds any numbers."""
    classes = network.layer(port.layer).classes
    return port.integers if classes is None else (0, classes - 1)


def _shapes(network: Network, times: int = 1) -> list[tuple[int, ...]]:
    """The shapes of a sample by position, free extents several times as large as declared."""
    shapes: list[tuple[int, ...]] = []
    for port in network.inputs:
        own = outside(port, (1, *(network.layer(port.layer).size or ())))
        shape, declared = sample_shape(network, port), own if port.shape is None else port.shape
        filled = (times * declared[axis] if extent is None else extent for axis, extent in enumerate(shape))
        shapes.append(tuple(filled))
    return shapes


def _batches(network: Network, what: str, inputs: Inputs | None) -> Iterator[tuple[str, list[AnyArray]]]:
    for batch in BATCHES:
        yield f"a batch of {batch} random", example_inputs(network, batch)
    if _shapes(network) != (larger := _shapes(network, times=2)):
        yield f"random samples of shapes {larger}", _random(network, BATCHES[0], larger)
    if inputs is not None:
        real = _real(network, what, inputs)
        for count in (1, MOST):
            yield f"a batch of {count} given", [array[:count] for array in real]


def _real(network: Network, what: str, inputs: Inputs) -> list[AnyArray]:
    """The given samples by position, of the types that the network is tried with."""
    try:
        arrays = samples_of(network, inputs)
    except StructureError as error:
        raise ExportError(f"{what}: {error}") from error
    if not all(map(len, arrays)):
        raise ExportError(f"{what}: expected at least one sample in inputs, got none")
    types = [np.float32 if _integers(network, port) is None else np.int64 for port in network.inputs]
    ported = zip(network.inputs, arrays, types, strict=True)
    return [given_out(port, array).astype(dtype) for port, array, dtype in ported]


class _Expected:
    """The outputs of a network by position, computed in double or single precision."""

    def __init__(self, network: Network) -> None:
        self._network, self._flops = network, cost(network).total.flops
        self._modules: dict[type, torch.nn.Module] = {}

    def __call__(self, samples: list[AnyArray], dtype: type) -> list[AnyArray]:
        if self._flops * len(samples[0]) > AFFORDABLE:
            return self._by_masked(samples, dtype)
        outputs = forward(self._network, tuple(samples), dtype)
        return [given_out(port, outputs[port.layer]) for port in self._network.outputs]

    def _by_masked(self, samples: list[AnyArray], dtype: type) -> list[AnyArray]:
        if dtype not in self._modules:
            module = lower(self._network).eval()
            self._modules[dtype] = module.double() if dtype is np.float64 else module
        with torch.no_grad():
            given = (array if array.dtype == np.int64 else array.astype(dtype) for array in samples)
            return arrays_of(self._modules[dtype](*(torch.tensor(array) for array in given)))


def arrays_of(results: Any) -> list[AnyArray]:
    """A module's result or results as arrays."""
    several = cast(Sequence[torch.Tensor], results if isinstance(results, list | tuple) else (results,))
    return [result.detach().cpu().numpy() for result in several]


def difference(where: str, exact: AnyArray, rounded: Callable[[], AnyArray], got: AnyArray) -> float:
    """The largest difference, relative to the largest output.

    Args:
        where: how messages begin.
        exact: the outputs in double precision.
        rounded: gives them in single precision; asked only where it counts.
        got: of what was exported.

    Raises:
        ExportError: it is more than is accepted.
    """
    if got.shape != exact.shape or not np.isfinite(got).all():
        raise ExportError(f"{where} expected finite values of shape {exact.shape}, got others of shape {got.shape}")
    largest = max(float(np.abs(exact).max()), float(np.finfo(np.float32).tiny))
    apart = float(np.abs(got - exact).max())
    allowed = TOLERANCE * largest
    if apart > allowed and apart > (allowed := allowed + 10 * float(np.abs(rounded() - exact).max())):
        raise ExportError(
            f"{where} expected values within {allowed:.2g} of the network's, got a difference of {apart:.2g}: "
            "nothing was written; please report it, and choose another format meanwhile"
        )
    return apart / largest
