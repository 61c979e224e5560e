"""The state of an optimizer's parameters after an edit: entries of units and links go where these went."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nestgraph.edits import IndexMap
from nestgraph.errors import LoweringError
from nestgraph.graph import Network
from nestgraph.lowering.parameters import Key, Lowered, parameters_of
from nestgraph.lowering.slots import Slot, module_body, slots
from nestgraph.lowering.tensors import placed_as, whole
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray


@dataclass(frozen=True)
class Moved:
    """What brings tensors of a parameter's state to the parameter that it is after an edit.

    Attributes:
        before: the parameter before the edit.
        after: the parameter after it.
        options: of the group that it is in.
    """

    before: nn.Parameter
    after: nn.Parameter
    options: Mapping[str, Any]
    _networks: tuple[Network, Network]
    _slots: tuple[Slot, Slot]
    _origins: tuple[AnyArray, ...]
    _dormant: Tensor | None
    _lone: Mapping[str, frozenset[int]]

    def __call__(self, value: Tensor, fresh: float | Tensor = 0.0, name: str = "its state") -> Tensor:
        """A tensor with an entry for each of the parameter before, with one for each of that after it.

        Entries of units and links that are there still follow them. On axes where it has one entry for all (as the
        factors of Adafactor have), it is copied.

        Args:
            value: of the parameter's shape, or with size 1 on some axes.
            fresh: what new entries are, and those of dormant connections; a tensor has the shape after the edit.
            name: of the entry, which tells what has one entry for all where the parameter has one entry, too.

        Raises:
            LoweringError: it has another shape, so its entries are not the parameter's.
        """
        lone = self._lone_axes(name, value)
        if value.ndim == 0:
            return value.clone()
        if lone is not None and len(lone) == value.ndim:
            return value.clone().reshape((1,) * self.after.ndim)
        if lone is None:
            raise LoweringError(
                f"expected state that is a number or has its parameter's shape {tuple(self.before.shape)}, got "
                f"{name!r} of {type(value).__name__} {tuple(value.shape)}, which cannot follow units: make a new "
                "optimizer, or say by nestgraph.follow how its class goes on"
            )
        moved = self._slots[0].spread(value, self._networks[0])
        known: Tensor | None = None
        for axis, origin in enumerate(self._origins):
            if axis not in lone:
                moved = _gathered(moved, axis, torch.tensor(origin, device=value.device))
                there = torch.tensor(origin >= 0, device=value.device).view(-1, *(1,) * (moved.ndim - axis - 1))
                known = there if known is None else known & there
        if self._dormant is not None and not lone:
            moved = moved.masked_fill(self._dormant.to(value.device), 0)
            known = ~self._dormant.to(value.device) if known is None else known & ~self._dormant.to(value.device)
        if known is not None and (isinstance(fresh, Tensor) or fresh):
            filled = (
                self._slots[1].spread(whole(fresh.detach()), self._networks[1]) if isinstance(fresh, Tensor) else fresh
            )
            moved = torch.where(known, moved, torch.as_tensor(filled, dtype=moved.dtype, device=moved.device))
        return self._slots[1].packed(moved.clone(), self.after)

    def _lone_axes(self, name: str, value: Tensor) -> frozenset[int] | None:
        """The axes along which a state has one entry for all; None if its shape is not its parameter's."""
        shape, known = self.before.shape, self._lone.get(name, frozenset())
        if value.ndim != len(shape) or any(
            size not in (1, whole) for size, whole in zip(value.shape, shape, strict=True)
        ):
            return None
        sizes = enumerate(zip(value.shape, shape, strict=True))
        return frozenset(axis for axis, (size, whole) in sizes if size < whole or axis - value.ndim in known)


Following = Callable[[Mapping[str, Any], Moved], Mapping[str, Any]]
"""Gives the state of a parameter after an edit, from that before it."""


def _shape(fresh: Callable[[Moved], Mapping[str, float | Tensor]] = lambda _: {}) -> Following:
    """A state whose tensors follow units and links; what entries begin with that do not begin at 0."""

    def following(state: Mapping[str, Any], moved: Moved) -> Mapping[str, Any]:
        begin = fresh(moved)
        return {name: _entry(name, value, moved, begin.get(name, 0.0)) for name, value in state.items()}

    return following


def _entry(name: str, value: Any, moved: Moved, fresh: float | Tensor) -> Any:
    if isinstance(value, Tensor):
        return moved(value, fresh, name)
    if isinstance(value, int | float | None):
        return value
    raise LoweringError(
        f"expected state of tensors and numbers, got {name!r} of {type(value).__name__}, which cannot follow units: "
        "make a new optimizer, or say by nestgraph.follow how its class goes on"
    )


def _restart(*_: Any) -> Mapping[str, Any]:
    return {}


WAYS: Mapping[str, Following] = {"shape": _shape(), "restart": _restart}

_known: dict[type[Optimizer], Following] = {
    torch.optim.Optimizer: WAYS["shape"],
    torch.optim.LBFGS: WAYS["restart"],  # its pairs are of the function that it minimises: an edit makes another one
    torch.optim.Rprop: _shape(lambda moved: {"step_size": float(moved.options["lr"])}),
    torch.optim.Adagrad: _shape(lambda moved: {"sum": moved.options["initial_accumulator_value"]}),
    torch.optim.ASGD: _shape(lambda moved: {"ax": moved.after}),
}
"""How the state of classes goes on, and of those made of them."""

LONE: Mapping[type[Optimizer], Mapping[str, int]] = {torch.optim.Adafactor: {"row_var": -1, "col_var": -2}}
"""State that holds one entry for all along an axis of its parameter, also where that has one: by class and name."""


