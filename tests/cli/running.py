"""Runs the command line in this process, on small networks whose every number is written here."""

from functools import cache
from pathlib import Path

import networkx as nx
import numpy as np
from typer import testing
from typer.testing import CliRunner

import nestgraph as ng
from nestgraph.cli.app import app
from nestgraph.graph import Grid, Network
from nestgraph.snapshot.document import VERSION, LayerDocument, NetworkDocument, ProjectionDocument
from nestgraph.spec import Activation, Layer

TINY = """
name = "tiny"
seed_epochs = 1
[data]
name = "digits"
[seed_network]
kind = "mlp"
widths = [64, 6, 10]
density = 0.2
[training]
batch_size = 256
[growth]
size_limit = 150
max_edits = {edits}
patience = 1000
policies = [{{ kind = "connection_growth", fraction = 0.1 }}]
[pruning]
tolerance = 0.5
max_edits = 2
recovery_epochs = 0
policies = [{{ kind = "magnitude_pruning", fraction = 0.1 }}]
"""

testing._get_command = cache(testing._get_command)  # the verbs are made once, which takes longer than most of them


def run(*words: object):
    """The result of one verb; its stdout and stderr are kept apart."""
    result = CliRunner().invoke(app, [str(word) for word in words], prog_name="nestgraph", env={"COLUMNS": "80"})
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


def hand_made(hidden: dict[int, str], weights: dict[tuple[int, int], float], function: str = "relu") -> Network:
    """Four inputs, hidden neurons by id with the inputs that each reads, and two outputs."""
    graph = nx.DiGraph()
    for unit, sources in hidden.items():
        graph.add_node(("fc1", unit), bias=unit / 4)
        for source in map(int, sources):
            graph.add_edge(("input", source), ("fc1", unit), weight=(source + 1) / 4)
    for (unit, output), weight in weights.items():
        graph.add_edge(("fc1", unit), ("output", output), weight=weight)
    layers = [
        Layer(name="input", kind="input", features=4),
        Layer(name="fc1", kind="neurons", operations=(Activation(function=function),), label="hidden"),
        Layer(name="output", kind="neurons", output=True),
    ]
    return Network.from_graph(graph, layers)


def before() -> Network:
    return hand_made({0: "01", 1: "12", 2: "23"}, {(0, 0): 0.5, (1, 0): -0.5, (1, 1): 0.25, (2, 1): 1.0}, "leaky_relu")


def after() -> Network:
    """`before` without unit 0 and input 0, with a unit 3, one other weight and another activation."""
    return hand_made({1: "12", 2: "3", 3: "12"}, {(1, 0): -0.5, (1, 1): 0.75, (2, 1): 1.0, (3, 0): 2.0})


def island_json() -> str:
    """The snapshot of a network whose unit 1 of fc1 leads nowhere, as no `Network` can be."""
    columns = before().connection_columns("fc1_to_output")
    mask = columns.mask & (np.arange(3) != 1)
    weight = np.where(mask, columns.weight, 0)
    broken = before().replace(connections={"fc1_to_output": Grid.of(weight, mask)})
    units = (LayerDocument.of(broken.layer(name), broken.unit_columns(name)) for name in broken.layer_names)
    links = (
        ProjectionDocument.of(broken.projection(name), broken.connection_columns(name))
        for name in broken.projection_names
    )
    document = NetworkDocument.model_construct(
        format="nestgraph.network",
        version=VERSION,
        digest="0" * 64,
        sidecar=False,
        layers=tuple(units),
        projections=tuple(links),
    )
    return document.model_dump_json()


def write_snapshots(folder: Path) -> None:
    """Write before.json, after.json, edit.json, which leads from one to the other, and island.json."""
    ng.save(before(), folder / "before.json")
    ng.save(after(), folder / "after.json")
    (folder / "edit.json").write_text(ng.diff(before(), after()).model_dump_json())
    (folder / "island.json").write_text(island_json())
