import re
from xml.etree import ElementTree

import numpy as np
import pygraphviz
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.errors import RenderError
from nestgraph.render import neuron_diagram, neuron_dot
from nestgraph.render.kernels import strongest_kernels
from nestgraph.render.neuron_plan import plan
from nestgraph.render.selection import select, shares
from tests.counting import calls_of
from tests.laws import quick
from tests.render.samples import chain, lenet_5, mlp, residual
from tests.strategies import networks

SVG = "{http://www.w3.org/2000/svg}"


def words(text):
    return [entry.text or "" for entry in ElementTree.fromstring(text).iter(f"{SVG}text")]


def titles(text):
    return [entry.text for entry in ElementTree.fromstring(text).iter(f"{SVG}title")]


def true_edges(network):
    """Every edge with its sign and weight, read from the graph view: an oracle that knows no picture."""
    return {
        (source, target, name): float(np.sum([x for x in np.ravel(block_of(data, name)) if x is not None]))
        for source, target, data in network.graph.edges(data=True)
        for name in data["projections"]
    }


def block_of(data, name):
    return data["weights"][name] if name in data.get("weights", {}) else data["weight"]


@quick(25)
@given(networks())
def test_a_small_network_is_drawn_exactly(network):
    selection = select(network, 300, 2000)
    shown = {
        ((edges.projection.source, int(source)), (edges.projection.target, int(target)), edges.projection.name)
        for edges in selection.edges
        for source, target in zip(edges.source, edges.target, strict=True)
    }
    assert shown == set(true_edges(network))
    assert {(name, int(unit)) for name, ids in selection.units.items() for unit in ids} == set(network.graph)
    assert selection.connection_count == network.connection_count
    assert selection.statement().startswith("everything is shown")
    ElementTree.fromstring(neuron_diagram(network))


@quick(25)
@given(networks(), st.integers(1, 6), st.integers(1, 8))
def test_limits_hold_and_what_is_left_out_is_stated(network, max_units, max_edges):
    selection = select(network, max_units, max_edges)
    assert selection.edge_count <= max_edges
    assert selection.unit_count <= max(max_units, len(network.layer_names))
    assert all(len(ids) or not len(network.units(name)) for name, ids in selection.units.items())
    picture = neuron_diagram(network, max_units, max_edges)
    said = " ".join(words(picture))
    if selection.unit_count < network.unit_count:
        assert f"{selection.unit_count:,} of {network.unit_count:,} units" in said
        hidden = re.findall(r"([\d,]+) more unit", said)
        assert sum(int(count.replace(",", "")) for count in hidden) == network.unit_count - selection.unit_count
    if selection.edge_count < selection.edge_total:
        assert f"{selection.connection_count:,} of {network.connection_count:,} connections" in said


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(1, 120))
def test_shares_use_the_budget_evenly(counts, budget):
    given_out = shares(counts, budget)
    assert sum(given_out) <= budget
    cut = [share for share, count in zip(given_out, counts, strict=True) if share < count]
    assert all(share == max(given_out) for share in cut)
    if cut:
        assert sum(given_out) > budget - len(cut)


def test_edges_differ_by_sign_in_colour_and_dash_and_by_size_in_width():
    network = mlp(4, 5, 3)
    root = ElementTree.fromstring(neuron_diagram(network))
    widths = {}
    drawn = 0
    for group in root.iter(f"{SVG}g"):
        positive = group.get("stroke") == "#0072B2"
        assert positive == (group.get("stroke-dasharray") is None)
        for title in group.iter(f"{SVG}title"):
            value = float(title.text.rsplit(" ", 1)[1])
            assert (value >= 0) == positive
            drawn += 1
            widths.setdefault("fc1" if "→ fc1" in title.text else "fc2", []).append(
                (abs(value), float(group.get("stroke-width")))
            )
    assert drawn == network.connection_count
    for pairs in widths.values():
        ordered = [width for _, width in sorted(pairs)]
        assert ordered == sorted(ordered)
        assert ordered[0] < ordered[-1]


def test_the_strongest_edges_are_kept():
    network = mlp(30, 20, 10)
    selection = select(network, 300, 100)
    for edges in selection.edges:
        columns = network.connection_columns(edges.projection.name)
        left_out = np.sort(np.abs(columns.weight).ravel())[: -len(edges.value)]
        assert np.abs(edges.value).min() >= left_out.max()


