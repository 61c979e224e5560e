"""Units without a path go, and what they gave as a constant stays in the biases after them."""

import numpy as np
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from nestgraph.edits import RemoveProjection, SetMask, drop_islands, prune_connections, remove_units
from nestgraph.errors import EditError
from nestgraph.graph import Grid, Network, Structure, UnitColumns, violations
from nestgraph.graph.columns import Links
from nestgraph.graph.reference import forward
from nestgraph.graph.tying import sides
from nestgraph.spec import Activation, BatchNorm, Conv, Dense, Layer, Pad, Pooling, Series
from tests.laws import check_laws, outputs_of, quick, unless_refused
from tests.strategies import inputs_for, networks


def units_apart(structure):
    """Whether no operation lets a unit see those beside it."""
    operations = [op for name in structure.layer_names for op in structure.layer(name).operations]
    return not any(op.facts.reach == "layer" for op in operations)


def everywhere_the_same(structure):
    """Whether a constant map stays one and concerns none beside it: no padding, area or normalisation across maps.

    Nor are there learned places beside it.
    """
    operations = [op for name in structure.layer_names for op in structure.layer(name).operations]
    windows = [op for op in operations if isinstance(op, Pooling)]
    windows += [p for p in structure.projections_by_name.values() if getattr(p, "kernel", None)]
    whole = all(structure.connection_columns(name).area is None for name in structure.projection_names)
    beside = any(isinstance(op, Pad | Series) for op in operations)
    return whole and units_apart(structure) and not beside and not any(any(window.padding) for window in windows)


def starved(network, layer, unit):
    """The structure in which nothing feeds a unit: it gives a constant, and is not yet removed."""
    place, edits = network.unit_columns(layer).position[unit], {}
    for projection in network.summed(layer):
        columns = network.connection_columns(projection.name)
        rows = columns.links[:, 1] == unit if isinstance(columns, Links) else np.arange(len(columns.mask)) == place
        entries = np.flatnonzero(columns.mask & rows.reshape(-1, *([1] * (columns.mask.ndim - 1))))
        edits[projection.name] = entries
    structure = network
    for name, entries in edits.items():
        dormant = np.zeros(len(entries), bool)
        edit = SetMask(projection=name, entries=entries, active=dormant, weights=dormant.astype(np.float32))
        structure = edit.change(structure)[0]
    return structure, edits


@quick(30)
@given(network=networks(), data=st.data())
def test_a_constant_is_absorbed_exactly(network, data):
    assume(everywhere_the_same(network))
    hidden = [n for n in network.layer_names if network.layer(n).kind != "input" and not network.layer(n).output]
    hidden = [name for name in hidden if not any(name in layers for layers in sides(network))]  # no twin goes along
    assume(hidden)
    layer = data.draw(st.sampled_from(hidden))
    unit = data.draw(st.sampled_from(network.units(layer).tolist()))
    structure, entries = starved(network, layer, unit)
    edit = unless_refused(lambda: prune_connections(network, entries))
    event("pruned" if edit else "refused")
    assume(edit)
    applied = check_laws(network, edit)
    inputs = inputs_for(network, 3, np.random.default_rng(0))
    kept = {name: inputs[name] for name in applied.network.input_names}
    before, after = outputs_of(structure, inputs), outputs_of(applied.network, kept)
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, rtol=1e-4, atol=1e-4)


def chain(padding, operations=(), bias=True, width=9):
    """x (2 maps) -> a (2 maps of relu(1)) -> b (1 map, 3 x 3) -> y, all weights 1; x is (width + 2) square."""
    size = (width + 2, width + 2)
    inner = width + 2 * padding
    layers = [
        Layer(name="x", kind="input", features=2, size=size),
        Layer(name="a", kind="feature_maps", size=size, operations=(Activation(function="relu"),)),
        Layer(name="b", kind="feature_maps", size=(inner, inner), operations=operations, bias=bias),
        Layer(name="y", kind="neurons", output=True),
    ]
    projections = [
        Conv(source="x", target="a", kernel=(1, 1), name="xa"),
        Conv(source="a", target="b", kernel=(3, 3), padding=(padding, padding), name="ab"),
        Dense(source="b", target="y", name="by"),
    ]
    units = {layer.name: UnitColumns.neutral(1, layer.column_names) for layer in layers}
    units["x"] = UnitColumns.neutral(2, ())
    units["a"] = UnitColumns.of([0, 1], {"bias": [1.0, 1.0]})
    connections = {
        "xa": Grid.of(np.eye(2)[:, :, None, None], np.eye(2, dtype=bool)[:, :, None, None]),
        "ab": Grid.of(np.ones((1, 2, 3, 3))),
        "by": Grid.of(np.ones((1, 1, inner, inner))),
    }
    return Network.of(Structure(layers, projections, units, connections))


