"""The state of an optimizer as a value: what history keeps, and what a file of a run can hold.

It is arrays and a record, no tensors: entries of one unit or connection stand where the network has them, under the
name of their layer or projection, so a state fits any module lowered from a network of the same units.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self, cast

import numpy as np
import torch
from pydantic import Strict
from torch import Tensor, nn
from torch.optim import Optimizer

from nestgraph.errors import LoweringError, RecordError
from nestgraph.graph import Network
from nestgraph.lowering.parameters import Parameters, parameters_of
from nestgraph.lowering.slots import slots
from nestgraph.lowering.tensors import placed_as, whole
from nestgraph.spec import Name
from nestgraph.spec.arrays import AnyArray, Integers, frozen, same_bits
from nestgraph.spec.record import ArrayRecord, Record, Text

Number = bool | int | float | None
Numbers = Annotated[tuple[Number, ...], Strict(False)]
"""A list in a state; where it holds an array there is None."""
Option = bool | int | float | str | None | Annotated[tuple[bool | int | float | None, ...], Strict(False)]
Key = Annotated[tuple[Name, Name], Strict(False)]
"""The projection or layer that a parameter belongs to, and its column."""


class Group(Record):
    """A parameter group: which parameters, and its options (learning rate, momentum, ...)."""

    parameters: Annotated[tuple[Key, ...], Strict(False)]
    options: dict[str, Option]


class StateRecord(ArrayRecord):
    """Everything about a state that is not an array, as JSON can hold it.

    Attributes:
        optimizer: name of the optimizer's class, for messages.
        groups: the parameter groups in order.
        numbers: entries of the state that are plain numbers, or lists of them, by `owner.column.name`.
        units: ids of the units, by layer.
        links: links of one-to-one projections, (links, 2).
    """

    optimizer: Text
    groups: Annotated[tuple[Group, ...], Strict(False)]
    numbers: dict[str, Number | Numbers]
    units: dict[Name, Integers]
    links: dict[Name, Integers]


@dataclass(frozen=True, eq=False)
class OptimizerState:
    """The state of an optimizer over the parameters of one lowered network.

    Attributes:
        record: what is not an array.
        arrays: read-only, by `owner.column.name`, such as `fc1.bias.exp_avg`: in the column's shape, or a scalar; those
            in a list with their place in it, `fc1.bias.old_dirs.3`.
    """

    record: StateRecord
    arrays: Mapping[str, AnyArray]

    @classmethod
    def of(cls, optimizer: Optimizer, network: Network, module: nn.Module, like: Self | None = None) -> Self:
        """The present state of an optimizer over the parameters of `module`.

        Args:
            optimizer: of any class that keeps tensors and numbers by parameter.
            network: what the module was lowered from.
            module: the module.
            like: an earlier state; arrays that are the same to the bit are shared with it.

        Raises:
            LoweringError: the module is another network's, or the optimizer has parameters of other modules or a
                state that arrays and numbers cannot hold.
        """
        parameters = parameters_of(network, module)
        places = {(slot.owner, slot.column): slot for slot in slots(network)}
        arrays: dict[str, AnyArray] = {}
        numbers: dict[str, Any] = {}
        for key, parameter in parameters.items():
            for name, value in optimizer.state.get(parameter, {}).items():
                place = ".".join((*key, name))
                if isinstance(value, Tensor):
                    arrays[place] = _shared(place, _array(places[key].spread(whole(value), network)), like)
                    continue
                numbers[place] = value
                if isinstance(value, list):
                    parts = list(enumerate(cast("list[Any]", value)))
                    held = {f"{place}.{number}": part for number, part in parts if isinstance(part, Tensor)}
                    arrays |= {name: _shared(name, _array(part), like) for name, part in held.items()}
                    numbers[place] = tuple(None if isinstance(part, Tensor) else part for _, part in parts)
        parts = {name: network.connection_columns(name).parts for name in network.projection_names}
        try:
            record = StateRecord(
                optimizer=type(optimizer).__name__,
                groups=_groups(optimizer, parameters),
                numbers=numbers,
                units={name: network.units(name) for name in network.layer_names},
                links={name: found["links"] for name, found in parts.items() if "links" in found},
            )
        except RecordError as error:
            raise LoweringError(
                f"expected an optimizer whose options and state are numbers, texts and tensors, got "
                f"{type(optimizer).__name__}: {error.problem}"
            ) from None
        return cls(record, arrays)

    def restore(self, optimizer: Optimizer, network: Network, module: nn.Module) -> None:
        """Give an optimizer this state over the parameters of `module`, to the bit.

        The optimizer stays the same object, so a scheduler that holds it goes on.

        Raises:
            LoweringError: the state belongs to other units, or the module to another network.
        """
        parameters = parameters_of(network, module)
        self._check(network, parameters)
        number = {key: place for place, key in enumerate(key for g in self.record.groups for key in g.parameters)}
        present = [dict(group) for group in optimizer.param_groups] or [{}]
        held = {id(group["params"]): place for place, group in enumerate(optimizer.param_groups)}
        groups: list[dict[str, Any]] = []
        for place, group in enumerate(self.record.groups):
            old = present[min(place, len(present) - 1)]
            options = {name: _option(old.get(name), value) for name, value in group.options.items()}
            groups.append({**options, "params": [number[key] for key in group.parameters]})
        tensors = [{"params": [parameters[key] for key in group.parameters]} for group in self.record.groups]
        optimizer.param_groups[:] = cast("list[dict[str, Any]]", tensors)
        places = {(slot.owner, slot.column): slot for slot in slots(network)}
        state: dict[int, dict[str, Any]] = {}
        for place, value in (*self.record.numbers.items(), *self.arrays.items()):
            owner, column, name = place.split(".", 2)
            entries, entry = state.setdefault(number[owner, column], {}), cast(Any, value)
            if isinstance(value, np.ndarray):
                stem, _, at = place.rpartition(".")
                if stem in self.record.numbers:
                    entries[name.rpartition(".")[0]][int(at)] = torch.tensor(value)
                    continue
                slot, entry = places[owner, column], torch.tensor(value)
                if entry.shape[:2] == slot.values(network).shape[:2]:
                    entry = placed_as(slot.packed(entry, parameters[owner, column]), parameters[owner, column])
            entries[name] = list(cast("tuple[Number, ...]", entry)) if isinstance(entry, tuple) else entry
        optimizer.load_state_dict({"state": state, "param_groups": groups})
        for group, old in zip(optimizer.param_groups, present, strict=False):
            if "param_names" in old:
                paths = {id(parameters[key]): slot.path for key, slot in places.items() if key in parameters}
                group["param_names"] = [paths[id(parameter)] for parameter in group["params"]]
        _renew(optimizer, held)

    def same(self, other: "OptimizerState") -> bool:
        """Whether both are the same to the bit."""
        return (
            self.record == other.record
            and self.arrays.keys() == other.arrays.keys()
            and all(same_bits(array, other.arrays[place]) for place, array in self.arrays.items())
        )

    def _check(self, network: Network, parameters: Parameters) -> None:
        parts = {name: network.connection_columns(name).parts for name in network.projection_names}
        same = self.record.units.keys() == set(network.layer_names) and all(
            np.array_equal(ids, network.units(name)) for name, ids in self.record.units.items()
        )
        for name, ends in self.record.links.items():
            there = parts[name].get("links") if name in parts else None
            same = same and there is not None and np.array_equal(ends, there)
        if not (same and all(key in parameters for group in self.record.groups for key in group.parameters)):
            raise LoweringError(
                f"the state of {self.record.optimizer} expected a network of the units it was taken for, got others: "
                "restore it for that network, then carry_optimizer"
            )


def _renew(optimizer: Optimizer, held: Mapping[int, int]) -> None:
    """Replace the lists of parameters that an optimizer holds beside its groups, as LBFGS does, and what it counted."""
    for name, value in vars(optimizer).items():
        if id(value) in held:
            setattr(optimizer, name, optimizer.param_groups[held[id(value)]]["params"])
    if isinstance(optimizer, torch.optim.LBFGS):
        optimizer._numel_cache = None  # pyright: ignore[reportPrivateUsage]


def _groups(optimizer: Optimizer, parameters: Parameters) -> tuple[Group, ...]:
    keys = {id(parameter): key for key, parameter in parameters.items()}
    groups: list[Group] = []
    for group in optimizer.param_groups:
        if any(id(parameter) not in keys for parameter in group["params"]):
            raise LoweringError(
                f"expected {type(optimizer).__name__} over parameters of the lowered module only, got others: "
                "give parameters of other modules an optimizer of their own"
            )
        options = {name: value for name, value in group.items() if name not in ("params", "param_names")}
        plain = {name: value.item() if isinstance(value, Tensor) else value for name, value in options.items()}
        groups.append(Group(parameters=tuple(keys[id(p)] for p in group["params"]), options=plain))
    return tuple(groups)


def _option(present: Any, value: Any) -> Any:
    """An option's value, as a tensor where the optimizer has one (a learning rate on the device)."""
    return torch.full_like(present, value) if isinstance(present, Tensor) else value


def _array(value: Tensor) -> AnyArray:
    try:
        array = whole(value).detach().cpu().numpy()
    except TypeError as error:
        raise LoweringError(f"expected an optimizer's state of a dtype that NumPy has, got {value.dtype}") from error
    return frozen(array.copy(), array.dtype)


def _shared(place: str, array: AnyArray, like: OptimizerState | None) -> AnyArray:
    known = None if like is None else like.arrays.get(place)
    return known if known is not None and same_bits(known, array) else array
