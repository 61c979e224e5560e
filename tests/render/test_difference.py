"""Difference pictures against a comparison edge by edge, in what they count, where they place and how they look."""

import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pygraphviz
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from nestgraph.edits import Editor, deepen, freeze, remove_units
from nestgraph.errors import EditError, RenderError
from nestgraph.graph import Network, difference
from nestgraph.graph.columns import Links
from nestgraph.render import draw_difference, layer_diagram, layer_difference
from nestgraph.render.boxes import BAR
from nestgraph.render.comparison import compare, fate
from nestgraph.render.encoding import LOOKS
from nestgraph.render.matrix import matrix_difference
from nestgraph.render.neuron_diagram import neuron_scene
from nestgraph.render.neuron_difference import neuron_difference
from nestgraph.render.scene import Curves, Raster
from nestgraph.render.selection import select
from nestgraph.render.svg import svg
from nestgraph.render.union import union
from nestgraph.spec import Dense, OneToOne
from tests.laws import quick
from tests.render.samples import chain, gated, lenet_5, mlp, residual
from tests.strategies import EDIT_CASES, edits_for, networks


@st.composite
def pairs(draw):
    """A network and another that an edit, or a few, made of it."""
    old = draw(networks())
    new = old
    for _ in range(draw(st.integers(1, 2))):
        try:
            new = draw(edits_for(new, (draw(st.sampled_from(list(EDIT_CASES))),))).apply(new).network
        except EditError:
            reject()
    return draw(st.permutations([old, new]))


def edges(network):
    """{(projection, source id, target id, and slot of a head): the bits of weights, masks and areas}, one by one."""
    found = {}
    for name in network.projection_names:
        projection, columns = network.projection(name), network.connection_columns(name)
        if projection.kind == "argument":
            continue
        sources, targets = network.units(projection.source).tolist(), network.units(projection.target).tolist()
        if isinstance(columns, Links):
            for place, link in enumerate(columns.links.tolist()):
                if columns.mask[place].any():
                    found[name, *link] = columns.weight[place].tobytes() + columns.mask[place].tobytes()
            continue
        for row, column in np.argwhere(network.pairs(projection.name).matrix()):
            bits = columns.weight[row, column].tobytes() + columns.mask[row, column].tobytes()
            if columns.area is not None:
                area = columns.area[row, column % columns.area.shape[1]]
                bits += b"" if area.all() else area.tobytes()
            found[name, sources[column], targets[row]] = bits
    return found


def comparable(old, new, name):
    """Whether a projection has the same make in both networks."""
    if not (old.has_projection(name) and new.has_projection(name)):
        return True
    axes = 1 if old.projection(name).kind == "one_to_one" else 2
    shapes = [network.connection_columns(name).weight.shape[axes:] for network in (old, new)]
    records = [n.projection(name) for n in (old, new)]
    return shapes[0] == shapes[1] and len({(r.source, r.target, r.kind) for r in records}) == 1


@quick(80)
@given(pairs())
def test_what_became_of_every_edge_and_unit(versions):
    old, new = versions
    comparison = compare(old, new)
    assert not comparison.left_out
    told = {}
    for name in comparison.union.projection_names:
        projection, columns = comparison.union.projection(name), comparison.union.connection_columns(name)
        if projection.kind == "argument":
            continue
        ids = comparison.union.units(projection.source), comparison.union.units(projection.target)
        if isinstance(columns, Links):
            entries = zip(columns.links.tolist(), columns.weight, strict=True)
        else:
            entries = (((ids[0][c], ids[1][r]), columns.weight[r, c]) for r, c in np.argwhere(columns.mask))
        for joined, code in entries:
            became, strength = fate(float(code))
            assert 0 < strength <= 1 + 1e-6
            told[name, *map(int, joined)] = became
    before, after = edges(old), edges(new)
    expected = {}
    for key in before.keys() | after.keys():
        if key in before and key in after and comparable(old, new, key[0]):
            expected[key] = "unchanged" if before[key] == after[key] else "changed"
        else:
            apart = key[0] if comparable(old, new, key[0]) else f"{key[0]}~1"
            expected |= {key: "added"} if key in after else {}
            expected |= {(apart, *key[1:]): "removed"} if key in before else {}
    assert told == expected
    for name, fates in comparison.unit_fates.items():
        ids = [set(n.units(name).tolist()) if n.has_layer(name) else set() for n in (old, new)]
        assert {unit for unit, became in fates.items() if became == "added"} == ids[1] - ids[0]
        assert {unit for unit, became in fates.items() if became == "removed"} == ids[0] - ids[1]
        assert fates.keys() == ids[0] | ids[1]


