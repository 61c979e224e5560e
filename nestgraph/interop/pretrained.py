"""A pruned network in the format that its module's package saves: the same names, a smaller configuration.

The package is not asked for by name: a module that has a `config` and `save_pretrained`, as those of Hugging Face, is
made again from other configurations, on no device, until its parameters have the shapes wanted.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from nestgraph.errors import InteropError

Shapes = Mapping[str, tuple[int, ...]]


def check_pretrained(module: nn.Module) -> None:
    """Refuse a module that its package cannot save.

    Raises:
        InteropError: it has no configuration.
    """
    config = getattr(module, "config", None)
    if not (hasattr(config, "to_dict") and hasattr(module, "save_pretrained")):
        raise InteropError(
            f"save_pretrained expected a module with a config, as those of Hugging Face, got {type(module).__name__}: "
            "export the network, or save what compact gives"
        )


def with_widths(module: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """A module of the same class, in evaluation, that holds a state dict of smaller tensors under the same names.

    Raises:
        InteropError: no configuration of the class has these widths.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in state.items()}
    config = _fitting(type(module), module.config, wanted)
    made = type(module)(config).eval()
    made.load_state_dict(state)
    return made


def _fitting(kind: Callable[[Any], nn.Module], config: Any, wanted: Shapes) -> Any:
    """The configuration whose module has the shapes wanted, found one number at a time.

    Raises:
        InteropError: none has.
    """
    wrong = _wrong(_shapes(kind, config), wanted)
    while wrong:
        tried = [(other, _wrong(_shapes(kind, other), wanted)) for other in _changes(config, wrong)]
        better = min(tried, key=lambda each: len(each[1]), default=(config, wrong))
        if len(better[1]) >= len(wrong):
            break
        config, wrong = better
    if wrong:
        name, (has, wants) = next(iter(wrong.items()))
        raise InteropError(
            f"save_pretrained expected widths that a {type(config).__name__} can say, got {wants} for {name!r} where "
            f"the nearest says {has}, and {len(wrong) - 1} more: take the same number from every layer, and heads "
            "only where the width of a head is a number of its own; or save what compact gives"
        )
    return config


def _shapes(kind: Callable[[Any], nn.Module], config: Any) -> Shapes | None:
    """The shapes in the state dict of a configuration's module; None where there is no such module."""
    try:
        with torch.device("meta"):
            return {name: tuple(tensor.shape) for name, tensor in kind(copy.deepcopy(config)).state_dict().items()}
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError):
        return None


def _wrong(shapes: Shapes | None, wanted: Shapes) -> dict[str, tuple[tuple[int, ...], tuple[int, ...]]]:
    """By name the shapes that are not as wanted, each with that; all of them where the names differ."""
    if shapes is None or shapes.keys() != wanted.keys():
        return {name: ((), shape) for name, shape in wanted.items()}
    return {name: (shapes[name], shape) for name, shape in wanted.items() if shapes[name] != shape}


def _changes(config: Any, wrong: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]) -> Iterator[Any]:
    """Configurations that differ in one number, by what extents of shapes differ by."""
    pairs = {pair for has, wants in wrong.values() for pair in zip(has, wants, strict=True) if pair[0] != pair[1]}
    numbers = cast("dict[str, Any]", vars(config))
    for name, value in numbers.items():
        if name.startswith("_") or isinstance(value, bool) or not (value is None or isinstance(value, int)):
            continue
        if value is None:
            others = {wants for _, wants in pairs}
        else:
            others = {
                value * wants // has for has, wants in pairs if has % max(value, 1) == 0 and value * wants % has == 0
            }
        for other in sorted(others - {value, 0}):
            changed = copy.deepcopy(config)
            try:
                setattr(changed, name, other)
            except (AttributeError, TypeError, ValueError):
                continue  # what a configuration works out of others
            yield changed
