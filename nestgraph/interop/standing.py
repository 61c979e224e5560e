"""Where the units of a tensor stand: what first reads it says so, through whatever moves its elements on the way.

A tensor (batch, 16, 64) may be 16 maps of 64 places or 16 tokens of 64 units. A linear map and what normalises over
units read the last axis, a convolution, a pooling and a batch normalisation the first behind the samples.
"""

import math
from collections.abc import Mapping
from operator import attrgetter
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from nestgraph.interop.modules import MOVING_MODULES
from nestgraph.interop.nodes import called, operation
from nestgraph.interop.tracing import TensorFact
from nestgraph.interop.vocabulary import CASTS, JOINS, MOVES

FIRST, LAST = 1, -1
BY_FUNCTION: Mapping[str, int] = {
    **dict.fromkeys(("linear", "layer_norm", "rms_norm"), LAST),
    **{f"conv{axes}d": FIRST for axes in (1, 2, 3)},
    **{f"conv_transpose{axes}d": FIRST for axes in (1, 2, 3)},
    "convolution": FIRST,
    **{f"{function}_pool{axes}d": FIRST for axes in (1, 2, 3) for function in ("max", "avg", "lp")},
    **{f"adaptive_{function}_pool{axes}d": FIRST for axes in (1, 2, 3) for function in ("max", "avg")},
    **dict.fromkeys(("batch_norm", "group_norm", "instance_norm", "local_response_norm", "interpolate"), FIRST),
}
"""Name of a function -> the axis at which it takes units to stand."""


def units_axis(module: fx.GraphModule, facts: Mapping[fx.Node, Any], node: fx.Node) -> frozenset[int]:
    """The axes at which the readers of what a node gives take its units to stand; none where no reader says.

    Args:
        module: the traced module.
        facts: what each node gave on the examples.
        node: gives a tensor (batch, ...).
    """
    shape = facts[node].shape
    numbers = torch.arange(math.prod(shape)).view(shape)
    known, said = {node: numbers}, set[int]()
    for near in module.graph.nodes:
        given = [known[each] for each in near.all_input_nodes if each in known]
        if not given or near in known:
            continue
        axis = FIRST if _pads_places(near, given[0].ndim) else _read(module, near)
        if axis is not None:
            said |= _along(numbers, given[0], axis) if given[0].ndim > 2 else set()
        elif _moves(module, near):
            result = _followed(module, facts, near, known)
            known |= {} if result is None else {near: result}
        elif isinstance(facts[near], TensorFact) and facts[near].shape == given[0].shape:
            known[near] = given[0]
    return frozenset(said)


def classes_of(module: fx.GraphModule, node: fx.Node) -> int | None:
    """How many classes the ids that a node gives name, by the largest table that reads them; None where none does."""
    found, waiting = list[int](), [node]
    while waiting:
        near = waiting.pop()
        for user in near.users:
            if user.op == "call_module":
                part = module.get_submodule(str(user.target))
                found += [part.num_embeddings] if isinstance(part, nn.Embedding) else []
            elif user.op != "output" and user.args and user.args[0] is near:
                found += _rows_of(module, user) if operation(user) == "embedding" else ()
                waiting += [user] if operation(user) in CASTS | MOVES - JOINS else ()
    return max(found, default=None)


def _rows_of(module: fx.GraphModule, node: fx.Node) -> list[int]:
    """How many rows the table has that an embedding reads; none where it is computed."""
    table = node.args[1] if len(node.args) > 1 else node.kwargs.get("weight")
    if not isinstance(table, fx.Node) or table.op != "get_attr":
        return []
    return [len(attrgetter(str(table.target))(module))]


def _read(module: fx.GraphModule, node: fx.Node) -> int | None:
    """The axis of units of what a node reads; None where it says nothing of it."""
    if node.op != "call_module":
        return BY_FUNCTION.get(operation(node)) if node.op != "output" else None
    part = module.get_submodule(str(node.target))
    if isinstance(part, (nn.Linear, nn.LayerNorm, nn.RMSNorm)):
        return LAST
    if isinstance(part, (nn.MultiheadAttention, nn.RNNBase)):
        return LAST if part.batch_first else None
    name = type(part).__name__
    spatial = any(word in name for word in ("Conv", "Pool", "BatchNorm", "GroupNorm", "InstanceNorm", "Upsampl", "Pad"))
    return FIRST if spatial else None


def _pads_places(node: fx.Node, axes: int) -> bool:
    """Whether a function pads all axes of a tensor but those of samples and units, which stand first then."""
    amounts: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("pad", ())
    return node.op != "call_module" and operation(node) == "pad" and len(amounts) == 2 * (axes - 2)


def _moves(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return isinstance(module.get_submodule(str(node.target)), MOVING_MODULES)
    return node.op != "output" and operation(node) in MOVES - JOINS


def _followed(
    module: fx.GraphModule, facts: Mapping[fx.Node, Any], node: fx.Node, known: Mapping[fx.Node, Tensor]
) -> Tensor | None:
    """The numbers after a move; None where what it takes beside them is not known."""
    others = [near for near in node.all_input_nodes if near not in known]
    if any(near not in facts or isinstance(facts[near], TensorFact) for near in others):
        return None
    args, kwargs = cast(
        Any, map_arg((node.args, node.kwargs), lambda near: known[near] if near in known else facts[near])
    )
    try:
        result = called(module, node)(*args, **kwargs)
    except Exception:  # whatever it does with numbers
        return None
    return result if isinstance(result, Tensor) else None


def _along(numbers: Tensor, read: Tensor, axis: int) -> set[int]:
    """The axis of a tensor of numbers that an axis of what is read runs along: by the step from place to place."""
    line = read.movedim(axis, 0).flatten(1)[:, 0]
    if len(line) == 1:
        alone = [at for at in range(1, numbers.ndim) if numbers.shape[at] == 1]
        return {axis % numbers.ndim} if read.shape == numbers.shape else set(alone if len(alone) == 1 else ())
    steps = line.diff()
    if not len(steps) or not (steps == steps[0]).all():
        return set()
    fits = [at for at in range(1, numbers.ndim) if numbers.stride(at) == steps[0] and len(line) <= numbers.shape[at]]
    return set(fits[:1])