@quick(30)
@given(pairs())
def test_pictures_of_any_difference_are_whole_and_repeat(versions):
    old, new = versions
    for make in (neuron_difference, matrix_difference):
        text = svg(make(old, new))
        ElementTree.fromstring(text)
        assert text == svg(make(old, new))
    graph = pygraphviz.AGraph(string=layer_difference(old, new))
    assert set(graph.nodes()) <= set(old.layer_names) | set(new.layer_names)


def test_fates_differ_by_more_than_colour():
    assert len({look.dashes for look in LOOKS.values()} - {()}) == 3
    for first, second in itertools.combinations(LOOKS.values(), 2):
        assert first.colour != second.colour
        assert (first.sign, first.dashes) != (second.sign, second.dashes)
    assert [(LOOKS[f].sign, LOOKS[f].colour) for f in ("added", "removed", "changed")] == [
        ("+", "#0072B2"), ("-", "#D55E00"), ("~", "#CC79A7")]  # fmt: skip


def test_the_neuron_view_draws_each_fate_in_its_line_and_counts_all():
    old = mlp(4, 5, 3)
    new = remove_units(old, "fc1", [2]).apply(old).network
    scene = neuron_difference(old, new)
    drawn = {}
    for mark in scene.marks:
        if isinstance(mark, Curves) and any(curve.title for curve in mark.curves):
            drawn[mark.colour, mark.dashes] = drawn.get((mark.colour, mark.dashes), 0) + len(mark.curves)
    assert drawn == {("#D55E00", LOOKS["removed"].dashes): 4 + 3, ("#9AA1AB", ()): 16 + 12}
    text = svg(scene)
    assert "units -1" in text
    assert "connections -4" in text
    assert "32 → " not in text
    assert "35 → 28 connections (-7)" in text
    signs = re.findall(r'fill="#D55E00" font-weight="bold">-<', text)
    assert len(signs) == 7 + 1  # a sign an edge, and one at the unit


def test_what_changed_beside_units_and_connections_stands_in_every_view():
    old = mlp(4, 3, 2, label="a body")
    edit = freeze(old, "fc1")
    new = edit.apply(old).network
    views = svg(neuron_difference(old, new)), layer_difference(old, new), str(Editor(old).preview(edit))
    for view in views:
        assert "frozen, x to fc1" in view.replace("_", " ")
    assert "dense, frozen" in layer_difference(old, new)
    assert "dense, frozen" in layer_diagram(new)


def test_a_bar_is_full_where_no_connection_is_dormant():
    old = mlp(4, 3, 2)
    text = layer_difference(old, remove_units(old, "fc1", [0]).apply(old).network)
    bars = re.findall(r"<TR>(<TD WIDTH=.*?)</TR>", text)
    assert len(bars) == 2
    for bar in bars:
        assert LOOKS["dormant"].colour not in bar
        assert sum(map(int, re.findall(r'WIDTH="(\d+)"', bar))) == BAR


def test_edges_that_hold_no_connection_are_counted_as_edges():
    """As those to an opaque layer do."""
    old = gated()
    total = select(old, 100, 100).edge_total
    assert f"{total} edges<" in svg(neuron_difference(old, old))
    assert total > old.connection_count


def test_units_keep_their_places_among_versions_and_leave_holes():
    old = mlp(6, 8, 3)
    new = remove_units(old, "fc1", [0, 5]).apply(old).network

    def places(scene):
        return {
            mark.title: (mark.x, mark.y) for mark in scene.marks if getattr(mark, "title", "").startswith(("x ", "fc"))
        }

    alone, framed, first = neuron_scene(new), neuron_scene(new, among=[old]), neuron_scene(old, among=[new])
    assert places(framed).keys() == places(alone).keys() == places(first).keys() - {"fc1 0", "fc1 5"}
    assert all(places(first)[title] == place for title, place in places(framed).items())
    assert "everything is shown: 15 units" in framed.description


@quick(30)
@given(pairs())
def test_the_union_holds_every_edge_of_every_version(versions):
    both = union(versions)
    assert {(layer, unit) for layer in both.layer_names for unit in both.units(layer).tolist()} == {
        node for version in versions for node in version.graph
    }


