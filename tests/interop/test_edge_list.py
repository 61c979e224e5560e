"""Edge lists become the networks that they describe, networks become edge lists, and each refusal names the row."""

import itertools
from contextlib import suppress

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nestgraph.edits import fold_batch_norm
from nestgraph.errors import InteropError, NestgraphError
from nestgraph.graph.reference import forward, predict
from nestgraph.interop.edge_list import EdgeRow, NodeRow, from_edges, to_edges, to_nodes, write_edges
from nestgraph.interop.tables import MOST_COLUMNS
from nestgraph.seeds import lenet_5, mlp
from nestgraph.spec import Activation, Layer, OneToOne
from nestgraph.spec.limits import MAX_WEIGHTS
from tests.laws import assert_same_outputs, quick
from tests.strategies import SEEDS, inputs_for, networks

WORDS = ("identity", "relu", "leaky_relu", "tanh", "sigmoid")


@st.composite
def tables(draw):
    """Nodes and edges of a random graph without cycles and islands: inputs, outputs, neurons, edges."""
    count, inputs = draw(st.integers(2, 9)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(SEEDS))
    names = [str(name) for name in rng.permutation(40)[: inputs + count]]
    name = draw(st.sampled_from(("{}", "n{}", "it's, {}")))
    names = [name.format(each) for each in names]
    entries, neurons = names[:inputs], names[inputs:]
    edges: dict[tuple[str, str], float] = {}
    for place, target in enumerate(neurons):
        sources = [*entries, *neurons[:place]]
        for source in rng.permutation(sources)[: rng.integers(1, 4)]:
            edges[str(source), target] = float(np.float32(rng.standard_normal()))
    ends = [each for each in neurons if all(source != each for source, _ in edges)]
    more = [each for each in neurons if each not in ends and draw(st.integers(0, 4)) == 0]
    outputs = [str(each) for each in rng.permutation([*ends, *more])]
    words = WORDS if draw(st.booleans()) else ("tanh",)
    rows = {each: (float(np.float32(rng.standard_normal())), str(rng.choice(words))) for each in neurons}
    order = [(*pair, weight) for pair, weight in edges.items()]
    return entries, outputs, rows, [order[place] for place in rng.permutation(len(order))]


def computed(entries, outputs, neurons, edges, samples):
    """What the outputs are by the definition, node by node."""
    values = {name: samples[:, place] for place, name in enumerate(entries)}

    def value(name):
        if name not in values:
            bias, word = neurons[name]
            total = bias + sum(weight * value(source) for source, target, weight in edges if target == name)
            values[name] = total if word == "identity" else Activation(function=word).of(total)
        return values[name]

    return np.stack([value(name) for name in outputs], 1)


@quick(150)
@given(tables(), st.randoms(use_true_random=False))
def test_a_network_computes_what_its_edges_say(table, random):
    entries, outputs, neurons, edges = table
    nodes = [(name, *entry) for name, entry in neurons.items()]
    random.shuffle(nodes)
    network = from_edges(edges, nodes, inputs=entries, outputs=outputs)
    samples = np.random.default_rng(0).standard_normal((4, len(entries)))
    np.testing.assert_allclose(predict(network, samples), computed(*table, samples), rtol=1e-5, atol=1e-6)
    passed_on = [p for p in network.projections_by_name.values() if isinstance(p, OneToOne)]
    extra = sum(network.connection_columns(p.name).active for p in passed_on)
    assert network.connection_count == len(edges) + extra
    if all(name.isdecimal() for name in neurons):
        assert network.units("output").tolist() == [int(name) for name in outputs]


@quick(40)
@given(networks(("dense",)))
def test_a_network_of_neurons_comes_back_from_its_edges(network):
    assume(all(len(network.units(name)) for name in network.input_names))  # what nothing reads has no edges
    for name in network.layer_names:
        assume("slope" not in network.layer(name).column_names)
        assume(all(operation.kind != "norm" for operation in network.layer(name).operations))
        if "gamma" in network.layer(name).column_names:
            assume(network.layer(name).operations[0].kind == "batch_norm")
            network = fold_batch_norm(network, name).apply(network).network
    entries = [f"{name}:{place}" for name in network.input_names for place in range(network.layer(name).features)]
    outputs = [f"{name}:{unit}" for name in network.output_names for unit in network.units(name)]
    again = from_edges(to_edges(network), to_nodes(network), inputs=entries, outputs=outputs)
    inputs = inputs_for(network, 3, np.random.default_rng(0))
    expected = np.concatenate([forward(network, inputs)[name] for name in network.output_names], 1)
    got = predict(again, np.concatenate([inputs[name] for name in network.input_names], 1))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


