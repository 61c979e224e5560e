"""What goes into a lowered module and comes out: tensors by position, of the sizes that the network is made for.

Checks are nodes of the graph, so that each form of it has them and any tool may trace it again.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import fx

from nestgraph.graph import Structure
from nestgraph.graph.extents import is_bare, outside, sample_shape
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.nodes import mark

Nodes = dict[str, fx.Node]
ASSERT = cast(Callable[..., None], torch._assert)  # pyright: ignore[reportPrivateUsage]
"""A call that graphs keep though nothing reads its result."""


def emit_samples(emission: Emission, network: Structure, names: Mapping[str, str], fixed: bool = False) -> Nodes:
    """Emit the reading of all samples: by layer, (batch, features, *size).

    Args:
        emission: the graph to write into.
        network: whose interface it has; it may have inputs that the emission's network lacks.
        names: what the placeholder of each input layer is called.
        fixed: take the declared sizes alone, though extents are free.
    """
    given = [emission.graph.placeholder(names[port.layer]) for port in network.inputs]  # fx wants them before all else
    samples: Nodes = {}
    for port, sample in zip(network.inputs, given, strict=True):
        mark(sample, port.layer, "input")
        layer = network.layer(port.layer)
        own = (layer.features or 0, *(layer.size or ()))
        whole = outside(port, own)
        declared = whole if port.shape is None else port.shape
        shape = declared if fixed else sample_shape(network, port)
        _emit_check(emission, port.layer, sample, shape)
        if is_bare(port, own):
            samples[port.layer] = emission.call(torch.unsqueeze, sample, 1)
            continue
        given = sample if port.shape is None else emission.call(torch.reshape, sample, (-1, *whole))
        samples[port.layer] = given if port.axis == 1 else emission.call(torch.movedim, given, port.axis, 1)
    return samples


def _emit_check(emission: Emission, layer: str, sample: fx.Node, expected: tuple[int | None, ...]) -> None:
    """Emit the refusal of samples of another shape."""

    def checking(function: Callable[..., Any], *arguments: Any) -> fx.Node:
        node = emission.call(function, *arguments)
        mark(node, layer, "check")
        return node

    shape = checking(getattr, sample, "shape")
    if None in expected:
        held = [(axis, extent) for axis, extent in enumerate(expected, 1) if extent is not None]
        pairs = [(checking(getattr, sample, "ndim"), 1 + len(expected))]
        pairs += [(checking(operator.getitem, shape, axis), extent) for axis, extent in held]
    else:
        pairs = [(checking(operator.getitem, shape, slice(1, None)), expected)]
    whole = ", ".join(("batch", *("any" if extent is None else str(extent) for extent in expected)))
    for got, wanted in pairs:
        problem = f"input {layer!r} expected a tensor of shape ({whole}), for which the network is made: resize it"
        checking(ASSERT, checking(operator.eq, got, wanted), problem)


def emit_results(emission: Emission, network: Structure, outputs: Nodes) -> None:
    """Emit what the module gives: a tensor, or a tuple of several, by position."""
    results = [outputs[port.layer] for port in network.outputs]
    for place, port in enumerate(network.outputs):
        if port.axis != 1:
            results[place] = emission.call(torch.movedim, results[place], 1, port.axis)
        if port.shape is not None:
            results[place] = emission.call(torch.reshape, results[place], (-1, *port.shape))
        if results[place] is not outputs[port.layer]:
            mark(results[place], port.layer, "result")
    emission.graph.output(tuple(results) if len(results) > 1 else results[0])
