"""Networks from explicit edge lists (source, target, weight), and networks of neurons as such lists."""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np

from nestgraph.errors import InteropError, RecordError
from nestgraph.graph.network import Network
from nestgraph.graph.topology import Node
from nestgraph.interop.tables import Row, Table, read_rows
from nestgraph.interop.wiring import Edge, Neuron, Wiring, wire
from nestgraph.snapshot import write_all_own
from nestgraph.snapshot.disk import shown
from nestgraph.spec import Activation, Layer
from nestgraph.spec.arguments import checked
from nestgraph.spec.operations import ActivationFunction

IDENTITY = "identity"
"""The word for no activation."""


class EdgeRow(NamedTuple):
    """A connection, between nodes called `layer:id`."""

    source: str
    target: str
    weight: float


class NodeRow(NamedTuple):
    """A neuron; `slope` is that of leaky ReLU."""

    name: str
    bias: float
    activation: str
    slope: float


@checked(InteropError)
def from_edges(
    edges: Table,
    nodes: Table | None = None,
    *,
    inputs: Iterable[str | int] | None = None,
    outputs: Iterable[str | int] | None = None,
    activation: str = "relu",
) -> Network:
    """A network from its edges, one row each. See `wire` for how layers are found and called.

    Args:
        edges: rows of source, target, weight: a CSV file, a DataFrame, or an iterable of tuples or mappings. Nodes are
            named by text or integers.
        nodes: rows of name, bias, activation and slope; all but the name may be left out. Then each name in an edge
            must be one of these or an input. Units have their order within layers.
        inputs: the names of the inputs, in the order of a sample's values; by default the nodes without incoming edges,
            in the order in which they first appear. One that no edge reads is allowed.
        outputs: the names of the outputs, in their order; by default the nodes without outgoing edges.
        activation: of neurons whose row has none, outputs excepted: a function of `spec.Activation`, or `identity`.

    Raises:
        InteropError: a row that cannot be read, an unknown name, an edge or node given twice, a cycle, an island; the
            message names the row.
        SnapshotError: a file cannot be read.
    """
    found = read_rows(edges, "edges", EdgeRow._fields, 3, _edge)
    listed = _listed(nodes) if nodes is not None else None
    sources, targets = {edge.source for edge in found}, {edge.target for edge in found}
    first = {name: edge.where for edge in reversed(found) for name in (edge.target, edge.source)}
    appearing = list(dict.fromkeys(name for edge in found for name in (edge.source, edge.target)))
    order = list(dict.fromkeys([*(listed or ()), *appearing]))
    given = _names(inputs, "inputs")
    entries = given or [name for name in order if name in sources and name not in targets]
    results = _names(outputs, "outputs") or [name for name in order if name in targets and name not in sources]
    _check_known(found, listed, entries)
    _check_ends(entries, results, order)
    default = _activation("from_edges", activation, None)
    neurons: dict[str, Neuron] = {}
    ends, starts = frozenset(results), frozenset(entries)
    for name in (name for name in order if name not in starts):
        row = (listed or {}).get(name) or Row(first[name], {})
        function = row.word("activation")
        usual = default if name not in ends else None
        chosen = _activation(row.where, function, row.number("slope", 0.01)) if function else usual
        neurons[name] = Neuron(row.where, row.number("bias", 0.0), chosen)
    for row in ((listed or {}).get(name) for name in entries):
        if row and (row.number("bias", 0.0) or row.word("activation") not in ("", IDENTITY)):
            raise InteropError(f"{row.where}: expected an input without bias and activation, got {_quoted(row)}")
    where = f"{shown(edges)}: " if isinstance(edges, str | Path) else ""
    return wire(Wiring(entries, results, neurons, found), where)


def _edge(row: Row) -> Edge:
    return Edge(row.where, row.name("source"), row.name("target"), row.number("weight"))


def _listed(nodes: Table) -> dict[str, Row]:
    listed: dict[str, Row] = {}

    def take(row: Row) -> None:
        name = row.name("name")
        if name in listed:
            raise InteropError(f"{row.where}: expected the node {name!r:.80} once, got it twice ({listed[name].where})")
        listed[name] = row

    read_rows(nodes, "nodes", NodeRow._fields, 1, take)
    return listed


def _names(given: Iterable[str | int] | None, what: str) -> list[str]:
    names = [
        Row(f"from_edges, {what}[{n}]", {"name": name}).name("name")
        for n, name in enumerate(() if given is None else given)
    ]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise InteropError(f"from_edges expected {what} of different names, got {twice!r:.80} twice")
    return names


def _check_known(edges: Iterable[Edge], listed: dict[str, Row] | None, inputs: Sequence[str]) -> None:
    known = {*(listed or ()), *inputs}
    for edge in edges if listed is not None else ():
        for name in (edge.source, edge.target):
            if name not in known:
                raise InteropError(f"{edge.where}: expected a name of the table of nodes, got {name!r:.80}")


