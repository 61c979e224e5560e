"""Which inputs are masks of attention, and what functions make of them, by what they make of 0 and 1."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx

from nestgraph.interop.masks import Mask, hidden, is_never
from nestgraph.interop.nodes import operation
from nestgraph.interop.vocabulary import CASTS, JOINS, MOVES
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering.operations import UncoveredError

COMPARISONS = frozenset({"eq", "ne", "gt", "ge", "lt", "le"})
CONJUNCTIONS = frozenset({"and", "__and", "bitwise_and", "logical_and"})
NEGATIONS = frozenset({"invert", "inv", "__invert", "bitwise_not", "logical_not"})
CONVERSIONS = CASTS | {"bool", "int", "long"}
THROUGH = CONVERSIONS | (MOVES - JOINS) | COMPARISONS | CONJUNCTIONS | NEGATIONS
READERS: Mapping[str, tuple[int, ...]] = {
    "scaled_dot_product_attention": (3, -1),
    "masked_fill": (1, -1),
    "where": (0,),
    "MultiheadAttention": (-1, 3, 5),
    "TransformerEncoderLayer": (-1, 1, 2),
    "TransformerEncoder": (-1, 1, 2),
}
"""By name, the places of the arguments that are masks; -1 for those that are given by name."""


def holds_a_mask(module: fx.GraphModule, node: fx.Node) -> bool:
    """Whether all that reads an input, through what moves, compares or converts it, takes it for a mask of scores."""
    waiting, found = [node], False
    while waiting:
        near = waiting.pop()
        for user in near.users:
            name, place = _read_as(module, user), next((n for n, arg in enumerate(user.args) if arg is near), -1)
            if name in ("size", "sym_size", "getattr"):
                continue
            if name in THROUGH and user not in waiting:
                waiting.append(user)
            elif name not in READERS or place not in READERS[name]:
                return False
            found = found or name in READERS
            waiting += [user] if name == "where" else []
    return found


def _read_as(module: fx.GraphModule, node: fx.Node) -> str:
    """The name of what a node calls; of a module the class."""
    if node.op == "call_module":
        return type(module.get_submodule(str(node.target))).__name__
    return "" if node.op == "output" else operation(node)


def told(weaver: Weaver, name: str, function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """What a function makes of masks: another mask, or scores of which some do not count.

    Raises:
        UncoveredError: it does something else with them.
    """
    first, rest = args[0], args[1:]
    if isinstance(first, Mask) and name in MOVES - JOINS:
        return first.moved(lambda tensor: function(tensor, *rest, **kwargs))
    if isinstance(first, Mask) and name in CONVERSIONS:
        return first
    if isinstance(first, Mask) and name in COMPARISONS and first.plain and not first.inverted:
        return _compared(first, function, *rest)
    if isinstance(first, Mask) and name in NEGATIONS:
        return first.negative
    found = _JOINT[name](weaver, *args) if name in _JOINT else None
    if found is None:
        raise UncoveredError(f"a mask is read by {name}")
    return found


def _conjunction(_weaver: Weaver, one: Any, other: Any) -> Any:
    mask, constant = (one, other) if isinstance(one, Mask) else (other, one)
    return mask.under(constant) if isinstance(constant, Tensor) else None


def _filled(weaver: Weaver, scores: Any, mask: Any, value: Any) -> Any:
    return hidden(weaver, scores, mask.negative) if isinstance(mask, Mask) and is_never(value) else None


def _chosen(weaver: Weaver, mask: Any, one: Any, other: Any) -> Any:
    if isinstance(mask, Mask) and is_never(other):
        return hidden(weaver, one, mask)
    return _filled(weaver, other, mask, one)


def _added(weaver: Weaver, one: Any, other: Any) -> Any:
    scores, mask = (one, other) if isinstance(other, Mask) else (other, one)
    return None if isinstance(scores, Mask) else hidden(weaver, scores, mask)


_JOINT: Mapping[str, Callable[..., Any]] = {
    **dict.fromkeys(CONJUNCTIONS, _conjunction),
    "masked_fill": _filled,
    "where": _chosen,
    "add": _added,
}
"""By name, what reads functions of a mask and something else; None where it does not."""


def _compared(mask: Mask, function: Callable[..., Any], *others: Any) -> Mask:
    """Where a comparison of the numbers of an input, 0 and 1, says yes."""
    no, yes = (function(torch.tensor(number), *others) for number in (0, 1))
    if not isinstance(no, Tensor) or no.ndim or bool(no) == bool(yes):
        raise UncoveredError("a comparison of a mask that is the same for 0 and 1")
    return replace(mask, inverted=bool(no))
