"""What one-to-one projections join is one: it grows, splits, merges and goes together."""

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from nestgraph.edits import (
    Batch,
    SetValues,
    coupled,
    duplicate_unit,
    grow_unit,
    merge_twins,
    remove_units,
    split_unit,
    widen,
)
from nestgraph.errors import EditError
from nestgraph.graph import Grid, Links, Network, Structure, UnitColumns
from nestgraph.seeds import densenet, resnet
from nestgraph.spec import Activation, Dense, Layer, OneToOne
from tests.edits.test_islands import everywhere_the_same, units_apart
from tests.laws import assert_same_outputs, check_laws, quick, unless_refused
from tests.strategies import SEEDS, networks
from tests.strategies.recipes import grown_weights, hidden_layers, some_unit

JOINED = networks(("skip", "residual", "concatenating", "gated", "opaque"))


def strands(network):
    """The coupled sets of hidden units as networkx finds them, over the links alone."""
    graph = nx.Graph()
    for name in hidden_layers(network):
        graph.add_nodes_from((name, unit) for unit in network.units(name).tolist())
    for name in network.projection_names:
        projection, columns = network.projection(name), network.connection_columns(name)
        for (source, target), live in zip(
            columns.links if isinstance(columns, Links) else (), columns.edges, strict=False
        ):
            ends = (projection.source, int(source)), (projection.target, int(target))
            if live and all(end in graph for end in ends):
                graph.add_edge(*ends)
    return list(nx.connected_components(graph))


def silenced(network, strand):
    """The network with weight 0 on all that leaves the units of a strand; the connections stay active."""
    changed = {}
    for layer, units in strand.items():
        for projection in (p for p in network.outgoing(layer) if p.weighted):
            columns = changed.get(projection.name) or network.connection_columns(projection.name)
            weight = columns.weight.copy()
            if not isinstance(columns, Links):
                weight[:, np.isin(network.units(layer), units)] = 0
            else:
                weight[np.isin(columns.links[:, 0], units)] = 0
            changed[projection.name] = columns.with_weight(weight)
    return SetValues(weights={n: each.living(each.weight) for n, each in changed.items()}).apply(network).network


@quick(30)
@given(network=JOINED)
def test_coupled_units_are_the_components_of_the_links(network):
    for strand in strands(network):
        for layer, unit in strand:
            found = coupled(network, layer, [unit])
            assert next(iter(found)) == layer
            assert found[layer][0] == unit
            assert {(name, other) for name, units in found.items() for other in units.tolist()} == strand


@quick(60)
@given(network=networks(), data=st.data())
def test_removing_units_is_silencing_what_is_coupled_to_them(network, data):
    """Also where it is the last of its layer: what it leaves as a constant is absorbed."""
    assume(units_apart(network))  # else what nothing reads still has neighbours
    layer, unit = some_unit(data.draw, network)
    edit = unless_refused(lambda: remove_units(network, layer, [unit]))
    event("removed" if edit else "refused")
    assume(edit)  # else an output hangs on this unit
    constants = any(isinstance(part, SetValues) for part in edit.edits)
    assume(not constants or everywhere_the_same(network))
    silent = silenced(network, coupled(network, layer, [unit]))
    assert_same_outputs(silent, edit.apply(network).network, 1e-4 if constants else 1e-12)
    again = remove_units(silent, layer, [unit])
    assert check_laws(silent, again, None if constants else 1e-12)


@quick(60)
@given(network=networks(), seed=SEEDS)
def test_every_hidden_layer_grows_and_goes_back(network, seed):
    """A unit grown and removed again leaves no trace; nor do a split and the merging of its twins."""
    rng = np.random.default_rng(seed)
    for layer in hidden_layers(network):
        like = int(rng.choice(network.units(layer)))
        edit = unless_refused(
            lambda layer=layer, like=like: grow_unit(
                network, layer, grown_weights(network, layer, like, rng), like=like
            )
        )
        event("grown" if edit else "refused")
        if edit is None:
            continue
        grown = edit.apply(network).network
        born = np.setdiff1d(grown.units(layer), network.units(layer))
        assert {name: len(units) for name, units in coupled(grown, layer, born[:1]).items()} == {
            name: len(units) for name, units in coupled(network, layer, [like]).items()
        }
        assert remove_units(grown, layer, born[:1]).apply(grown).network == network


STANDARD = {
    "resnet": (lambda: resnet((2, 3), (2, 1), 0.8, channels=2, classes=3, size=8), {1, 3, 5}),
    "densenet": (lambda: densenet(2, (2, 2), 0.8, channels=2, classes=3, size=8), {2, 3, 4}),
}
"""Networks as people know them, and how many layers their units may be coupled over."""


@pytest.mark.parametrize("form", STANDARD)
def test_every_layer_of_a_standard_network_survives_pruning_and_growth(form):
    """Compared with the reference: pruning is silencing, and growing what is then pruned leaves no trace."""
    network, rng = STANDARD[form][0](), np.random.default_rng(0)
    extents = set()
    for layer in hidden_layers(network):
        unit = int(network.units(layer)[0])
        strand = coupled(network, layer, [unit])
        extents.add(len(strand))
        smaller = check_laws(network, remove_units(network, layer, [unit])).network
        assert all(unit not in smaller.units(name) for name, units in strand.items() for unit in units)
        assert_same_outputs(silenced(network, strand), smaller, 1e-4)
        assert check_laws(network, split_unit(network, layer, unit), 1e-6)
        grown = grow_unit(network, layer, grown_weights(network, layer, unit, rng), like=unit).apply(network).network
        born = np.setdiff1d(grown.units(layer), network.units(layer))
        assert remove_units(grown, layer, born[:1]).apply(grown).network == network
    assert extents == STANDARD[form][1]


