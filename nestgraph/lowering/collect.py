"""Bring trained values from a module back into its network."""

import operator
from typing import Any

import numpy as np
import torch
from torch import nn

from nestgraph.edits import SetValues
from nestgraph.edits.layers import UnitValues
from nestgraph.errors import LoweringError
from nestgraph.graph import Network
from nestgraph.lowering.live import Live
from nestgraph.lowering.operations import ROOMS
from nestgraph.lowering.origin import lowered, origin_of
from nestgraph.lowering.paths import layer_paths, projection_paths
from nestgraph.lowering.slots import Slot, module_body, slots
from nestgraph.lowering.sparse_linear import SparseLinear
from nestgraph.lowering.tensors import whole
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray, owned, same_bits


@checked(LoweringError)
def collect(network: Network, module: nn.Module) -> Network:
    """The network with the values that a module lowered from it was trained to.

    Raises:
        LoweringError: the module does not belong to the network, or a value is not finite.
    """
    return trained_values(network, module).apply(network).network


@checked(LoweringError)
def network_of(module: nn.Module) -> Network:
    """The network that a module was lowered from, with the values the module has now: `collect` for those without it.

    Args:
        module: as in `trained_values`. A state dict of another module of the same network may have been loaded into it.

    Raises:
        LoweringError: `lower` did not make it, or a value is not finite.
    """
    return collect(origin_of(module)[1].network, module)


def trained_values(network: Network, module: nn.Module, changed: bool = False) -> SetValues:
    """The edit that brings the network to a module's values: live weights, biases, normalisation columns, bodies.

    Args:
        network: what the module was lowered from, masked or not.
        module: the module on any device, a copy of it, or what wraps it.
        changed: leave out the columns that are the network's to the bit.

    Raises:
        LoweringError: the module does not belong to the network, or a value is not finite.
    """
    part = lowered(network, module)
    _check_masks(network, part)
    units: dict[str, UnitValues] = {}
    weights: dict[str, AnyArray] = {}
    inside: dict[str, dict[str, AnyArray]] = {}
    for slot in slots(network):
        values = _read(network, slot, part)
        if (changed or slot.is_body) and _same(network, slot, values):
            continue
        if slot.is_body:
            inside.setdefault(slot.owner, {})[slot.column] = values
        elif slot.is_weight:
            weights[slot.owner] = owned(network.connection_columns(slot.owner).living(values))
        else:
            units.setdefault(slot.owner, {})[slot.column] = values  # type: ignore[index]
    bodies = {name: module_body(network, name).with_values(values) for name, values in inside.items()}
    return SetValues(units=units, weights=weights, batches=_batches(network, part)).with_bodies(bodies)


def _same(network: Network, slot: Slot, values: AnyArray) -> bool:
    """Whether values are those of the network, to the bit; what lies at dormant connections does not count."""
    known = slot.values(network)
    if (same := same_bits(values, known)) or not slot.is_weight:
        return same
    differ = values.view(np.uint32) != np.ascontiguousarray(known).view(np.uint32)
    return not (differ & network.connection_columns(slot.owner).mask).any()


def _batches(network: Network, module: nn.Module) -> dict[str, int]:
    """How many batches normalisations that average over all have seen, by layer, where it is another number."""
    paths = layer_paths(network)
    norms = {name: network.layer(name).counting for name in network.layer_names}
    found: dict[str, int] = {}
    for name, norm in norms.items():
        if norm is not None and (counter := ROOMS[type(norm)].counter) is not None:
            count: Any = operator.attrgetter(f"{paths[name]}.{counter}")(module)
            found |= {name: int(count)} if int(count) != norm.seen else {}
    return found


def _check_masks(network: Network, module: nn.Module) -> None:
    """Check that nothing changed the module's masks, as averages over modules with their buffers do."""
    buffers, paths = dict(module.named_buffers()), projection_paths(network)
    for slot in (slot for slot in slots(network) if slot.is_weight):
        part, columns = module.get_submodule(paths[slot.owner]), network.connection_columns(slot.owner)
        mask = buffers.get(f"{paths[slot.owner]}.mask")
        if isinstance(part, SparseLinear):
            same = np.array_equal(part.entries.cpu().numpy(), Live.of(columns).entries)
        elif mask is not None:
            held = slot.spread(mask, network).cpu().float().numpy()
            same = np.array_equal(held == 1, columns.mask) and np.count_nonzero(held) == columns.active
        else:
            continue
        if not same:
            raise LoweringError(
                f"projection {slot.owner!r}: expected a module with the masks of its network, got others: copy no "
                "buffers between modules of different networks; average anew after an edit"
            )


def _read(network: Network, slot: Slot, module: nn.Module) -> AnyArray:
    tensor, known = slot.spread(whole(slot.tensor(module)), network), slot.values(network)
    shape = known.shape
    if tuple(tensor.shape) != shape:
        raise LoweringError(
            f"{slot.owner!r}: expected its {slot.column} {slot.path!r} in the module to have shape {shape}, got "
            f"{tuple(tensor.shape)}: use the module that nestgraph.lower gave for this network"
        )
    kind = module_body(network, slot.owner).tensors[slot.column][1].dtype if slot.is_body else torch.float32
    values = tensor.detach().to("cpu", kind).numpy().copy()
    finite = np.isfinite(values)
    if not finite.all():
        _refuse_broken(network, slot, values, finite)
    return values


def _refuse_broken(network: Network, slot: Slot, values: AnyArray, finite: AnyArray) -> None:
    known = slot.values(network)
    live = network.connection_columns(slot.owner).mask if slot.is_weight else np.isfinite(known)  # masks of bodies
    broken = np.argwhere(~finite & live)
    if len(broken):
        whose = f"body of {slot.owner!r}" if slot.is_body else f"unit {_unit(network, slot, int(broken[0, 0]))}"
        raise LoweringError(
            f"{whose}: expected finite values, got {values[tuple(broken[0])]} "
            f"in the {slot.column} of {slot.owner!r}, and {len(broken) - 1} more like it: training diverged, so go "
            "back to the last network and lower the learning rate"
        )


def _unit(network: Network, slot: Slot, row: int) -> tuple[str, int]:
    """The unit that a row of a column belongs to: of weights, the unit that they feed."""
    if not slot.is_weight:
        return slot.owner, int(network.units(slot.owner)[row])
    columns, ends = network.wired(slot.owner)
    entry = np.ravel_multi_index((row, *(0,) * (columns.mask.ndim - 1)), columns.mask.shape)
    return network.projection(slot.owner).target, int(columns.addresses(np.array([entry]), ends)[0, 0])
