"""What no kind covers: cut out of the traced module as a module of its own, the body of an opaque layer."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, fx, nn

from nestgraph.interop.elements import Elements, Ledger
from nestgraph.interop.nodes import written_by


class Gathered(nn.Module):
    """A tensor put together from the outputs of layers: (batch, units, *size) each.

    Attributes:
        places: which of the layers it reads.
        shape: of a sample.
        dtype: what its reader expects.
        index: which of the elements of these layers in a row it has; None where it is the one layer, in order.
    """

    def __init__(self, places: Sequence[int], shape: Sequence[int], dtype: torch.dtype, index: Tensor | None) -> None:
        super().__init__()
        self.places, self.shape, self.dtype = tuple(places), tuple(shape), dtype
        self.register_buffer("index", index)

    def forward(self, *layers: Tensor) -> Tensor:
        """The tensor, of the type that its reader expects."""
        index = cast("Tensor | None", self.index)
        if index is None:
            result = layers[self.places[0]].reshape(-1, *self.shape)
        else:
            flat = torch.cat([layers[place].flatten(1) for place in self.places], 1)
            result = flat.index_select(1, index).view(-1, *self.shape)
        return result if self.dtype == torch.float32 else result.to(self.dtype)


class Excerpt(nn.Module):
    """A part of a module that reads layers as they are and gives (batch, *shape), in which units come first.

    Attributes:
        axis: where the units stand in what the inner module gives.
    """

    def __init__(self, inputs: Sequence[Gathered], inner: nn.Module, shape: tuple[int, ...], axis: int = 1) -> None:
        super().__init__()
        self.inputs, self.inner, self.shape, self.axis = nn.ModuleList(inputs), inner, shape, axis

    def forward(self, *layers: Tensor) -> Tensor:
        """The result, from the outputs of the layers that it reads.

        The inner module is not called: one of fx would print its source where it fails, as at sizes that are tried.
        """
        result = self.inner.forward(*(gather(*layers) for gather in self.inputs))
        result = result if self.axis == 1 else result.movedim(self.axis, 1)
        return result.reshape(-1, *self.shape)


def excerpt(
    module: fx.GraphModule, node: fx.Node, known: Callable[[fx.Node], bool]
) -> tuple[list[fx.Node], fx.GraphModule]:
    """The part of a traced module from nodes that are known to a node's result, and these nodes, its inputs.

    Where it works in place it does so on copies: what it reads are the outputs of layers, which others read, too.
    """
    needed, inputs, waiting = {node}, set[fx.Node](), list(node.all_input_nodes)
    while waiting:
        near = waiting.pop()
        if known(near):
            inputs.add(near)
        elif near not in needed:
            needed.add(near)
            waiting += near.all_input_nodes
    graph, copies = fx.Graph(), dict[fx.Node, fx.Node]()
    ordered = [near for near in module.graph.nodes if near in inputs]
    for number, near in enumerate(ordered):
        copies[near] = graph.placeholder(f"x{number}")
    if any(written_by(module, near) is not None for near in needed):
        copies |= {near: graph.call_method("clone", (given,)) for near, given in list(copies.items())}
    for near in module.graph.nodes:
        if near in needed:
            copies[near] = graph.node_copy(near, copies.__getitem__)
    graph.output(copies[node])
    return ordered, fx.GraphModule(module, graph)


class Arguments:
    """The layers that an excerpt reads, in the order of its arguments."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.layers: list[str] = []

    def gathered(self, x: Elements, dtype: torch.dtype) -> Gathered:
        """What puts the tensor `x` together from the layers, which it adds to them where they are missing."""
        shape = tuple(x.shape[1:])
        whole = self._ledger.whole_region(x) if x.shape.numel() else None
        if whole is not None:
            return Gathered([self._place(whole.layer)], shape, dtype, None)
        numbers = self._ledger.sample(x)
        regions, places = self._ledger.found(numbers)
        index, start, chosen = np.zeros(numbers.shape, np.int64), 0, list[int]()
        read: list[int] = np.unique(regions).tolist()
        for number in read:
            region = self._ledger.regions[number]
            index[regions == number] = start + places[regions == number]
            chosen.append(self._place(region.layer))
            start += region.units * region.area
        return Gathered(chosen, shape, dtype, torch.from_numpy(index).flatten())

    def _place(self, layer: str) -> int:
        if layer not in self.layers:
            self.layers.append(layer)
        return self.layers.index(layer)
