"""The calls of a program that torch.export made, as calls of the functions that people write.

Such a program calls operators of ATen, PyTorch's own library. Most have the name and the arguments of a function of
torch, of torch.nn.functional or of a method of tensors; the others have a row here. So whatever reads a module that
torch.fx traced, and whatever prints one, needs no second table.
"""

import operator
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

_FUNCTIONS, _NN = cast(Any, torch)._C._VariableFunctions, cast(Any, torch)._C._nn


class Call(NamedTuple):
    """A node's kind, as torch.fx has it, and what it calls on which arguments."""

    op: str
    target: Callable[..., Any] | str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = {}


def named(target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """The call that people would write for one of ATen; options that are as by default are left out.

    Args:
        target: an overload of an operator. What is none, a function of Python, say, stays as it is.
        args: as the program has them.
        kwargs: likewise.
    """
    if getattr(target, "namespace", None) != "aten":
        return Call("call_function", target, args, kwargs)
    name = str(target._schema.name).rpartition("::")[2]
    given = _given(target, args, kwargs)
    row = ROWS.get(name)
    written = row(**given) if row is not None else None
    return written or _same(target, name, given)


def _given(target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by name, in the operator's order."""
    schema = target._schema.arguments
    given = {argument.name: value for argument, value in zip(schema, args, strict=False)} | dict(kwargs)
    known = [argument for argument in schema if argument.name in given]
    return {one.name: given[one.name] for one in known if not _is_default(one, given[one.name])}


def _is_default(argument: Any, value: Any) -> bool:
    if not argument.has_default_value():
        return False
    return type(value) is type(argument.default_value) and value == argument.default_value


def _same(target: Any, name: str, given: Mapping[str, Any]) -> Call:
    """A call of the same name and arguments; of the operator itself where people have none."""
    args, kwargs = list[Any](), dict(given)
    for argument in target._schema.arguments:  # by place as far as none is left out
        if argument.name not in kwargs or argument.kwarg_only:
            break
        args.append(kwargs.pop(argument.name))
    if getattr(torch, name, None) is getattr(_FUNCTIONS, name, operator):
        return Call("call_function", getattr(torch, name), tuple(args), kwargs)
    if hasattr(_NN, name):
        return Call("call_function", getattr(_NN, name), tuple(args), kwargs)
    if args and callable(getattr(Tensor, name, None)):
        return Call("call_method", name, tuple(args), kwargs)
    return Call("call_function", target, tuple(args), kwargs)


# -- operators with other arguments than the function of their name ------------------------------------------

Row = Callable[..., Call | None]
"""Takes an operator's arguments by name; None where the function cannot do it."""


def _function(function: Callable[..., Any], *names: str) -> Row:
    """The row of a function that takes these arguments, in this order; others must be as by default."""

    def row(**given: Any) -> Call | None:
        if set(given) - set(names) - UNHEEDED:
            return None
        args = list[Any]()
        for name in names:
            if name not in given:
                break
            args.append(given[name])
        rest = {name: given[name] for name in names[len(args) :] if name in given}
        return Call("call_function", function, tuple(args), rest)

    return row


UNHEEDED = frozenset({"cudnn_enable", "cudnn_enabled"})
"""Arguments that choose a library and no result."""


def _hardtanh(self: Any, min_val: float = -1, max_val: float = 1) -> Call:
    if (min_val, max_val) == (0, 6):
        return Call("call_function", functional.relu6, (self,))
    return Call("call_function", functional.hardtanh, (self, min_val, max_val))


def _in_place(row: Row) -> Row:
    def written(**given: Any) -> Call | None:
        call = row(**given)
        return call and call._replace(kwargs={**call.kwargs, "inplace": True})

    return written


def _embedding(weight: Any, indices: Any, padding_idx: int = -1, **options: Any) -> Call | None:
    place = {} if padding_idx < 0 else {"padding_idx": padding_idx}
    return None if options else Call("call_function", functional.embedding, (indices, weight), place)


def _batch_norm(**given: Any) -> Call:
    names = ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps")
    return Call("call_function", functional.batch_norm, tuple(given.get(name) for name in names))


def _interpolated(mode: str) -> Row:
    def row(**given: Any) -> Call | None:
        if set(given) - {"input", "output_size", "align_corners", "scale_factors"} or "input" not in given:
            return None
        others = {"size": given.get("output_size"), "scale_factor": given.get("scale_factors"), "mode": mode}
        corners = {"align_corners": given["align_corners"]} if "align_corners" in given else {}
        return Call("call_function", functional.interpolate, (given["input"],), others | corners)

    return row


def _slice(self: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Call:
    stop = None if isinstance(end, int) and end == sys.maxsize else end
    index = slice(start or None, stop, None if step == 1 else step)
    before, after = ([slice(None)] * dim, []) if dim >= 0 else ([Ellipsis], [slice(None)] * (-dim - 1))
    return Call("call_function", operator.getitem, (self, (*before, index, *after)))


def _index(self: Any, indices: Any) -> Call:
    return Call("call_function", operator.getitem, (self, tuple(slice(None) if i is None else i for i in indices)))


def _to(self: Any, other: Any = None, **given: Any) -> Call:
    first = () if other is None else (other,)
    kept = {name: given[name] for name in ("dtype", "device") if given.get(name) is not None}
    return Call("call_method", "to", (self, *first), kept)


def _subtracted(self: Any, other: Any, **alpha: Any) -> Call:
    return Call("call_function", torch.sub, (other, self), alpha)


def _transposed(self: Any) -> Call:
    return Call("call_method", "transpose", (self, -2, -1))


def _viewed(self: Any) -> Call:
    return Call("call_method", "view_as", (self, self))


def _method(name: str) -> Row:
    def row(**given: Any) -> Call:
        return Call("call_method", name, tuple(given.values()))

    return row


ACTIVATIONS: Mapping[str, Row] = {
    "celu": _function(functional.celu, "self", "alpha"),
    "elu": _function(functional.elu, "self", "alpha"),
    "hardsigmoid": _function(functional.hardsigmoid, "self"),
    "hardswish": _function(functional.hardswish, "self"),
    "hardtanh": _hardtanh,
    "leaky_relu": _function(functional.leaky_relu, "self", "negative_slope"),
    "mish": _function(functional.mish, "self"),
    "relu6": _function(functional.relu6, "self"),
    "selu": _function(functional.selu, "self"),
    "silu": _function(functional.silu, "self"),
}
"""Those that have a form that works in place."""

ROWS: Mapping[str, Row] = {
    **ACTIVATIONS,
    **{f"{name}_": _in_place(row) for name, row in ACTIVATIONS.items()},
    "alias": _viewed,
    "batch_norm": _batch_norm,
    "dropout": _function(functional.dropout, "input", "p", "train"),
    "einsum": _function(torch.einsum, "equation", "tensors"),
    "embedding": _embedding,
    "glu": _function(functional.glu, "self", "dim"),
    "group_norm": _function(functional.group_norm, "input", "num_groups", "weight", "bias", "eps"),
    "index": _index,
    "layer_norm": _function(functional.layer_norm, "input", "normalized_shape", "weight", "bias", "eps"),
    "lift_fresh_copy": _function(torch.clone, "self"),
    "log_sigmoid": _function(functional.logsigmoid, "self"),
    "mT": _transposed,
    "rsub": _subtracted,
    "slice": _slice,
    "split": _method("split"),
    "split_with_sizes": _method("split"),
    "sym_size": _method("size"),
    "to": _to,
    "upsample_bilinear2d": _interpolated("bilinear"),
    "upsample_linear1d": _interpolated("linear"),
    "upsample_nearest1d": _interpolated("nearest"),
    "upsample_nearest2d": _interpolated("nearest"),
    "upsample_nearest3d": _interpolated("nearest"),
    "upsample_trilinear3d": _interpolated("trilinear"),
}
"""Name of an operator -> its arguments by name -> the call."""
