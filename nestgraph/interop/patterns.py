"""Functions that modules spell out: found in a traced graph and called by their name."""

import operator
from collections.abc import Iterator
from itertools import chain
from typing import Any, cast

import torch
from torch import fx, nn
from torch.nn import functional

ADDITIONS = cast("tuple[Any, ...]", (operator.add, torch.add))
PRODUCTS = cast("tuple[Any, ...]", (operator.mul, torch.mul))
QUOTIENTS = cast("tuple[Any, ...]", (operator.truediv, torch.div))


def name_functions(module: fx.GraphModule) -> None:
    """Replace `relu6(x + 3) / 6` by hardsigmoid, `x * hardsigmoid(x)` by hardswish and `x * sigmoid(x)` by SiLU."""
    for node in list(module.graph.nodes):
        for function, x in chain(_sixths(module, node), _gated(module, node)):
            with module.graph.inserting_after(node):
                named = module.graph.call_function(function, (x,))
            named.meta = dict(node.meta)
            node.replace_all_uses_with(named)
            _erase(module.graph, node)
            break
    module.recompile()


def _erase(graph: fx.Graph, node: fx.Node) -> None:
    """Erase a node that nothing reads any more, and what only it read."""
    inputs = node.all_input_nodes
    graph.erase_node(node)
    for near in inputs:
        if not near.users and near.op != "placeholder":
            _erase(graph, near)


def _sixths(module: fx.GraphModule, node: fx.Node) -> Iterator[tuple[Any, fx.Node]]:
    """What divides by 6, as a function and what it is of."""
    for above, six in _operands(node, QUOTIENTS):
        if six != 6:
            continue
        if (x := _shifted(module, above)) is not None:
            yield functional.hardsigmoid, x
        for pair in _operands(above, PRODUCTS):
            for x, other in (pair, pair[::-1]):
                if isinstance(x, fx.Node) and _shifted(module, other) is x:
                    yield functional.hardswish, x


def _gated(module: fx.GraphModule, node: fx.Node) -> Iterator[tuple[Any, fx.Node]]:
    """What multiplies a tensor by a sigmoid of it, as a function and what it is of."""
    for pair in _operands(node, PRODUCTS):
        for x, other in (pair, pair[::-1]):
            if isinstance(x, fx.Node) and isinstance(other, fx.Node) and x in other.all_input_nodes:
                if _is(module, other, functional.hardsigmoid, nn.Hardsigmoid):
                    yield functional.hardswish, x
                if _is(module, other, torch.sigmoid, nn.Sigmoid) or other.target == "sigmoid":
                    yield functional.silu, x


def _shifted(module: fx.GraphModule, node: Any) -> fx.Node | None:
    """The x of `relu6(x + 3)`."""
    if isinstance(node, fx.Node) and node.args and _is(module, node, functional.relu6, nn.ReLU6):
        for x, shift in _operands(node.args[0], ADDITIONS):
            if isinstance(x, fx.Node) and shift == 3:
                return x
    return None


def _operands(node: Any, functions: tuple[Any, ...]) -> Iterator[tuple[Any, Any]]:
    """The two operands, where a node calls one of these functions and no option changes what it does."""
    if isinstance(node, fx.Node) and node.target in functions and len(node.args) == 2 and not node.kwargs:
        yield node.args[0], node.args[1]


def _is(module: fx.GraphModule, node: fx.Node, function: Any, kind: type[nn.Module]) -> bool:
    return node.target is function or (
        node.op == "call_module" and type(module.get_submodule(str(node.target))) is kind
    )
