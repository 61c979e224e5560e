"""Whether what was exported computes the network: its outputs beside the network's own, on random and real inputs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch

from nestgraph.errors import ExportError
from nestgraph.graph import Network, cost
from nestgraph.graph.reference import Inputs, forward
from nestgraph.lowering import lower
from nestgraph.spec.arrays import AnyArray

Runner = Callable[[list[AnyArray]], Sequence[AnyArray]]
"""What computes exported outputs, in the order of the output layers, from float32 samples in that of the inputs."""

TOLERANCE = 1e-4
"""The largest difference that is accepted, relative to the largest output; and beside it some of the difference that
single precision makes to the network itself."""

BATCHES = (1, 3)
MOST = 64
"""Of the real inputs so many are computed."""

AFFORDABLE = 4e9
"""Multiplications and additions up to which the NumPy reference says what is right; beyond, the masked module does."""


def check_agreement(network: Network, what: str, run: Runner, inputs: Inputs | None = None) -> float:
    """Compare what was exported with the network, in batches of one and of several.

    Args:
        network: what was exported.
        what: how messages begin.
        run: computes the exported outputs.
        inputs: real samples, an array or a mapping by input layer; random ones are compared in any case.

    Returns:
        The largest difference, relative to the largest output of its layer.

    Raises:
        ExportError: an output differs by more than is accepted, or the inputs are not the network's.
    """
    worst = 0.0
    for kind, samples in _batches(network, what, inputs):
        given = run([samples[name] for name in network.input_names])
        for (name, exact), rounded, got in zip(*_expected(network, samples), given, strict=True):
            worst = max(worst, _difference(f"{what}: output layer {name!r} on {kind}", exact, rounded, got))
    return worst


def example_inputs(network: Network, batch: int) -> list[AnyArray]:
    """Random samples of the input layers in order: the same each time, float32 and standard normal."""
    rng = np.random.default_rng(batch)
    return [rng.standard_normal((batch, *shape), np.float32) for shape in _shapes(network).values()]


def _shapes(network: Network) -> dict[str, tuple[int, ...]]:
    layers = [network.layer(name) for name in network.input_names]
    return {layer.name: (layer.features or 0, *(layer.size or ())) for layer in layers}


def _batches(network: Network, what: str, inputs: Inputs | None) -> Iterator[tuple[str, dict[str, AnyArray]]]:
    for batch in BATCHES:
        yield f"a batch of {batch} random", dict(zip(network.input_names, example_inputs(network, batch), strict=True))
    if inputs is not None:
        real = _real(network, what, inputs)
        for count in (1, MOST):
            yield f"a batch of {count} given", {name: array[:count] for name, array in real.items()}


def _real(network: Network, what: str, inputs: Inputs) -> dict[str, AnyArray]:
    given = inputs if isinstance(inputs, Mapping) else dict.fromkeys(network.input_names, inputs)
    shapes = _shapes(network)
    found = {name: np.asarray(array, np.float32) for name, array in given.items()}
    counts = {len(array) for array in found.values() if array.ndim}
    fits = found.keys() == shapes.keys() and all(array.shape[1:] == shapes[name] for name, array in found.items())
    if not fits or len(counts) != 1 or 0 in counts:
        got = {name: array.shape for name, array in found.items()}
        raise ExportError(f"{what}: expected as many inputs for each layer, of the shapes {shapes}, got {got}")
    return found


def _expected(
    network: Network, samples: dict[str, AnyArray]
) -> tuple[Iterator[tuple[str, AnyArray]], Iterator[AnyArray]]:
    """The outputs by name in double precision, and in single precision."""
    batch = len(next(iter(samples.values())))
    compute = _by_reference if cost(network).total.flops * batch <= AFFORDABLE else _by_masked
    return iter(compute(network, samples, np.float64).items()), iter(compute(network, samples, np.float32).values())


def _by_reference(network: Network, samples: dict[str, AnyArray], dtype: type) -> dict[str, AnyArray]:
    outputs = forward(network, samples, dtype)
    return {name: outputs[name] for name in network.output_names}


def _by_masked(network: Network, samples: dict[str, AnyArray], dtype: Any) -> dict[str, AnyArray]:
    module = lower(network).eval()
    with torch.no_grad():
        module = module.double() if dtype is np.float64 else module
        given = module(*(torch.tensor(samples[name].astype(dtype)) for name in network.input_names))
    return dict(zip(network.output_names, arrays_of(given), strict=True))


def arrays_of(results: Any) -> list[AnyArray]:
    """A module's result or results as arrays."""
    several = cast(Sequence[torch.Tensor], results if isinstance(results, list | tuple) else (results,))
    return [result.detach().cpu().numpy() for result in several]


def _difference(where: str, exact: AnyArray, rounded: AnyArray, got: AnyArray) -> float:
    """The largest difference, relative to the largest output."""
    if got.shape != exact.shape or not np.isfinite(got).all():
        raise ExportError(f"{where} expected finite values of shape {exact.shape}, got others of shape {got.shape}")
    largest = max(float(np.abs(exact).max()), float(np.finfo(np.float32).tiny))
    difference = float(np.abs(got - exact).max())
    allowed = TOLERANCE * largest + 10 * float(np.abs(rounded - exact).max())
    if difference > allowed:
        raise ExportError(
            f"{where} expected values within {allowed:.2g} of the network's, got a difference of {difference:.2g}: "
            "nothing was written; please report it, and choose another format meanwhile"
        )
    return difference / largest