def test_a_constant_map_moves_into_the_bias():
    network = chain(padding=0)
    after = prune_connections(network, {"xa": [3]}).apply(network).network
    assert after.units("a").tolist() == after.units("x").tolist() == [0]
    assert after.unit_columns("b").values["bias"].tolist() == [9.0]  # nine weights of 1 on relu(1)


def test_a_constant_map_moves_into_the_mean_of_a_normalised_layer_without_bias():
    network = chain(padding=0, operations=(BatchNorm(),), bias=False)
    structure, entries = starved(network, "a", 1)
    after = prune_connections(network, entries).apply(network).network
    assert after.unit_columns("b").values["mean"].tolist() == [-9.0]
    inputs = inputs_for(network, 2, np.random.default_rng(0))
    np.testing.assert_allclose(forward(after, inputs)["y"], forward(structure, inputs)["y"], rtol=1e-6)


def test_a_constant_map_moves_into_the_bias_with_the_places_learned_beside_it():
    layers = [
        Layer(name="x", kind="input", features=2, size=(3, 2)),
        Layer(name="a", kind="feature_maps", size=(3, 2), operations=(Series(before=1, after=2),)),
        Layer(name="y", kind="neurons", output=True),
    ]
    units = {"x": UnitColumns.neutral(2, ()), "y": UnitColumns.neutral(1, ("bias",))}
    units["a"] = UnitColumns.of([0, 1], {"bias": [1.0, 2.0], "ends": [[1, 1, 1], [3, 4, 5]]})
    records = [Conv(source="x", target="a", kernel=(1, 1), name="xa"), Dense(source="a", target="y", name="ay")]
    eye = np.eye(2)[:, :, None, None]
    network = Network.of(
        Structure(layers, records, units, {"xa": Grid.of(eye, eye > 0), "ay": Grid.of(np.ones((1, 2, 9)))})
    )
    after = prune_connections(network, {"xa": [3]}).apply(network).network
    assert after.unit_columns("y").values["bias"].tolist() == [3 + 6 * 2 + 4 + 5]


def test_a_layer_that_cannot_absorb_a_constant_says_so():
    network = chain(padding=0, bias=False)
    with pytest.raises(
        EditError, match="'b' expected a bias to absorb a constant, got none: give it one by SetOperations"
    ):
        prune_connections(network, {"xa": [3]})


def test_at_the_border_of_a_padded_convolution_the_inside_is_exact():
    network = chain(padding=1)
    structure, entries = starved(network, "a", 1)
    after = prune_connections(network, entries).apply(network).network
    inputs = inputs_for(network, 2, np.random.default_rng(0))
    error = forward(after, inputs)["b"] - forward(structure, inputs)["b"]
    np.testing.assert_allclose(error[:, :, 1:-1, 1:-1], 0, atol=1e-6)
    assert np.abs(error).max() == pytest.approx(5)  # a corner sees four of the nine weights


def test_islands_take_each_other_along():
    network = chain(padding=0)
    assert drop_islands(network).edits == ()
    with pytest.raises(EditError, match=r"output unit \('y', 0\) expected a path"):
        remove_units(network, "b", [0])
    with pytest.raises(EditError, match="output layer 'y' expected a unit"):
        remove_units(network, "y", [0])
    cut = RemoveProjection(projection="by").change(network)[0]
    with pytest.raises(EditError, match="expected a path from an input"):
        drop_islands(cut)


@quick(30)
@given(network=networks(), data=st.data())
def test_what_is_left_after_any_pruning_has_no_islands(network, data):
    connected = [name for name in network.projection_names if network.connection_columns(name).active]
    name = data.draw(st.sampled_from(connected))
    active = np.flatnonzero(network.connection_columns(name).mask)
    chosen = data.draw(st.lists(st.sampled_from(active.tolist()), unique=True))
    edit = unless_refused(lambda: prune_connections(network, {name: chosen}))
    if edit:
        assert violations(edit.change(network)[0]) == ()
