"""Selections: what is chosen agrees with networkx and brute force, and intents with the recipe functions."""

import json

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nestgraph.edits import Editor, coupled, remove_units
from nestgraph.errors import EditError
from nestgraph.graph.columns import Grid, Links, UnitColumns
from nestgraph.graph.network import Network
from nestgraph.graph.structure import Structure
from nestgraph.spec import Activation, Dense, Layer, OneToOne
from tests.laws import assert_same_outputs, check_laws, quick, unless_refused
from tests.policies.evidence import asleep
from tests.strategies import SEEDS, networks


def residual(width=3):
    """x -> a; b = a + f(a); -> y."""
    layers = (
        Layer(name="x", kind="input", features=2),
        Layer(name="a", kind="neurons", operations=(Activation(function="relu"),)),
        Layer(name="b", kind="neurons", operations=(Activation(function="relu"),)),
        Layer(name="y", kind="neurons", output=True),
    )
    projections = (
        Dense(source="x", target="a"),
        Dense(source="a", target="b"),
        OneToOne(source="a", target="b", name="skip"),
        Dense(source="b", target="y"),
    )
    shapes = {"x_to_a": (width, 2), "a_to_b": (width, width), "b_to_y": (2, width)}
    rng = np.random.default_rng(0)
    connections = {name: Grid.of(rng.standard_normal(shape)) for name, shape in shapes.items()}
    connections["skip"] = Links.of(np.ones(width), links=np.stack([np.arange(width)] * 2, 1))
    widths = zip(layers, (2, width, width, 2), strict=True)
    units = {layer.name: UnitColumns.neutral(count, layer.column_names) for layer, count in widths}
    return Network.of(Structure(layers, projections, units, connections))


def active(network):
    """Every active connection with its absolute weight, by brute force: {(projection, position): size}."""
    return {
        (name, int(place)): abs(float(network.connection_columns(name).weight.flat[place]))
        for name in network.projection_names
        for place in np.flatnonzero(network.connection_columns(name).mask)
    }


def connected(graph):
    """The graph without the edges that carry no connection: those into opaque layers."""
    return nx.edge_subgraph(graph, [edge for edge in graph.edges if graph.edges[edge]["connections"]])


def chosen(selection):
    return {(name, int(member)) for name, members in selection.members.items() for member in members}


# -- what is chosen ----------------------------------------------------------------------------------------


@quick(20)
@given(network=networks(), seed=SEEDS)
def test_units_by_every_kind_of_choice(network, seed):
    editor, graph, rng = Editor(network), network.graph, np.random.default_rng(seed)
    assert set(editor.select()) == set(editor.select(graph)) == set(editor.select(graph.nodes)) == set(graph)
    start = next(iter(graph))
    assert set(editor.select(nx.descendants(graph, start))) == nx.descendants(graph, start)
    even = editor.select(lambda node, attributes: node[1] % 2 == 0 and attributes["kind"] != "input")
    assert set(even) == {node for node in graph if node[1] % 2 == 0 and graph.nodes[node]["kind"] != "input"}
    for layer in network.layer_names:
        ids, lit = network.units(layer), rng.random(len(network.units(layer))) < 0.5
        assert list(editor.select(layer)) == [(layer, unit) for unit in ids.tolist()]
        wanted = {(layer, unit) for unit in ids[lit].tolist()}
        for form in (ids[lit], ids[lit].tolist(), lit):
            assert set(editor.select({layer: form})) == wanted
        assert set(editor.select(layer).where(lambda _, lit=lit: lit)) == wanted
        values = network.unit_columns(layer).values
        if "bias" in values:
            negative = editor.select(layer).where(lambda columns: columns["bias"] < 0)
            assert {unit for _, unit in negative} == set(ids[values["bias"] < 0].tolist())


@quick(20)
@given(network=networks(), seed=SEEDS)
def test_connections_by_every_kind_of_choice(network, seed):
    editor, graph, rng = Editor(network), network.graph, np.random.default_rng(seed)
    everything = editor.select_connections()
    assert everything.count == network.connection_count
    carrying = connected(graph)
    assert set(everything) == set(carrying.edges)
    for edge in list(graph.edges - carrying.edges)[:1]:
        with pytest.raises(EditError, match="edges with a connection"):
            editor.select_connections([edge])
    edges = [edge for edge in carrying.edges if rng.random() < 0.4]
    assert set(editor.select_connections(edges)) == set(edges)
    assert chosen(editor.select_connections(carrying.edges(data=True))) == chosen(everything)
    assert editor.select_connections(edges).count == sum(graph.edges[edge]["connections"] for edge in edges)
    some = [node for node in graph if rng.random() < 0.5]
    assert set(editor.select_connections(source=some)) == set(carrying.out_edges(some))
    assert set(editor.select_connections(target=editor.select(some))) == set(carrying.in_edges(some))
    between = editor.select_connections(source=some, target=some)
    assert set(between) == set(carrying.subgraph(some).edges)
    for name in network.projection_names:
        columns = network.connection_columns(name)
        lit = rng.random(columns.mask.shape) < 0.5
        for form in (lit, np.flatnonzero(lit)):
            assert chosen(editor.select_connections({name: form})) == {
                (name, place) for place in np.flatnonzero(lit & columns.mask).tolist()
            }
        dormant = editor.select_connections(name, dormant=True)
        assert dormant.count == np.count_nonzero(asleep(network, name))
        heavy = editor.select_connections(name).where(lambda weight, mask: (np.abs(weight) > 0.5) & mask)
        assert heavy.count == int((np.abs(columns.weight) > 0.5).sum())


