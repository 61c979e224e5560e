"""What changed from one network to another, counted by layer: units and connections are matched by id."""

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from nestgraph.graph.structure import Structure
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.layer import Layer

Places = tuple[Any, ...]


@dataclass(frozen=True)
class Change:
    """Counts of a layer, whose connections are those that lead into it, or of a whole network.

    `units` and `connections` are those of the old network; `values` are weights, biases and statistics that changed
    where they were before.
    """

    units: int = 0
    born: int = 0
    gone: int = 0
    connections: int = 0
    added: int = 0
    removed: int = 0
    values: int = 0

    def __add__(self, other: "Change") -> "Change":
        return Change(*(mine + its for mine, its in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class NetworkChange:
    """The change by layer, by projection, and their total; layers in the order of the old and then of the new."""

    by_layer: Mapping[str, Change]
    by_projection: Mapping[str, Change]
    total: Change


def network_change(old: Structure, new: Structure) -> NetworkChange:
    """Count what changed in each layer and projection of either network."""
    by_projection: dict[str, Change] = {}
    by_layer: dict[str, Change] = {}
    for name in dict.fromkeys((*old.layer_names, *new.layer_names)):
        links = {projection: projection_change(old, new, projection) for projection in incoming(old, new, name)}
        by_layer[name] = sum(links.values(), _unit_change(old, new, name))
        by_projection |= links
    return NetworkChange(by_layer, by_projection, sum(by_layer.values(), Change()))


def projection_change(old: Structure, new: Structure, name: str) -> Change:
    """What became of a projection's connections."""
    counts = [n.connection_columns(name).active if n.has_projection(name) else 0 for n in (old, new)]
    kept, changed = _kept(old, new, name)
    return Change(connections=counts[0], added=counts[1] - kept, removed=counts[0] - kept, values=changed)


def other_changes(old: Structure, new: Structure, name: str) -> str:
    """What changed of a layer beside units, connections and values, in words."""
    if not old.has_layer(name):
        return "new layer"
    if not new.has_layer(name):
        return "layer gone"
    before, after = old.layer(name), new.layer(name)
    fields = [field for field in Layer.model_fields if getattr(before, field) != getattr(after, field)]
    return ", ".join([*fields, *(p for p in incoming(old, new, name) if _reshaped(old, new, p))])


def incoming(old: Structure, new: Structure, layer: str) -> list[str]:
    """The projections into a layer in either network."""
    sides = [network.incoming(layer) for network in (old, new) if network.has_layer(layer)]
    return list(dict.fromkeys(projection.name for side in sides for projection in side))


def same_make(old: Structure, new: Structure, name: str) -> bool:
    """Whether a projection of both networks joins the same layers by weights of one form, so that they compare."""
    before, after = old.projection(name), new.projection(name)
    if (before.source, before.target, before.kind) != (after.source, after.target, after.kind):
        return False
    axes = 1 if before.kind == "one_to_one" else 2
    shapes = [network.connection_columns(name).weight.shape[axes:] for network in (old, new)]
    return before.kind != "argument" and shapes[0] == shapes[1]


def unequal(values: AnyArray, later: AnyArray) -> AnyArray:
    """Bool: where float32 arrays differ bit by bit, as networks are compared."""
    return values.view(np.uint32) != later.view(np.uint32)


def _unit_change(old: Structure, new: Structure, name: str) -> Change:
    before, after = _ids(old, name), _ids(new, name)
    kept = len(np.intersect1d(before, after))
    values = _unit_values(old, new, name)
    return Change(units=len(before), born=len(after) - kept, gone=len(before) - kept, values=values)


def _ids(network: Structure, layer: str) -> AnyArray:
    return network.units(layer) if network.has_layer(layer) else np.zeros(0, np.int64)


def _unit_values(old: Structure, new: Structure, layer: str) -> int:
    """How many biases and statistics changed of units that are in both networks."""
    if not (old.has_layer(layer) and new.has_layer(layer)):
        return 0
    before, after = old.unit_columns(layer), new.unit_columns(layer)
    _, here, there = np.intersect1d(before.ids, after.ids, return_indices=True)
    columns = before.values.keys() & after.values.keys()
    return sum(int(unequal(before.values[column][here], after.values[column][there]).sum()) for column in columns)


def _kept(old: Structure, new: Structure, name: str) -> tuple[int, int]:
    """How many of a projection's connections are in both networks, and how many of them have another weight."""
    if not (old.has_projection(name) and new.has_projection(name)) or not same_make(old, new, name):
        return 0, 0
    before, after = old.connection_columns(name), new.connection_columns(name)
    if before is after:
        return before.active, 0
    here, there = common_places(old, new, name)
    kept = before.mask[here] & after.mask[there]
    changed = unequal(before.weight[here], after.weight[there]) & kept
    return int(np.count_nonzero(kept)), int(np.count_nonzero(changed))


def common_places(old: Structure, new: Structure, name: str) -> tuple[Places, Places]:
    """Where the edges that a projection could have in both networks are, in the arrays of either."""
    before, after = old.connection_columns(name), new.connection_columns(name)
    if before.links is not None and after.links is not None:
        _, rows, later_rows = np.intersect1d(before.links[:, 1], after.links[:, 1], return_indices=True)
        same = before.links[rows, 0] == after.links[later_rows, 0]
        return (rows[same],), (later_rows[same],)
    source, target = old.projection(name).source, old.projection(name).target
    if all(np.array_equal(old.units(layer), new.units(layer)) for layer in (source, target)):
        return (...,), (...,)  # the arrays as they are, without a copy
    _, rows, later_rows = np.intersect1d(old.units(target), new.units(target), return_indices=True)
    _, columns, later_columns = np.intersect1d(old.units(source), new.units(source), return_indices=True)
    return np.ix_(rows, columns), np.ix_(later_rows, later_columns)


def _reshaped(old: Structure, new: Structure, name: str) -> bool:
    """Whether a projection was added or removed, or has another record or area."""
    if not (old.has_projection(name) and new.has_projection(name)):
        return True
    before, after = old.connection_columns(name).area, new.connection_columns(name).area
    same = before is after or (before is not None and after is not None and np.array_equal(before, after))
    return old.projection(name) != new.projection(name) or not same
