"""Where in an imported network each element of a module's tensors went, found by importing numbers.

No kind of layer has a rule for this, so none can be forgotten: the module is imported with the numbers of its elements
in the place of its weights, and what then stands in a column are the numbers of what it was made of. An import with
random values tells whether all of it was copied and nothing computed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from nestgraph.errors import InteropError
from nestgraph.graph import Network
from nestgraph.interop.front_ends import Subject, read_by
from nestgraph.interop.wrappers import path_inside, unwrapped
from nestgraph.lowering.evaluating import evaluated
from nestgraph.lowering.parameters import Key
from nestgraph.lowering.slots import slots
from nestgraph.spec.arrays import AnyArray

Value = TypeVar("Value")
MODULI = (2**20, 2**20 - 1)
"""Numbers up to here are exact in float32. What is left of a place in the row by both tells it, since they have no
divisor in common and the first is 1 more; and near elements of a tensor differ, as trained ones do."""


@dataclass(frozen=True, eq=False)
class Tensors:
    """The tensors of a module that an import copies values of, in a row.

    Attributes:
        names: of all that are in its state dict, the number of the tensor; shared ones have several names.
        shapes: by number.
        starts: place of the first element of each in the row, and of the end.
    """

    names: Mapping[str, int]
    shapes: Sequence[tuple[int, ...]]
    starts: AnyArray

    @classmethod
    def of(cls, module: nn.Module) -> "Tensors":
        """Those of a module: all floating point parameters and buffers but masks of `torch.nn.utils.prune`."""
        numbers: dict[int, int] = {}
        names: dict[str, int] = {}
        shapes: list[tuple[int, ...]] = []
        for name, tensor in _held(module):
            if id(tensor) not in numbers:
                numbers[id(tensor)] = len(shapes)
                shapes.append(tuple(tensor.shape))
            names[name] = numbers[id(tensor)]
        sizes = [int(np.prod(shape)) for shape in shapes]
        return cls(names, shapes, np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]))

    def row(self, state: Mapping[str, Tensor]) -> AnyArray:
        """The values of a state dict in a row, float32; those of names that it has not are 0."""
        row = np.zeros(int(self.starts[-1]), np.float32)
        for name, number in self.names.items():
            if name in state:
                row[self.starts[number] : self.starts[number + 1]] = _flat(state[name])
        return row

    def of_row(self, row: AnyArray, number: int) -> Tensor:
        """A tensor out of a row."""
        return torch.tensor(row[self.starts[number] : self.starts[number + 1]].reshape(self.shapes[number]))


def origins(module: nn.Module, subject: Subject, front: str, network: Network, tensors: Tensors) -> dict[Key, AnyArray]:
    """For each column of an imported network, by its slot, the place of each entry in the row of tensors.

    Args:
        module: what was imported.
        subject: as it was read.
        front: the front end that read it.
        network: what came of it.
        tensors: of the module.

    Returns:
        By slot, int64 of the column's shape: the place from 1, negative where the sign is the other one, 0 where the
        entry is no copy of an element.

    Raises:
        InteropError: the import depends on the values.
    """
    places, rng = np.arange(int(tensors.starts[-1])), np.random.default_rng(0)
    random = rng.uniform(0.5, 1.5, len(places)).astype(np.float32)

    def imported(row: AnyArray) -> Mapping[Key, AnyArray]:
        twin = replace(subject, module=_with_values(module, tensors, row.astype(np.float32)))
        return _columns(twin, front, network)

    drawn, *numbered = imported(random), *(imported(places % modulus + 1) for modulus in MODULI)
    found: dict[Key, AnyArray] = {}
    for key, values in drawn.items():
        place = _place(*(_whole(each[key]) - 1 for each in numbered))
        known = (place >= 0) & (place < len(places))
        sign = np.sign(values if values.dtype != bool else 0 * values).astype(np.int64)
        known &= values == sign * random[np.where(known, place, 0)] if len(places) else False
        found[key] = np.where(known, sign * (place + 1), 0)
    return found


def _whole(values: AnyArray) -> AnyArray:
    """The numbers that columns hold, whatever their sign."""
    return np.where(np.isfinite(values), np.abs(values), 0).astype(np.int64)


def _place(first: AnyArray, second: AnyArray) -> AnyArray:
    """A place by what is left of it when it is divided by either of `MODULI`; -1 where it is none."""
    known = (first >= 0) & (first < MODULI[0]) & (second >= 0) & (second < MODULI[1])
    return np.where(known, first + MODULI[0] * ((second - first) % MODULI[1]), -1)


def _with_values(module: nn.Module, tensors: Tensors, row: AnyArray) -> nn.Module:
    """A module as it is read, with other values in the place of its tensors."""
    numbers = {path_inside(module, name): number for name, number in tensors.names.items()}
    twin, made = evaluated(module, unwrapped), dict[int, Tensor]()
    for prefix, part in _parts(twin):
        for kind in ("_parameters", "_buffers"):
            held = cast("dict[str, Tensor | None]", vars(part)[kind]) if kind in vars(part) else {}
            for name, tensor in list(held.items()):
                number = numbers.get(f"{prefix}.{name}" if prefix else name)
                if number is None or tensor is None:
                    continue
                values: Tensor = tensors.of_row(row, number)
                other = nn.Parameter(values, tensor.requires_grad) if kind == "_parameters" else values
                held[name] = made.setdefault(number, other)  # one tensor of several names stays one
    return twin


def _columns(subject: Subject, front: str, network: Network) -> Mapping[Key, AnyArray]:
    """The columns of what a module is read into, which must be such a network."""
    with torch.no_grad():
        found = read_by(front, subject)
    columns = {(slot.owner, slot.column): slot.values(found) for slot in slots(found)}
    expected = {(slot.owner, slot.column): slot.values(network).shape for slot in slots(network)}
    if {key: values.shape for key, values in columns.items()} != expected:
        raise InteropError(
            f"expected {type(subject.module).__name__} to become the same network whatever its weights are, got "
            "another one: import it by import_module, and make a new optimizer"
        )
    return columns


def _held(module: nn.Module) -> list[tuple[str, Tensor]]:
    """The tensors by all their names."""
    masks: set[str] = set()
    for prefix, part in _parts(module):
        hooks = cast("dict[int, Any]", vars(part).get("_forward_pre_hooks", {})).values()
        pruned = [hook for hook in hooks if isinstance(hook, prune.BasePruningMethod)]
        masks |= {f"{prefix}.{getattr(hook, '_tensor_name', '')}_mask".lstrip(".") for hook in pruned}
    found = {**parameters(module), **_in_state(module, module.named_buffers(remove_duplicate=False))}
    return [(name, tensor) for name, tensor in found.items() if tensor.is_floating_point() and name not in masks]


def parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of a module by all their names in its state dict."""
    return _in_state(module, module.named_parameters(remove_duplicate=False))


def _in_state(module: nn.Module, named: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """Tensors by their names in the state dict, of which some wrappers hide their own; those that are not in it go."""
    state = module.state_dict().keys()
    found = ((name if name in state else path_inside(module, name), tensor) for name, tensor in named)
    return {name: tensor for name, tensor in found if name in state}


def _parts(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """All submodules, and the module itself, by all their names."""
    return list(cast("Iterator[tuple[str, nn.Module]]", module.named_modules(remove_duplicate=False)))


def _flat(tensor: Tensor) -> AnyArray:
    return tensor.detach().to("cpu", torch.float32).numpy().reshape(-1)
