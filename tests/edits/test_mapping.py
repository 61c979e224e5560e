"""Edits that are carried over to other networks: the laws of `Edit.map`, counted by pairs of kinds."""

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

import nestgraph as ng
from nestgraph.edits import Batch
from nestgraph.edits.batch import removed_by
from nestgraph.graph.way import Way
from tests.laws import quick, unless_refused
from tests.strategies import EDIT_CASES, edits_for, networks

KINDS = [kind for kind in EDIT_CASES if kind is not Batch]


def over(network, edit):
    """The way from a network to what an edit makes of it, and that network."""
    after = edit.apply(network).network
    way = Way.between(network, after)
    return Way(network, after, way.twins, frozenset(removed_by(edit)))


def same_but_for_ids(one, other):
    """Whether networks are equal up to the ids and the order of units."""
    return ng.difference(one, other) is not None and sizes(one) == sizes(other) and shapes(one) == shapes(other)


def sizes(network):
    return {name: len(network.units(name)) for name in network.layer_names}


def shapes(network):
    """By projection what does not depend on the order of units: live weights, sorted, and positions computed."""
    found = {}
    for name in network.projection_names:
        columns = network.connection_columns(name)
        size = network.layer(network.projection(name).target).size or ()
        kept = columns.kept(size) if columns.area is not None else np.ones((1, 1, *size), bool)
        full = np.broadcast_to(kept, (*columns.edges.shape, *size)) if columns.axes == 2 else kept
        found[name] = np.sort(columns.weight[columns.mask]).tolist(), int(full.sum())
    return found


@pytest.mark.parametrize("kind", EDIT_CASES, ids=lambda kind: kind.__name__)
@quick(20)
@given(network=networks(), data=st.data())
def test_a_way_that_leads_nowhere_changes_no_edit(kind, network, data):
    edit = data.draw(edits_for(network, (kind,)))
    if unless_refused(lambda: edit.apply(network)) is None:
        return
    way = Way.between(network, network)
    moved = edit.map(way)
    assert moved is edit
    step_by_step = edit.moved(way) or edit.nothing
    assert step_by_step.apply(network).network == edit.apply(network).network


def square(network, one, other):
    """Both orders of two edits of one network: what each gives, or None where one of them is refused."""
    first = unless_refused(lambda: over(network, one))
    second = unless_refused(lambda: over(network, other))
    if first is None or second is None:
        return None
    ends = []
    for way, later in ((first, other), (second, one)):
        moved = unless_refused(lambda way=way, later=later: later.map(way))
        after = None if moved is None else unless_refused(lambda way=way, moved=moved: moved.apply(way.here))
        ends.append(None if after is None else after.network)
    return None if None in ends else tuple(ends)


@quick(200)
@given(network=networks(), data=st.data())
def test_the_order_of_edits_does_not_matter(network, data):
    one, other = data.draw(edits_for(network, KINDS)), data.draw(edits_for(network, KINDS))
    ends = square(network, one, other)
    event("refused" if ends is None else f"{type(one).__name__} and {type(other).__name__}")
    if ends is not None:
        assert ends[0] == ends[1] or same_but_for_ids(*ends)
