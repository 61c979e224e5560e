"""Optimizer state that follows units through edits, for any optimizer that keeps it entry by entry."""

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nestgraph.edits import IndexMap
from nestgraph.errors import LoweringError
from nestgraph.graph import Network
from nestgraph.lowering.origin import lowered
from nestgraph.lowering.slots import Slot, slots
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray

AnyOptimizer = TypeVar("AnyOptimizer", bound=Optimizer)
Lowered = tuple[Network, nn.Module]
Parameters = Mapping[tuple[str, str], nn.Parameter]
"""Parameters by the name of their projection or layer, and their column."""


@checked(LoweringError)
def carry_optimizer(optimizer: AnyOptimizer, before: Lowered, after: Lowered) -> AnyOptimizer:
    """An optimizer of the same class and options over a new module, with the state of what survived.

    State of a parameter's shape (momentum, Adam's moments, RMSprop's averages) follows units and links by id, to the
    bit. Entries of new units and connections start at 0, as do those that are dormant in the new network: the
    momentum of a pruned weight is dead weight. Scalars, such as Adam's step, are copied. A parameter that is new, of a
    projection of another make too, has no state and joins the first group that holds a parameter of its column (a
    bias goes to biases), else the first group; one that was in no group stays out. All groups keep their place and
    options, `initial_lr` among them, so a learning rate scheduler goes on after `scheduler.optimizer = carried`.

    Args:
        optimizer: over the parameters of the module before; parameters of other modules stay as they are.
        before: the network and its module before the edit.
        after: the network and its module after the edit.

    Raises:
        LoweringError: a module does not belong to its network, the optimizer belongs to another module, or its state
            cannot follow units.
    """
    old, new = parameters_of(*before), parameters_of(*after)
    slots_before, slots_after = (
        {(slot.owner, slot.column): slot for slot in slots(network)} for network, _ in (before, after)
    )
    carried = _rebuilt(optimizer, _groups(optimizer, old, new))
    index_map = IndexMap.between(before[0], after[0])
    for key, parameter in new.items():
        places = _places(before[0], after[0], index_map, key) if key in old and old[key] in optimizer.state else None
        if places is not None:
            dormant = _dormant(after[0], key, parameter)
            both = slots_before[key], slots_after[key]
            follow = _Follow(old[key], parameter, before[0], both, places, dormant)
            carried.state[parameter] = {
                name: follow.entry(name, value) for name, value in optimizer.state[old[key]].items()
            }
    for parameter in _foreign(optimizer, old):
        if parameter in optimizer.state:
            carried.state[parameter] = copy.deepcopy(optimizer.state[parameter])
    return carried


def parameters_of(network: Network, module: nn.Module) -> Parameters:
    """The parameters of a network's module, by the name of their projection or layer and their column.

    Raises:
        LoweringError: the module was not lowered from the network.
    """
    part = lowered(network, module)
    tensors = {(slot.owner, slot.column): slot.tensor(part) for slot in slots(network)}
    return {key: tensor for key, tensor in tensors.items() if isinstance(tensor, nn.Parameter)}


def _foreign(optimizer: Optimizer, old: Parameters) -> list[nn.Parameter]:
    """The optimizer's parameters that belong to other modules."""
    known = set(map(id, old.values()))
    return [p for group in optimizer.param_groups for p in group["params"] if id(p) not in known]


def _groups(optimizer: Optimizer, old: Parameters, new: Parameters) -> list[dict[str, Any]]:
    keys = {id(parameter): key for key, parameter in old.items()}
    groups: list[dict[str, Any]] = []
    home: dict[str, int] = {}
    for number, group in enumerate(optimizer.param_groups):
        kept: list[nn.Parameter] = []
        for parameter in group["params"]:
            key = keys.get(id(parameter))
            if key is not None:
                home.setdefault(key[1], number)
            if key is None or key in new:
                kept.append(parameter if key is None else new[key])
        options = {name: value for name, value in group.items() if name != "param_names"}
        groups.append({**options, "params": kept})
    if not home:
        raise LoweringError(
            f"carry_optimizer expected {type(optimizer).__name__} over parameters of the module before the edit, got "
            "none of them: pass the module that the optimizer was made for"
        )
    for key, parameter in new.items():
        if key not in old:
            groups[home.get(key[1], 0)]["params"].append(parameter)
    return groups


def _rebuilt(optimizer: AnyOptimizer, groups: list[dict[str, Any]]) -> AnyOptimizer:
    kind = type(optimizer)
    accepted = inspect.signature(kind).parameters
    options = {name: value for name, value in optimizer.defaults.items() if name in accepted}
    try:
        return kind(groups, **options)
    except Exception as error:  # whatever a foreign constructor raises
        raise LoweringError(
            f"carry_optimizer expected an optimizer that {kind.__name__}(groups, **defaults) rebuilds, got: {error}; "
            "pass the bare optimizer, not one that wraps it, or make a new one"
        ) from error


def _places(old: Network, new: Network, index_map: IndexMap, key: tuple[str, str]) -> tuple[AnyArray, ...] | None:
    """For each axis that runs over units or links, the old position of each new entry, -1 if new; None if all are."""
    owner, column = key
    if column != "weight":
        return (index_map.old_positions[owner],)
    projection = new.projection(owner)
    before, after = old.connection_columns(owner), new.connection_columns(owner)
    if old.projection(owner) != projection or before.weight.shape[2:] != after.weight.shape[2:]:
        return None
    if before.links is not None and after.links is not None:
        row = {tuple(link): number for number, link in enumerate(before.links.tolist())}
        return (np.array([row.get(tuple(link), -1) for link in after.links.tolist()], np.int64),)
    return index_map.old_positions[projection.target], index_map.old_positions[projection.source]


def _dormant(network: Network, key: tuple[str, str], parameter: nn.Parameter) -> Tensor | None:
    owner, column = key
    if column != "weight":
        return None
    return torch.tensor(~network.connection_columns(owner).mask, device=parameter.device)


@dataclass(frozen=True)
class _Follow:
    """What brings the state of a parameter to the one that it is after an edit."""

    old: nn.Parameter
    new: nn.Parameter
    network: Network
    slots: tuple[Slot, Slot]
    places: tuple[AnyArray, ...]
    dormant: Tensor | None

    def entry(self, name: str, value: Any) -> Any:
        """One entry of the state, after the edit."""
        if not isinstance(value, Tensor) or value.ndim == 0:
            if isinstance(value, Tensor | int | float | None):
                return value.clone() if isinstance(value, Tensor) else value
        elif value.shape == self.old.shape:
            value = self.slots[0].spread(value, self.network)
            for axis, place in enumerate(self.places):
                value = _gathered(value, axis, torch.tensor(place, device=value.device))
            value = value if self.dormant is None else value.masked_fill(self.dormant.to(value.device), 0)
            return self.slots[1].packed(value, self.new)
        raise LoweringError(
            f"carry_optimizer expected state that is a number or has its parameter's shape {tuple(self.old.shape)}, "
            f"got {name!r} of {type(value).__name__} {tuple(getattr(value, 'shape', ()))}, which cannot follow units: "
            "make a new optimizer"
        )


def _gathered(value: Tensor, axis: int, place: Tensor) -> Tensor:
    """`value` taken along an axis at `place`, 0 where that is -1."""
    survivors = torch.nonzero(place >= 0).flatten()
    shape = list(value.shape)
    shape[axis] = len(place)
    return value.new_zeros(shape).index_copy(axis, survivors, value.index_select(axis, place[survivors]))
