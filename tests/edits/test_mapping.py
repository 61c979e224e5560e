"""Edits that are mapped to other networks: the laws of `Edit.map`, legal cases counted by pairs of kinds."""

import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import nestgraph as ng
from nestgraph.edits import (
    AddLayer,
    AddUnits,
    Batch,
    RemoveUnits,
    SetArea,
    SetMask,
    SetOperations,
    way_over,
)
from nestgraph.edits.batch import EDIT, _past
from nestgraph.errors import ConflictError, EditError
from nestgraph.graph import Network
from nestgraph.graph.way import Way
from tests.laws import quick, unless_refused
from tests.strategies import EDIT_CASES, edits_for, networks

KINDS = [kind for kind in EDIT_CASES if kind is not Batch]
SQUARES = 10_000 if os.environ.get("THOROUGH") else 500


def sizes(network):
    return {name: len(network.units(name)) for name in network.layer_names}


def contents(network):
    """By projection what neither ids nor the order of units change: live weights, positions computed, how spelled."""
    found = {}
    for name in network.projection_names:
        columns = network.connection_columns(name)
        size = network.layer(network.projection(name).target).size or ()
        places = (
            np.broadcast_to(columns.kept(size), (*columns.edges.shape, *size)) if columns.axes == 2 else np.zeros(0)
        )
        spelling = None if columns.area is None else columns.area.shape[1]
        found[name] = np.sort(columns.weight[columns.mask]).tolist(), int(places.sum()), spelling
    return found


def grown(edit):
    """The layers that an edit adds units to."""
    if isinstance(edit, Batch):
        return set().union(*map(grown, edit.edits))
    return {edit.layer} if isinstance(edit, AddUnits) else set()


def same(one, other, twins=False):
    """Whether networks have one digest, or are equal but for ids and the order of units, where these differ.

    Of twins, that two edits added to one layer, the same ids are not the same units: each took the next that was free.
    """
    alike = not twins and all(
        np.array_equal(one.units(name), other.units(name)) for name in one.layer_names if other.has_layer(name)
    )
    return one == other or (not alike and sizes(one) == sizes(other) and contents(one) == contents(other))


def drawn(data, network):
    """An edit of one kind that is legal, or None; and the kind."""
    kind = data.draw(st.sampled_from(KINDS))
    edit = data.draw(edits_for(network, (kind,)))
    legal = not edit.idle and unless_refused(lambda: edit.apply(network)) is not None
    return edit if legal else None, kind.__name__


def over(way, edit):
    """An edit mapped and applied, or None where it is refused."""
    moved = unless_refused(lambda: edit.map(way))
    return None if moved is None else unless_refused(lambda: moved.apply(Network.of(way.here)))


@pytest.mark.parametrize("kind", EDIT_CASES, ids=lambda kind: kind.__name__)
@quick(20)
@given(network=networks(), data=st.data())
def test_a_way_that_leads_nowhere_changes_no_edit(kind, network, data):
    edit = data.draw(edits_for(network, (kind,)))
    applied = unless_refused(lambda: edit.apply(network))
    if applied is None:
        return
    way = Way.between(network, network)
    assert edit.map(way) is edit
    assert (edit.mapped(way) or edit.nothing).apply(network).network == applied.network  # also the long way round


