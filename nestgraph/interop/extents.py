"""Whether a module takes other sizes than those it was imported with, and its network gives the same for them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from nestgraph.graph import Network
from nestgraph.graph.extents import free_extents
from nestgraph.interop.values import leaves
from nestgraph.lowering import lower
from nestgraph.spec import InputPort, Interface

TOLERANCE = 1e-3
"""The largest difference of outputs that is none, relative to the largest value of each."""

Axes = tuple[bool, bool]


def differences(network: Network, examples: Sequence[Tensor], expected: Any) -> list[float]:
    """How far the network's outputs are from a module's, by position, relative to the largest value of each."""
    results = leaves(_quietly(lower(network).eval(), examples), Tensor)
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

    Height and width are tried together first, then each alone. What fails for any reason stays fixed.

    Args:
        network: of the module.
        module: what gives the module's results for tensors.
        examples: that they agree for.
    """
    for axes in ((True, True), (True, False), (False, True)):
        free = _with_free(network, axes)
        if free is not None and _agrees(free, module, examples):
            return free
    return network


def _with_free(network: Network, axes: Axes) -> Network | None:
    """The network with these axes of its maps free, where nothing in it holds them; None where all are held."""
    ports = tuple(
        port.model_copy(update={"free": axes}) if len(network.layer(port.layer).size or ()) == 2 else port
        for port in network.inputs
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
            expected = module(*(tensor.clone() for tensor in resized))
        except Exception:  # whatever a module does at a size that it is not for
            continue
        try:
            return max(differences(network, resized, expected), default=0.0) <= TOLERANCE
        except Exception:
            return False
    return False


def _resized(ports: Sequence[InputPort], examples: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The examples at larger sizes, which differ between the axes: of a little more, and of several times as much.

    A little more keeps what must divide by 32, as encoders and decoders ask for; several times keeps proportions
    between inputs.
    """
    pairs = list(zip(ports, examples, strict=True))
    for more, times in (((32, 64), (1, 1)), ((0, 0), (2, 3))):
        yield [_tiled(x, port.free, more, times) if port.free else x for port, x in pairs]


def _tiled(x: Tensor, free: Sequence[bool], more: tuple[int, int], times: tuple[int, int]) -> Tensor:
    """A tensor (batch, channels, height, width) repeated along its free axes up to a larger size."""
    for axis, may, added, factor in zip((2, 3), free, more, times, strict=True):
        if may:
            extent = x.shape[axis]
            x = x.index_select(axis, torch.arange(extent * factor + added) % extent)
    return x
