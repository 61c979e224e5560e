"""Optimizers that follow a network through edits, with their state, options, groups and hooks."""

import copy
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast, overload

import torch
from torch import nn
from torch.optim import Optimizer

from nestgraph.errors import LoweringError
from nestgraph.lowering.following import followed_states
from nestgraph.lowering.membership import Place, homes
from nestgraph.lowering.parameters import Key, Lowered, Parameters, inherit, parameters_of
from nestgraph.lowering.schedulers import hand_over
from nestgraph.lowering.slots import slots
from nestgraph.spec.arguments import checked

AnyOptimizer = TypeVar("AnyOptimizer", bound=Optimizer)


@overload
def carry_optimizer(
    optimizer: AnyOptimizer, before: Lowered, after: Lowered, schedulers: Iterable[Any] = ()
) -> AnyOptimizer: ...


@overload
def carry_optimizer(
    optimizer: Sequence[Optimizer], before: Lowered, after: Lowered, schedulers: Iterable[Any] = ()
) -> tuple[Optimizer, ...]: ...


@checked(LoweringError)
def carry_optimizer(
    optimizer: Optimizer | Sequence[Optimizer], before: Lowered, after: Lowered, schedulers: Iterable[Any] = ()
) -> Optimizer | tuple[Optimizer, ...]:
    """An optimizer of the same class and options over a new module, with the state of what survived.

    State of a parameter's shape (momentum, Adam's moments, RMSprop's averages) follows units and links by id, to the
    bit; so does state that has one entry for a row or column (Adafactor). Entries of new units and connections start
    as in a new optimizer, as do those that are dormant in the new network: the momentum of a pruned weight is dead
    weight. Scalars, such as Adam's step, are copied. LBFGS starts anew, as the function that it minimises is another
    one. `follow` tells how other classes go on.

    All groups keep their place and options, `initial_lr` among them. A parameter that is new, of a projection of
    another make too, has no state and joins the group whose rule it meets (`membership.homes`): vectors join vectors,
    a layer's parameters the others of that layer; a rule may also leave it out, as what was in no group stays out.
    Parameters of the new module take over whether they train, and their hooks.

    Args:
        optimizer: over the parameters of the module before, or all that are, so that each new parameter joins one
            of them; parameters of other modules stay as they are.
        before: the network and its module before the edit.
        after: the network and its module after the edit.
        schedulers: learning rate schedulers that shall go on with what is carried, with all that they hold.

    Raises:
        LoweringError: a module does not belong to its network, an optimizer belongs to another module or shares a
            parameter with another one, or its state cannot follow units.
    """
    given = (optimizer,) if isinstance(optimizer, Optimizer) else tuple(optimizer)
    old, new = parameters_of(*before), parameters_of(*after)
    places = placed(given, old)
    belongs = homes(before, after, places)
    paths = [{(slot.owner, slot.column): slot.path for slot in slots(network)} for network, _ in (before, after)]
    carried: list[Optimizer] = []
    for number, one in enumerate(given):
        joined = _Joined(old, new, {key: home for key, home in belongs.items() if home and home[0] == number}, paths)
        made = rebuilt(one, [joined.group(place, group) for place, group in enumerate(one.param_groups)])
        made.state.update(followed_states(one, before, after))
        for parameter in _foreign(one, old):
            if parameter in one.state:
                made.state[parameter] = copy.deepcopy(one.state[parameter])
        carried.append(made)
    hand_over(schedulers, zip(given, carried, strict=True))
    inherit(before, after)
    return carried[0] if isinstance(optimizer, Optimizer) else tuple(carried)


def placed(optimizers: Sequence[Optimizer], parameters: Parameters) -> Mapping[int, Place]:
    """The optimizer and group of each parameter, by identity.

    Raises:
        LoweringError: a parameter is in two optimizers, or an optimizer has none of them or takes sparse gradients.
    """
    keys = {id(parameter): key for key, parameter in parameters.items()}
    found: dict[int, Place] = {}
    for number, optimizer in enumerate(optimizers):
        if isinstance(optimizer, torch.optim.SparseAdam):
            raise LoweringError(
                "expected an optimizer of dense gradients, got SparseAdam: use Adam, which leaves pruned "
                "weights alone, too"
            )
        members = [(place, p) for place, group in enumerate(optimizer.param_groups) for p in group["params"]]
        mine: dict[int, Place] = {id(p): (number, place) for place, p in members if id(p) in keys}
        if not mine:
            raise LoweringError(
                f"expected {type(optimizer).__name__} over parameters of the lowered module, got none of them: pass "
                "the module that the optimizer was made for"
            )
        if twice := mine.keys() & found.keys():
            owner, column = next(key for known, key in keys.items() if known in twice)
            raise LoweringError(
                f"expected each parameter in one optimizer at most, got the {column} of {owner!r} in two: a step "
                "would move it twice"
            )
        found |= mine
    return found


class _Joined:
    """The groups of one optimizer after an edit."""

    def __init__(self, old: Parameters, new: Parameters, belongs: Mapping[Key, Place], paths: Any) -> None:
        self._old, self._new, self._belongs, self._paths = old, new, belongs, paths
        self._keys = {id(parameter): key for key, parameter in old.items()}

    def group(self, place: int, group: Mapping[str, Any]) -> dict[str, Any]:
        """A group with its options: what stays in its order, then what joins it."""
        names: Sequence[str] = group.get("param_names", [""] * len(group["params"]))
        prefix, kept = "", list[tuple[str, nn.Parameter]]()
        for name, parameter in zip(names, group["params"], strict=True):
            key = self._keys.get(id(parameter))
            if key is None:
                kept.append((name, parameter))
                continue
            prefix = name.removesuffix(self._paths[0][key])
            if key in self._new:
                kept.append((prefix + self._paths[1][key], self._new[key]))
        for key, home in self._belongs.items():
            if home is not None and home[1] == place and key not in self._old:
                kept.append((prefix + self._paths[1][key], self._new[key]))
        params = kept if "param_names" in group else [parameter for _, parameter in kept]
        return {**{name: value for name, value in group.items() if name != "param_names"}, "params": params}


def _foreign(optimizer: Optimizer, old: Parameters) -> list[nn.Parameter]:
    """The optimizer's parameters that belong to other modules."""
    known = set(map(id, old.values()))
    return [p for group in optimizer.param_groups for p in group["params"] if id(p) not in known]


def rebuilt(optimizer: AnyOptimizer, groups: list[dict[str, Any]]) -> AnyOptimizer:
    """An optimizer of the same class, options and hooks over other groups.

    Raises:
        LoweringError: its class makes none of groups and its defaults.
    """
    kind = type(optimizer)
    accepted = inspect.signature(kind).parameters
    options = {name: value for name, value in optimizer.defaults.items() if name in accepted}
    try:
        made = kind(cast(Any, groups), **options)
    except Exception as error:  # whatever a foreign constructor raises
        raise LoweringError(
            f"carry_optimizer expected an optimizer that {kind.__name__}(groups, **defaults) rebuilds, got: {error}; "
            "pass the bare optimizer, not one that wraps it, or make a new one"
        ) from error
    for name, held in vars(optimizer).items():
        if name.startswith("_optimizer_") and name.endswith("_hooks"):
            setattr(made, name, held)  # the same ones, so that a handle removes what it put there
    return made
