"""Genomes that neat-python 2.0 exported compute here what they computed there.

The files in `neat/` are its own exports of random genomes, with inputs and its results in their metadata: one with
sigmoids only, one with all five activations, and one in which nodes that nothing feeds are constants.
"""

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from nestgraph.errors import InteropError, NestgraphError, SnapshotError
from nestgraph.graph.reference import predict
from nestgraph.interop.neat import ACTIVATIONS, from_neat

FILES = sorted((Path(__file__).parent / "neat").glob("*.json"))


def export(name):
    return json.loads((Path(__file__).parent / "neat" / f"{name}.json").read_text())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_results_are_those_of_neat_python(path):
    document = json.loads(path.read_text())
    samples, results = (np.array(document["metadata"][name]) for name in ("samples", "results"))
    for network in (from_neat(path), from_neat(str(path)), from_neat(document)):
        assert network == from_neat(path)
        np.testing.assert_allclose(predict(network, samples), results, rtol=1e-5, atol=1e-6)
        assert network.layer("input").features == document["topology"]["num_inputs"]
        assert network.units("output").tolist() == document["topology"]["output_keys"]


def test_the_files_have_what_they_are_for():
    used = {node["activation"]["name"] for path in FILES for node in json.loads(path.read_text())["nodes"]}
    assert used == set(ACTIVATIONS)
    assert any(node["response"] != 1 for node in export("mixed")["nodes"])
    fed = {connection["to"] for connection in export("constants")["connections"]}
    hidden = [node["id"] for node in export("constants")["nodes"] if node["type"] == "hidden"]
    constants = set(hidden) - fed
    assert len(constants) > 1
    network = from_neat(export("constants"))
    living = {unit for name in network.layer_names[1:-1] for unit in network.units(name).tolist()}
    assert not constants & living


def test_disabled_connections_are_left_out():
    document = export("sigmoid")
    changed = copy.deepcopy(document)
    changed["connections"].append({"from": -1, "to": 0, "weight": 99.0, "enabled": False})
    assert from_neat(changed) == from_neat(document)


def changed(**places):
    """The genome of sigmoids with other values at places such as `nodes__0__bias`."""
    document = export("sigmoid")
    for place, value in places.items():
        *way, last = (int(step) if step.isdecimal() else step for step in place.split("__"))
        parent = document
        for step in way:
            parent = parent[step]
        parent[last] = value
    return document


MIXED = {"name": "mean", "custom": False}
BAD = {
    "recurrent": ({"network_type": "recurrent"}, "network_type: expected 'feedforward', as .*, got 'recurrent'"),
    "a new format": ({"format_version": "2.0"}, "format_version: expected '1.0'"),
    "an aggregation": (
        {"nodes__0__aggregation": MIXED},
        r"nodes\[0\]: node \d: expected the aggregation 'sum', got 'mean'",
    ),
    "an activation": (
        {"nodes__0__activation__name": "gauss"},
        r"nodes\[0\]: node \d: .* sigmoid, tanh, .* got 'gauss'",
    ),
    "a custom one": ({"nodes__0__activation__custom": True}, r"nodes\[0\]: node \d: .* got 'sigmoid' \(custom\)"),
    "nan": ({"nodes__0__bias": float("nan")}, r"nodes\[0\].bias: expected a finite number"),
    "text": ({"connections__0__weight": "1"}, r"connections\[0\].weight: expected a valid number, got '1'"),
    "no topology": ({"topology": {}}, "topology.input_keys: missing"),
    "an unknown node": ({"connections__1__from": 77}, r"connections\[1\]: expected the id of a node .*, got 77"),
    "a key twice": ({"topology__input_keys": [-1, -1]}, "expected each key once, got -1 twice"),
    "an output that is none": ({"topology__output_keys": [5000]}, "topology: expected .* got 5000"),
    "an output that is constant": ({"connections": []}, "expected at least one edge"),
    "too large a weight": ({"connections__0__weight": 1e39}, "finite"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_has_no_counterpart_is_one_sentence_that_names_the_node(case):
    changes, message = BAD[case]
    with pytest.raises(NestgraphError, match=message) as refusal:
        from_neat(changed(**changes))
    assert "\n" not in str(refusal.value)


def test_a_cycle_names_the_connection():
    document = export("sigmoid")
    feeding = document["connections"][-1]
    document["connections"].append(feeding | {"from": feeding["to"], "to": feeding["to"]})
    with pytest.raises(InteropError, match=rf"connections\[{len(document['connections']) - 1}\]: .*without a cycle"):
        from_neat(document)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b'{"format_version": "1.0"}', b"[" * 10_000, b"\xff"])
def test_a_file_that_is_no_export_is_one_sentence(content, tmp_path):
    (tmp_path / "genome.json").write_bytes(content)
    with pytest.raises(SnapshotError, match=r"genome\.json: ") as refusal:
        from_neat(tmp_path / "genome.json")
    assert "\n" not in str(refusal.value)
