"""How maps lie in memory: the units of each place side by side, as the kernels of processors ask for, or map by map."""

from typing import Literal

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from nestgraph.graph import Structure
from nestgraph.graph.heads import summed_size
from nestgraph.lowering.emission import Emission
from nestgraph.lowering.nodes import KEY

Layout = Literal["auto", "channels_last", "contiguous"]
"""`channels_last` and `contiguous` are torch's memory formats of these names."""

SWEEPS = frozenset(
    {
        functional.conv2d,
        functional.conv_transpose2d,
        functional.max_pool2d,
        functional.avg_pool2d,
        functional.adaptive_max_pool2d,
        functional.adaptive_avg_pool2d,
    }
)
"""Functions whose kernels depend on how maps lie, and give maps that lie as those they read."""
SWEEPING = (nn.Conv2d, nn.ConvTranspose2d)
"""Modules that are so."""
KEEPING = frozenset({torch.add, torch.mul, torch.cat, functional.pad, functional.relu, functional.batch_norm})
"""Functions that give maps as they read them; after any other one maps are laid out again, which costs nothing where
they lie so."""
PLANAR = frozenset({torch.group_norm})
"""Functions whose kernels lose digits where channels lie last: a mean that is large beside the deviation cancels."""


def lies_last(layout: Layout, network: Structure, device: torch.device) -> bool:
    """Whether maps of a network are to have their channels last.

    `auto` has them so where the processor computes maps with two extents. docs/performance.md has what that saves; of
    the networks there dpn68 alone trains more slowly by it, by 6%. Other devices were not measured.
    """
    if layout != "auto":
        return layout == "channels_last"
    return device.type == "cpu" and any(len(summed_size(network, name) or ()) == 2 for name in network.layer_names)


def emit_laid_sample(emission: Emission, sample: fx.Node, maps: int) -> fx.Node:
    """Emit a sample (batch, maps, height, width) with its channels last.

    Whether a single map has its channels last is a matter of strides alone, by which PyTorch chooses kernels: the axis
    of channels is made anew.
    """
    if maps != 1:
        return emission.graph.call_method("contiguous", (sample,), {"memory_format": torch.channels_last})
    places = emission.call(torch.unsqueeze, emission.call(torch.select, sample, 1, 0), -1)
    return emission.call(torch.movedim, places, -1, 1)


def lay_out(emission: Emission, laid: set[fx.Node]) -> None:
    """Let all that sweeps maps read them with their channels last, and what loses digits by that map by map.

    Args:
        emission: a graph that is whole.
        laid: nodes that give maps so; those that this finds are added.
    """
    for node in list(emission.graph.nodes):
        sweeps = _sweeps(emission, node)
        if sweeps and node.args[0] not in laid:
            _read_laid(node, torch.channels_last)
        elif node.target in PLANAR:
            _read_laid(node, torch.contiguous_format)
        if sweeps or (node.target in KEEPING and laid.intersection(node.all_input_nodes)):
            laid.add(node)
            for near in node.all_input_nodes:
                _lay_constant(emission, near)


def _lay_constant(emission: Emission, node: fx.Node) -> None:
    """Let a constant that is one for all samples, (maps, height, width), such as an area, lie as the maps it meets."""
    held = emission.state.get(str(node.target)) if node.op == "get_attr" else None
    if isinstance(held, Tensor) and not isinstance(held, nn.Parameter) and held.ndim == 3:
        emission.state[str(node.target)] = held.movedim(0, -1).contiguous().movedim(-1, 0)


def _read_laid(node: fx.Node, memory: torch.memory_format) -> None:
    """Let a node read what it reads first in a memory format."""
    with node.graph.inserting_before(node):
        source = node.graph.call_method("contiguous", (node.args[0],), {"memory_format": memory})
    if KEY in node.meta:
        source.meta[KEY] = {**node.meta[KEY], "roles": ()}
    node.update_arg(0, source)


def _sweeps(emission: Emission, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(emission.state[str(node.target)], SWEEPING)
    return node.op == "call_function" and node.target in SWEEPS