def merged(network, layers):
    """The network after the twins of some layers are merged, in the order of layers, where they can be."""
    for layer in (name for name in network.layer_names if name in layers):
        edit = unless_refused(lambda layer=layer, network=network: merge_twins(network, layer))
        network = network if edit is None else edit.apply(network).network
    return network


@quick(60)
@given(network=networks(), recipe=st.sampled_from((split_unit, duplicate_unit, widen)), data=st.data())
def test_merging_twins_takes_back_what_made_them(network, recipe, data):
    assume(not network.bodies)  # whose units are their own
    network = merged(network, hidden_layers(network))
    layer, unit = some_unit(data.draw, network)
    strand = coupled(network, layer, [unit])
    how = (2, np.random.default_rng(data.draw(SEEDS))) if recipe is widen else (unit,)
    edit = unless_refused(lambda: recipe(network, layer, *how))
    assume(edit)
    wide = edit.apply(network).network
    assert len(wide.units(layer)) > len(network.units(layer))
    assume(not any(wide.layer(name) != network.layer(name) for name in strand))  # a normed stream doubles as a whole
    assert_same_outputs(wide, merged(wide, hidden_layers(wide)), 1e-5)
    back = merged(wide, strand if recipe is not widen else hidden_layers(wide))
    assert [back.units(name).tolist() for name in back.layer_names] == [
        network.units(name).tolist() for name in network.layer_names
    ]
    if recipe is not widen:
        assert back == network
    event(f"{recipe.__name__} of {len(strand)} layers")


def stream(output=False):
    """x (2) -> a (2) -> b (2) = a + f(a), -> y (1); with output, b is the output and there is no y."""
    relu = (Activation(function="relu"),)
    layers = [
        Layer(name="x", kind="input", features=2),
        Layer(name="a", kind="neurons", operations=relu),
        Layer(name="b", kind="neurons", operations=() if output else relu, output=output),
        *([] if output else [Layer(name="y", kind="neurons", output=True)]),
    ]
    projections = [
        Dense(source="x", target="a", name="xa"),
        *([] if output else [Dense(source="a", target="b", name="ab"), Dense(source="b", target="y", name="by")]),
        OneToOne(source="a", target="b", name="skip"),
    ]
    units = {layer.name: UnitColumns.neutral(1 if layer.name == "y" else 2, layer.column_names) for layer in layers}
    shapes = {"xa": (2, 2), "ab": (2, 2), "by": (1, 2)}
    connections = {p.name: Grid.of(np.ones(shapes.get(p.name, 2))) for p in projections if p.name != "skip"}
    connections["skip"] = Links.of(np.ones(2), links=[[0, 0], [1, 1]])
    return Network.of(Structure(layers, projections, units, connections))


REFUSED = {
    "its new partner in 'b', got none: give those of by": lambda: grow_unit(
        stream(), "a", {"xa": [1, 1], "ab": [1, 1]}
    ),
    "expected weights of shape (1,) for 'by', got (2,)": lambda: grow_unit(stream(), "a", {"xa": [1, 1], "by": [1, 1]}),
    "at what grows (ab, by, xa), got skip": lambda: grow_unit(stream(), "b", {"skip": [1, 1]}),
    "expected distinct living unit ids, got 9": lambda: grow_unit(stream(), "b", {}, like=9),
    "restore_inputs brings them back": lambda: grow_unit(stream(), "x", {}),
    "out of the new unit, got none: none can be": lambda: grow_unit(stream(output=True), "a", {"xa": [1, 1]}),
    "which only outputs read, one to one": lambda: split_unit(stream(output=True), "a", 0),
    "output unit ('b', 1) expected a path": lambda: remove_units(stream(output=True), "a", [1]),
    "expected distinct living unit ids, got float64 of shape (1,)": lambda: remove_units(stream(), "a", [0.5]),
    "expected a hidden layer, got one of outputs": lambda: widen(stream(), "y", 1, np.random.default_rng(0)),
    "expected a count from 0 up, got -1": lambda: widen(stream(), "a", -1, np.random.default_rng(0)),
    "expected a hidden layer, got one of inputs": lambda: merge_twins(stream(), "x"),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_cannot_be_edited_says_why(sentence):
    with pytest.raises(EditError) as refusal:
        REFUSED[sentence]()
    assert sentence in str(refusal.value)


def test_a_unit_grows_with_its_partner():
    network = stream()
    edit = grow_unit(network, "a", {"xa": [1, 2], "ab": [3, 0], "by": [4]})
    grown = check_laws(network, edit).network
    assert isinstance(edit, Batch)
    assert grown.connection_columns("skip").links.tolist() == [[0, 0], [1, 1], [2, 2]]
    assert grown.connection_columns("xa").weight[2].tolist() == [1, 2]
    assert grown.connection_columns("ab").weight.tolist() == [[1, 1, 3], [1, 1, 0], [0, 0, 0]]
    assert grown.connection_columns("by").weight.tolist() == [[1, 1, 4]]
    assert grown.connection_columns("ab").mask.tolist() == [[True, True, True], [True, True, False], [False] * 3]
