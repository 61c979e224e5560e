import re
from functools import partial
from itertools import pairwise
from xml.etree import ElementTree

import networkx as nx
import pygraphviz
import pytest
from hypothesis import given

from nestgraph.graph import cost
from nestgraph.render import layer_diagram
from nestgraph.render.engine import laid_out
from nestgraph.render.folding import grid, runs
from tests.counting import calls_of
from tests.laws import quick
from tests.render.samples import chain, lenet_5, mlp, residual
from tests.strategies import networks

SVG = "{http://www.w3.org/2000/svg}"


def drawn(network):
    return ElementTree.fromstring(laid_out(layer_diagram(network), "svg"))


def words(svg):
    return [text.text for text in svg.iter(f"{SVG}text")]


def visible_edges(dot):
    """The edges of DOT text that are drawn, as Graphviz itself reads them."""
    graph = pygraphviz.AGraph(string=dot)
    shown = [edge for edge in graph.edges() if edge.attr["style"] != "invis"]
    return sorted((edge[1], edge[0]) if edge.attr["dir"] == "back" else (edge[0], edge[1]) for edge in shown)


def test_a_box_states_the_facts_of_its_layer():
    network = lenet_5(density=0.3)
    said = words(drawn(network))
    table = cost(network).by_layer["conv2"]
    assert "conv2" in said
    assert "20 → 50 maps of 4x4" in said
    assert "relu, max 2x2" in said
    assert any(f"{table.connections:,} / {table.possible:,} connections" in line for line in said)
    assert f"{table.parameters:,} parameters, {table.flops:,} FLOPs" in said
    assert any("FLOPs (2 per multiply-accumulate)" in line for line in said)


@quick(40)
@given(networks())
def test_boxes_and_edges_are_the_layers_and_projections(network):
    boxes = runs(network)
    assert [name for run in boxes for name in run.names] == sorted(
        network.layer_names, key=[name for run in boxes for name in run.names].index
    )
    key = {name: run.key for run in boxes for name in run.names}
    projections = [network.projection(name) for name in network.projection_names]
    ends = [(key[p.source], key[p.target]) for p in projections]
    assert visible_edges(layer_diagram(network)) == sorted(pair for pair in ends if pair[0] != pair[1])


def test_density_bars_are_as_long_as_the_share_of_live_connections():
    network = mlp(10, 10, 10, density=0.5)
    shares = [entry.connections / entry.possible for entry in cost(network).by_layer.values() if entry.possible]
    widths = re.findall(r'WIDTH="(\d+)" HEIGHT="6" FIXEDSIZE="TRUE" BGCOLOR="#0072B2"', layer_diagram(network))
    assert [int(width) / 168 for width in widths] == pytest.approx(shares, abs=0.01)


def test_equal_runs_fold_and_keep_their_sums():
    network = mlp(4, *[5] * 20, 3)
    assert [len(run.names) for run in runs(network)] == [1, 1, 19, 1]
    said = words(drawn(network))
    assert "fc2 … fc20 x 19" in said
    assert f"{19 * 25:,} / {19 * 25:,} connections (100.0%)" in said


def test_layers_that_differ_do_not_fold():
    assert all(len(run.names) == 1 for run in runs(chain(12)))
    assert all(len(run.names) == 1 for run in runs(residual()))


def test_a_chain_of_a_hundred_layers_is_no_wider_than_four_to_one():
    svg = drawn(chain(100))
    width, height = (float(svg.get(name).removesuffix("pt")) for name in ("width", "height"))
    assert 0.5 < width / height < 4
    assert len([title for title in svg.iter(f"{SVG}g") if title.get("class") == "node"]) == 100


def test_wrapped_rows_run_back_and_forth_and_touch():
    network = chain(100)
    places = grid(network, runs(network))
    spots = [(places.column(name), places.row(name)) for name in network.layer_names]
    steps = [abs(a - c) + abs(b - d) for (a, b), (c, d) in pairwise(spots)]
    assert set(steps) == {1}


def test_wrapped_edges_keep_their_direction():
    network = chain(40)
    names = network.layer_names
    assert visible_edges(layer_diagram(network)) == sorted(pairwise(names))


def test_the_work_of_a_diagram_grows_with_its_boxes():
    """Seconds stand in tests/bench/test_drawing_speed.py."""
    few, many = (calls_of(partial(layer_diagram, chain(length))) for length in (100, 200))
    assert many < 3 * few
    assert b"<svg" in laid_out(layer_diagram(chain(200)), "svg")


def test_boxes_do_not_overlap():
    for network in (lenet_5(), residual(), chain(30)):
        dot = pygraphviz.AGraph(string=layer_diagram(network))
        dot.layout(prog="dot")
        boxes = []
        for node in dot.nodes():
            x, y = map(float, node.attr["pos"].split(","))
            width, height = 72 * float(node.attr["width"]), 72 * float(node.attr["height"])
            boxes.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        for index, (a, b, c, d) in enumerate(boxes):
            for e, f, g, h in boxes[index + 1 :]:
                assert c <= e or g <= a or d <= f or h <= b


def test_a_skip_is_dashed_and_named():
    network = residual()
    graph = pygraphviz.AGraph(string=layer_diagram(network))
    skip = graph.get_edge("stem", "b")
    assert skip.attr["style"] == "dashed"
    assert skip.attr["label"] == r"one to one, fixed\n3 live"
    assert nx.is_directed_acyclic_graph(nx.DiGraph(visible_edges(layer_diagram(network))))
