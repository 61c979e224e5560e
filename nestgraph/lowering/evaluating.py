"""A module as it is in evaluation, beside the module itself: what runs and traces it then disturbs nobody."""

import functools
from collections import OrderedDict
from collections.abc import Callable
from types import MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn

REBUILT: tuple[type[Any], ...] = (list, tuple, set, dict, OrderedDict)
PLAIN: tuple[type[Any], ...] = (bool, int, float, str)


def evaluated(module: nn.Module, unwrapped: Callable[[nn.Module], nn.Module] = lambda part: part) -> nn.Module:
    """A copy of a module in evaluation mode that has the module's own tensors, those of another precision as float32.

    Whatever is done with the copy, the module keeps its modes, attributes and hooks, and others can use it meanwhile.
    Parts that are no registered submodules are the same ones. A scripted part has no Python attributes and is copied
    with its tensors.

    Args:
        module: what to copy.
        unwrapped: gives what stands in the copy for a part, the root among them: itself or a part inside of it.
    """
    copies: dict[int, Any] = {}
    inside = {id(part): unwrapped(part) for part in module.modules()}
    parts = [part for part in module.modules() if inside[id(part)] is part]
    for part in parts:
        scripted = isinstance(part, torch.jit.ScriptModule)
        copies[id(part)] = part.__deepcopy__({}).eval().float() if scripted else object.__new__(type(part))
    copies |= {number: copies[id(part)] for number, part in inside.items()}
    for part in parts:
        if not isinstance(part, torch.jit.ScriptModule):
            twin = copies[id(part)]
            twin.__dict__ = {name: _moved(value, copies) for name, value in vars(part).items()}
            twin.__dict__ |= {"training": False, "_compiled_call_impl": None}
    return copies[id(module)]


def single(tensor: Tensor) -> Tensor:
    """A tensor of whatever precision as float32; one of integers as it is."""
    return tensor.float() if tensor.is_floating_point() else tensor


def _moved(value: Any, copies: dict[int, Any]) -> Any:
    """An attribute's value with submodules, tensors and methods bound to submodules replaced by those of the copy."""
    if value is None or type(value) in PLAIN:
        return value
    if id(value) in copies:
        return copies[id(value)]
    if isinstance(value, Tensor):
        return copies.setdefault(id(value), _single(value))
    if isinstance(value, MethodType):
        return MethodType(value.__func__, _moved(value.__self__, copies))
    if type(value) is functools.partial:
        inner = cast("functools.partial[Any]", value)
        given = {name: _moved(option, copies) for name, option in inner.keywords.items()}
        return functools.partial(_moved(inner.func, copies), *(_moved(part, copies) for part in inner.args), **given)
    if type(value) in REBUILT and not value:
        return type(value)()
    if type(value) in (dict, OrderedDict):
        return type(value)((key, _moved(inner, copies)) for key, inner in value.items())
    if type(value) in REBUILT:
        return type(value)(_moved(inner, copies) for inner in value)
    return value


def _single(tensor: Tensor) -> Tensor:
    """The same tensor where it can be: of single precision, and not computed from others."""
    if isinstance(tensor, nn.Parameter):
        values = single(tensor.detach())
        same = values.dtype == tensor.dtype
        return tensor if same else nn.Parameter(values, requires_grad=tensor.requires_grad)
    return single(tensor if tensor.is_leaf else tensor.detach())