def _check_ends(inputs: Sequence[str], outputs: Sequence[str], names: Sequence[str]) -> None:
    starts, known = frozenset(inputs), frozenset(names)
    both = [name for name in outputs if name in starts]
    strange = [name for name in outputs if name not in known]
    if both or strange:
        got = f"{both[0]!r:.80}, which is an input" if both else f"{strange[0]!r:.80}, which no edge leads to"
        raise InteropError(f"from_edges expected as outputs names of neurons, got {got}")


def _activation(where: str, function: str, slope: float | None) -> Activation | None:
    if function == IDENTITY:
        return None
    options = {} if slope is None else {"slope": slope}
    try:
        return Activation(function=function, **options)  # type: ignore[arg-type]
    except RecordError as error:
        known = ", ".join((IDENTITY, *get_args(ActivationFunction)))
        problem = error.problem if function in get_args(ActivationFunction) else f"got {function!r:.80}"
        raise InteropError(f"{where}: expected one of the activations {known}: {problem}") from None


def _quoted(row: Row) -> str:
    return repr(dict(row.cells))[:80]


# -- and back ----------------------------------------------------------------------------------------


@checked(InteropError)
def to_edges(network: Network) -> list[EdgeRow]:
    """The connections of a network of neurons, for `pandas.DataFrame` or `from_edges`.

    Nodes are called `layer:id`; the id of an input is its place in the sample.

    Raises:
        InteropError: the network has more than sums of weighted neurons: feature maps, batch normalisation; the message
            says what helps.
    """
    _check_plain(network)
    return [EdgeRow(_node(u), _node(v), _shortest(data["weight"])) for u, v, data in network.graph.edges(data=True)]


@checked(InteropError)
def to_nodes(network: Network) -> list[NodeRow]:
    """The neurons of a network, inputs excepted: what `from_edges` takes as `nodes`.

    Raises:
        InteropError: as `to_edges`.
    """
    _check_plain(network)
    rows: list[NodeRow] = []
    for name in (name for name in network.layer_names if name not in network.input_names):
        function, columns = network.layer(name).activation, network.unit_columns(name)
        word, slope = (function.function, function.slope) if function else (IDENTITY, 0.0)
        biases = columns.values.get("bias", np.zeros(len(columns), np.float32))
        rows += [
            NodeRow(_node((name, unit)), _shortest(bias), word, slope)
            for unit, bias in zip(columns.ids.tolist(), biases, strict=True)
        ]
    return rows


@checked(InteropError)
def write_edges(
    network: Network,
    path: str | os.PathLike[str],
    nodes: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the edges of a network as a CSV file, and its neurons as another where a path for them is given.

    Args:
        network: whose.
        path: of the edges.
        nodes: path of the neurons.
        overwrite: replace files that are there; nothing tells an edge list that was written from one of others.

    Raises:
        InteropError: as `to_edges`.
        SnapshotError: other files are there, or a file cannot be written.
    """
    files = {Path(path): _csv(EdgeRow._fields, to_edges(network))}
    if nodes is not None:
        files[Path(nodes)] = _csv(NodeRow._fields, to_nodes(network))
    write_all_own({file: (data, None) for file, data in files.items()}, overwrite)


def _csv(header: Sequence[str], rows: Iterable[tuple[object, ...]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _node(node: Node) -> str:
    return f"{node[0]}:{node[1]}"


def _shortest(value: float) -> float:
    return float(str(np.float32(value)))  # the shortest decimal that reads back the same 32 bits


def _check_plain(network: Network) -> None:
    gates = {projection.target for projection in network.projections_by_name.values() if projection.gates}
    for name in network.layer_names:
        problem = "gates: products" if name in gates else _beyond_neurons(network.layer(name))
        if problem:
            raise InteropError(f"layer {name!r}: expected neurons that an edge list can hold, got {problem}")


def _beyond_neurons(layer: Layer) -> str:
    if layer.opaque is not None:
        return f"an opaque layer ({layer.opaque})"
    if layer.size is not None:
        return "feature maps: plain_graph holds kernels"
    if any(operation.facts.subtracts for operation in layer.operations):
        return f"a normalisation: apply edits.fold_batch_norm(network, {layer.name!r}) first"
    rest = [op.kind for op in layer.operations if op is not layer.activation and not op.facts.idle]
    if rest:
        return f"the operation {rest[0]}"
    function = layer.activation
    if function is None:
        return ""
    held = sorted(function.model_dump(exclude_defaults=True).keys() - {"function", "slope"})
    return f"a {function.words} with {', '.join(held)}" if held else ""