def test_matrices_mark_each_fate_where_it_is():
    old = mlp(4, 5, 3)
    new = remove_units(old, "fc1", [2]).apply(old).network
    rasters = [mark for mark in matrix_difference(old, new).marks if isinstance(mark, Raster)]
    removed = rasters[1].pixels
    assert (removed[2] == 255).all()
    assert not np.delete(removed, 2, axis=0).any()


def linked(kind, pairs):
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_edges_from(((("x", source), ("a", unit)) for source in (0, 1) for unit in (0, 1)), weight=1.0)
    graph.add_edges_from(((("a", source), ("y", unit)) for source, unit in pairs), weight=1.0)
    return Network.from_graph(graph, projections=[Dense(source="x", target="a"), kind(source="a", target="y")])


def test_a_projection_of_another_make_is_drawn_as_removed_and_added():
    old, new = linked(OneToOne, [(0, 0), (1, 1)]), linked(Dense, [(0, 0), (1, 1)])
    graph = pygraphviz.AGraph(string=layer_difference(old, new))
    looks = {edge.attr["label"].split()[0]: edge.attr["style"] for edge in graph.edges() if edge[0] == "a"}
    assert looks == {"+": "solid", "-": "dashed"}


def test_layers_that_changed_places_are_drawn_in_the_new_order():
    import networkx as nx

    def in_order(*names):
        graph = nx.DiGraph()
        graph.add_edges_from((((a, 0), (b, 0)) for a, b in itertools.pairwise(names)), weight=1.0)
        return Network.from_graph(graph)

    old, new = in_order("x", "a", "b", "y"), in_order("x", "b", "a", "y")
    comparison = compare(old, new)
    assert comparison.union.layer_names == ("x", "b", "a", "y")
    assert comparison.left_out == 1
    assert "1 removed projections led backwards" in svg(neuron_difference(old, new))


def test_the_layer_view_names_what_came_and_went(tmp_path):
    old = mlp(4, 5, 3)
    new = deepen(old, "fc1", "extra").apply(old).network
    text = layer_difference(old, new)
    assert "<B>+ extra</B>" in text
    assert "<B>~ fc2</B>" in text
    assert "<B>fc1</B>" in text
    assert "<B>- extra</B>" in layer_difference(new, old)
    total = difference(old, new).counts.connections
    assert (total.added, total.removed) == (5 + 15, 15)
    for suffix in ("svg", "png", "pdf", "dot"):
        assert draw_difference(old, new, tmp_path / f"d.{suffix}", "layers").stat().st_size > 500


@pytest.mark.parametrize("view", ["layers", "neurons", "matrix", "inputs", "areas"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view_of_a_difference_has_every_format_and_repeats(tmp_path, view, theme):
    old = lenet_5(0.5, (4, 5, 12, 5))
    new = remove_units(old, "conv1", [3]).apply(old).network
    written = {}
    for suffix in ("svg", "png", "pdf"):
        written[suffix] = draw_difference(old, new, tmp_path / f"a.{suffix}", view, theme=theme).read_bytes()
        assert len(written[suffix]) > 500
    for suffix in ("svg", "png", "pdf") if theme == "light" else ("svg",):  # colours are all that a theme changes
        again = draw_difference(old, new, tmp_path / f"b.{suffix}", view, theme=theme).read_bytes()
        assert again == written[suffix]
    text = written["svg"].decode()
    assert ("#D55E00" in text.upper()) == (theme == "light") or view in ("matrix", "inputs", "areas")
    ElementTree.fromstring(text)


def test_views_that_two_networks_do_not_share_are_refused(tmp_path):
    with pytest.raises(RenderError, match="expected a convolution that both"):
        draw_difference(mlp(4, 2), mlp(4, 2), tmp_path / "d.svg", "areas")
    with pytest.raises(RenderError, match="images of one size"):
        draw_difference(mlp(4, 2), mlp(9, 2), tmp_path / "d.svg", "inputs")
    with pytest.raises(RenderError, match=r"\.svg, \.png, \.pdf"):
        draw_difference(mlp(4, 2), mlp(9, 2), tmp_path / "d.dot", "neurons")


def test_equal_networks_show_nothing_changed():
    for network in (residual(), chain(12)):
        text = svg(neuron_difference(network, network))
        assert "the same" in text
        assert "#CC79A7" not in text.split("everything is shown")[0]