@quick(25)
@given(networks())
def test_units_stand_in_the_order_of_their_ids_without_overlap(network):
    for column in plan(network, select(network, 300, 2000)).columns:
        ids = list(column.places)
        assert ids == sorted(ids)
        gaps = np.diff(list(column.places.values()))
        assert (gaps >= column.side).all()


@quick(25)
@given(networks())
def test_fans_count_connections(network):
    for name in network.layer_names:
        into, out = network.fans(name)
        for place, unit in enumerate(network.units(name).tolist()):
            node = (name, unit)
            assert into[place] == sum(data["connections"] for _, _, data in network.graph.in_edges(node, data=True))
            assert out[place] == sum(data["connections"] for _, _, data in network.graph.out_edges(node, data=True))


def test_tiles_show_the_strongest_kernel_of_each_map():
    network = lenet_5()
    columns = network.connection_columns("conv1_to_conv2")
    kernels = strongest_kernels(network, "conv2")
    assert list(kernels) == list(range(50))
    norms = np.sqrt((columns.weight**2).sum(axis=(2, 3)))
    for unit, kernel in kernels.items():
        assert np.linalg.norm(kernel) == pytest.approx(norms[unit].max(), rel=1e-6)
    assert strongest_kernels(network, "fc1") == {}


def test_a_quarter_million_edges_are_answered_in_two_megabytes_and_fewer_calls_than_edges():
    network = mlp(784, 300, 100, 10)
    assert calls_of(lambda: neuron_diagram(network)) < network.connection_count
    picture = neuron_diagram(network)
    assert len(picture.encode()) < 2_000_000
    assert "2,000 of 266,200 connections shown; 130 of 1,194 units" in words(picture)
    assert {"744 more units", "260 more units", "60 more units"} <= set(words(picture))


def test_lenet_5_states_edges_and_the_connections_they_carry():
    said = words(neuron_diagram(lenet_5()))
    assert any(re.match(r"[\d,]+ of [\d,]+ edges \([\d,]+ of [\d,]+ connections\) shown; ", line) for line in said)
    assert "24 of 50 maps of 4x4" in said


def test_units_and_edges_carry_their_names_as_tooltips():
    network = mlp(2, 2, 1)
    shown = titles(neuron_diagram(network))
    assert {f"{layer} {unit}" for layer, unit in network.graph} <= set(shown)
    weight = network.connection_columns("fc1_to_fc2").weight[0, 1]
    assert f"fc1 1 → fc2 0: {weight:+.3g}" in shown


def test_edges_that_skip_a_layer_run_above_the_columns():
    network = residual()
    places = plan(network, select(network, 300, 2000))
    skips = [stroke for stroke in places.strokes if (stroke.source[0], stroke.target[0]) == ("stem", "b")]
    assert len(skips) == 3
    assert all(stroke.curve.via < places.top for stroke in skips)
    assert all(stroke.curve.via is None for stroke in places.strokes if stroke not in skips)


@quick(25)
@given(networks())
def test_dot_holds_the_same_units_edges_and_places(network):
    places = plan(network, select(network, 300, 2000))
    graph = pygraphviz.AGraph(string=neuron_dot(network))
    assert sorted((edge[0], edge[1]) for edge in graph.edges()) == sorted(
        (f"{stroke.source[0]} {stroke.source[1]}", f"{stroke.target[0]} {stroke.target[1]}")
        for stroke in places.strokes
    )
    for column in places.columns:
        for unit, y in column.places.items():
            x, up = graph.get_node(f"{column.layer.name} {unit}").attr["pos"].removesuffix("!").split(",")
            assert (float(x), float(up)) == pytest.approx((column.x, places.height - y), abs=0.06)


def test_graphviz_draws_the_dot_form_as_placed():
    graph = pygraphviz.AGraph(string=neuron_dot(mlp(4, 5, 3)))
    before = {str(node): node.attr["pos"].removesuffix("!") for node in graph.nodes()}
    graph.layout(prog="nop")
    first = {name: np.array(pos.split(","), float) for name, pos in before.items()}
    after = {str(node): np.array(node.attr["pos"].split(","), float) for node in graph.nodes()}
    shift = after["x 0"] - first["x 0"]
    assert all(np.allclose(after[name], first[name] + shift, atol=0.5) for name in first)


def test_impossible_limits_are_refused():
    with pytest.raises(RenderError, match="expected room"):
        neuron_diagram(mlp(2, 1), max_units=0)


def test_a_hundred_layers_have_a_column_each():
    assert len(plan(chain(100), select(chain(100), 300, 2000)).columns) == 100