@checked(LoweringError)
def follow(kind: type[Optimizer], how: Literal["shape", "restart"] | Following) -> None:
    """Say how the state of an optimizer of your own, or of another library, goes on after an edit.

    Without it, state of a parameter's shape follows units and connections, and what has another shape is refused.

    Args:
        kind: the class of the optimizer; classes made of it follow alike.
        how: `"shape"`: tensors have their parameter's shape, or size 1 on some of its axes; new entries begin at 0.
            `"restart"`: each edit begins anew, as for what belongs to the function that is minimised. Or a function of
            a parameter's state and of what moves its tensors, such as
            `lambda state, moved: {"average": moved(state["average"]), "step": state["step"]}`.

    Raises:
        LoweringError: it is no optimizer's class, or there is no such way.
    """
    given: Any = kind
    if not (isinstance(given, type) and issubclass(given, Optimizer)):
        raise LoweringError(f"follow expected a class of torch.optim.Optimizer, got {str(cast(object, given))[:80]!r}")
    if isinstance(how, str) and how not in WAYS:
        raise LoweringError(f"follow expected 'shape', 'restart' or a function, got {how[:80]!r}")
    _known[kind] = WAYS[how] if isinstance(how, str) else how


def followed_states(optimizer: Optimizer, before: Lowered, after: Lowered) -> dict[Tensor, dict[str, Any]]:
    """The state of each parameter of the module after an edit, made of that of the optimizer.

    Raises:
        LoweringError: a module does not belong to its network, or the state cannot follow units.
    """
    old, new = parameters_of(*before), parameters_of(*after)
    places = [{(slot.owner, slot.column): slot for slot in slots(network)} for network, _ in (before, after)]
    index_map = IndexMap.between(before[0], after[0])
    following = next(_known[kind] for kind in type(optimizer).__mro__ if kind in _known)
    if following is _restart:
        return {}
    options = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    lone = _lone(optimizer)
    found: dict[Tensor, dict[str, Any]] = {}
    for key, parameter in new.items():
        if key not in old or old[key] not in optimizer.state:
            continue
        if places[1][key].is_body:
            if _same_make(before[0], after[0], key[0]):
                found[parameter] = copy.deepcopy(optimizer.state[old[key]])
            continue
        origins = _origins(before[0], after[0], index_map, key)
        if origins is not None:
            if old[key].ndim != parameter.ndim and _by_axis(optimizer, old[key]):
                continue
            networks, both = (before[0], after[0]), (places[0][key], places[1][key])
            group, dormant = options.get(id(old[key]), {}), _dormant(after[0], key, parameter)
            moved = Moved(old[key], parameter, group, networks, both, origins, dormant, lone)
            found[parameter] = _followed(following, optimizer, optimizer.state[old[key]], moved)
    return found


def _followed(following: Following, optimizer: Optimizer, state: Mapping[str, Any], moved: Moved) -> dict[str, Any]:
    held = {name: whole(value) if isinstance(value, Tensor) else value for name, value in state.items()}
    found: Any = following(held, moved)
    if not isinstance(found, Mapping):
        expected = f"the function that follows {type(optimizer).__name__} to give a state by name"
        raise LoweringError(f"expected {expected}, got {type(cast(object, found)).__name__}")
    entries = cast("Mapping[str, Any]", found).items()
    return {name: placed_as(value, moved.after) if isinstance(value, Tensor) else value for name, value in entries}


def _lone(optimizer: Optimizer) -> Mapping[str, frozenset[int]]:
    """For names of state, the axes, counted from the last, on which it has one entry where its parameter has more."""
    known = next((axes for kind, axes in LONE.items() if isinstance(optimizer, kind)), dict[str, int]())
    found = {name: {axis} for name, axis in known.items()}
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        for name, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and value.ndim == parameter.ndim:
                sizes = enumerate(zip(value.shape, parameter.shape, strict=True), -value.ndim)
                found.setdefault(name, set()).update(axis for axis, (size, whole) in sizes if size == 1 < whole)
    return {name: frozenset(axes) for name, axes in found.items()}


def _by_axis(optimizer: Optimizer, parameter: Tensor) -> bool:
    """Whether a parameter's state depends on its axes: it begins anew where weights become a vector, or no vector."""
    held = (value for value in optimizer.state[parameter].values() if isinstance(value, Tensor) and value.ndim)
    return isinstance(optimizer, tuple(LONE)) or any(value.shape != parameter.shape for value in held)


def _same_make(old: Network, new: Network, layer: str) -> bool:
    """Whether a body is another version of the one before, so that the state of its parameters is that of theirs."""
    return module_body(old, layer).make == module_body(new, layer).make


def _origins(old: Network, new: Network, index_map: IndexMap, key: Key) -> tuple[AnyArray, ...] | None:
    """For each axis that runs over units or links, the old position of each new entry, -1 if new; None if all are."""
    owner, column = key
    if column != "weight":
        return (index_map.old_positions[owner],)
    before, after = old.connection_columns(owner), new.connection_columns(owner)
    if old.projection(owner).joint != new.projection(owner).joint or before.inner != after.inner:
        return None
    return index_map.of_connections(old, new, owner)


def _dormant(network: Network, key: Key, parameter: nn.Parameter) -> Tensor | None:
    owner, column = key
    if column != "weight":
        return None
    return torch.tensor(~network.connection_columns(owner).mask, device=parameter.device)


def _gathered(value: Tensor, axis: int, place: Tensor) -> Tensor:
    """`value` taken along an axis at `place`, 0 where that is -1."""
    survivors = torch.nonzero(place >= 0).flatten()
    shape = list(value.shape)
    shape[axis] = len(place)
    return value.new_zeros(shape).index_copy(axis, survivors, value.index_select(axis, place[survivors]))
