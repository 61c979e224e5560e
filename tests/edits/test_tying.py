"""Tables that serve at both ends of a network stay one, whatever is edited; the law that says so can be broken."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nestgraph.edits import (
    AddProjection,
    Batch,
    Block,
    Editor,
    RemoveProjection,
    SetMask,
    SetValues,
    coupled,
    freeze,
    merge,
    narrow,
    prune_connections,
    remove_projection,
    remove_units,
    tie,
    untie,
    wake_connections,
    way_over,
    widen,
)
from nestgraph.errors import EditError
from nestgraph.graph import Grid, Network, Structure, UnitColumns, violations
from nestgraph.graph.tying import sides
from nestgraph.spec import Activation, Dense, Layer, Lookup
from tests.edits.test_mapping import drawn, grown, over, same
from tests.laws import assert_same_outputs, check_laws, fresh_digest, quick, unless_refused
from tests.strategies import EDIT_CASES, SEEDS, edits_for, networks

TIED = ("tied",)


def ends_of(network):
    """The names of a network's lookup and of what follows it."""
    (follower,) = (p.name for p in network.projections_by_name.values() if p.follows)
    return network.projection(follower).follows, follower


def tables(network):
    """By (unit, class), whether there is a connection and its weight, as either end has them; told pair by pair."""
    leader, follower = ends_of(network)
    looked_up, of = network.connection_columns(leader), network.connection_columns(follower)
    units, (targets, sources) = network.units(network.projection(leader).target), network.ends(follower)
    near = {
        (unit, kind): (bool(looked_up.mask[row, 0, kind]), float(looked_up.weight[row, 0, kind]))
        for row, unit in enumerate(units.tolist())
        for kind in range(looked_up.mask.shape[2])
    }
    far = {
        (unit, kind): (bool(of.mask[row, column].item()), float(of.weight[row, column].item()))
        for row, kind in enumerate(targets.ids.tolist())
        for column, unit in enumerate(sources.ids.tolist())
    }
    return near, far


def assert_tied(network):
    near, far = tables(network)
    assert {place for place, (live, _) in near.items() if live} <= far.keys()
    assert all(near[place] == told for place, told in far.items())


def small(hidden=True):
    """x -> a -> (b ->) y over five classes, of which class 4 is no output; `y` has the table of `a`."""
    rng, last = np.random.default_rng(0), "b" if hidden else "a"
    tanh = (Activation(function="tanh"),)
    layers = [Layer(name="x", kind="input", features=1, classes=5), Layer(name="a", kind="neurons", bias=False)]
    layers += [Layer(name="b", kind="neurons", operations=tanh)] if hidden else []
    layers += [Layer(name="y", kind="neurons", output=True)]
    counts = {"x": 1, "a": 3, "b": 3, "y": 4}
    units = {layer.name: UnitColumns.new(layer, counts[layer.name]) for layer in layers}
    table = rng.standard_normal((3, 1, 5)).astype(np.float32)
    mask = np.ones(table.shape, bool)
    mask[:, :, 4] = mask[0, 0, 1] = False
    lookup = Grid.of(np.where(mask, table, 0), mask)
    records = [Lookup(source="x", target="a"), Dense(source=last, target="y", like="x_to_a")]
    turned = (array[:, 0, :4].T for array in (lookup.weight, lookup.mask))
    connections = {records[0].name: lookup, records[1].name: Grid.of(*turned)}
    if hidden:
        records.append(Dense(source="a", target="b"))
        connections["a_to_b"] = Grid.of(rng.standard_normal((3, 3)))
    return Network.of(Structure(layers, records, units, connections))


@pytest.mark.parametrize("kind", EDIT_CASES, ids=lambda kind: kind.__name__)
@quick(25)
@given(network=networks(TIED), data=st.data())
def test_both_ends_stay_one_table_whatever_is_edited(kind, network, data):
    applied = check_laws(network, data.draw(edits_for(network, (kind,))))
    if applied is not None and applied.network.tied:
        assert_tied(applied.network)


@quick(100)
@given(network=networks(TIED), data=st.data())
def test_the_order_of_edits_does_not_matter_at_a_tied_table(network, data):
    (one, _), (other, _) = drawn(data, network), drawn(data, network)
    assume(one is not None and other is not None)
    ends = over(way_over(network, [one]), other), over(way_over(network, [other]), one)
    if None not in ends:
        assert same(ends[0].network, ends[1].network, twins=bool(grown(one) & grown(other)))


