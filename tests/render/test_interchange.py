"""Files for other viewers: their form, their numbers against the network's cost, and the way back."""

import json

import networkx as nx
import pytest
from hypothesis import given

from nestgraph.errors import RenderError
from nestgraph.graph import Network, cost
from nestgraph.render import layer_graph_data, model_explorer, overlays, write_interchange
from tests.laws import quick
from tests.render.samples import lenet_5, mlp, residual
from tests.strategies import networks


@quick(30)
@given(networks())
def test_model_explorer_gets_a_collection_of_one_graph(network):
    collection = json.loads(json.dumps(model_explorer(network)))
    assert isinstance(collection["label"], str)
    (graph,) = collection["graphs"]
    ids = [node["id"] for node in graph["nodes"]]
    assert sorted(ids) == sorted(network.layer_names)
    edges = [(edge["sourceNodeId"], node["id"]) for node in graph["nodes"] for edge in node["incomingEdges"]]
    assert sorted(edges) == sorted((p.source, p.target) for p in network.projections_by_name.values())
    for node in graph["nodes"]:
        assert all(isinstance(pair["key"], str) and isinstance(pair["value"], str) for pair in node["attrs"])
        assert {edge["targetNodeInputId"] for edge in node["incomingEdges"]} == {
            m["id"] for m in node["inputsMetadata"]
        }
        pairs = {pair["key"]: pair["value"] for pair in node["attrs"]}
        assert pairs["connections"] == f"{cost(network).by_layer[node['id']].connections:,}"
    for data in overlays(network).values():
        assert set(data) == {"layers"}
        assert data["layers"]["results"].keys() <= set(ids)
        assert all(isinstance(result["value"], int | float) for result in data["layers"]["results"].values())


def test_runs_of_equal_layers_share_a_namespace():
    nodes = model_explorer(mlp(4, *[5] * 20, 3))["graphs"][0]["nodes"]
    assert [node["namespace"] for node in nodes] == ["", "", *["fc2_x19"] * 19, ""]


@quick(20)
@given(networks())
def test_the_layer_graph_survives_both_formats(network):
    graph = layer_graph_data(network)
    assert sum(data["connections"] for _, _, data in graph.edges(data=True)) == network.connection_count
    text = "\n".join(nx.generate_graphml(graph))
    read = nx.parse_graphml(text, force_multigraph=False)
    assert dict(read.nodes(data=True)) == dict(graph.nodes(data=True))
    assert {(u, v): d for u, v, d in read.edges(data=True)} == {(u, v): d for u, v, d in graph.edges(data=True)}


@pytest.mark.parametrize("form", ["graphml", "node-link"])
def test_units_come_back_as_the_same_network(tmp_path, form):
    network = residual()
    (path,) = write_interchange(network, tmp_path / "net.out", form, "units")
    if form == "graphml":
        graph = nx.read_graphml(path)
    else:
        graph = nx.node_link_graph(json.loads(path.read_text()), edges="edges")
    assert Network.from_graph(graph) == network


def test_overlays_go_beside_the_graph(tmp_path):
    paths = write_interchange(lenet_5(), tmp_path / "net.json", "model-explorer")
    assert [path.name for path in paths] == [
        "net.json", "net.density.json", "net.connections.json", "net.parameters.json", "net.flops.json"]  # fmt: skip
    assert all(json.loads(path.read_text()) for path in paths)
    again = write_interchange(lenet_5(), tmp_path / "again.json", "model-explorer")
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]


def test_what_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(RenderError, match="Model Explorer shows layers"):
        write_interchange(mlp(2, 1), tmp_path / "a.json", "model-explorer", "units")
    with pytest.raises(RenderError, match="expected one of model-explorer, graphml, node-link"):
        write_interchange(mlp(2, 1), tmp_path / "a.json", "gexf")
    with pytest.raises(RenderError, match="at most 1,000,000 edges"):
        write_interchange(mlp(1001, 1000, 1), tmp_path / "a.graphml", "graphml", "units")
