"""What a user may choose units and connections by, and the masks that come of it."""

from collections.abc import Callable, Iterable, Mapping, Set
from typing import Any, NoReturn, cast

import numpy as np

from nestgraph.edits.connections import chosen_entries
from nestgraph.errors import EditError, NestgraphError
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.graph.tying import asleep_entries
from nestgraph.graph.view import Node
from nestgraph.spec.arguments import numbers, sized
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.projection import Projection
from nestgraph.spec.wording import quoted

Masks = dict[str, AnyArray]
"""Booleans by layer, (units,), or by projection, in the shape of its weights."""
Wanted = AnyArray | Iterable[int]
ChosenUnits = str | Iterable[Node] | Mapping[str, Wanted] | Callable[[Node, dict[str, Any]], bool] | None
ChosenConnections = str | Iterable[tuple[Node, Node]] | Mapping[str, Wanted] | None


def selected_units(network: Network, chosen: Any) -> Masks:
    """The units that `Editor.select` means: by layer, bool (units,).

    Raises:
        EditError: a unit does not live.
        StructureError: there is no such layer.
    """
    if chosen is None:
        return {name: np.ones(len(network.units(name)), bool) for name in network.layer_names}
    if isinstance(chosen, str):
        return {chosen: np.ones(len(network.units(chosen)), bool)}
    named = _by_name(chosen)
    if named is not None:
        return {layer: _units_of_layer(network, layer, wanted) for layer, wanted in named.items()}
    if isinstance(chosen, Iterable):
        return _units_of_nodes(network, cast("Iterable[Any]", chosen))
    if not callable(chosen):
        _refuse("select", "a layer, nodes, ids by layer or a predicate", chosen)
    nodes = network.graph.nodes
    return _units_of_nodes(network, [node for node in nodes if chosen(node, nodes[node])])


def selected_connections(network: Network, chosen: Any, source: Any, target: Any, dormant: bool) -> Masks:
    """The connections that `Editor.select_connections` means: by projection, bool in the shape of its weights.

    Raises:
        EditError: an edge has no such connection, or a unit does not live.
        StructureError: there is no such layer or projection.
    """
    masks = _connections(network, chosen, dormant)
    for axis, units in ((1, source), (0, target)):
        if units is not None:
            ends = selected_units(network, units)
            masks = {name: _at_end(network, network.projection(name), mask, axis, ends) for name, mask in masks.items()}
    return masks


def lit(masks: Mapping[str, AnyArray]) -> Masks:
    """The masks in which something is chosen."""
    return {name: mask for name, mask in masks.items() if mask.any()}


def _refuse(who: str, expected: str, got: object) -> NoReturn:
    try:
        words = repr(str(got)[:80])
    except Exception:  # whatever a stranger's `__str__` does; an integer of any size
        words = quoted(got)
    raise EditError(f"{who} expected {expected}, got {words}")


def _given(who: str, wanted: Any) -> AnyArray:
    """What is chosen of one layer or projection, as an array of numbers or booleans."""
    try:
        if isinstance(wanted, np.ndarray):
            return numbers(wanted)
        if isinstance(wanted, Iterable) and not isinstance(wanted, str | bytes | Mapping):
            return numbers(list(sized(wanted)))
    except Exception:  # whatever a stranger's `__iter__` does
        pass
    _refuse(who, "numbers or booleans for each layer or projection", type(cast(Any, wanted)).__name__)


def _by_name(chosen: Any) -> Mapping[str, Wanted] | None:
    """What is chosen by layer or projection; None where it is something else, such as a networkx view of nodes."""
    if not isinstance(chosen, Mapping) or isinstance(chosen, Set):
        return None
    mapping = cast("Mapping[Any, Any]", chosen)
    return mapping if all(isinstance(key, str) for key in mapping) else None


def _units_of_layer(network: Network, layer: str, wanted: Wanted) -> AnyArray:
    ids = network.units(layer)
    given = _given("select", wanted)
    if given.dtype == bool and given.shape == ids.shape:
        return given
    if given.ndim != 1 or (len(given) and given.dtype.kind not in "iu"):
        _refuse("select", f"ids, or {len(ids)} booleans, of layer {layer!r}", given)
    strange = np.setdiff1d(given, ids)
    if len(strange):
        _refuse("select", f"living units of layer {layer!r} (network.units({layer!r}) lists them)", int(strange[0]))
    return np.isin(ids, given)