@quick(20)
@given(network=networks(), fraction=st.floats(0, 1), ties=st.booleans())
def test_the_smallest_are_exactly_as_many_and_no_larger_than_the_rest(network, fraction, ties):
    if ties:
        every = Editor(network).select_connections()
        network = every.edit("set", weights=0.5).apply(network).network
    sizes = active(network)
    picked = chosen(Editor(network).select_connections().smallest(fraction))
    assert len(picked) == round(fraction * len(sizes))
    rest = [size for place, size in sizes.items() if place not in picked]
    assert max((sizes[place] for place in picked), default=0) <= min(rest, default=np.inf)
    assert picked <= sizes.keys()


@quick(20)
@given(network=networks(), seed=SEEDS)
def test_selections_are_sets(network, seed):
    editor, rng = Editor(network), np.random.default_rng(seed)
    nodes = list(network.graph)
    edges = [edge for edge in network.graph.edges if network.layer(edge[1][0]).opaque is None]  # arguments hold none
    for select, pool in ((editor.select, nodes), (editor.select_connections, edges)):
        one, other = ({item for item in pool if rng.random() < 0.5} for _ in range(2))
        a, b = select(list(one)), select(list(other))
        assert set(a | b) == one | other
        assert set(a & b) == one & other
        assert set(a - b) == one - other
        assert bool(a) == bool(one)
        assert sum(a.counts.values()) == a.count
        assert not a - a
    with pytest.raises(TypeError):
        editor.select() | editor.select_connections()


@pytest.mark.parametrize(
    ("choose", "error", "message"),
    [
        (lambda e: e.select([("a", 9)]), EditError, r"living units as \(layer, id\)"),
        (lambda e: e.select(["a"]), EditError, "living units"),
        (lambda e: e.select([("q", 0)]), EditError, "living units"),
        (lambda e: e.select([("a", [])]), EditError, "living units"),
        (lambda e: e.select("q"), EditError, "name of a layer"),
        (lambda e: e.select({"a": [9]}), EditError, r"network.units\('a'\)"),
        (lambda e: e.select({"a": [0.5]}), EditError, "3 booleans"),
        (lambda e: e.select({"a": [True]}), EditError, "3 booleans"),
        (lambda e: e.select(3), EditError, "or a function"),
        (lambda e: e.select("a").where(lambda c: c["gamma"] > 0), EditError, r"columns of layer 'a' \(ids, bias\)"),
        (lambda e: e.select("a").where(lambda _: True), EditError, r"booleans of shape \(3,\)"),
        (lambda e: e.select_connections("q"), EditError, "name of a projection"),
        (lambda e: e.select_connections([(("x", 0), ("y", 0))]), EditError, "connection that is active"),
        (lambda e: e.select_connections([(("x", 0), ("a", 0))], dormant=True), EditError, "that is dormant"),
        (lambda e: e.select_connections([3]), EditError, "edges as"),
        (lambda e: e.select_connections(3), EditError, "or a mapping"),
        (lambda e: e.select_connections({"skip": [3]}), EditError, "positions from 0 to 2"),
        (lambda e: e.select_connections(source="q"), EditError, "name of a layer"),
        (lambda e: e.select_connections().smallest(2), EditError, "fraction from 0 to 1"),
        (lambda e: e.select_connections().where(lambda w, _: w > 0 if w.ndim < 2 else w), EditError, "booleans of"),
        (lambda e: e.select("a").edit("wake"), EditError, "intents prune, "),
        (lambda e: e.select("a").set(gamma=1.0), EditError, r"columns of layer 'a' \(bias\)"),
        (lambda e: e.select("a").set(bias=[1.0, 2.0]), EditError, "one for each of 3"),
        (lambda e: e.select("a").set(bias="1"), EditError, "a number"),
        (lambda e: e.select_connections().wake(), EditError, "expected dormant entries"),
        (lambda e: e.select("y").prune(), EditError, "keep at least one"),
    ],
)
def test_choices_and_intents_that_do_not_fit(choose, error, message):
    editor = Editor(residual())
    with pytest.raises(error, match=message):
        choose(editor)
    assert editor.history == ()


# -- intents -----------------------------------------------------------------------------------------------