EDGES = [("a", "h", 0.5), ("b", "h", -1.0), ("b", "g", 2.0), ("h", "y", 1.0), ("g", "y", 0.25), ("a", "y", 3.0)]
NODES = [("g", 0.5, "tanh"), ("h", 0.0, "relu"), ("y", -1.0, "identity")]


def written(folder, name, header, rows):
    text = "\n".join(",".join(map(str, row)) for row in ([header] if header else []) + rows)
    (folder / name).write_text(text + "\n")
    return folder / name


def test_every_form_of_a_table_gives_the_same_network(tmp_path):
    expected = from_edges(EDGES, NODES)
    turned = [(weight, target, source, "note") for source, target, weight in EDGES]
    frame = pd.DataFrame(EDGES, columns=EdgeRow._fields)
    tables = [
        iter(EDGES),
        [EdgeRow(*edge) for edge in EDGES],
        [dict(zip(EdgeRow._fields, edge, strict=True)) for edge in EDGES],
        frame,
        frame[["weight", "target", "source"]].assign(note=1),
        written(tmp_path, "plain.csv", None, EDGES),
        str(written(tmp_path, "named.csv", ("Weight", "Target", " source", "note"), turned)),
    ]
    frame.to_csv(tmp_path / "pandas.csv", index=False)
    for table in (*tables, tmp_path / "pandas.csv"):
        assert from_edges(table, NODES) == expected
    sparse = pd.DataFrame(
        [("g", 0.5, "tanh"), ("h", 0.0, None), ("y", -1.0, None)], columns=("name", "bias", "activation")
    )
    assert from_edges(EDGES, sparse) == expected  # ReLU is usual inside, and no activation at the end
    assert from_edges(EDGES, written(tmp_path, "nodes.csv", None, NODES)) == expected


def test_layers_are_by_depth_and_activation():
    network = from_edges(EDGES, NODES)
    assert network.layer("input") == Layer(name="input", kind="input", features=2)
    assert [network.layer(name).activation.function for name in ("hidden1", "hidden2")] == ["tanh", "relu"]
    assert set(network.projections_by_name) >= {"input_to_output", "hidden1_to_output", "input_to_hidden2"}
    x = np.array([[1.0, 2.0], [3.0, 0.5]])
    h, g = np.maximum(x @ [0.5, -1], 0), np.tanh(2 * x[:, 1] + 0.5)
    np.testing.assert_allclose(predict(network, x)[:, 0], h + 0.25 * g + 3 * x[:, 0] - 1)


def test_integers_are_names_and_ids_and_inputs_may_be_unread():
    network = from_edges([(-1, 7, 1.0), (7, 2, 2.0), (-3, 2, np.float32(0.5))], inputs=[-1, -2, -3], outputs=[2])
    assert {name: network.units(name).tolist() for name in network.layer_names} == {
        "input": [0, 2],
        "hidden1": [7],
        "output": [2],
    }
    assert network.layer("input").features == 3
    assert predict(network, np.array([[1.0, 9.0, 1.0]])).tolist() == [[2.5]]


def test_outputs_that_feed_others_are_passed_on_in_their_order():
    edges = [("x", "a", 2.0), ("a", "b", 3.0), ("x", "c", 1.0)]
    network = from_edges(edges, [("a", 1.0, "relu"), ("b", 0.0, "tanh"), ("c", 0.0, "")], outputs=iter("bac"))
    assert network.output_names == ("output",)
    x = np.array([[0.5], [-3.0]])
    a = np.maximum(2 * x + 1, 0)
    np.testing.assert_allclose(predict(network, x), np.concatenate([np.tanh(3 * a), a, x], 1))


def test_files_that_were_written_are_read(tmp_path):
    network = from_edges(EDGES, NODES)
    write_edges(network, tmp_path / "edges.csv", tmp_path / "nodes.csv")
    lines = (tmp_path / "edges.csv").read_text().splitlines()
    assert lines[0] == "source,target,weight"
    assert len(lines) == 1 + network.connection_count
    assert_same_outputs(network, from_edges(tmp_path / "edges.csv", tmp_path / "nodes.csv"), 0.0)
    assert pd.DataFrame(to_edges(network)).columns.tolist() == ["source", "target", "weight"]
    assert NodeRow("hidden1:0", 0.5, "tanh", 0.01) in to_nodes(network)