@quick(30)
@given(network=networks(TIED), data=st.data())
def test_a_mask_set_at_either_end_is_set_at_both(network, data):
    leader, follower = ends_of(network)
    edit = SetMask(
        projection=data.draw(st.sampled_from((leader, follower))), entries=[0], active=[True], weights=[0.625]
    )
    applied = unless_refused(lambda: edit.apply(network))
    assume(applied is not None)  # the first class may be none of the outputs
    near, far = tables(applied.network)
    assert (True, 0.625) in near.values()
    assert (True, 0.625) in far.values()
    assert fresh_digest(applied.inverse.apply(applied.network).network) == fresh_digest(network)


@quick(40)
@given(network=networks(TIED), data=st.data(), seed=SEEDS)
def test_the_law_names_what_is_not_one_table(network, data, seed):
    """Whatever is changed at the one end alone is found, and the sentence says how to go on."""
    rng = np.random.default_rng(seed)
    name = data.draw(st.sampled_from(ends_of(network)))
    record, columns = network.projection(name), network.connection_columns(name)
    entry = int(rng.choice(np.flatnonzero(columns.mask)))
    weight, mask = columns.weight.copy(), columns.mask.copy()
    match data.draw(st.sampled_from(("weight", "mask", "frozen", "twice"))):
        case "weight":
            weight.reshape(-1)[entry] += 1
            broken = network.replace(connections={name: columns.with_weight(weight)})
        case "mask":
            weight.reshape(-1)[entry], mask.reshape(-1)[entry] = 0, False
            broken = network.replace(connections={name: columns.with_weight(weight, mask)})
        case "frozen":
            broken = network.replace(projections={name: record.model_copy(update={"frozen": not record.held})})
        case _:
            follower = network.projection(ends_of(network)[1])
            again = follower.model_copy(update={"name": "again"})
            shared = network.connection_columns(follower.name)
            broken = network.replace(projections={"again": again}, connections={"again": shared})
    found = violations(broken)
    assert {violation.law for violation in found} == {"tied"}
    assert all("untie" in violation.problem for violation in found)


def test_what_cannot_follow_a_lookup_is_refused():
    network = untie(small(), "b_to_y").apply(small()).network
    with pytest.raises(EditError, match=r"expected a lookup, got|expected to have the table of a lookup"):
        tie(network, "b_to_y", "a_to_b")
    with pytest.raises(EditError, match="expected a dense projection or a convolution, got lookup"):
        tie(network, "x_to_a", "x_to_a")
    apart = SetMask(projection="b_to_y", entries=[0], active=[True], weights=[0.5]).apply(network).network
    with pytest.raises(EditError, match="turned, got others"):
        tie(apart, "b_to_y", "x_to_a")
    woken = SetMask(projection="x_to_a", entries=[4], active=[True], weights=[0.5]).apply(network).network
    with pytest.raises(EditError, match="no connections of class 4 in 'x_to_a', as 'y' lacks it"):
        tie(woken, "b_to_y", "x_to_a")
    frozen = freeze(network, "a").apply(network).network
    with pytest.raises(EditError, match="one parameter at both ends"):
        tie(frozen, "b_to_y", "x_to_a")
    with pytest.raises(EditError, match="already"):
        tie(small(), "b_to_y", "x_to_a")


def test_values_are_given_once_for_both_ends():
    network = small()
    leader, follower = ends_of(network)
    live = np.arange(1, 12, dtype=np.float32)
    changed = SetValues(weights={leader: live}).apply(network)
    assert_tied(changed.network)
    assert (
        changed.network.connection_columns(leader).living(changed.network.connection_columns(leader).weight).tolist()
        == live.tolist()
    )
    at_both = {name: changed.network.connection_columns(name) for name in (leader, follower)}
    both = SetValues(weights={name: columns.living(columns.weight) for name, columns in at_both.items()})
    assert both.apply(network).network == changed.network
    with pytest.raises(EditError, match="expected one table for"):
        SetValues(weights={leader: live, follower: live}).apply(network)


def test_a_lookup_that_is_followed_stays():
    network = small()
    for attempt in (
        lambda: RemoveProjection(projection="x_to_a").apply(network),
        lambda: remove_projection(network, "x_to_a"),
    ):
        with pytest.raises(EditError, match="untie"):
            attempt()