def _units_of_nodes(network: Network, nodes: Iterable[Any]) -> Masks:
    masks: Masks = {}
    for node in nodes:
        layer, place = _place(network, node)
        masks.setdefault(layer, np.zeros(len(network.units(layer)), bool))[place] = True
    return masks


def _place(network: Network, node: Any) -> tuple[str, int]:
    """The layer and position of a unit."""
    try:
        layer, unit = node
        return layer, network.unit_columns(layer).position[unit]
    except (TypeError, ValueError, KeyError, NestgraphError):
        _refuse("select", "living units as (layer, id), as network.graph has them", node)


def _connections(network: Network, chosen: Any, dormant: bool) -> Masks:
    names = network.projection_names
    if chosen is None:
        return {name: _possible(network, name, dormant) for name in names}
    if isinstance(chosen, str):
        return {chosen: _possible(network, chosen, dormant)}
    named = _by_name(chosen)
    if named is not None:
        return {name: _of_projection(network, name, wanted, dormant) for name, wanted in named.items()}
    if not isinstance(chosen, Iterable):
        _refuse("select_connections", "a projection, edges or positions by projection", chosen)
    return _of_edges(network, cast("Iterable[Any]", chosen), dormant)


def _possible(network: Structure, projection: str, dormant: bool) -> AnyArray:
    return asleep_entries(network, projection) if dormant else network.connection_columns(projection).mask


def _of_projection(network: Network, projection: str, wanted: Wanted, dormant: bool) -> AnyArray:
    possible = _possible(network, projection, dormant)
    given = _given("select_connections", wanted)
    if given.dtype == bool and given.shape == possible.shape:
        return given & possible
    mask = np.zeros(possible.shape, bool)
    mask.flat[chosen_entries(network, projection, given)] = True
    return mask & possible


def _of_edges(network: Network, edges: Iterable[Any], dormant: bool) -> Masks:
    """The connections of pairs of units; edges may carry data after their two nodes, as networkx gives them."""
    pairs: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for edge in edges:
        try:
            start, end = edge[:2]
        except Exception:  # whatever a stranger gives for a slice
            _refuse("select_connections", "edges as (node, node)", edge)
        (source, source_place), (target, target_place) = _place(network, start), _place(network, end)
        pairs.setdefault((source, target), []).append((target_place, source_place))
    masks: Masks = {}
    for (source, target), places in pairs.items():
        found = [p for p in network.outgoing(source) if p.target == target]
        rows = {p.name: _of_pairs(network, p, np.array(places)) for p in found}
        chosen = {name: mask & _possible(network, name, dormant) for name, mask in rows.items()}
        _check_found(network, (source, target), places, chosen, "dormant" if dormant else "active")
        masks |= chosen
    return masks


def _of_pairs(network: Network, projection: Projection, places: AnyArray) -> AnyArray:
    """The possible connections of pairs of units, given by position (pairs, [target, source])."""
    columns, ends = network.wired(projection.name)
    return columns.where_between(places[:, 0], places[:, 1], ends)


def _check_found(
    network: Network, ends: tuple[str, str], places: list[tuple[int, int]], chosen: Masks, state: str
) -> None:
    """Refuse a pair of units none of whose connections was chosen."""
    source, target = (network.units(layer) for layer in ends)
    found = np.zeros((len(target), len(source)), bool)
    for name, mask in chosen.items():
        columns, units = network.wired(name)
        found[columns.listed(columns.of_pairs(mask), units)] = True
    for row, column in places:
        if not found[row, column]:
            edge = ((ends[0], int(source[column])), (ends[1], int(target[row])))
            _refuse("select_connections", f"edges with a connection that is {state}", edge)


def _at_end(network: Network, projection: Projection, mask: AnyArray, axis: int, ends: Masks) -> AnyArray:
    """The connections in `mask` whose target (axis 0) or source (axis 1) is among the units of `ends`."""
    layer = projection.target if axis == 0 else projection.source
    units = ends.get(layer, np.zeros(len(network.units(layer)), bool))
    if units.all():
        return mask
    columns, both = network.wired(projection.name)
    return mask & columns.spread(units, axis, both)