BAD = {
    "no number": (
        [("a", "y", "heavy")],
        {},
        "row 1 of the edges: expected as weight a finite number of 32 bits, got 'heavy'",
    ),
    "nan": ([("a", "y", 1.0), ("b", "y", float("nan"))], {}, "row 2 of the edges: expected as weight a finite"),
    "infinity": ([("a", "y", 1e39)], {}, "row 1 of the edges: expected as weight a finite"),
    "true": ([("a", "y", True)], {}, "row 1 of the edges: expected as weight a finite"),
    "underscores": ([("a", "y", "1_0")], {}, "row 1 of the edges: expected as weight a finite"),
    "full-width digits": ([("a", "y", "\uff11")], {}, "row 1 of the edges: expected as weight a finite"),
    "bytes": ([("a", "y", b"1")], {}, "row 1 of the edges: expected as weight a finite"),
    "so small that it becomes 0": ([("a", "y", -1e-50)], {}, "row 1 of the edges: expected as weight 0 or a number l"),
    "the same as text": ([("a", "y", "1e-400")], {}, "row 1 of the edges: expected as weight 0 or a number large"),
    "a small bias": (EDGES, {"nodes": [("g", 1e-46), *NODES[1:]]}, "row 1 of the nodes: expected as bias 0 or a"),
    "a column twice": (pd.DataFrame([("a", "y", 1, 2)], columns=[*EdgeRow._fields, "weight"]), {}, "'weight' twice"),
    "no name": ([("a", "y", 1.0), ("", "y", 1.0)], {}, "row 2 of the edges: expected as source the name of a node"),
    "a float for a name": ([("a", 0.5, 1.0)], {}, "row 1 of the edges: expected as target the name of a node"),
    "too few cells": (
        [("a", "y", 1.0), ("a", "h")],
        {},
        "row 2 of the edges: expected source, target, weight: 3 cells, got 2",
    ),
    "cells without end": ([range(10**12)], {}, "row 1 of the edges: .* 3 cells, got 1000000000000"),
    "a row of no dimension": (
        [np.array(3)],
        {},
        r"row 1 of the edges: expected \(source, .* got ndarray of shape \(\)",
    ),
    "a mapping without weight": ([{"source": "a", "target": "y"}], {}, "row 1 of the edges: .*weight is missing"),
    "text for a row": (["a,y,1"], {}, r"row 1 of the edges: expected \(source, target, weight\)"),
    "no table": (3, {}, "expected as edges a path, rows or a DataFrame, got int"),
    "a frame of other columns": (pd.DataFrame({"from": ["a"]}), {}, "the edges: expected the columns source"),
    "no edges": ([], {}, "expected at least one edge, got none"),
    "twice": ([*EDGES, ("b", "h", 1.0)], {}, r"row 7 of the edges: .*'b' -> 'h' once, got it twice \(see row 2 of"),
    "a loop": ([*EDGES, ("h", "h", 1.0)], {}, "row 7 of the edges: expected edges without a cycle, got 'h' -> 'h'"),
    "a cycle": (
        [*EDGES, ("y", "g", 1.0), ("y", "z", 1.0)],
        {},
        "row [57] of the edges: .* cycle, got '[yg]' -> '[yg]' -> ",
    ),
    "into an input": (EDGES, {"inputs": ["a", "h"]}, "row 1 of the edges: expected no edge into the input 'h'"),
    "no way from an input": (EDGES, {"inputs": ["a"]}, "row 2 of the edges: .*got 'b' without a path from an input"),
    "no way to an output": (EDGES, {"outputs": ["g"]}, "row 1 of the edges: .*got 'a' without a path to an output"),
    "an island": (EDGES, {"nodes": [*NODES, ("lonely",)]}, "row 4 of the nodes: .*got 'lonely' without a path from"),
    "an unknown name": (
        EDGES,
        {"nodes": NODES[:2]},
        "row 4 of the edges: expected a name of the table of nodes, got 'y'",
    ),
    "a node twice": (EDGES, {"nodes": [*NODES, NODES[0]]}, r"row 4 of the nodes: .*'g' once, got it twice \(row 1 of"),
    "an unknown activation": (EDGES, {"nodes": [("g", 0, "gauss"), *NODES[1:]]}, "row 1 of the nodes: .*got 'gauss'"),
    "an unknown usual one": (
        EDGES,
        {"activation": "gauss"},
        "from_edges: expected one of the activations identity, relu",
    ),
    "a slope out of range": (EDGES, {"nodes": [("g", 0, "celu", 0), *NODES[1:]]}, "row 1 of the nodes: .*slope"),
    "an input with a bias": (
        EDGES,
        {"nodes": [*NODES, ("a", 1.0), ("b",)]},
        "row 4 of the nodes: expected an input without",
    ),
    "an output that is none": (EDGES, {"outputs": ["q"]}, "expected as outputs names of neurons, got 'q'"),
    "an output that is an input": (
        EDGES,
        {"outputs": ["a"]},
        "expected as outputs names of neurons, got 'a', which is",
    ),
    "outputs alike": (EDGES, {"outputs": ["y", "y"]}, "expected outputs of different names, got 'y' twice"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_network_is_one_sentence_that_names_the_row(case):
    table, options, message = BAD[case]
    with pytest.raises(InteropError, match=message) as refusal:
        from_edges(table, **options)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 600


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"source,target,weight\na,y,1\n\nb,y\n", "edges.csv: line 4: expected .* cells, got 2"),
        (b"a,y,1\n# a comment, of some, sort\n", "edges.csv: line 2: expected as weight a finite number"),
        (b'a,y,1\n"b,y,1\n', "edges.csv: expected a CSV file in UTF-8, got: "),
        (b"\xff\xfe\x00a", "edges.csv: expected a CSV file in UTF-8, got: "),
        (b"", "edges.csv: expected at least one edge"),
        (b"source,target,weight,Weight\na,y,1,2\n", "edges.csv: line 1: expected each column once, got 'weight' twice"),
        (b"a,y" + b"," * MOST_COLUMNS, "edges.csv: line 1: expected at most 1,024 cells, got more"),
        (b"a," + b"y" * 200_000 + b",1", "edges.csv: expected a CSV file in UTF-8, got: field larger"),
    ],
)
def test_a_file_that_is_no_table_is_one_sentence_that_names_the_line(content, message, tmp_path):
    (tmp_path / "edges.csv").write_bytes(content)
    with pytest.raises(InteropError, match=message):
        from_edges(tmp_path / "edges.csv")


