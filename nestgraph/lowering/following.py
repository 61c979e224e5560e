"""The state of an optimizer's parameters after an edit: entries of units and links go where these went."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nestgraph.edits import IndexMap
from nestgraph.errors import LoweringError
from nestgraph.graph import Network
from nestgraph.lowering.parameters import Key, Lowered, parameters_of
from nestgraph.lowering.slots import Slot, module_body, slots
from nestgraph.spec.arrays import AnyArray

REDUCED: Mapping[type[Optimizer], Mapping[str, int]] = {torch.optim.Adafactor: {"row_var": -1, "col_var": -2}}
"""State that holds one entry for all along an axis of its parameter: by class and name, which axis."""

RESTARTS = (torch.optim.LBFGS,)
"""Optimizers whose state belongs to the function that they minimise: an edit makes another one, so they start anew."""


def followed_states(optimizer: Optimizer, before: Lowered, after: Lowered) -> dict[Tensor, dict[str, Any]]:
    """The state of each parameter of the module after an edit, made of that of the optimizer.

    Raises:
        LoweringError: a module does not belong to its network, or the state cannot follow units.
    """
    old, new = parameters_of(*before), parameters_of(*after)
    places = [{(slot.owner, slot.column): slot for slot in slots(network)} for network, _ in (before, after)]
    index_map = IndexMap.between(before[0], after[0])
    reduced = next((axes for kind, axes in REDUCED.items() if isinstance(optimizer, kind)), dict[str, int]())
    found: dict[Tensor, dict[str, Any]] = {}
    for key, parameter in new.items():
        if key not in old or old[key] not in optimizer.state or isinstance(optimizer, RESTARTS):
            continue
        if places[1][key].is_body:
            if _same_make(before[0], after[0], key[0]):
                found[parameter] = copy.deepcopy(optimizer.state[old[key]])
            continue
        origins = _origins(before[0], after[0], index_map, key)
        if origins is not None:
            both, dormant = (places[0][key], places[1][key]), _dormant(after[0], key, parameter)
            follow = _Follow(old[key], parameter, before[0], both, origins, dormant, reduced)
            found[parameter] = {name: follow.entry(name, value) for name, value in optimizer.state[old[key]].items()}
    return found


def _same_make(old: Network, new: Network, layer: str) -> bool:
    """Whether a body is another version of the one before, so that the state of its parameters is that of theirs."""
    return module_body(old, layer).make == module_body(new, layer).make


def _origins(old: Network, new: Network, index_map: IndexMap, key: Key) -> tuple[AnyArray, ...] | None:
    """For each axis that runs over units or links, the old position of each new entry, -1 if new; None if all are."""
    owner, column = key
    if column != "weight":
        return (index_map.old_positions[owner],)
    projection = new.projection(owner)
    before, after = old.connection_columns(owner), new.connection_columns(owner)
    thawed = [one.model_copy(update={"frozen": False}) for one in (old.projection(owner), projection)]
    if thawed[0] != thawed[1] or before.weight.shape[2:] != after.weight.shape[2:]:
        return None
    if before.links is not None and after.links is not None:
        row = {tuple(link): number for number, link in enumerate(before.links.tolist())}
        return (np.array([row.get(tuple(link), -1) for link in after.links.tolist()], np.int64),)
    return index_map.old_positions[projection.target], index_map.old_positions[projection.source]


def _dormant(network: Network, key: Key, parameter: nn.Parameter) -> Tensor | None:
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
    origins: tuple[AnyArray, ...]
    dormant: Tensor | None
    reduced: Mapping[str, int]

    def entry(self, name: str, value: Any) -> Any:
        """One entry of the state, after the edit."""
        if not isinstance(value, Tensor) or value.ndim == 0:
            if isinstance(value, Tensor | int | float | None):
                return value.clone() if isinstance(value, Tensor) else value
        elif (axis := self._one_for_all(name, value)) is not None:
            value = self.slots[0].spread(value, self.network)
            for number, origin in enumerate(self.origins):
                if number != axis:
                    value = _gathered(value, number, torch.tensor(origin, device=value.device))
            if self.dormant is not None and axis < 0:
                value = value.masked_fill(self.dormant.to(value.device), 0)
            return self.slots[1].packed(value.clone(), self.new)
        raise LoweringError(
            f"carry_optimizer expected state that is a number or has its parameter's shape {tuple(self.old.shape)}, "
            f"got {name!r} of {type(value).__name__} {tuple(getattr(value, 'shape', ()))}, which cannot follow units: "
            "make a new optimizer"
        )

    def _one_for_all(self, name: str, value: Tensor) -> int | None:
        """The axis along which a state has one entry, -1 for none; None if its shape is not its parameter's."""
        shape = list(self.old.shape)
        axis = self.reduced.get(name)
        if axis is None or len(shape) < 2:
            return -1 if list(value.shape) == shape else None
        shape[axis] = 1
        return len(shape) + axis if list(value.shape) == shape else None


def _gathered(value: Tensor, axis: int, place: Tensor) -> Tensor:
    """`value` taken along an axis at `place`, 0 where that is -1."""
    survivors = torch.nonzero(place >= 0).flatten()
    shape = list(value.shape)
    shape[axis] = len(place)
    return value.new_zeros(shape).index_copy(axis, survivors, value.index_select(axis, place[survivors]))
