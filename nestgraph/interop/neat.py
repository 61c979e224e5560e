"""Networks from the JSON that neat-python exports (its module `neat.export`, format 1.0, of feed-forward networks).

A node gives `activation(bias + response * aggregation(weight * source))`, and neat-python's sigmoid and tanh have steep
slopes of their own: both are factors of bias and weights here. A node that nothing feeds is a constant, which goes into
the biases of those that read it.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from nestgraph.errors import InteropError
from nestgraph.graph.network import Network
from nestgraph.interop.wiring import Edge, Neuron, Wiring, wire
from nestgraph.snapshot import MAX_BYTES, problems_of, read_bounded, read_record
from nestgraph.snapshot.disk import shown
from nestgraph.spec import Activation
from nestgraph.spec.arguments import checked

ACTIVATIONS: Mapping[str, tuple[float, Activation | None]] = {
    "sigmoid": (5.0, Activation(function="sigmoid")),
    "tanh": (2.5, Activation(function="tanh")),
    "relu": (1.0, Activation(function="relu")),
    "lelu": (1.0, Activation(function="leaky_relu", slope=0.005)),
    "identity": (1.0, None),
}
"""What neat-python calls an activation: the factor inside, and ours."""


class _Foreign(BaseModel):
    """A record of a format that others extend: what it has more is left alone."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)


class _Function(_Foreign):
    name: Annotated[str, Field(max_length=256)]
    custom: bool = False


class _Node(_Foreign):
    id: int
    type: Literal["input", "hidden", "output"]
    activation: _Function
    aggregation: _Function
    bias: float
    response: float


class _Connection(_Foreign):
    source: Annotated[int, Field(alias="from")]
    target: Annotated[int, Field(alias="to")]
    weight: float
    enabled: bool = True


class _Topology(_Foreign):
    input_keys: list[int]
    output_keys: list[int]


class _Export(_Foreign):
    format_version: Literal["1.0"]
    network_type: Annotated[str, Field(max_length=256)]
    topology: _Topology
    nodes: list[_Node]
    connections: list[_Connection]


_EXPORT: TypeAdapter[_Export] = TypeAdapter(_Export)


@checked(InteropError)
def from_neat(source: str | os.PathLike[str] | Mapping[str, Any]) -> Network:
    """The network of a feed-forward genome that neat-python exported by `export_network_json`.

    Its inputs and outputs have the order of the genome's keys; a neuron has its key as id.

    Args:
        source: the JSON file, or what it holds.

    Raises:
        InteropError: the network is recurrent or spiking, a node's activation or aggregation has no counterpart here,
            or it breaks a law, as `from_edges` says; the message names the node or connection.
        SnapshotError: the file cannot be read or is no export.
    """
    where, export = _read(source)
    if export.network_type != "feedforward":
        raise InteropError(
            f"{where}network_type: expected 'feedforward', as a network here has no state, got {export.network_type!r}"
        )
    edges = [
        Edge(f"{where}connections[{number}]", str(entry.source), str(entry.target), entry.weight)
        for number, entry in enumerate(export.connections)
        if entry.enabled
    ]
    nodes = {
        str(node.id): (f"{where}nodes[{number}]", node)
        for number, node in enumerate(export.nodes)
        if node.type != "input"
    }
    inputs, outputs = [[str(key) for key in keys] for keys in (export.topology.input_keys, export.topology.output_keys)]
    _check_keys(where, export, edges, nodes, inputs, outputs)
    factors = {name: node.response * _factor(place, node) for name, (place, node) in nodes.items()}
    neurons = {name: _neuron(place, node) for name, (place, node) in nodes.items()}
    scaled = [Edge(e.where, e.source, e.target, e.weight * factors.get(e.target, 1.0)) for e in edges]
    return wire(_without_constants(Wiring(inputs, outputs, neurons, scaled)), where)


def _read(source: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[str, _Export]:
    if isinstance(source, str | os.PathLike):
        where = shown(source)
        return f"{where}: ", read_record(_EXPORT, read_bounded(source, MAX_BYTES), where)
    try:
        return "", _EXPORT.validate_python(source)
    except ValidationError as error:
        raise InteropError(f"from_neat: {problems_of(error)}") from None


def _check_keys(
    where: str,
    export: _Export,
    edges: Sequence[Edge],
    nodes: Mapping[str, tuple[str, _Node]],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> None:
    entries = [str(node.id) for node in export.nodes]
    twice = next(
        (key for keys in (entries, inputs, outputs) for key, count in Counter(keys).items() if count > 1), None
    )
    if twice is not None:
        raise InteropError(f"{where}nodes: expected each key once, got {twice} twice")
    for edge in edges:
        for name in (edge.source, edge.target):
            if name not in nodes and name not in inputs:
                raise InteropError(f"{edge.where}: expected the id of a node or an input key, got {name}")
    for name in (*inputs, *outputs):
        if (name in nodes) == (name in inputs):
            raise InteropError(f"{where}topology: expected input keys of inputs and output keys of nodes, got {name}")


def _factor(where: str, node: _Node) -> float:
    """What the sum is multiplied by inside the activation.

    Raises:
        InteropError: the node computes what has no counterpart here.
    """
    if node.aggregation.name != "sum" or node.aggregation.custom:
        got = f"{node.aggregation.name!r}{' (custom)' if node.aggregation.custom else ''}"
        raise InteropError(f"{where}: node {node.id}: expected the aggregation 'sum', got {got}")
    if node.activation.name not in ACTIVATIONS or node.activation.custom:
        got = f"{node.activation.name!r}{' (custom)' if node.activation.custom else ''}"
        raise InteropError(
            f"{where}: node {node.id}: expected one of the activations {', '.join(ACTIVATIONS)}, got {got}: let "
            "neat-python evolve with these (activation_options)"
        )
    return ACTIVATIONS[node.activation.name][0]


def _neuron(where: str, node: _Node) -> Neuron:
    factor, function = ACTIVATIONS[node.activation.name]
    return Neuron(where, node.bias * factor, function)


def _without_constants(wiring: Wiring) -> Wiring:
    """The same function without the hidden nodes that nothing feeds; an output that is constant stays, an island."""
    biases = {name: neuron.bias for name, neuron in wiring.neurons.items()}
    edges, ends = list(wiring.edges), {*wiring.inputs, *wiring.outputs}
    while True:
        fed = {edge.target for edge in edges}
        constant = {edge.source for edge in edges} - fed - ends
        if not constant:
            break
        for edge in (edge for edge in edges if edge.source in constant):
            function, value = wiring.neurons[edge.source].function, biases[edge.source]
            biases[edge.target] += edge.weight * (value if function is None else float(function.of(np.array(value))))
        edges = [edge for edge in edges if edge.source not in constant]
        ends |= constant
    gone = ends - {*wiring.inputs, *wiring.outputs}
    neurons = {
        name: Neuron(neuron.where, biases[name], neuron.function)
        for name, neuron in wiring.neurons.items()
        if name not in gone
    }
    return Wiring(wiring.inputs, wiring.outputs, neurons, edges)