@quick(25)
@given(network=networks(), seed=SEEDS)
def test_pruned_units_are_gone_in_one_edit_that_keeps_the_laws(network, seed):
    editor, rng = Editor(network), np.random.default_rng(seed)
    nodes = [node for node in network.graph if rng.random() < 0.3]
    selection = editor.select(nodes)
    edit = unless_refused(lambda: selection.edit("prune"))
    preview = selection.preview("prune")
    assert preview.legal == (edit is not None)
    assume(edit)
    applied = check_laws(network, edit)
    selection.prune()
    assert editor.network == applied.network
    assert len(editor.history) == 1
    gone = set(network.graph) - set(editor.network.graph)
    assert set(nodes) <= gone
    units = {(layer, unit) for layer, ids in preview.gone.items() for unit in ids}
    assert units == gone
    beyond = {(layer, unit) for layer, ids in preview.coupled.items() for unit in ids}
    assert beyond == (gone - set(nodes) if nodes else set())
    layers = {layer for layer, _ in nodes}
    if len(layers) == 1:
        (layer,) = layers
        one = remove_units(network, layer, [unit for _, unit in nodes]).apply(network).network
        assert one == editor.network
    assert editor.undo() == network


@quick(30)
@given(network=networks(), seed=SEEDS, intent=st.sampled_from(("split", "duplicate")))
def test_units_of_all_layers_are_copied_at_once_and_coupled_ones_once(network, seed, intent):
    editor, rng = Editor(network), np.random.default_rng(seed)
    layers = [n for n in network.layer_names if network.layer(n).kind != "input" and not network.layer(n).output]
    nodes = [(layer, int(rng.choice(network.units(layer)))) for layer in layers]
    selection = editor.select(nodes)
    assume(unless_refused(lambda: selection.edit(intent)))
    applied = getattr(selection, intent)()
    strands = [coupled(network, layer, [unit]) for layer, unit in nodes]
    copied = {(layer, unit) for strand in strands for layer, ids in strand.items() for unit in ids.tolist()}
    assert applied.network.unit_count == network.unit_count + len(copied)
    assert len(editor.history) == 1
    assert_same_outputs(network, applied.network, 1e-5)


@quick(20)
@given(network=networks(), seed=SEEDS)
def test_values_go_to_the_members_in_their_order(network, seed):
    assume(not network.tied)  # what is set at one end is set at the other, too
    editor, rng = Editor(network), np.random.default_rng(seed)
    units = editor.select(
        [node for node in network.graph if rng.random() < 0.5 and "bias" in network.graph.nodes[node]]
    )
    connections = editor.select_connections([edge for edge in connected(network.graph).edges if rng.random() < 0.5])
    biases, weights = (rng.standard_normal(s.count).astype(np.float32) for s in (units, connections))
    units.set(bias=biases)
    connections.set(weights)
    assert len(editor.history) == 2
    graph = editor.network.graph
    assert [graph.nodes[node]["bias"] for node in units] == biases.tolist()
    found = [editor.network.connection_columns(name).weight.flat[m] for name, m in connections.members.items()]
    assert np.concatenate([*found, np.zeros(0)]).tolist() == weights.tolist()
    left = editor.select_connections() - connections
    for name, entries in left.members.items():
        before, after = network.connection_columns(name).weight, editor.network.connection_columns(name).weight
        assert np.array_equal(before.flat[entries], after.flat[entries])


@quick(20)
@given(network=networks(), seed=SEEDS)
def test_connections_fall_asleep_and_wake(network, seed):
    editor, rng = Editor(network), np.random.default_rng(seed)
    dormant = editor.select_connections(dormant=True)
    weights = 0.5 if network.tied else rng.standard_normal(dormant.count).astype(np.float32)
    full = dormant.wake(weights).network
    assert full.connection_count == network.connection_count + dormant.count
    editor.select_connections(dormant.members).prune()
    assert editor.network == network
    dormant.wake()  # made before the network went there and back
    assert editor.network.connection_count == full.connection_count


def test_a_selection_follows_values_but_not_other_units():
    editor = Editor(residual())
    units, connections = editor.select("a"), editor.select_connections("a_to_b")
    editor.select("b").set(bias=0.5)
    assert connections.edit("prune").edits
    editor.apply(remove_units(editor.network, "a", [0]))
    for selection in (units, connections):
        with pytest.raises(EditError, match="select again"):
            selection.prune()
    with pytest.raises(EditError, match="select again"):
        units | editor.select("a")
    assert not units.preview("prune").legal


def test_a_preview_names_what_is_coupled():
    editor = Editor(residual())
    preview = editor.select([("a", 1)]).preview("prune", np.ones((2, 2)))
    assert preview.legal
    assert preview.gone["a"] == (1,)
    assert "a" not in preview.coupled
    assert preview.by_layer["a"].units == -1
    assert sum(preview.by_layer.values(), type(preview.change)()) == preview.change
    assert preview.preserving is False
    assert json.loads(json.dumps(preview.facts))["gone"]["a"] == [1]
    text = str(preview)
    assert text.startswith("prune 1 units\nunits gone: a 1")
    assert "not the same" in text
    assert str(editor.select("y").preview("prune")).startswith("cannot be: output")
    split = editor.select([("b", 0)]).edit("set", bias=0.0)
    assert editor.preview(split, np.ones((2, 2))).preserving
