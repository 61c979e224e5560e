"""A pruned network in the format that its module's package saves: the same names, a smaller configuration.

The package is not asked for by name: a module that has a `config` and `save_pretrained`, as those of Hugging Face, is
made again from other configurations, on no device, until its parameters have the shapes wanted.
"""

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from nestgraph.errors import InteropError
from nestgraph.graph import Network
from nestgraph.graph.heads import together

Shapes = Mapping[str, tuple[int, ...]]
Wrong = Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]]
"""By name, the shape of a tensor in a module and the one that is wanted."""

ELSE = "or save what compact gives"


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


def check_groups(network: Network) -> None:
    """Refuse heads of which some have keys or values in common with more heads than others.

    Raises:
        InteropError: there are such; a configuration says one number of heads and one of keys.
    """
    for name in network.layer_names:
        sizes = sorted({len(group) for group in together(network, name)}) if network.matches(name) else []
        if len(sizes) > 1:
            raise InteropError(
                f"save_pretrained expected as many heads for each key in layer {name!r}, as a configuration says one "
                f"number of heads and one of keys, got groups of {' and '.join(map(str, sizes))} heads: remove whole "
                f"groups, or as many heads of each; {ELSE}"
            )


def check_said(module: nn.Module) -> None:
    """Refuse a module whose configuration its own package does not take, when it writes or reads it.

    Raises:
        InteropError: it does not, and why.
    """
    config: Any = module.config
    try:
        getattr(config, "validate", bool)()
    except Exception as error:  # whatever a configuration says
        why = str(error).strip().splitlines()[-1].strip()
        raise InteropError(
            f"save_pretrained expected widths that a {type(config).__name__} can say, got some that it refuses: {why} "
            f"Remove another number of units; {ELSE}"
        ) from error


def with_widths(module: nn.Module, state: Mapping[str, Tensor]) -> Iterator[nn.Module]:
    """Modules of the same class, in evaluation, that hold a state dict of smaller tensors under the same names.

    There may be several: twelve units are two heads of six or four of three.

    Raises:
        InteropError: no configuration of the class has these widths.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in state.items()}
    for config in _fitting(type(module), module.config, wanted):
        made = type(module)(config).eval()
        made.load_state_dict(state)
        if getattr(module, "generation_config", None) is not None:
            made.generation_config = copy.deepcopy(module.generation_config)
        yield made


def _fitting(kind: Callable[[Any], nn.Module], config: Any, wanted: Shapes) -> Iterator[Any]:
    """The configurations whose modules have the shapes wanted, found one number at a time.

    Raises:
        InteropError: none has.
    """
    nearest = config, _wrong(_shapes(kind, config), wanted)
    waiting, seen, found = [nearest], [_numbers(config)], False
    while waiting:
        config, wrong = waiting.pop()
        found, nearest = found or not wrong, min(nearest, (config, wrong), key=lambda each: len(each[1]))
        if not wrong:
            yield config
            continue
        tried = [other for other in _changes(config, wrong) if _numbers(other) not in seen]
        seen += map(_numbers, tried)
        better = [(other, _wrong(_shapes(kind, other), wanted)) for other in tried]
        waiting += sorted((each for each in better if len(each[1]) < len(wrong)), key=lambda each: -len(each[1]))
    if not found:
        raise InteropError(f"save_pretrained expected {_unsayable(kind, *nearest, wanted)}; {ELSE}")


def _unsayable(kind: Callable[[Any], nn.Module], config: Any, wrong: Wrong, wanted: Shapes) -> str:
    """What was expected of the first width that no number of a configuration says, and what it is."""
    what, (name, (has, wants)) = type(config).__name__, next(iter(wrong.items()))
    if len(has) != len(wants):
        return f"a module that its {what} alone makes with the same names, got other names or another {name!r}"
    axis = next(place for place, pair in enumerate(zip(has, wants, strict=True)) if pair[0] != pair[1])
    said = " and ".join(_sayers(kind, config, name, axis)) or "no number of it"
    width = f"got {wants[axis]} along axis {axis} of {name!r}, where {has[axis]} is said by {said}"
    alike = {other: shape[axis] for other, shape in wanted.items() if _role(other) == _role(name)}
    strange = next((other for other, extent in alike.items() if extent != wants[axis]), None)
    if strange is not None:
        many = f"and {alike[strange]} of {strange!r}: take as many from each layer"
        return f"widths that a {what} can say, one for all layers, {width}, {many}"
    return (
        f"widths that a {what} can say, {width}, as are widths that stayed: where the width of heads is worked out of "
        "the stream's, keep all heads and all units of each"
    )


def _role(name: str) -> str:
    """What a tensor is called in each layer."""
    return re.sub(r"(?<=\.)\d+(?=\.)", "*", name)


def _sayers(kind: Callable[[Any], nn.Module], config: Any, name: str, axis: int) -> Iterator[str]:
    """The names of a configuration's numbers that change an extent of a tensor."""
    before = _shapes(kind, config) or {}
    for field, value in _numbers(config).items():
        shapes = _shapes(kind, _changed(config, field, 2 * value)) if value else None
        if shapes is not None and shapes.get(name, before[name])[axis] != before[name][axis]:
            yield field


def _shapes(kind: Callable[[Any], nn.Module], config: Any) -> Shapes | None:
    """The shapes in the state dict of a configuration's module; None where there is no such module."""
    try:
        with torch.device("meta"):
            return {name: tuple(tensor.shape) for name, tensor in kind(copy.deepcopy(config)).state_dict().items()}
    except Exception:  # whatever a module says of numbers that do not fit
        return None


def _wrong(shapes: Shapes | None, wanted: Shapes) -> Wrong:
    """By name the shapes that are not as wanted, each with that; all of them where the names differ."""
    if shapes is None or shapes.keys() != wanted.keys():
        return {name: ((), shape) for name, shape in wanted.items()}
    return {name: (shapes[name], shape) for name, shape in wanted.items() if shapes[name] != shape}


def _changes(config: Any, wrong: Wrong) -> Iterator[Any]:
    """Configurations that differ in one number, by what extents of shapes differ by."""
    pairs = {pair for has, wants in wrong.values() for pair in zip(has, wants, strict=False) if pair[0] != pair[1]}
    for field, value in _numbers(config).items():
        if value is None:
            others = {wants for _, wants in pairs}
        else:
            others = {
                value * wants // has for has, wants in pairs if has % max(value, 1) == 0 and value * wants % has == 0
            }
        for other in sorted(others - {value, 0}):
            changed = _changed(config, field, other)
            if changed is not None:
                yield changed


def _numbers(config: Any) -> Mapping[str, int | None]:
    """The whole numbers of a configuration by name, and what may become one."""
    fields = cast("dict[str, Any]", vars(config))
    return {
        name: value
        for name, value in fields.items()
        if not name.startswith("_") and not isinstance(value, bool) and (value is None or isinstance(value, int))
    }


def _changed(config: Any, field: str, value: int) -> Any:
    """A configuration with another number; None where it takes none."""
    changed = copy.deepcopy(config)
    try:
        setattr(changed, field, value)
    except Exception:  # what a configuration works out of others, or is no number
        return None
    return changed