@pytest.fixture(scope="module")
def squares():
    """Drawn pairs of edits of one network: how many of each pair of kinds agree in both orders, and which differ."""
    counts, differ = Counter(), []

    @settings(
        max_examples=SQUARES,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(network=networks(), data=st.data())
    def draw(network, data):
        (one, kind), (other, second) = drawn(data, network), drawn(data, network)
        if one is None or other is None:
            return
        ends = over(way_over(network, [one]), other), over(way_over(network, [other]), one)
        pair = tuple(sorted((kind, second)))
        if None in ends:
            counts["refused"] += 1
        elif same(ends[0].network, ends[1].network, twins=bool(grown(one) & grown(other))):
            counts[pair] += 1
        else:
            differ.append((network, one, other))

    draw()
    return counts, differ


@pytest.mark.timeout(3600)  # of ten thousand squares
def test_the_order_of_edits_does_not_matter(squares):
    counts, differ = squares
    assert not differ
    agree = counts.total() - counts["refused"]
    assert agree > counts["refused"]  # so refusals do not pass for success


@pytest.mark.timeout(3600)
def test_most_pairs_of_kinds_are_drawn_and_agree(squares):
    counts, _ = squares
    pairs = {pair for pair in counts if pair != "refused"}
    assert {kind for pair in pairs for kind in pair} >= {kind.__name__ for kind in KINDS}
    every = len(KINDS) * (len(KINDS) + 1) // 2
    assert len(pairs) > every * (0.9 if SQUARES > 1000 else 0.5)


@quick(60)
@given(network=networks(), data=st.data())
def test_a_way_of_two_parts_is_both_one_after_the_other(network, data):
    (edit, _), (first, _) = drawn(data, network), drawn(data, network)
    if edit is None or first is None:
        return
    one = way_over(network, [first])
    second, _ = drawn(data, Network.of(one.here))
    if second is None:
        return
    other = way_over(one.here, [second])
    moved = unless_refused(lambda: edit.map(one))
    ends = None if moved is None else over(other, moved)
    whole = over(one.then(other), edit)
    back_again = (
        lit(edit) & lit(first) & lit(second)
    )  # what the second takes back, the edit had in common with the first
    if ends is not None and whole is not None and not back_again:
        # The way in two steps carries the edit's own base along; here it is what the first way gave.
        assert same(ends.network, whole.network)


@quick(60)
@given(network=networks(), data=st.data())
def test_what_is_taken_back_out_of_order_leaves_the_later_edit_alone(network, data):
    (one, _), (other, _) = drawn(data, network), drawn(data, network)
    if one is None or other is None:
        return
    first = one.apply(network)
    later = over(way_over(network, [one]), other)
    alone = unless_refused(lambda: other.apply(network))
    if later is None or alone is None:
        return
    back = over(way_over(first.network, [later.edit]), first.inverse)
    if back is not None and not removes(one) and not (lit(one) & lit(other)):
        assert same(back.network, alone.network)


def lit(edit):
    """The projections whose states or areas an edit sets: what two set alike, taking one of them back undoes."""
    if isinstance(edit, Batch):
        return set().union(*map(lit, edit.edits))
    return {edit.projection} if isinstance(edit, SetMask | SetArea) else set()


def removes(edit):
    """Whether an edit takes away what another could touch: what was touched there is lost with it."""
    if isinstance(edit, Batch):
        return any(removes(part) for part in edit.edits)
    return not isinstance(edit, AddUnits | AddLayer | SetMask | SetArea)


@quick(40)
@given(network=networks(), data=st.data())
def test_what_is_mapped_survives_json(network, data):
    (one, _), (other, _) = drawn(data, network), drawn(data, network)
    if one is None or other is None:
        return
    way = way_over(network, [one])
    moved = unless_refused(lambda: other.map(way))
    if moved is not None:
        assert EDIT.validate_json(moved.model_dump_json()) == moved


# -- kinds by hand ---------------------------------------------------------------------------------------


def lenet():
    return ng.seeds.lenet_300_100(width=0.05, density=0.3, seed=0)


def test_connections_go_with_the_units_that_they_join():
    network = lenet()
    columns, ends = network.wired("fc1_to_fc2")
    entry = int(np.flatnonzero(columns.mask)[-1])
    edit = SetMask(projection="fc1_to_fc2", entries=[entry], active=[False], weights=[0.0])
    way = way_over(network, [RemoveUnits(layer="fc1", units=network.units("fc1")[:2])])
    moved = edit.map(way)
    here, there = way.here.wired("fc1_to_fc2")
    assert here.addresses(moved.entries, there).tolist() == columns.addresses(edit.entries, ends).tolist()
    assert moved.entries.tolist() != [entry]


def test_two_branches_that_draw_the_same_id_keep_both_units():
    network = lenet()
    (new,) = network.fresh_ids("fc1", 1)
    incoming = np.ones(len(network.units("input")), np.float32)
    outgoing = np.ones(len(network.units("fc2")), np.float32)
    grown = ng.edits.grow_unit(network, "fc1", {"input_to_fc1": incoming, "fc1_to_fc2": outgoing})
    way = way_over(network, [grown])
    both = grown.map(way).apply(Network.of(way.here)).network
    assert both.units("fc1")[-2:].tolist() == [new, new + 1]
    later = SetMask(projection="fc1_to_fc2", entries=[len(network.units("fc1"))], active=[False], weights=[0.0])
    two = Batch(edits=(*grown.edits, later)).map(way).apply(Network.of(way.here)).network
    columns = two.connection_columns("fc1_to_fc2")  # a later part follows its own unit
    assert columns.mask[0, -2:].tolist() == [True, False]


def test_units_that_came_keep_their_columns_under_other_operations():
    network = lenet()
    incoming = np.ones(len(network.units("input")), np.float32)
    outgoing = np.ones(len(network.units("fc2")), np.float32)
    grown = ng.edits.grow_unit(network, "fc1", {"input_to_fc1": incoming, "fc1_to_fc2": outgoing})
    (added,) = [edit for edit in grown.edits if isinstance(edit, AddUnits)]
    shifted = added.model_copy(update={"values": {"beta": np.array([0.75], np.float32)}})
    (norm, *_), beta = network.layer("fc1").operations, np.arange(len(network.units("fc1")), dtype=np.float32)
    edit = SetOperations(layer="fc1", operations=(norm,), bias=False, values={"beta": beta})
    one, other = over(way_over(network, [shifted]), edit), over(way_over(network, [edit]), shifted)
    assert one.network == other.network
    assert one.network.unit_columns("fc1").values["beta"].tolist() == [*beta, 0.75]


def test_a_projection_that_was_made_anew_is_not_taken_for_the_old_one():
    network = lenet()
    record, columns = network.projection("fc1_to_fc2"), network.connection_columns("fc1_to_fc2")
    block = ng.edits.Block.of(columns.with_weight(columns.weight * 2))
    remade = Batch(
        edits=(
            ng.edits.RemoveProjection(projection=record.name),
            ng.edits.AddProjection(projection=record, connections=block),
        )
    )
    entry = int(np.flatnonzero(columns.mask)[0])
    edit = SetMask(projection="fc1_to_fc2", entries=[entry], active=[False], weights=[0.0])
    with pytest.raises(EditError, match="got another of that name: make the edit anew"):
        edit.map(way_over(network, [remade]))


def test_a_clash_is_listed_with_units_and_reasons():
    network = lenet()
    live = np.flatnonzero(network.connection_columns("fc1_to_fc2").mask)[:1]
    sides = [
        Batch(
            edits=(SetMask(projection="fc1_to_fc2", entries=live, active=[True], weights=[value]),),
            reasons=(ng.edits.Reason(place="fc1_to_fc2", measure="size", value=value),),
        )
        for value in (0.25, 0.5)
    ]
    with pytest.raises(ConflictError, match=r"weight of 'fc1_to_fc2' at unit .*: 0.5 in the edit, 0.25 in") as refusal:
        sides[1].map(way_over(network, sides[:1]))
    (conflict,) = refusal.value.conflicts
    assert (conflict.place, conflict.what, conflict.count) == ("fc1_to_fc2", "weight", 1)
    editor = ng.Editor(network)
    branch = editor.branch()
    editor.apply(sides[0])
    branch.apply(sides[1])
    with pytest.raises(ConflictError, match=r"0.5 \(size 0.5\) in the edit, 0.25 \(size 0.25\) in the network"):
        editor.merge(branch)


def test_two_that_exchange_a_chain_alike_clash_where_they_give_its_columns_other_values():
    network = lenet()
    count = len(network.units("fc1"))
    sides = [
        SetOperations(layer="fc1", operations=(), bias=True, values={"bias": np.full(count, value, np.float32)})
        for value in (0.25, 0.5)
    ]
    with pytest.raises(ConflictError, match=r"bias of 'fc1' at units .*: 0.5 in the edit, 0.25 in the network"):
        sides[1].map(way_over(network, sides[:1]))
    (same,) = (side.map(way_over(network, [side])) for side in sides[:1])
    assert same.apply(sides[0].apply(network).network).network == sides[0].apply(network).network


def test_a_part_that_nobody_looks_at_is_not_carried_out(monkeypatch):
    network = lenet()
    masks = [
        SetMask(projection=name, entries=[0], active=[True], weights=[0.5]) for name in ("input_to_fc1", "fc1_to_fc2")
    ]
    way = way_over(network, [RemoveUnits(layer="fc2", units=network.units("fc2")[:1])])
    asked = []
    monkeypatch.setattr("nestgraph.edits.batch._past", lambda *given: asked.append(given) or _past(*given))
    Batch(edits=tuple(masks)).map(way)
    assert not asked
