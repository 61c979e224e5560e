"""Constants of a module: what no element goes into, and which of it is a parameter that was only moved."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, fx, nn

from nestgraph.interop.nodes import operation
from nestgraph.interop.vocabulary import JOINS, MOVES


def trained(
    module: fx.GraphModule, node: fx.Node, constant: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Any:
    """What a node gave as a parameter, where it only moved one: what is made of it trains as that does.

    Rows that constant ids name, such as those of positions, are moved from a table.
    """
    held = _moved(module, node, args, kwargs)
    if not isinstance(held, nn.Parameter) or not isinstance(constant, Tensor):
        return constant
    return nn.Parameter(constant.detach(), held.requires_grad)


def _moved(module: fx.GraphModule, node: fx.Node, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The tensor whose elements a node gives; None where it computes."""
    if node.op == "call_module":
        part = module.get_submodule(str(node.target))
        return part.weight if isinstance(part, nn.Embedding) else None
    if operation(node) == "embedding":
        return kwargs.get("weight", next(iter(args[1:]), None))
    return args[0] if args and operation(node) in MOVES - JOINS else None
