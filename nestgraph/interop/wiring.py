"""Build a network from single neurons and edges: layers are found, and what is no network is refused by its row.

Layers are by the longest path from an input, so every edge leads to a later layer; an edge that leaves layers out is
part of a dense projection with a mask. Neurons of the same depth and activation make a layer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from nestgraph.errors import InteropError
from nestgraph.graph.columns import ConnectionColumns, Grid, Links, UnitColumns
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.spec import Activation, Dense, Layer, OneToOne
from nestgraph.spec.limits import MAX_LAYERS, MAX_PROJECTIONS, MAX_WEIGHTS

INPUT, OUTPUT = "input", "output"

Ids = dict[str, dict[str, int]]
"""By layer, the id of each node by its name; in the order of the units."""


@dataclass(frozen=True)
class Neuron:
    """A node that computes; `where` is its place in what was read."""

    where: str
    bias: float = 0.0
    function: Activation | None = None


@dataclass(frozen=True)
class Edge:
    """A connection between two nodes; `where` is its place in what was read."""

    where: str
    source: str
    target: str
    weight: float


@dataclass(frozen=True)
class Wiring:
    """Nodes and edges, not yet checked.

    Attributes:
        inputs: names of the inputs, in the order of a sample's values; those without edges have no unit.
        outputs: names of the outputs, in the order of the result's values.
        neurons: all nodes but the inputs, by name; their order is that of units within a layer.
        edges: in any order.
    """

    inputs: Sequence[str]
    outputs: Sequence[str]
    neurons: Mapping[str, Neuron]
    edges: Sequence[Edge]

    @cached_property
    def after(self) -> dict[str, list[str]]:
        """The targets of each node."""
        found: dict[str, list[str]] = {name: [] for name in (*self.inputs, *self.neurons)}
        for edge in self.edges:
            found[edge.source].append(edge.target)
        return found

    @cached_property
    def before(self) -> dict[str, list[str]]:
        """The sources of each node."""
        found: dict[str, list[str]] = {name: [] for name in (*self.inputs, *self.neurons)}
        for edge in self.edges:
            found[edge.target].append(edge.source)
        return found

    def place(self, name: str) -> str:
        """The row that a node is from: its own, or that of its first edge."""
        rows = (edge.where for edge in self.edges if name in (edge.source, edge.target))
        return self.neurons[name].where if name in self.neurons else next(rows, "the inputs")


def wire(wiring: Wiring, where: str = "") -> Network:
    """The network of single neurons and edges, with the layers `input`, `hidden1` and so on, and `output`.

    Outputs that feed other neurons, or whose activations differ, are hidden neurons that the layer `output` passes on
    by fixed one-to-one links: so there is always one layer of outputs. Where the names of all neurons are whole
    numbers they are the ids; else ids count from 0 in each layer. The id of an input is its place in the sample.

    Args:
        wiring: the neurons and edges.
        where: what a message about all of it begins with, such as the file.

    Raises:
        InteropError: an edge given twice, a cycle, an island, or too large a network; the message names the row.
    """
    if not wiring.edges:
        raise InteropError(f"{where}expected at least one edge, got none")
    _check_edges(wiring)
    depths = _depths(wiring)
    _check_islands(wiring)
    ids, functions = _layers(wiring, depths)
    homes = {node: layer for layer in reversed(ids) for node in ids[layer]}  # of a passed on output, where it is hidden
    records = [_record(wiring, layer, functions.get(layer)) for layer in ids]
    units = {record.name: _unit_columns(wiring, record, ids[record.name], homes) for record in records}
    dense = _dense(wiring, ids, homes)
    links = _links(ids, homes)
    projections = [
        *(Dense(source=source, target=target, name=_named(source, target)) for source, target in dense),
        *(OneToOne(source=source, target=OUTPUT, name=f"{source}_passed_on") for source in links),
    ]
    connections = {_named(source, target): columns for (source, target), columns in dense.items()}
    connections |= {f"{source}_passed_on": columns for source, columns in links.items()}
    return Network.of(Structure(records, projections, units, connections))


def _named(source: str, target: str) -> str:
    return f"{source}_to_{target}"


# -- checks ------------------------------------------------------------------------------------------


def _check_edges(wiring: Wiring) -> None:
    inputs, seen = frozenset(wiring.inputs), dict[tuple[str, str], str]()
    for edge in wiring.edges:
        pair = (edge.source, edge.target)
        if pair in seen:
            given = f"{_pair(edge)} once, got it twice (see {seen[pair]})"
            raise InteropError(f"{edge.where}: expected the edge {given}: add the weights up or remove one")
        if edge.target in inputs:
            raise InteropError(
                f"{edge.where}: expected no edge into the input {_quoted(edge.target)}, got {_pair(edge)}"
            )
        seen[pair] = edge.where


def _depths(wiring: Wiring) -> dict[str, int]:
    """The longest path to each node, in edges; sources come before targets."""
    waiting = {name: len(sources) for name, sources in wiring.before.items()}
    depths = {name: 0 for name, count in waiting.items() if not count}
    queue = list(depths)
    for name in queue:
        for target in wiring.after[name]:
            depths[target] = max(depths.get(target, 0), depths[name] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                queue.append(target)
    _check_cycles(wiring, {name for name, count in waiting.items() if count})
    return depths


def _check_cycles(wiring: Wiring, stuck: set[str]) -> None:
    """Every node that is stuck has a source that is: going back from one leads round a cycle."""
    if not stuck:
        return
    name, steps = min(stuck), dict[str, int]()
    while name not in steps:
        steps[name] = len(steps)
        name = next(source for source in wiring.before[name] if source in stuck)
    cycle = [name, *list(steps)[steps[name] :][::-1]]
    where = next(edge.where for edge in wiring.edges if (edge.source, edge.target) == (cycle[0], cycle[1]))
    shown = " -> ".join(map(_quoted, cycle[:8])) + (" -> ..." if len(cycle) > 8 else "")
    raise InteropError(f"{where}: expected edges without a cycle, got {shown}: remove one of them")


def _check_islands(wiring: Wiring) -> None:
    reached = _reached(wiring.inputs, wiring.after)
    useful = _reached(wiring.outputs, wiring.before)
    unused = {name for name in wiring.inputs if not wiring.after[name]}
    for name in wiring.after:
        if name in unused or (name in reached and name in useful):
            continue
        end = "to an output" if name in reached else "from an input"
        raise InteropError(
            f"{wiring.place(name)}: expected each node on a path from an input to an output, got {_quoted(name)} "
            f"without a path {end}: connect it or remove it"
        )


def _reached(starts: Sequence[str], onward: Mapping[str, list[str]]) -> set[str]:
    found = set(starts)
    queue = list(starts)
    for name in queue:
        fresh = [other for other in dict.fromkeys(onward[name]) if other not in found]
        found.update(fresh)
        queue += fresh
    return found


# -- layers ------------------------------------------------------------------------------------------


def _layers(wiring: Wiring, depths: Mapping[str, int]) -> tuple[Ids, dict[str, Activation | None]]:
    """The units of each layer, those of the outputs last, and each layer's activation."""
    function = _output_function(wiring)
    direct = {n for n in wiring.outputs if not wiring.after[n] and wiring.neurons[n].function == function}
    groups: dict[tuple[int, Activation | None], list[str]] = {}
    for name, neuron in wiring.neurons.items():
        if name not in direct:
            groups.setdefault((depths[name], neuron.function), []).append(name)
    hidden = sorted(groups, key=lambda key: key[0])  # stable: at one depth in the order of appearance
    numbered = all(_is_id(name) for name in wiring.neurons)
    ids: Ids = {INPUT: {name: place for place, name in enumerate(wiring.inputs) if wiring.after[name]}}
    members = {f"hidden{number}": groups[key] for number, key in enumerate(hidden, 1)} | {OUTPUT: wiring.outputs}
    for layer, names in members.items():
        ids[layer] = {name: int(name) if numbered else place for place, name in enumerate(names)}
    return ids, {f"hidden{number}": key[1] for number, key in enumerate(hidden, 1)} | {OUTPUT: function}


