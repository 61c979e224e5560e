"""An optimizer of a module's parameters goes on with those of the network that the module was imported to."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nestgraph.errors import InteropError
from nestgraph.graph import Network
from nestgraph.interop.provenance import Tensors
from nestgraph.lowering.membership import Place, Traits, home_of, traits_of
from nestgraph.lowering.optimizer import rebuilt
from nestgraph.lowering.origin import origin_of
from nestgraph.lowering.parameters import Key, parameters_of
from nestgraph.lowering.slots import Slot, slots
from nestgraph.spec.arrays import AnyArray


class Takeover:
    """What makes a workbench's optimizers: the given ones for its first module, others of their kind for later ones."""

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        parameters: Mapping[str, nn.Parameter],
        tensors: Tensors,
        origins: Mapping[Key, AnyArray],
    ) -> None:
        """Nothing is changed yet.

        Args:
            optimizers: over parameters of the module.
            parameters: of the module, by name.
            tensors: of the module.
            origins: where the entries of the network's columns come from.
        """
        self._optimizers, self._tensors, self._origins = optimizers, tensors, origins
        self._parameters = {tensors.names[name]: p for name, p in parameters.items() if name in tensors.names}
        self._names = {tensors.names[name]: name for name in parameters if name in tensors.names}
        self._members: list[tuple[Traits, Place]] = []
        self._homes: dict[Key, Place] = {}

    def __call__(self, module: nn.Module) -> Sequence[Optimizer]:
        """The optimizers of a module lowered from the network, or from what edits made of it."""
        network = origin_of(module)[1].network
        if not self._homes:
            self._take_over(network, module)
            return self._optimizers
        paths = {(slot.owner, slot.column): slot.path for slot in slots(network)}
        groups = [[dict(group, params=[]) for group in one.param_groups] for one in self._optimizers]
        for key, parameter in parameters_of(network, module).items():
            traits = traits_of(network, key, parameter)
            home = self._homes[key] if key in self._homes else home_of(network, traits, self._members)
            if home is not None:
                group = groups[home[0]][home[1]]
                group["params"].append((paths[key], parameter) if "param_names" in group else parameter)
        bare = [[{k: v for k, v in group.items() if k != "param_names"} for group in each] for each in groups]
        return [rebuilt(one, each) for one, each in zip(self._optimizers, bare, strict=True)]

    def _take_over(self, network: Network, module: nn.Module) -> None:
        """Put the parameters of a module in the place of those that they are copies of, each with its state."""
        after = parameters_of(network, module)
        sources = {key: self._sources(key) for key in after}
        places = self._places()
        self._check_held(places, sources)
        homes = {key: self._home(key, found, places) for key, found in sources.items()}
        made = slots(network)
        states: list[dict[Tensor, dict[str, Any]]] = [{} for _ in self._optimizers]
        for slot in made:
            key = (slot.owner, slot.column)
            home = homes.get(key)
            if home is not None:
                state = self._state(key, sources[key], self._optimizers[home[0]])
                parameter = after[key]
                states[home[0]][parameter] = {name: _held(slot, value, parameter) for name, value in state.items()}
        paths = {(slot.owner, slot.column): slot.path for slot in made}
        for number, optimizer in enumerate(self._optimizers):  # from here on nothing fails
            for place, group in enumerate(optimizer.param_groups):
                members = [key for key in after if homes[key] == (number, place)]
                group["params"] = [after[key] for key in members]
                if "param_names" in group:
                    group["param_names"] = [paths[key] for key in members]
            optimizer.state.clear()
            optimizer.state.update(states[number])
        self._homes, self._parameters = homes, dict[int, nn.Parameter]()  # the module's own are let go
        self._members = [(traits_of(network, key, p), homes[key]) for key, p in after.items()]

    def _sources(self, key: Key) -> list[int]:
        """The numbers of the tensors that a column is made of."""
        origin = self._origins[key]
        places = np.abs(origin[origin != 0]) - 1
        return np.unique(np.searchsorted(self._tensors.starts, places, side="right") - 1).tolist()

    def _places(self) -> dict[int, Place]:
        """The optimizer and group of each parameter, by the number of its tensor.

        Raises:
            InteropError: an optimizer has others.
        """
        numbers = {id(parameter): number for number, parameter in self._parameters.items()}
        found: dict[int, Place] = {}
        for number, optimizer in enumerate(self._optimizers):
            for place, group in enumerate(optimizer.param_groups):
                for parameter in group["params"]:
                    if id(parameter) not in numbers:
                        raise InteropError(
                            f"bench expected {type(optimizer).__name__} over parameters of the module that was "
                            f"imported, got one of shape {tuple(parameter.shape)} that is none: give it an "
                            "optimizer of its own"
                        )
                    found[numbers[id(parameter)]] = (number, place)
        return found

    def _check_held(self, places: Mapping[int, Place], sources: Mapping[Key, list[int]]) -> None:
        """Check that the network holds what an optimizer trains, as it is.

        Raises:
            InteropError: it does not.
        """
        held = {number for key, found in sources.items() if (self._origins[key] >= 0).all() for number in found}
        lost = [self._names[number] for number in places if number not in held]
        if lost:
            raise InteropError(
                f"bench expected an optimizer of parameters that the network holds as they are, got {lost[0]!r}, which "
                "the module computes with, turns or does not use: import the module with plain weights, or leave it "
                "out of the optimizer"
            )

    def _home(self, key: Key, found: Sequence[int], places: Mapping[int, Place]) -> Place:
        homes = {places.get(number) for number in found}
        if len(homes) > 1:
            names = " and ".join(repr(self._names.get(number, "a buffer")) for number in found[:2])
            raise InteropError(
                f"bench expected one group for what becomes the {key[1]} of {key[0]!r}, got {names} in different ones"
            )
        return homes.pop() if homes else None

    def _state(self, key: Key, found: Sequence[int], optimizer: Optimizer) -> dict[str, Any]:
        """The state of a parameter, of the states of what it is made of.

        Raises:
            InteropError: it has not its parameter's shape, or numbers in it differ.
        """
        origin = self._origins[key]
        before = [(number, optimizer.state.get(self._parameters[number], {})) for number in found]
        state: dict[str, Any] = {}
        for number, held in before:
            for name, value in held.items():
                if isinstance(value, Tensor) and value.ndim:
                    if tuple(value.shape) != self._tensors.shapes[number]:
                        raise InteropError(
                            f"bench expected state of the shape of its parameter, got {name!r} of "
                            f"{type(optimizer).__name__} of shape {tuple(value.shape)}: make a new optimizer"
                        )
                    start, end = self._tensors.starts[number : number + 2]
                    whole = state.setdefault(name, torch.zeros(origin.shape, dtype=value.dtype))
                    mine = torch.from_numpy((origin > start) & (origin <= end))
                    at = torch.from_numpy(origin)[mine] - int(start) - 1
                    whole[mine] = value.detach().cpu().reshape(-1)[at]
                elif not isinstance(value, Tensor | int | float | None):
                    raise InteropError(
                        f"bench expected state of tensors and numbers, got {name!r} of {type(optimizer).__name__}: "
                        "make a new optimizer"
                    )
                elif name in state and not bool(state[name] == value):
                    raise InteropError(
                        f"bench expected the same {name!r} for all that becomes the {key[1]} of {key[0]!r}, got "
                        f"{state[name]} and {value}"
                    )
                else:
                    state[name] = value.clone() if isinstance(value, Tensor) else value
        return state


def _held(slot: Slot, value: Any, parameter: nn.Parameter) -> Any:
    """An entry of the state as it goes with a parameter: of its device, precision and blocks."""
    if not isinstance(value, Tensor) or not value.ndim:
        return value
    kind = parameter.dtype if value.is_floating_point() else value.dtype
    return slot.packed(value.to(parameter.device, kind), parameter)
