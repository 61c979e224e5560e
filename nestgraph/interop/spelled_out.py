"""Norms and linear maps that modules spell out in several calls: found in a traced graph by what the calls gave."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import fx
from torch.nn import functional

from nestgraph.interop.nodes import operation
from nestgraph.interop.tracing import TensorFact

Facts = Mapping[fx.Node, Any]
Named = tuple[Any, tuple[Any, ...]]
"""A function and its arguments."""

CASTS = ("to", "float", "type_as")
VIEWS = ("view", "reshape", "flatten")


class Transposed(NamedTuple):
    """A matrix that is given transposed, and the fact of that."""

    matrix: fx.Node
    fact: TensorFact


def rms_norms(node: fx.Node, facts: Facts) -> Iterator[Named]:
    """The root mean square norm that a product is: a tensor by 1 over the root of its mean square, or that weighted."""
    for x, other in _pairs(node, "mul"):
        shape, epsilon = _shape(x, facts), _epsilon(x, other, facts)
        if epsilon is not None:
            yield functional.rms_norm, (x, shape[-1:], None, epsilon)
        normed = _uncast(other, facts)
        if isinstance(normed, fx.Node) and normed.target is functional.rms_norm:
            of, over, weight, added = _args(normed)
            if weight is None and shape == over:
                yield functional.rms_norm, (of, over, x, added)


def _epsilon(x: fx.Node, root: Any, facts: Facts) -> float | None:
    """What is added to the mean square of `x` in 1 over the root of it; None where it is no such."""
    for mean, epsilon in _pairs(_args(root)[0], "add") if _is(root, "rsqrt") else ():
        over_last = _is(mean, "mean") and _shape(mean, facts) == (*_shape(x, facts)[:-1], 1)
        if over_last and _axis(mean) in (-1, [-1], (-1,)) and isinstance(epsilon, float):
            squared = _squared(_uncast(_args(mean)[0], facts))
            if squared is not None and _uncast(squared, facts) is _uncast(x, facts):
                return epsilon
    return None


def _axis(mean: fx.Node) -> Any:
    args = _args(mean)
    return args[1] if len(args) > 1 else mean.kwargs.get("dim")


def _squared(node: Any) -> Any:
    """What a node is the square of; None where it is none."""
    args = _args(node)
    same = (_is(node, "pow") and args[1:] == (2,)) or (_is(node, "mul") and args[0] is args[-1])
    return args[0] if same else None


def linear_maps(node: fx.Node, facts: Facts) -> Iterator[Named]:
    """The linear map that an `addmm` is, with the axes before the last merged for it or not."""
    back = _is(node, *VIEWS) and _is(_args(node)[0], "addmm")
    product: Any = _args(node)[0] if back else node
    if not _is(product, "addmm") or len(_args(product)) != 3 or product.kwargs:
        return
    bias, rows, matrix = _args(product)
    merged = _is(rows, *VIEWS) and len(_shape(_args(rows)[0], facts)) > 2
    if merged and not back:
        return  # until what splits the axes again is reached
    x = _args(rows)[0] if merged else rows
    sizes = _shape(bias, facts), _shape(matrix, facts)
    if list(map(len, sizes)) == [1, 2] and _shape(node, facts) == (*_shape(x, facts)[:-1], *sizes[0]):
        yield functional.linear, (x, Transposed(matrix, TensorFact(sizes[1][::-1], torch.float32)), bias)


def _pairs(node: Any, name: str) -> Iterator[tuple[fx.Node, Any]]:
    """The two operands of a call of this name without options, in both orders; the first is a node."""
    if _is(node, name) and len(_args(node)) == 2 and not node.kwargs:
        for one, other in (_args(node), _args(node)[::-1]):
            if isinstance(one, fx.Node):
                yield one, other


def _args(node: Any) -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", node.args) if isinstance(node, fx.Node) else ()


def _is(node: Any, *names: str) -> bool:
    """Whether a node calls a function or method of one of these names on something."""
    called = isinstance(node, fx.Node) and node.op in ("call_function", "call_method") and bool(node.args)
    return called and operation(node) in names


def _uncast(node: Any, facts: Facts) -> Any:
    """What a node was before conversions that convert nothing."""
    while _is(node, *CASTS) and _float(node, facts) and _float(_args(node)[0], facts):
        node = _args(node)[0]
    return node


def _float(node: Any, facts: Facts) -> bool:
    fact = facts.get(node) if isinstance(node, fx.Node) else None
    return isinstance(fact, TensorFact) and fact.dtype == torch.float32


def _shape(node: Any, facts: Facts) -> tuple[int, ...]:
    fact = facts.get(node) if isinstance(node, fx.Node) else None
    return fact.shape if isinstance(fact, TensorFact) else ()