def _output_function(wiring: Wiring) -> Activation | None:
    """The activation of the layer of outputs: that of all, if they have the same and none feeds another neuron."""
    functions = [wiring.neurons[name].function for name in wiring.outputs if not wiring.after[name]]
    alike = len(functions) == len(wiring.outputs) and all(function == functions[0] for function in functions)
    return functions[0] if alike and functions else None


def _is_id(name: str) -> bool:
    return name.isascii() and name.isdecimal() and str(int(name[:20])) == name and int(name) < 2**53


def _record(wiring: Wiring, layer: str, function: Activation | None) -> Layer:
    if layer == INPUT:
        return Layer(name=layer, kind="input", features=len(wiring.inputs))
    return Layer(name=layer, kind="neurons", output=layer == OUTPUT, operations=() if function is None else (function,))


def _unit_columns(wiring: Wiring, record: Layer, ids: Mapping[str, int], homes: Mapping[str, str]) -> UnitColumns:
    names = record.column_names
    bias = [wiring.neurons[node].bias if homes[node] == record.name else 0.0 for node in ids] if names else []
    with np.errstate(over="ignore"):
        values = {name: np.array(bias, np.float32) for name in names}
    return UnitColumns.of(np.array(list(ids.values()), np.int64), values)


# -- connections -------------------------------------------------------------------------------------


