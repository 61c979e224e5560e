"""Functions that modules spell out: found in a traced graph and called by their name."""

import operator
from collections.abc import Iterator
from itertools import chain
from typing import Any, cast

import torch
from torch import fx, nn
from torch.nn import functional

from nestgraph.interop.spelled_out import Named, Transposed, gelus, linear_maps, rms_norms, turns

ADDITIONS = cast("tuple[Any, ...]", (operator.add, torch.add))
PRODUCTS = cast("tuple[Any, ...]", (operator.mul, torch.mul))
QUOTIENTS = cast("tuple[Any, ...]", (operator.truediv, torch.div))


def name_functions(module: fx.GraphModule, facts: dict[fx.Node, Any]) -> None:
    """Replace what a module spells out by the function that it is.

    `relu6(x + 3) / 6` is hardsigmoid, `x * hardsigmoid(x)` hardswish, `x * sigmoid(x)` SiLU
    and `x * 0.5 * (1 + erf(x / sqrt(2)))` GELU, with `tanh` its approximation;
    `x * rsqrt(mean(x ** 2, -1) + e)`, multiplied by a weight or not, is an RMS norm; `addmm` is a linear map, over the
    last axis where the axes before it were one and come back; a product of complex numbers is a turning of pairs.

    Args:
        module: the traced module, which is changed.
        facts: what each node gave; those of new nodes are added.
    """
    nodes = list(module.graph.nodes)
    for node in nodes:
        known = (
            _sixths(module, node),
            _gated(module, node),
            gelus(node),
            rms_norms(node, facts),
            linear_maps(node, facts),
            turns(node),
        )
        for function, args, options in chain(*known):
            with module.graph.inserting_before(node):
                turned = tuple(_added(module.graph, arg, facts) for arg in args)
                named = module.graph.call_function(function, turned, dict(options))
            named.meta, facts[named] = dict(node.meta), facts[node]
            node.replace_all_uses_with(named)
            _erase(module.graph, node)
            break
    if list(module.graph.nodes) != nodes:
        module.recompile()


def _added(graph: fx.Graph, arg: Any, facts: dict[fx.Node, Any]) -> Any:
    """An argument of a new node: one that is to be transposed is, by a node of its own."""
    if not isinstance(arg, Transposed):
        return arg
    turned = graph.call_method("t", (arg.matrix,))
    turned.meta, facts[turned] = dict(arg.matrix.meta), arg.fact
    return turned


def _erase(graph: fx.Graph, node: fx.Node) -> None:
    """Erase a node that nothing reads any more, and what only it read."""
    inputs = node.all_input_nodes
    graph.erase_node(node)
    for near in inputs:
        if not near.users and near.op != "placeholder":
            _erase(graph, near)


def _sixths(module: fx.GraphModule, node: fx.Node) -> Iterator[Named]:
    """What divides by 6, as a function and its arguments."""
    for above, six in _operands(node, QUOTIENTS):
        if six != 6:
            continue
        if (x := _shifted(module, above)) is not None:
            yield Named(functional.hardsigmoid, (x,))
        for pair in _operands(above, PRODUCTS):
            for x, other in (pair, pair[::-1]):
                if isinstance(x, fx.Node) and _shifted(module, other) is x:
                    yield Named(functional.hardswish, (x,))


def _gated(module: fx.GraphModule, node: fx.Node) -> Iterator[Named]:
    """What multiplies a tensor by a sigmoid of it, as a function and its arguments."""
    for pair in _operands(node, PRODUCTS):
        for x, other in (pair, pair[::-1]):
            if isinstance(x, fx.Node) and isinstance(other, fx.Node) and x in other.all_input_nodes:
                if _is(module, other, functional.hardsigmoid, nn.Hardsigmoid):
                    yield Named(functional.hardswish, (x,))
                if _is(module, other, torch.sigmoid, nn.Sigmoid) or other.target == "sigmoid":
                    yield Named(functional.silu, (x,))


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
