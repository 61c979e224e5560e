"""A network comes from an explicit graph, and comes back from its own."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nestgraph.edits import respell_areas
from nestgraph.errors import NestgraphError, StructureError, VerificationError
from nestgraph.graph import Network
from nestgraph.graph.reference import forward, predict
from nestgraph.spec import Conv, Dense, Layer, Match, Mix, OneToOne, Softmax
from tests.graph.explicit import explicit_graph
from tests.laws import assert_same_outputs, quick
from tests.strategies import networks
from tests.strategies.networks import EVERY


def records(network):
    layers, projections = network.layers_by_name.values(), network.projections_by_name.values()
    return list(layers), list(projections), network.interface


@quick(40)
@given(network=networks(EVERY))
def test_a_network_without_areas_comes_back_bit_for_bit(network):
    assume(all(network.connection_columns(name).area is None for name in network.projection_names))
    for graph in (network.graph, explicit_graph(network), nx.DiGraph(network.graph)):
        assert Network.from_graph(graph, *records(network)) == network


@quick(40)
@given(network=networks(("conv",)))
def test_areas_come_back_with_the_same_meaning(network):
    again = Network.from_graph(network.graph, *records(network))
    assert_same_outputs(network, again, 1e-12)
    assert not respell_areas(again).edits
    assert Network.from_graph(again.graph, *records(again)) == again


def diamond():
    graph = nx.DiGraph()
    graph.add_weighted_edges_from(
        [
            (("x", 0), ("h", 0), 2.0),
            (("x", 2), ("h", 1), -1.0),
            (("h", 0), ("y", 0), 1.0),
            (("h", 1), ("y", 0), 3.0),
            (("x", 0), ("y", 0), 0.5),
        ]
    )
    graph.nodes["h", 1]["bias"] = 4.0
    return graph


def test_layers_and_projections_are_inferred():
    network = Network.from_graph(diamond())
    assert network.layer("x") == Layer(name="x", kind="input", features=3)
    assert network.layer("y").output
    assert network.layer("h").activation.function == "relu"
    assert set(network.projections_by_name) == {"x_to_h", "h_to_y", "x_to_y"}
    assert network.connection_count == network.graph.number_of_edges() == 5
    x = np.array([[1.0, 9.0, 1.0], [-1.0, 9.0, 5.0]])
    assert predict(network, x).tolist() == [[2.0 + 3 * 3 + 0.5], [0 + 0 - 0.5]]


def test_two_projections_between_the_same_layers_keep_their_own_weights():
    graph = nx.DiGraph([(("x", 0), ("y", 0), {"weights": {"one": 2.0, "two": 5.0}, "projections": ("one", "two")})])
    carriers = [Dense(source="x", target="y", name="one"), Dense(source="x", target="y", name="two")]
    network = Network.from_graph(graph, projections=carriers)
    assert forward(network, np.ones((1, 1)))["y"].tolist() == [[7.0]]
    assert network.graph.edges[("x", 0), ("y", 0)]["weight"] == 7.0
    assert Network.from_graph(network.graph, *records(network)) == network


IMAGE = Layer(name="x", kind="input", features=1, size=(2, 2))
MAP = Layer(name="c", kind="feature_maps", size=(1, 1), output=True)
CONV = Conv(source="x", target="c", kernel=(2, 2), name="k")


def conv_graph(**data):
    return nx.DiGraph([(("x", 0), ("c", 0), data)])


def test_kernels_come_as_nested_lists_with_none_where_dormant():
    network = Network.from_graph(conv_graph(weights={"k": [[1.0, None], [0.0, 2.0]]}), [IMAGE, MAP], [CONV])
    assert network.connection_count == 3
    assert predict(network, np.arange(4.0).reshape(1, 1, 2, 2)).tolist() == [[[[6.0]]]]


BAD = {
    "undirected": nx.Graph([(("x", 0), ("y", 0))]),
    "multigraph": nx.MultiDiGraph([(("x", 0), ("y", 0))]),
    "no graph": {("x", 0): {("y", 0): {}}},
    "text nodes": nx.DiGraph([("x", "y")]),
    "short nodes": nx.DiGraph([(("x",), ("y",))]),
    "float ids": nx.DiGraph([(("x", 0.5), ("y", 0))]),
    "bool ids": nx.DiGraph([(("x", True), ("y", 0))]),
    "negative ids": nx.DiGraph([(("x", -1), ("y", 0))]),
    "huge ids": nx.DiGraph([(("x", 2**70), ("y", 0))]),
    "hostile layer": nx.DiGraph([(('x"; import os', 0), ("y", 0))]),
    "keyword layer": nx.DiGraph([(("class", 0), ("y", 0))]),
    "very long layer": nx.DiGraph([(("x" * 1000, 0), ("y", 0))]),
    "same projection name twice": nx.DiGraph([(("x" * 64, 0), ("y", 0)), (("x" * 64, 1), ("z", 0))]),
    "weight text": nx.DiGraph([(("x", 0), ("y", 0), {"weight": "heavy"})]),
    "weight object": nx.DiGraph([(("x", 0), ("y", 0), {"weight": object()})]),
    "weight list": nx.DiGraph([(("x", 0), ("y", 0), {"weight": [1.0, 2.0]})]),
    "ragged weights": nx.DiGraph([(("x", 0), ("y", 0), {"weight": [[1.0], [1.0, 2.0]]})]),
    "weights no table": nx.DiGraph([(("x", 0), ("y", 0), {"weights": 3})]),
    "projections no names": nx.DiGraph([(("x", 0), ("y", 0), {"projections": 3})]),
    "nan": nx.DiGraph([(("x", 0), ("y", 0), {"weight": float("nan")})]),
    "infinity": nx.DiGraph([(("x", 0), ("y", 0), {"weight": 1e300})]),
    "self loop": nx.DiGraph([(("x", 0), ("x", 1))]),
    "cycle": nx.DiGraph([(("x", 0), ("y", 0)), (("y", 0), ("h", 0)), (("h", 0), ("y", 1))]),
    "island": nx.DiGraph([(("x", 0), ("h", 0)), (("h", 1), ("y", 0)), (("x", 0), ("y", 0))]),
    "empty": nx.DiGraph(),
}


@pytest.mark.parametrize("graph", BAD.values(), ids=BAD.keys())
def test_bad_graphs_are_refused_in_our_words(graph):
    with pytest.raises(NestgraphError, match=r"expected|island") as refusal:
        Network.from_graph(graph)
    assert len(str(refusal.value)) < 600


@pytest.mark.parametrize(
    "data",
    [
        {"weights": {"k": [[1.0, 2.0]]}},
        {"weights": {"k": [[1.0, "a"], [1.0, 2.0]]}},
        {"weight": 1.0, "areas": {"k": [[True, True]]}},
        {"weight": 1.0, "areas": {"k": [[2.0]]}},
        {"weight": 1.0, "areas": [True]},
    ],
)
def test_bad_kernels_and_areas_are_refused(data):
    with pytest.raises(StructureError, match="expected"):
        Network.from_graph(conv_graph(**data), [IMAGE, MAP], [CONV])


def test_bad_columns_and_uncarried_edges_are_refused():
    graph = diamond()
    with pytest.raises(StructureError, match="expected a projection that carries them"):
        Network.from_graph(graph, projections=[Dense(source="x", target="y")])
    with pytest.raises(StructureError, match="expected the name of a layer, got 'nobody'"):
        Network.from_graph(nx.DiGraph(), [IMAGE], [Dense(source="x", target="nobody")])
    with pytest.raises(VerificationError, match="expected at least one unit"):
        Network.from_graph(graph, [Layer(name="more", kind="neurons")])
    graph.nodes["h", 1]["bias"] = "big"
    with pytest.raises(StructureError, match="expected numbers for the bias of 'h'"):
        Network.from_graph(graph)


def misspelt(draw, name):
    """A name with a letter left out, doubled, exchanged or of the other case."""
    place = draw(st.integers(0, len(name) - 1))
    other = draw(st.sampled_from(("", name[place] * 2, "q", name[place].swapcase())))
    return name[:place] + other + name[place + 1 :]


def rename(data, name, other):
    data[other] = data.pop(name)


def unknown_unit_attribute(draw, graph):
    node = draw(st.sampled_from(list(graph)))
    known = draw(st.sampled_from(("bias", "gamma", "mean", *graph.nodes[node])))
    name = misspelt(draw, known)
    assume(name not in graph.nodes[node] and name != known)
    graph.nodes[node][name] = draw(st.sampled_from((0.7, "tanh", True)))
    return name


def foreign_column(draw, graph):
    node = draw(st.sampled_from(list(graph)))
    absent = [name for name in ("bias", "gamma", "variance", "activation") if name not in graph.nodes[node]]
    assume(absent)
    graph.nodes[node][absent[0]] = 0.0
    return absent[0]


def another_layer(draw, graph):
    node = draw(st.sampled_from(list(graph)))
    name = draw(st.sampled_from(("layer", "kind")))
    graph.nodes[node][name] = "another"
    return "another"


def unknown_edge_attribute(draw, graph):
    ends = draw(st.sampled_from(list(graph.edges)))
    name = draw(st.sampled_from(list(graph.edges[ends])))
    other = misspelt(draw, name)
    assume(other not in graph.edges[ends])
    rename(graph.edges[ends], name, other)
    return other


def unknown_projection(draw, graph):
    ends = draw(st.sampled_from(list(graph.edges)))
    data = graph.edges[ends]
    name = draw(st.sampled_from(data["projections"]))
    other = misspelt(draw, name)
    assume(other != name)
    data["projections"] = tuple(other if one == name else one for one in data["projections"])
    return other


def unknown_block(draw, graph):
    ends = draw(st.sampled_from(list(graph.edges)))
    where = draw(st.sampled_from(("weights", "areas")))
    graph.edges[ends][where] = {**graph.edges[ends].get(where, {}), "nobodys": 1.0}
    return "nobodys"


def another_count(draw, graph):
    ends = draw(st.sampled_from(list(graph.edges)))
    graph.edges[ends]["connections"] += 1
    return str(graph.edges[ends]["connections"])


def another_sum(draw, graph):
    ends = draw(st.sampled_from([ends for *ends, data in graph.edges(data=True) if "weights" in data] or [None]))
    assume(ends)
    graph.edges[ends]["weight"] += 3.0
    return str(graph.edges[ends]["weight"])


def no_connection(draw, graph):
    ends = draw(st.sampled_from([ends for *ends, data in graph.edges(data=True) if data["connections"]]))
    data = graph.edges[ends]
    del data["connections"]
    data["weight"] = None
    data.pop("weights", None)
    return "weights of None alone"


FALSEHOODS = (
    unknown_unit_attribute,
    foreign_column,
    another_layer,
    unknown_edge_attribute,
    unknown_projection,
    unknown_block,
    another_count,
    another_sum,
    no_connection,
)


@pytest.mark.parametrize("spoil", FALSEHOODS, ids=lambda spoil: spoil.__name__)
@quick(20)
@given(network=networks(), data=st.data())
def test_what_a_graph_says_and_nothing_carries_is_refused_by_name(spoil, network, data):
    graph = explicit_graph(network)
    assert Network.from_graph(graph, *records(network)) is not None
    said = spoil(data.draw, graph)
    with pytest.raises(StructureError, match=r"^(node|edge) .* expected ") as refusal:
        Network.from_graph(graph, *records(network))
    assert said in str(refusal.value)


def test_a_refusal_names_what_may_be_meant():
    graph = explicit_graph(Network.from_graph(diamond()))
    graph.nodes["h", 0]["Bias"] = 0.7
    with pytest.raises(StructureError, match="got 'Bias', perhaps for 'bias'"):
        Network.from_graph(graph)
    del graph.nodes["h", 0]["Bias"]
    graph.edges[("x", 0), ("h", 0)]["projections"] = ("xto_h",)
    carriers = [Dense(source=one, target=other) for one, other in (("x", "h"), ("h", "y"), ("x", "y"))]
    with pytest.raises(StructureError, match="expected projections among x_to_h, got 'xto_h', perhaps for 'x_to_h'"):
        Network.from_graph(graph, projections=carriers)


def test_an_edge_that_two_projections_may_carry_has_to_say_which():
    graph = nx.DiGraph([(("x", 0), ("y", 0), {"weight": 2.0})])
    carriers = [Dense(source="x", target="y", name=name) for name in ("one", "two")]
    with pytest.raises(StructureError, match="expected projections to say which of one, two carry it, got none"):
        Network.from_graph(graph, projections=carriers)


def test_names_of_edges_are_those_of_the_projections_that_are_inferred():
    """So a graph whose nodes were given other layers, and its attributes with them, keeps the names on its edges."""
    network = Network.from_graph(diamond())
    graph = nx.relabel_nodes(nx.DiGraph(network.graph), {node: (node[0] * 2, node[1]) for node in network.graph})
    with pytest.raises(StructureError, match=r"node \('xx', 0\): expected layer 'xx', got 'x'"):
        Network.from_graph(graph)
    for (layer, _), data in graph.nodes(data=True):
        data["layer"] = layer
    again = Network.from_graph(graph)
    assert set(again.projections_by_name) == set(network.projections_by_name)
    assert [again.projection("x_to_h").source, again.connection_count] == ["xx", network.connection_count]


@quick(10)
@given(network=networks(("opaque",)))
def test_an_argument_joins_all_units_or_is_refused(network):
    graph = explicit_graph(network)
    joined = [ends for *ends, count in graph.edges.data("connections") if not count]
    assume(joined)
    graph.remove_edge(*joined[0])
    with pytest.raises(StructureError, match="expected an edge from each unit"):
        Network.from_graph(graph, *records(network))


def attention(**edge):
    """x -> q, k, v; one head of s compares q with k at two slots, m mixes v -> y."""
    graph = nx.DiGraph()
    graph.add_edges_from(
        [(("x", 0), (name, unit)) for name, unit in (("q", 0), ("q", 1), ("k", 0), ("v", 0))], weight=1
    )
    graph.add_edge(("q", 0), ("s", 0), weight=0.5, slots={"query": [0]})
    graph.add_edge(("q", 1), ("s", 0), weight=0.25, slots={"query": [1]})
    graph.add_edge(("k", 0), ("s", 0), weights={"key": [1.0, 2.0]}, slots={"key": [0, 1]})
    graph.add_weighted_edges_from([(("s", 0), ("m", 0), 1), (("v", 0), ("m", 0), 1), (("m", 0), ("y", 0), 1)])
    graph.edges[("k", 0), ("s", 0)].update(edge)
    size = (2,)
    maps = {"kind": "feature_maps", "size": size}
    layers = [Layer(name="x", kind="input", features=1, size=size), *(Layer(name=n, **maps) for n in "qkvm")]
    layers += [Layer(name="s", kind="feature_maps", size=(2, 2), operations=(Softmax(),), bias=False)]
    layers += [Layer(name="y", kind="neurons", output=True)]
    projections = [Conv(source="x", target=name, kernel=(1,)) for name in "qkv"]
    projections += [Match(source="q", target="s", side="query", name="query"), Mix(source="s", target="m")]
    projections += [Match(source="k", target="s", side="key", name="key"), OneToOne(source="v", target="m")]
    return graph, layers, [*projections, Dense(source="m", target="y")]


def test_a_unit_may_stand_at_several_slots_of_a_head():
    graph, layers, projections = attention()
    for edge in [edge for edge in graph.edges if edge[1][0] == "y"]:
        graph.edges[edge]["weights"] = {"m_to_y": [1.0, 2.0]}
        del graph.edges[edge]["weight"]
    network = Network.from_graph(graph, layers, projections)
    assert network.connection_columns("key").links.tolist() == [[0, 0, 0], [0, 0, 1]]
    assert network.connection_columns("query").weight.tolist() == [0.5, 0.25]
    edge = network.graph.edges[("k", 0), ("s", 0)]
    assert edge == {"weight": 3.0, "connections": 2, "projections": ("key",), "weights": {"key": [1.0, 2.0]},
                    "slots": {"key": [0, 1]}}  # fmt: skip
    assert Network.from_graph(network.graph, *records(network)) == network


@pytest.mark.parametrize(
    ("slots", "message"),
    [
        (None, "by projection name, got None"),
        ({}, "expected slots of 'key', whole numbers from 0 up, got {}"),
        ({"key": []}, "whole numbers from 0 up, got {'key': \\[\\]}"),
        ({"key": [0, -1]}, "whole numbers from 0 up"),
        ({"key": [0.0, 1]}, "whole numbers from 0 up"),
        ({"key": [0, 2**31]}, "whole numbers from 0 up"),
        ({"key": [0, 1, 2]}, "expected weights of shape \\(3,\\) for 'key', got \\(2,\\)"),
        ({"keys": [0, 1]}, "slots among key"),
    ],
)
def test_slots_that_are_none_are_refused(slots, message):
    with pytest.raises(StructureError, match=message):
        Network.from_graph(*attention(slots=slots))
