"""Whether a module takes other sizes than those it was imported with, and its network gives the same for them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from nestgraph.graph import Network
from nestgraph.graph.extents import free_extents
from nestgraph.interop.values import leaves
from nestgraph.interop.work import Work
from nestgraph.lowering import lower
from nestgraph.spec import InputPort, Interface

TOLERANCE = 1e-3
"""The largest difference of outputs that is none, relative to the largest value of each."""

Axes = tuple[bool, ...]


def differences(network: Network, examples: Sequence[Tensor], expected: Any, work: Work) -> list[float]:
    """How far the network's outputs are from a module's, by position, relative to the largest value of each.

    Args:
        network: what is compared.
        examples: what both get.
        expected: what the module gave.
        work: of the module.
    """
    module = lower(network, layout="contiguous", execution="masked").eval()  # as modules compute
    with work.taken_over():
        results = leaves(_quietly(module, examples), Tensor)
    return [_difference(got, wanted) for got, wanted in zip(results, leaves(expected, Tensor), strict=True)]


def _quietly(module: fx.GraphModule, examples: Sequence[Tensor]) -> Any:
    """What a module of fx gives. It prints its source where it fails, unless its forward is called."""
    return module.forward(*examples)


def _difference(got: Tensor, wanted: Tensor) -> float:
    if got.shape != wanted.shape:
        return float("inf")
    return float((got - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12)) if wanted.numel() else 0.0


def freed(network: Network, module: Callable[..., Any], examples: Sequence[Tensor]) -> Network:
    """The network with those extents of its inputs free at which module and network agree beside the examples'.

    All are tried together first, then each alone. What fails for any reason stays fixed.

    Args:
        network: of the module.
        module: what gives the module's results for tensors.
        examples: that they agree for.
    """
    for axes in _trials(max(len(network.layer(port.layer).size or ()) for port in network.inputs)):
        free = _with_free(network, axes)
        if free is not None and _agrees(free, module, examples):
            return free
    return network


def _trials(count: int) -> Iterator[Axes]:
    """Which of so many extents to try as free ones."""
    if count:
        yield (True,) * count
    for place in range(count if count > 1 else 0):
        yield tuple(other == place for other in range(count))


def _with_free(network: Network, axes: Axes) -> Network | None:
    """The network with these axes of its maps free, where nothing in it holds them; None where all are held."""
    sizes = [network.layer(port.layer).size or () for port in network.inputs]
    ports = tuple(
        port.model_copy(update={"free": _said(axes[: len(size)])}) if size and port.shape in (None, size) else port
        for port, size in zip(network.inputs, sizes, strict=True)
    )
    structure = network.with_interface(Interface(inputs=ports, outputs=network.outputs))
    settled = tuple(port.model_copy(update={"free": _said(free_extents(structure, port))}) for port in ports)
    if not any(port.free for port in settled):
        return None
    return Network.of(network.with_interface(Interface(inputs=settled, outputs=network.outputs)))


def _said(free: Sequence[bool]) -> tuple[bool, ...]:
    return tuple(free) if any(free) else ()


def _agrees(network: Network, module: Callable[..., Any], examples: Sequence[Tensor]) -> bool:
    """Whether network and module give the same at a size that the module takes."""
    for resized in _resized(network.inputs, examples):
        try:
            with Work() as work:
                expected = module(*(tensor.clone() for tensor in resized))
        except Exception:  # whatever a module does at a size that it is not for
            continue
        try:
            return max(differences(network, resized, expected, work), default=0.0) <= TOLERANCE
        except Exception:
            return False
    return False


def _resized(ports: Sequence[InputPort], examples: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The examples at larger sizes, which differ between the axes: of a little more, and of several times as much.

    A little more keeps what must divide by 32, as encoders and decoders ask for; several times keeps proportions
    between inputs. Volumes grow by less, as they have more places.
    """
    pairs = list(zip(ports, examples, strict=True))
    step = 8 if any(len(port.free) > 2 for port in ports) else 32
    for more, times in (((step, 2 * step, 3 * step), (1, 1, 1)), ((0, 0, 0), (2, 3, 4))):
        yield [_tiled(x, port, more, times) if port.free else x for port, x in pairs]


def _tiled(x: Tensor, port: InputPort, more: Sequence[int], times: Sequence[int]) -> Tensor:
    """Samples of an input repeated along its free axes up to a larger size."""
    places = [axis for axis in range(1, x.ndim) if axis != port.axis or port.shape is not None]
    for axis, may, added, factor in zip(places, port.free, more, times, strict=False):
        if may:
            extent = x.shape[axis]
            x = x.index_select(axis, torch.arange(extent * factor + added) % extent)
    return x