def test_all_rows_that_are_wrong_are_named(tmp_path):
    (tmp_path / "edges.csv").write_text("a,y,1\nb,y\nc,y,x\n,y,1\nd,y,2\n")
    with pytest.raises(InteropError) as refusal:
        from_edges(tmp_path / "edges.csv")
    assert [words.split(": ")[1] for words in str(refusal.value).split("; ")] == ["line 2", "line 3", "line 4"]
    with pytest.raises(InteropError, match=r"row 1 of .*; row 2 of .* \(and 19,\d{3} more\)$"):
        from_edges([("a", "y", "x")] * 20_000)


def test_rows_without_end_are_refused(monkeypatch):
    monkeypatch.setattr("nestgraph.interop.tables.MOST_ROWS", 9)
    with pytest.raises(InteropError, match="the edges: expected at most 9 rows, got more"):
        from_edges(itertools.repeat(EDGES[0]))


@pytest.mark.parametrize("text", ["1", "+1.", "-.5", "1e3", "0.1E-2", " 7 ", "0", "-0.0", "0e-999"])
def test_numbers_in_text_are_those_of_csv_files(text):
    network = from_edges([("a", "y", text)])
    assert network.connection_columns("input_to_output").weight.tolist() == [[np.float32(text)]]


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(NestgraphError, match=r"missing\.csv: cannot be read"):
        from_edges(tmp_path / "missing.csv")


def test_matrices_that_no_memory_holds_are_refused():
    wide = int(MAX_WEIGHTS**0.5) + 1
    edges = [(f"x{n}", f"y{n}", 1.0) for n in range(wide)]
    with pytest.raises(InteropError, match=r"at most 268,435,456 entries, got 268,468,225 for 16,385 edges"):
        from_edges(edges)


def test_what_an_edge_list_cannot_hold_is_said_with_what_helps():
    with pytest.raises(InteropError, match=r"layer 'fc1': .*fold_batch_norm\(network, 'fc1'\) first"):
        to_edges(mlp((4, 3, 2), 1.0, 0))
    with pytest.raises(InteropError, match="got feature maps: plain_graph holds kernels"):
        to_nodes(lenet_5(0.2, 0.5, 0))


CELLS = st.one_of(st.none(), st.text(max_size=3), st.integers(-2, 3), st.floats(), st.booleans(), st.just("x\0\n"))


@quick(200)
@given(
    st.lists(st.lists(CELLS, max_size=4) | st.text(max_size=3), max_size=6),
    st.lists(st.lists(CELLS, max_size=4), max_size=3) | st.none(),
)
def test_no_table_gives_a_foreign_error(edges, nodes):
    with suppress(NestgraphError):
        assert from_edges(edges, nodes).connection_count >= len(edges)