def _dense(wiring: Wiring, ids: Ids, homes: Mapping[str, str]) -> dict[tuple[str, str], ConnectionColumns]:
    """The matrices between layers, by source and target."""
    places = {layer: {node: place for place, node in enumerate(nodes)} for layer, nodes in ids.items()}
    found: dict[tuple[str, str], list[Edge]] = {}
    for edge in wiring.edges:
        found.setdefault((homes[edge.source], homes[edge.target]), []).append(edge)
    if len(ids) > MAX_LAYERS or len(found) > MAX_PROJECTIONS:
        raise InteropError(
            f"expected edges between at most {MAX_LAYERS:,} layers, as dense projections between at most "
            f"{MAX_PROJECTIONS:,} pairs of them, got {len(ids):,} and {len(found):,}: this form is for networks of few "
            "layers"
        )
    cells = sum(len(ids[source]) * len(ids[target]) for source, target in found)
    if cells > MAX_WEIGHTS:
        raise InteropError(
            f"expected edges whose matrices between layers have at most {MAX_WEIGHTS:,} entries, got {cells:,} for "
            f"{len(wiring.edges):,} edges: this form is for networks of dense layers"
        )
    matrices: dict[tuple[str, str], ConnectionColumns] = {}
    for (source, target), edges in found.items():
        rows, columns = [places[target][e.target] for e in edges], [places[source][e.source] for e in edges]
        weight = np.zeros((len(ids[target]), len(ids[source])), np.float32)
        mask = np.zeros(weight.shape, bool)
        with np.errstate(over="ignore"):  # infinity, which verification reports
            weight[rows, columns], mask[rows, columns] = [edge.weight for edge in edges], True
        matrices[source, target] = Grid.of(weight, mask)
    return matrices


def _links(ids: Ids, homes: Mapping[str, str]) -> dict[str, ConnectionColumns]:
    """The links that pass hidden neurons on to the outputs, by the layer of their source, in the order of targets."""
    pairs: dict[str, list[tuple[int, int]]] = {}
    for node, target in sorted(ids[OUTPUT].items(), key=lambda item: item[1]):
        if homes[node] != OUTPUT:
            pairs.setdefault(homes[node], []).append((ids[homes[node]][node], target))
    return {
        layer: Links.of(np.ones(len(links), np.float32), links=np.array(links, np.int64))
        for layer, links in pairs.items()
    }


def _quoted(name: str) -> str:
    return repr(name)[:80]


def _pair(edge: Edge) -> str:
    return f"{_quoted(edge.source)} -> {_quoted(edge.target)}"
