"""A module as a network that keeps the names of the module's state dict and takes over a running optimizer."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nestgraph.edits import IndexMap, SetValues
from nestgraph.edits.layers import UnitValues
from nestgraph.errors import InteropError
from nestgraph.graph import Network
from nestgraph.graph.tying import ties
from nestgraph.interop.calling import Outputs
from nestgraph.interop.extents import TOLERANCE, differences
from nestgraph.interop.importing import imported
from nestgraph.interop.pretrained import check_groups, check_pretrained, check_said, with_widths
from nestgraph.interop.provenance import Tensors, origins, parameters
from nestgraph.interop.remains import check_remains, shared_with_what_is_left
from nestgraph.interop.taking_over import Takeover
from nestgraph.interop.work import Work
from nestgraph.lowering import Workbench
from nestgraph.lowering.parameters import Key
from nestgraph.lowering.slots import Slot, module_body, slots
from nestgraph.spec import Lookup
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray, same_bits
from nestgraph.spec.unit_column import PLACES

KEPT = ("mean", "variance")
"""Columns of which a unit that went leaves what it had in the module; of all others it leaves 0."""


class Imported:
    """A PyTorch module as a network, and where each element of its tensors went.

    So values go back to the module under its own names, and an optimizer of its parameters goes on in a workbench:

        imported = Imported(model, x)
        bench = imported.bench(optimizer)  # the same object, over the bench's module now
        ...
        model.load_state_dict(imported.state_dict(bench.network))

    Attributes:
        network: what `import_module` gives.
    """

    @checked(InteropError)
    def __init__(
        self,
        module: nn.Module,
        example_inputs: Tensor | Sequence[Tensor] | Mapping[str, Tensor],
        outputs: Outputs = None,
        axes: Sequence[int | None] = (),
    ) -> None:
        """Import the module, and find where its elements went, which takes about as long four times.

        Args:
            module: it is not changed.
            example_inputs: as for `import_module`.
            outputs: likewise.
            axes: likewise.

        Raises:
            InteropError: see `import_module`, or the network depends on the values of the weights.
        """
        self.network, front, subject = imported(module, example_inputs, outputs, axes)
        self._module, self._subject = module, subject
        self._tensors = Tensors.of(module)
        self._origins = origins(module, subject, front, self.network, self._tensors)
        self._parameters = parameters(module)
        self._state = {name: value.detach().clone() for name, value in module.state_dict().items() if _is(value)}
        self._slots = {(slot.owner, slot.column): slot for slot in slots(self.network)}
        self._slots |= {(tie.follower, "weight"): Slot("", tie.follower, "weight") for tie in ties(self.network)}

    @checked(InteropError)
    def state_dict(self, network: Network) -> dict[str, Tensor]:
        """The values of a network under the names and in the shapes of the module's state dict.

        Units and connections that went are 0 there. So the module computes what the network does, in evaluation, and
        what the network never held (of what `forward` does not use, counts of batches) is as it was at the import.

        Args:
            network: the imported one, after any training and any edits whose result the module has room for.

        Raises:
            InteropError: it has units, projections or operations that the module has not, what the module computes
                from its parameters was trained, copies of a shared tensor trained apart, or went apart, or something
                went that no weight of the module makes 0, such as a place in a normalisation of the inputs.
        """
        self._check_room(network)
        check_remains(self.network, network, self._origins)
        row = self._tensors.row(self._state)
        written = np.zeros(len(row), bool)
        present = {(slot.owner, slot.column): slot for slot in slots(network)}
        shared = shared_with_what_is_left(self.network, network, self._origins)
        for key, origin in self._traced(network).items():
            values, there = self._brought_back(network, key, present.get(key))
            self._check_strange(key, (origin == 0) & there, values)
            stays = self._stays(key) or (not self._slots[key].is_weight and np.isin(np.abs(origin), shared))
            known = (origin != 0) & (there | np.logical_not(stays))
            places, signed = np.abs(origin[known]) - 1, np.sign(origin[known]) * values[known]
            first = ~written[places]
            row[places[first]], written[places] = signed[first], True
            apart = places[row[places] != signed]
            if len(apart):
                raise InteropError(
                    f"state_dict expected copies of {self._name_of(apart[0])!r} that agree, got others: weights that "
                    "the module shares are copies here, which trained apart or went apart"
                )
        found = {name: self._tensors.of_row(row, number) for name, number in self._tensors.names.items()}
        return {
            name: found[name].to(value.device, value.dtype) if name in found else value.clone()
            for name, value in self._state.items()
        }

    @checked(InteropError)
    def values(self, network: Network, state: Mapping[str, Tensor]) -> SetValues:
        """The edit that gives a network the values of a state dict of the module.

        Args:
            network: the imported one, after any edits. What grew since keeps its values.
            state: such as that of the module after more training, or of an average of its weights.

        Raises:
            InteropError: a name or shape is another than the module's.
        """
        shapes = {name: self._tensors.shapes[number] for name, number in self._tensors.names.items()}
        wrong = [name for name, shape in shapes.items() if name not in state or tuple(state[name].shape) != shape]
        if wrong:
            shown = tuple(state[wrong[0]].shape) if wrong[0] in state else "none"
            raise InteropError(
                f"values expected the module's own state dict, {wrong[0]!r} of shape {shapes[wrong[0]]} in it, got "
                f"{shown}"
            )
        row = self._tensors.row(state)
        units: dict[str, UnitValues] = {}
        weights: dict[str, AnyArray] = {}
        inside: dict[str, dict[str, AnyArray]] = {}
        traced = self._traced(network)
        for slot in slots(network):
            key, now = (slot.owner, slot.column), slot.values(network)
            if key in traced and (places := self._places(network, key)) is not None:
                origin = traced[key][places] if places else traced[key]
                there = _outer([place >= 0 for place in places], origin) & (origin != 0)
                now = np.where(there, np.sign(origin) * row[np.abs(origin) - 1], now).astype(now.dtype)
            if slot.is_body:
                inside.setdefault(slot.owner, {})[slot.column] = now
            elif slot.is_weight:
                weights[slot.owner] = now[network.connection_columns(slot.owner).mask]
            else:
                units.setdefault(slot.owner, {})[slot.column] = now  # type: ignore[index]
        bodies = {name: module_body(network, name).with_values(found) for name, found in inside.items()}
        return SetValues(units=units, weights=weights).with_bodies(bodies)

    @checked(InteropError)
    def save_pretrained(self, network: Network, folder: str | Path) -> nn.Module:
        """Write a pruned network in the format of its module's package, which reloads it without nestgraph.

        Names are the module's; tensors and configuration have the widths that are left: units, connections and heads
        that went from every layer alike. Single connections that went are 0.

        Args:
            network: the imported one, after training and removals.
            folder: where `save_pretrained` of the module's class writes; `from_pretrained` of the class reads it.

        Returns:
            The small module, in evaluation; on the examples of the import it gives what the network does.

        Raises:
            InteropError: the module has no configuration, none has such widths (as where layers differ), or a module
                of such widths computes something else, as a normalisation does that counts the units that went.
        """
        check_pretrained(self._module)
        check_groups(network)
        tried = [(small, self._apart(network, small)) for small in with_widths(self._module, self._small(network))]
        small, found = min(tried, key=lambda each: each[1])
        if not found <= TOLERANCE:
            raise InteropError(
                f"save_pretrained expected {type(self._module).__name__} of the widths that are left to give what the "
                f"network does, got a relative difference of {found:.2g}: it divides by another number of units, in a "
                "normalisation or a scale of scores; keep the stream's width and the width of heads"
            )
        check_said(small)
        small.save_pretrained(folder)  # type: ignore[operator]
        return small

    def _apart(self, network: Network, small: nn.Module) -> float:
        """How far a small module is from a network on the examples of the import; infinitely where it fails."""
        given = self._subject.given
        try:
            with torch.no_grad():
                with Work() as work:
                    expected = self._subject.call(small, *given)
                return max(differences(network, given, expected, work))
        except Exception:  # whatever a module does whose configuration fits by chance
            return math.inf

    def _small(self, network: Network) -> dict[str, Tensor]:
        """The state dict of what is left: of each tensor the indices of each axis at which an element is alive.

        Those stay at which no element was ever part of the network, as rows of positions beyond the example's length.
        """
        state, held = self.state_dict(network), np.zeros(int(self._tensors.starts[-1]), np.float32)
        row = held.copy()
        present = {(slot.owner, slot.column): slot for slot in slots(network)}
        for key, origin in self._traced(network).items():
            held[np.abs(origin[origin != 0]) - 1] = 1
            places = self._places(network, key) if key in present else None
            if places is not None:
                there = np.zeros(origin.shape, bool)
                there[places or ...] = self._alive(network, key)
                row[np.abs(origin[there & (origin != 0)]) - 1] = 1
        for name, number in self._tensors.names.items():
            alive, known = (self._tensors.of_row(each, number).bool() for each in (row, held))
            for axis in range(alive.ndim):
                others = [other for other in range(alive.ndim) if other != axis]
                kept = alive.any(others) | ~known.any(others) if others else alive | ~known
                state[name] = state[name].index_select(axis, kept.nonzero().flatten().to(state[name].device))
        return state

    def _alive(self, network: Network, key: Key) -> AnyArray:
        """Which entries of a column have room in a small module: all, but for connections that are not there.

        The rows of a table are counted by what they are looked up for, so those that went stay, as 0.
        """
        if not self._slots[key].is_weight or isinstance(network.projection(key[0]), Lookup):
            return np.ones((), bool)
        columns = network.connection_columns(key[0])
        return columns.mask.reshape(*columns.mask.shape, *(1,) * (columns.weight.ndim - columns.mask.ndim))

    @checked(InteropError)
    def bench(self, optimizer: Optimizer | Sequence[Optimizer], device: str | torch.device = "cpu") -> Workbench:
        """A workbench of the network that goes on with an optimizer of the module's parameters.

        The optimizer stays the same object, so schedulers go on, and is the bench's from now on: its groups hold the
        parameters of the bench's module, with the state that each element had. After edits, what is new joins the
        group whose rule it meets, as in `carry_optimizer`.

        Args:
            optimizer: of parameters of the module, all or some, or several such.
            device: where to train.

        Raises:
            InteropError: an optimizer has parameters that the network does not hold as they are, or its state is not
                of their shape. Nothing is changed then.
            LoweringError: see `Workbench`.
        """
        given = (optimizer,) if isinstance(optimizer, Optimizer) else tuple(optimizer)
        return Workbench(self.network, Takeover(given, self._parameters, self._tensors, self._origins), device)

    def _check_room(self, network: Network) -> None:
        """Check that the module has room for all that a network is.

        Raises:
            InteropError: it has not.
        """
        old = self.network
        for name in network.layer_names:
            known = old.has_layer(name)
            strange = np.setdiff1d(network.units(name), old.units(name)) if known else np.zeros(0, np.int64)
            if not known or len(strange):
                what = f"unit {strange[0]} of layer {name!r}" if known else f"layer {name!r}"
                raise InteropError(
                    f"state_dict expected a network that the module has room for, got {what}, which grew"
                )
            changed = {"operations", "size", "opaque"} - _alike(old.layer(name), network.layer(name))
            if changed:
                raise InteropError(f"state_dict expected {min(changed)} of layer {name!r} as in the module, got others")
        for name in network.projection_names:
            if not old.has_projection(name):
                raise InteropError(f"state_dict expected the projections of the module, got {name!r}, which grew")
            joint = [each.projection(name).joint for each in (old, network)]
            areas = [each.connection_columns(name).area for each in (old, network)]
            if joint[0] != joint[1] or (areas[1] is not None and areas[1] is not areas[0]):
                raise InteropError(f"state_dict expected projection {name!r} as in the module, got another")

    def _traced(self, network: Network) -> Mapping[Key, AnyArray]:
        """Where the entries of columns come from, those of tables too that were untied since the import."""
        found = dict(self._origins)
        for tie in ties(self.network):
            follower = tie.follower
            if network.has_projection(follower) and network.projection(follower).follows is None:
                known = np.zeros(self.network.connection_columns(follower).weight.shape, np.int64)
                found[follower, "weight"] = tie.onward(self._origins[tie.leader, "weight"], known)
        return found

    def _places(self, network: Network, key: Key) -> tuple[AnyArray, ...] | None:
        """Index of the entries of a column in that of the import, each axis; -1 for what is new; None of other make."""
        owner, column = key
        old = self.network
        if self._slots[key].is_body:
            same = module_body(old, owner).make == module_body(network, owner).make
            return () if same else None
        index_map = IndexMap.between(old, network)
        if column != "weight":
            return (index_map.old_positions[owner],)
        return np.ix_(*index_map.of_connections(old, network, owner))

    def _stays(self, key: Key) -> bool:
        """Whether a column has no part in what the module gives where its units went."""
        owner, column = key
        return column in KEPT or (column == PLACES.name and bool(self.network.matches(owner)))

    def _brought_back(self, network: Network, key: Key, slot: Slot | None) -> tuple[AnyArray, AnyArray]:
        """A column of a network where its units stood at the import, and bool: where they are still there."""
        before = self._slots[key].values(self.network)
        brought = before.copy() if self._stays(key) else np.zeros_like(before)
        there = np.zeros(before.shape, bool)
        if slot is not None:
            places = self._places(network, key)
            if places is None:
                raise InteropError(f"state_dict expected the body of {key[0]!r} as in the module, got another")
            brought[places or ...] = slot.values(network)
            there[places or ...] = True
        return brought, there

    def _check_strange(self, key: Key, strange: AnyArray, values: AnyArray) -> None:
        """Check that what is no copy of the module's is as it was.

        Raises:
            InteropError: it is not.
        """
        before = self._slots[key].values(self.network)
        if not same_bits(values[strange], before[strange]) and (values[strange] != 0).any():
            raise InteropError(
                f"state_dict expected the {key[1]} of {key[0]!r} as it was imported, got other values: the module "
                "computes it from its parameters, or has no such parameter"
            )

    def _name_of(self, place: int) -> str:
        number = int(np.searchsorted(self._tensors.starts, place, side="right")) - 1
        return next(name for name, known in self._tensors.names.items() if known == number)


def _is(value: object) -> bool:
    return isinstance(value, Tensor)


def _alike(one: object, other: object) -> set[str]:
    """Which of the fields that a state dict cannot tell are the same; how many batches were averaged over apart."""

    def told(layer: object, field: str) -> object:
        value = getattr(layer, field)
        if field != "operations":
            return value
        return [op if op.seen is None else op.with_seen(0) for op in value]

    return {field for field in ("operations", "size", "opaque") if told(one, field) == told(other, field)}


def _outer(there: Sequence[AnyArray], like: AnyArray) -> AnyArray:
    """Which entries are there on all axes."""
    found = np.ones(like.shape, bool)
    for axis, each in enumerate(there):
        found &= each.reshape(-1, *(1,) * (like.ndim - axis - 1))
    return found
