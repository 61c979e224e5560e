"""Intents: what one may want done to a set of units or connections, as functions that give one batch."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import numpy as np

from nestgraph.edits.batch import AnyEdit, Batch
from nestgraph.edits.connections import SetMask, SetValues
from nestgraph.edits.coupling import coupled
from nestgraph.edits.growing import wake_connections
from nestgraph.edits.layers import UnitValues
from nestgraph.edits.pruning import prune_connections, remove_units
from nestgraph.edits.widening import duplicate_unit, split_unit
from nestgraph.errors import EditError
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.graph.tying import ties
from nestgraph.spec.arguments import MismatchError, numbers
from nestgraph.spec.arrays import AnyArray, same_bits
from nestgraph.spec.wording import quoted

Members = Mapping[str, AnyArray]
"""Ids of units by layer, or row-major positions of connections by projection."""
Numbers = float | AnyArray
Intent = Callable[..., Batch]


def prune_units(network: Network, units: Members) -> Batch:
    """Remove units, and whatever that leaves without a path."""

    def removal(structure: Structure, layer: str, ids: AnyArray) -> Batch:
        if not structure.has_layer(layer):  # it went with units before it
            return Batch(edits=())
        return remove_units(structure, layer, np.intersect1d(ids, structure.units(layer)))

    recipes = [partial(removal, layer=layer, ids=ids) for layer, ids in units.items()]
    return _in_turn(network, recipes, f"prune {_count(units)} units")


def split_units(network: Network, units: Members) -> Batch:
    """Split units in two that share their outgoing weights; see `split_unit`."""
    return _each_strand(network, units, split_unit, "split")


def duplicate_units(network: Network, units: Members) -> Batch:
    """Give units a twin that nothing heeds yet; see `duplicate_unit`."""
    return _each_strand(network, units, duplicate_unit, "duplicate")


def set_columns(network: Network, units: Members, **columns: Numbers) -> Batch:
    """Set columns of units, a number for all or one for each; that of a column by place goes for all its places."""
    given = {name: _numbers(values, _count(units), name) for name, values in columns.items()}
    changed: dict[str, UnitValues] = {}
    start = 0
    for layer, ids in units.items():
        old, places = network.unit_columns(layer).values, np.isin(network.units(layer), ids)
        strange = ", ".join(sorted(given.keys() - old.keys()))
        if strange:
            raise EditError(f"set expected columns of layer {layer!r} ({', '.join(old) or 'none'}), got {strange}")
        values = {name: old[name].copy() for name in given}
        for name, column in values.items():
            column[places] = given[name][start : start + len(ids)].reshape(-1, *[1] * (column.ndim - 1))
        changed[layer] = values
        start += len(ids)
    words = f"set {', '.join(columns)} of {_count(units)} units"
    return Batch(edits=(SetValues(units=changed),) if changed else (), title=words)


def wake(network: Network, entries: Members, weights: Numbers = 0.0) -> Batch:
    """Make dormant connections active, with a weight for all or one for each."""
    parts = _parts(network, entries, weights)
    edits = [wake_connections(network, name, own, values) for name, (own, values) in parts.items()]
    return Batch(edits=tuple(edits), title=f"wake {_count(entries)} connections")


def set_weights(network: Network, entries: Members, weights: Numbers) -> Batch:
    """Set the weights of active connections, a weight for all or one for each."""
    edits: list[AnyEdit] = []
    for name, (own, values) in _parts(network, entries, weights).items():
        active = network.connection_columns(name).mask.reshape(-1)[own]
        if not active.all():
            raise EditError(f"set expected active connections of {name!r}, got dormant ones: wake them")
        edits.append(SetMask(projection=name, entries=own, active=active, weights=values))
    return Batch(edits=tuple(edits), title=f"set the weights of {_count(entries)} connections")


UNIT_INTENTS: Mapping[str, Intent] = {
    "prune": prune_units,
    "split": split_units,
    "duplicate": duplicate_units,
    "set": set_columns,
}
CONNECTION_INTENTS: Mapping[str, Intent] = {"prune": prune_connections, "wake": wake, "set": set_weights}


def _each_strand(network: Network, units: Members, recipe: Callable[..., Batch], verb: str) -> Batch:
    """A recipe for each unit, or once for units that are coupled: the recipe takes those along."""
    recipes: list[Callable[[Structure], Batch]] = []
    seen: set[tuple[str, int]] = set()
    for layer, ids in units.items():
        for unit in ids.tolist():
            if (layer, unit) not in seen:
                recipes.append(partial(recipe, layer=layer, unit=unit))
                strand = coupled(network, layer, [unit])
                seen |= {(name, partner) for name, partners in strand.items() for partner in partners.tolist()}
    return _in_turn(network, recipes, f"{verb} {_count(units)} units")


def _in_turn(network: Network, recipes: Iterable[Callable[[Structure], Batch]], title: str) -> Batch:
    """Recipes that are each made for what the ones before it leave."""
    structure: Structure = network
    edits: list[AnyEdit] = []
    for recipe in recipes:
        batch = recipe(structure)
        structure, _ = batch.change(structure)
        edits += batch.edits
    return Batch(edits=tuple(edits), title=title)


def _count(members: Members) -> int:
    return sum(len(chosen) for chosen in members.values())


def _numbers(given: Numbers, count: int, what: str) -> AnyArray:
    """(count,) float32."""
    try:
        array = numbers(given)
    except MismatchError:
        array = np.array("none")
    if array.dtype.kind not in "fiu" or array.shape not in ((), (count,)):
        raise EditError(f"expected {what}: a number, or one for each of {count} chosen, got {quoted(given)}")
    with np.errstate(over="ignore"):
        values = np.broadcast_to(array, (count,)).astype(np.float32)
    if not np.isfinite(values).all():
        raise EditError(f"expected {what}: finite numbers of 32 bits, got NaN, infinity or a number too large")
    return values


def _parts(network: Network, entries: Members, weights: Numbers) -> dict[str, tuple[AnyArray, AnyArray]]:
    """By projection its entries and their weights.

    Raises:
        EditError: both ends of a tied table are given others.
    """
    ends = np.cumsum([len(own) for own in entries.values()])[:-1]
    values = np.split(_numbers(weights, _count(entries), "weights"), ends)
    parts = {name: (own, given) for (name, own), given in zip(entries.items(), values, strict=False)}
    for tie in ties(network):
        if tie.leader in parts and tie.follower in parts:
            (own, mine), (others, theirs) = parts[tie.leader], parts[tie.follower]
            _, one, other = np.intersect1d(tie.partner(tie.leader, own), others, return_indices=True)
            if not same_bits(mine[one], theirs[other]):
                raise EditError(
                    f"expected one weight for each connection of {tie.leader!r} and {tie.follower!r}, which have one "
                    "table, got others: choose those of one of them"
                )
    return parts
