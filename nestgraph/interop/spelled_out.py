"""What modules spell out in several calls, such as norms: found in a traced graph by what the calls gave."""

import math
from collections.abc import Iterator, Mapping
from itertools import permutations
from typing import Any, NamedTuple, cast

import torch
from torch import fx
from torch.nn import functional

from nestgraph.interop.nodes import operation
from nestgraph.interop.tracing import TensorFact

Facts = Mapping[fx.Node, Any]
CASTS = ("to", "float", "type_as")
VIEWS = ("view", "reshape", "flatten")


class Named(NamedTuple):
    """A function and its arguments."""

    function: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = {}


class Transposed(NamedTuple):
    """A matrix that is given transposed, and the fact of that."""

    matrix: fx.Node
    fact: TensorFact


def rms_norms(node: fx.Node, facts: Facts) -> Iterator[Named]:
    """The root mean square norm that a product is: a tensor by 1 over the root of its mean square, or that weighted."""
    for x, other in _pairs(node, "mul"):
        shape, epsilon = _shape(x, facts), _epsilon(x, other, facts)
        if epsilon is not None:
            yield Named(functional.rms_norm, (x, shape[-1:], None, epsilon))
        normed = _uncast(other, facts)
        if isinstance(normed, fx.Node) and normed.target is functional.rms_norm:
            of, over, weight, added = _args(normed)
            if weight is None and shape == over:
                yield Named(functional.rms_norm, (of, over, x, added))


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


def gelus(node: fx.Node) -> Iterator[Named]:
    """The GELU that a product of a tensor, a half and 1 more than an `erf` or `tanh` is."""
    for x, curve in ((x, curve) for half, x, curve in _triples(node) if half == 0.5):
        for inner, one in _pairs(curve, "add"):
            argument = _args(inner)[0] if one == 1 and _is(inner, "erf", "tanh") else None
            if _is(inner, "erf") and _of_scaled(argument, x):
                yield Named(functional.gelu, (x,))
            if _is(inner, "tanh") and _of_cubic(argument, x):
                yield Named(functional.gelu, (x,), {"approximate": "tanh"})


def _of_scaled(node: Any, x: Any) -> bool:
    """Whether a node is `x` divided by the root of 2."""
    if _is(node, "div", "truediv"):
        return _args(node)[0] is x and _near(_args(node)[1], math.sqrt(2))
    return any(one is x and _near(factor, math.sqrt(0.5)) for one, factor in _pairs(node, "mul"))


def _of_cubic(node: Any, x: Any) -> bool:
    """Whether a node is the root of 2 over pi times (x + 0.044715 x ** 3)."""
    for total, factor in _pairs(node, "mul"):
        for one, scaled in _pairs(total, "add") if _near(factor, math.sqrt(2 / math.pi)) else ():
            for cube, share in _pairs(scaled, "mul") if one is x else ():
                if _near(share, 0.044715) and _is(cube, "pow") and _args(cube) == (x, 3):
                    return True
    return False


def _near(number: Any, wanted: float) -> bool:
    return isinstance(number, float) and math.isclose(number, wanted, rel_tol=1e-6)


def _triples(node: Any) -> Iterator[tuple[Any, Any, Any]]:
    """Three factors of a product of two products, in all orders."""
    for two, one in _pairs(node, "mul"):
        if _is(two, "mul") and len(_args(two)) == 2 and not two.kwargs:
            yield from cast("Iterator[tuple[Any, Any, Any]]", permutations((*_args(two), one)))


def turned(x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Pairs of numbers (..., 2), each as a complex one times a factor: turned by its angle."""
    return torch.view_as_real(torch.view_as_complex(x) * factors)


def turns(node: fx.Node) -> Iterator[Named]:
    """The turning of pairs that a product of complex numbers is."""
    if _is(node, "view_as_real"):
        for pairs, factors in _pairs(_args(node)[0], "mul"):
            if _is(pairs, "view_as_complex"):
                yield Named(turned, (_args(pairs)[0], factors))


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
        yield Named(functional.linear, (x, Transposed(matrix, TensorFact(sizes[1][::-1], torch.float32)), bias))


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
