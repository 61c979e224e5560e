"""Weights in parts of a module that read them, so that each is gathered for its own operation alone."""

import operator
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate, map_arg
from torch.nn import functional

USES: frozenset[Any] = frozenset(
    {
        functional.linear,
        functional.embedding,
        *(getattr(functional, f"conv{extents}d") for extents in (1, 2, 3)),
        *(getattr(functional, f"conv_transpose{extents}d") for extents in (1, 2, 3)),
        torch.mul,
        operator.mul,
    }
)
"""What reads weights and gives a tensor of its own: what is a view of a weight must not outlive its gathering."""
_WEIGHT = object()
Step = tuple[Any, tuple[Any, ...], dict[str, Any]]


class WeightReader(nn.Module):
    """A weight, and the operations that it goes through up to the one that reads it.

    The weight has the name that it has in a lowered module, so that whoever looks for the column of a projection finds
    it. Called with what else the last operation reads.
    """

    weight: nn.Parameter

    def __init__(self, weight: nn.Parameter, steps: Sequence[Step]) -> None:
        """Hold a weight and what is done with it."""
        super().__init__()
        self.weight = weight
        self._steps = tuple(steps)

    def forward(self, *given: Tensor) -> Tensor:
        """What the last operation gives."""
        value: Tensor = self.weight
        for function, args, options in self._steps:

            def filled(part: Any, value: Tensor = value) -> Any:
                return value if part is _WEIGHT else given[part.place] if isinstance(part, _Given) else part

            value = function(*map_aggregate(args, filled), **map_aggregate(options, filled))
        return value


class _Given:
    """The place of an argument."""

    def __init__(self, place: int) -> None:
        self.place = place


def read_in_parts(module: fx.GraphModule) -> list[WeightReader]:
    """Put each weight that one operation alone reads into a part of its own, in place; the others stay as they are.

    Args:
        module: lowered without masks.

    Returns:
        The parts, in the order of the graph. The module computes the same, to the bit.
    """
    made = [_part(module, *found) for found in _weights(module)]
    module.graph.lint()
    module.recompile()
    return made


def _weights(module: fx.GraphModule) -> Iterator[tuple[fx.Node, list[fx.Node]]]:
    """The nodes of weights, each with the operations up to the one that reads it."""
    for node in list(module.graph.nodes):
        parent, _, name = str(node.target).rpartition(".")
        if node.op != "get_attr" or name != "weight" or not parent:
            continue
        holder, chain = module.get_submodule(parent), _chain(node)
        tensors = dict(holder.named_parameters(recurse=False))
        plain = type(holder) is nn.Module and not list(holder.children()) and set(tensors) == {"weight"}
        if plain and chain:
            yield node, chain


def _chain(weight: fx.Node) -> list[fx.Node]:
    """The operations of a weight, of which the last reads it and all others have no other reader nor operand."""
    found, node = list[fx.Node](), weight
    while len(node.users) == 1:
        (user,) = node.users
        if user.op != "call_function":
            return []
        found.append(user)
        if user.target in USES:
            return found
        if len(user.all_input_nodes) > 1:
            return []
        node = user
    return []


def _part(module: fx.GraphModule, weight: fx.Node, chain: list[fx.Node]) -> WeightReader:
    given = [node for node in chain[-1].all_input_nodes if node is not (chain[-2] if len(chain) > 1 else weight)]
    places = {node: _Given(place) for place, node in enumerate(given)}
    steps, before = list[Step](), weight
    for node in chain:

        def named(part: fx.Node, before: fx.Node = before) -> Any:
            return _WEIGHT if part is before else places[part]

        told: Any = (node.target, map_arg(node.args, named), map_arg(node.kwargs, named))
        steps.append(told)
        before = node
    path = str(weight.target).rpartition(".")[0]
    holder: Any = module.get_submodule(path)
    reader = WeightReader(holder.weight, steps)
    for name, buffer in holder.named_buffers():
        reader.register_buffer(name, buffer)
    module.set_submodule(path, reader)
    with module.graph.inserting_before(chain[-1]):
        call = module.graph.call_module(path, tuple(given))
    call.meta = dict(chain[-1].meta)
    chain[-1].replace_all_uses_with(call)
    for node in (*reversed(chain), weight):
        module.graph.erase_node(node)
    return reader