def test_what_is_added_at_one_end_has_to_be_the_same_at_the_other():
    network = small()
    record, columns = network.projection("b_to_y"), network.connection_columns("b_to_y")
    remade = [RemoveProjection(projection="b_to_y")]
    remade += [AddProjection(projection=record, connections=Block.of(columns.with_weight(columns.weight * 2)))]
    with pytest.raises(EditError, match="turned, got others"):
        Batch(edits=remade).apply(network)
    wake = SetMask(projection="b_to_y", entries=[0], active=[True], weights=[0.5])
    with pytest.raises(EditError, match="to agree before, got other connections"):
        Batch(edits=(*remade, wake)).apply(network)


def test_units_of_one_id_at_both_ends_go_together():
    network = small()
    assert {name: ids.tolist() for name, ids in coupled(network, "b", [1]).items()} == {"b": [1], "a": [1]}
    after = remove_units(network, "a", [2]).apply(network).network
    assert after.units("a").tolist() == after.units("b").tolist() == [0, 1]
    assert_tied(after)
    half = narrow(network, 0.4).apply(network).network
    assert half.units("a").tolist() == half.units("b").tolist()
    assert len(half.units("a")) == 2


def test_an_output_that_goes_takes_its_class_out_of_the_table():
    network = small()
    after = remove_units(network, "y", [2]).apply(network)
    assert not after.network.connection_columns("x_to_a").mask[:, 0, 2].any()
    assert after.inverse.apply(after.network).network == network


def test_a_unit_that_nothing_feeds_any_more_takes_its_twin_along():
    network = small()
    row = {"a_to_b": np.arange(3) + 3}  # all that leads into unit 1 of b
    after = prune_connections(network, row).apply(network).network
    assert after.units("b").tolist() == after.units("a").tolist() == [0, 2]
    assert_tied(after)


def test_a_class_that_no_output_is_is_not_woken():
    with pytest.raises(EditError, match="expected entries that both ends of its tied table have"):
        wake_connections(small(), "x_to_a", [4])
    woken = wake_connections(small(), "x_to_a", [1]).apply(small()).network  # what the output end lacks, too
    assert_tied(woken)
    assert woken.connection_count == small().connection_count + 2


def test_copies_of_units_ask_for_an_own_table_first():
    network, rng = small(), np.random.default_rng(0)
    with pytest.raises(EditError, match=r"'x_to_a', which has one table with 'b_to_y': untie it first"):
        widen(network, "a", 1, rng)
    loose = untie(network, "x_to_a").apply(network).network  # by either end
    assert_same_outputs(network, loose, 1e-12)
    wider = widen(loose, "a", 1, rng).apply(loose).network
    assert_same_outputs(loose, wider, 1e-5)


def test_freezing_one_end_freezes_both():
    network = small()
    frozen = freeze(network, "a").apply(network).network
    assert frozen.projection("b_to_y").held
    assert frozen.projection("x_to_a").held


def test_what_was_set_at_an_end_that_is_gone_is_set_at_the_lookup():
    network = small(hidden=False)
    more = Dense(source="a", target="y", name="more")
    block = Block.of(Grid.of(np.ones((4, 3), np.float32)))
    network = AddProjection(projection=more, connections=block).apply(network).network
    edit = SetMask(projection="a_to_y", entries=[1], active=[True], weights=[0.5])
    gone = RemoveProjection(projection="a_to_y").apply(network).network
    moved = edit.map(way_over(network, [RemoveProjection(projection="a_to_y")]))
    assert moved.apply(gone).network == RemoveProjection(projection="a_to_y").apply(edit.apply(network).network).network
    trained = SetValues(weights={"a_to_y": np.arange(11, dtype=np.float32)})
    theirs = RemoveProjection(projection="a_to_y").apply(trained.apply(network).network).network
    assert merge(network, gone, trained.apply(network).network).apply(gone).network == theirs


def test_a_choice_of_both_ends_is_given_one_weight_each():
    editor = Editor(small())
    editor.select_connections({"x_to_a": [0], "b_to_y": [0]}).set(0.5)
    assert_tied(editor.network)
    with pytest.raises(EditError, match="expected one weight for each connection of 'x_to_a' and 'b_to_y'"):
        editor.select_connections({"x_to_a": [0], "b_to_y": [0]}).set([0.5, 0.25])
    assert editor.select_connections("x_to_a", dormant=True).count == 1  # the class that no output is stays asleep


@quick(30)
@given(network=networks(TIED))
def test_the_two_ends_of_a_tie_are_told_as_one_strand(network):
    for looked_up, read in sides(network):
        assert sorted(network.units(looked_up)) == sorted(network.units(read))
        for unit in network.units(looked_up).tolist():
            strand = coupled(network, looked_up, [unit])
            assert unit in strand[read]
