"""The difference of two networks against dictionaries of their parts, against digests, and against what edits say."""

import networkx as nx
import numpy as np
from hypothesis import given, reject
from hypothesis import strategies as st

import nestgraph as ng
from nestgraph.edits import Batch, Preview, RemoveUnits, SetMask, SetValues, diff
from nestgraph.errors import EditError
from nestgraph.graph import Network, Tally, difference
from nestgraph.graph.columns import Grid, Links
from nestgraph.spec import Activation, BatchNorm, InputPort, Interface, Layer, OneToOne, OutputPort
from tests.laws import quick
from tests.strategies import EDIT_CASES, edits_for, networks
from tests.strategies.networks import EVERY

MIRRORED = {"added": "removed", "removed": "added", "changed": "changed", "unchanged": "unchanged"}


@st.composite
def pairs(draw):
    """A network and another that edits made of it, or a stranger."""
    old = draw(networks(EVERY))
    if draw(st.integers(0, 4)) == 0:
        return old, draw(networks(EVERY))
    new = old
    for _ in range(draw(st.integers(1, 2))):
        try:
            new = draw(edits_for(new, (draw(st.sampled_from(list(EDIT_CASES))),))).apply(new).network
        except EditError:
            reject()
    return draw(st.permutations([old, new]))


def connections(network, name):
    """{(target id, source id, place): bits of the weight} of a projection's active connections, one by one."""
    if not network.has_projection(name):
        return {}
    record, columns = network.projection(name), network.connection_columns(name)
    if record.kind == "argument":
        return {}
    targets, sources = network.units(record.target).tolist(), network.units(record.source).tolist()
    found = {}
    for index in np.argwhere(columns.mask).tolist():
        if isinstance(columns, Links):
            source, target, *slot = columns.links[index[0]].tolist()
            inner, shape = index[1:] + slot, columns.mask.shape[1:] + (2**31,) * len(slot)
        else:
            target, source = targets[index[0]], sources[index[1]]
            inner, shape = index[2:], columns.mask.shape[2:]
        place = int(np.ravel_multi_index(inner, shape)) if shape else 0
        found[target, source, place] = columns.weight[tuple(index)].tobytes()
    return found


def comparable(old, new, name):
    """Whether a projection joins the same layers by edges of one form in both."""
    records = [network.projection(name) for network in (old, new)]
    shapes = [
        n.connection_columns(name).weight.shape[1 if r.listed else 2 :]
        for n, r in zip((old, new), records, strict=True)
    ]
    return len({(r.source, r.target, r.kind, s) for r, s in zip(records, shapes, strict=True)}) == 1


def rows(table):
    """{(target, source, place): (before, after)}."""
    keys = zip(table.targets.tolist(), table.sources.tolist(), table.places.tolist(), strict=True)
    weights = zip(table.before, table.after, strict=True)
    return {key: tuple(w.tobytes() for w in pair) for key, pair in zip(keys, weights, strict=True)}


ZERO = np.float32(0).tobytes()


@quick(60)
@given(pairs())
def test_every_connection_and_unit_has_the_fate_that_dictionaries_say(versions):
    old, new = versions
    found = difference(old, new)
    assert found.projections.keys() == set(old.projection_names) | set(new.projection_names)
    for name, change in found.projections.items():
        before, after = connections(old, name), connections(new, name)
        both = old.has_projection(name) and new.has_projection(name)
        kept = before.keys() & after.keys() if both and comparable(old, new, name) else set()
        changed = {key for key in kept if before[key] != after[key]}
        assert rows(change.added) == {key: (ZERO, bits) for key, bits in after.items() if key not in kept}
        assert rows(change.removed) == {key: (bits, ZERO) for key, bits in before.items() if key not in kept}
        assert rows(change.changed) == {key: (before[key], after[key]) for key in changed}
        assert change.counts == Tally(len(before), len(after) - len(kept), len(before) - len(kept), len(changed))
        assert all(
            len(t) == n
            for t, n in zip(
                (change.added, change.removed, change.changed),
                (change.counts.added, change.counts.removed, change.counts.changed),
                strict=True,
            )
        )
    for name, change in found.layers.items():
        ids = [n.units(name).tolist() if n.has_layer(name) else [] for n in (old, new)]
        assert change.added.tolist() == [unit for unit in ids[1] if unit not in ids[0]]
        assert change.removed.tolist() == [unit for unit in ids[0] if unit not in ids[1]]
        moved = set()
        for column in old.unit_columns(name).values.keys() & new.unit_columns(name).values.keys() if all(ids) else ():
            tables = [
                dict(zip(i, n.unit_columns(name).values[column], strict=True))
                for i, n in zip(ids, (old, new), strict=True)
            ]
            own = {u for u in tables[0].keys() & tables[1].keys() if tables[0][u].tobytes() != tables[1][u].tobytes()}
            moved |= own
            told = change.values.get(column)
            assert (set(told.ids.tolist()) if told else set()) == own
            for unit, was, now in zip(told.ids.tolist(), told.before, told.after, strict=True) if told else ():
                assert (was.tobytes(), now.tobytes()) == (tables[0][unit].tobytes(), tables[1][unit].tobytes())
        columns = [n.unit_columns(name).values.keys() if n.has_layer(name) else set() for n in (old, new)]
        assert set(change.changed.tolist()) == (moved if columns[0] == columns[1] else set(ids[0]) & set(ids[1]))


@quick(60)
@given(pairs())
def test_it_is_empty_exactly_if_digests_agree(versions):
    old, new = versions
    assert not difference(old, old)
    assert not difference(old, Network.of(new.replace()) if old == new else old)
    assert bool(difference(old, new)) == (old.digest != new.digest)
    assert bool(difference(old, new)) == bool(diff(old, new).edits)
    there = diff(old, new).apply(old).network
    assert not difference(there, new)


@quick(40)
@given(pairs())
def test_it_mirrors_itself(versions):
    one, other = difference(*versions), difference(*versions).reversed
    assert one.interface == other.interface
    for mine, its in zip((one.layers, one.projections), (other.layers, other.projections), strict=True):
        assert mine.keys() == its.keys()
        for name, change in mine.items():
            assert MIRRORED[change.fate] == its[name].fate
    for name, counts in one.by_layer.items():
        assert MIRRORED[one.fate(name)] == other.fate(name)
        for mine, its in ((getattr(c.by_layer[name], kind) for c in (one, other)) for kind in ("units", "connections")):
            assert (mine.before, mine.after, mine.added, mine.removed, mine.changed) == (
                its.after, its.before, its.removed, its.added, its.changed)  # fmt: skip
        assert counts.values == other.by_layer[name].values
    for name, change in one.projections.items():
        its = other.projections[name]
        assert rows(change.added) == {key: pair[::-1] for key, pair in rows(its.removed).items()}
        assert rows(change.changed) == {key: pair[::-1] for key, pair in rows(its.changed).items()}


@quick(40)
@given(pairs())
def test_counts_are_those_of_the_networks_and_of_a_preview(versions):
    old, new = versions
    counts, total = difference(old, new).counts, ng.cost(old).total
    assert (counts.units.before, counts.connections.before) == (total.units, total.connections)
    assert (counts.units.after, counts.connections.after) == (new.unit_count, new.connection_count)
    told = ng.Editor(old).preview(diff(old, new))
    assert isinstance(told, Preview)
    change = told.change
    assert (change.units, change.connections) == (
        counts.units.added - counts.units.removed, counts.connections.added - counts.connections.removed)  # fmt: skip
    assert sum(map(len, told.gone.values())) == counts.units.removed
    assert sum(map(len, told.born.values())) == counts.units.added
    assert bool(told.layers or told.projections or told.interface) == (old != new)


def leaves(edit):
    return [leaf for one in edit.edits for leaf in leaves(one)] if isinstance(edit, Batch) else [edit]


@quick(40)
@given(pairs())
def test_counts_are_those_of_the_edits(versions):
    """Of edits that touch no unit twice: masks say what was woken and pruned, values what moved."""
    old, new = versions
    edits = leaves(diff(old, new))
    found = difference(old, new)
    if {edit.kind for edit in edits} <= {"set_mask", "set_values"}:
        for name, change in found.projections.items():
            masks = [edit for edit in edits if isinstance(edit, SetMask) and edit.projection == name]
            assert change.counts.added == sum(int(edit.active.sum()) for edit in masks)
            assert change.counts.removed == sum(int((~edit.active).sum()) for edit in masks)
        assert bool(found.counts.numbers) == any(isinstance(edit, SetValues) for edit in edits)
    gone = sum(len(edit.units) for edit in edits if isinstance(edit, RemoveUnits))
    if not {edit.kind for edit in edits} & {"remove_layer", "add_layer"}:
        assert found.counts.units.removed == gone


def small():
    graph = nx.DiGraph()
    graph.add_edges_from(
        [(("x", 0), ("a", 0)), (("x", 1), ("a", 1)), (("a", 0), ("y", 0)), (("a", 1), ("y", 0))], weight=1.0
    )
    return Network.from_graph(graph, layers=[Layer(name="a", kind="neurons", operations=(BatchNorm(),), bias=False)])


def sloped(layer, slope):
    return layer.model_copy(update={"operations": (Activation(function="leaky_relu", slope=slope),)})


def test_every_bit_that_a_digest_absorbs_counts_and_no_other():
    """Of each part one change that `==` or a tolerance would miss."""
    network = small()
    network = Network.of(network.replace(layers={"y": sloped(network.layer("y"), 0.0)}))
    norm, columns = network.layer("a"), network.connection_columns("x_to_a")
    assert "beta" in norm.column_names
    weight = columns.weight.copy()
    weight[0, 0] = np.nextafter(weight[0, 0], np.float32(2))
    units = network.unit_columns("a")
    beta = {"beta": -units.values["beta"]}  # -0.0
    cases = {
        "weight": network.replace(connections={"x_to_a": columns.with_weight(weight)}),
        "value": network.replace(units={"a": type(units).of(units.ids, units.values | beta)}),
        "order": network.replace(
            units={"a": type(units).of(units.ids[::-1], units.values)},
            connections={
                "x_to_a": Grid.of(columns.weight[::-1], columns.mask[::-1]),
                "a_to_y": network.connection_columns("a_to_y"),
            },
        ),
        "label": network.replace(layers={"a": norm.model_copy(update={"label": "first"})}),
        "sign of a zero": network.replace(layers={"y": sloped(network.layer("y"), -0.0)}),
        "interface": network.with_interface(
            Interface(inputs=(InputPort(layer="x"),), outputs=(OutputPort(layer="y"), OutputPort(layer="y")))
        ),
    }
    for name, structure in cases.items():
        other = Network.of(structure)
        assert difference(network, other), name
        assert other.digest != network.digest, name
        assert diff(network, other).apply(network).network == other
    moved = difference(network, Network.of(cases["weight"]))
    assert moved.counts.connections == Tally(4, 0, 0, 1)
    assert moved.fate("a") == "changed"
    assert moved.fate("y") == "unchanged"
    assert difference(network, Network.of(cases["order"])).notes("a") == ("order",)
    later = Network.of(network.replace(units={"a": type(units)(units.ids, units.values, units.next_id + 5)}))
    assert later.digest == network.digest
    assert not difference(network, later)


def test_a_projection_that_leads_elsewhere_takes_from_one_layer_and_adds_to_the_other():
    graph = nx.DiGraph()
    graph.add_edges_from(
        [(("x", 0), ("a", 0)), (("x", 0), ("b", 0)), (("a", 0), ("y", 0)), (("b", 0), ("y", 0))], weight=1.0
    )
    old = Network.from_graph(graph)
    skip = OneToOne(source="a", target="y", name="skip")
    links = {"skip": Links.of(np.ones(1), links=np.array([[0, 0]]))}
    first = Network.of(old.replace(projections={"skip": skip}, connections=links))
    second = Network.of(old.replace(projections={"skip": skip.model_copy(update={"target": "b"})}, connections=links))
    found = difference(first, second)
    assert found.by_layer["y"].connections == Tally(3, 0, 1)
    assert found.by_layer["b"].connections == Tally(1, 1, 0)
    assert found.counts.connections == Tally(5, 1, 1)
    assert found.projections["skip"].remade


def test_what_both_share_costs_no_look_at_the_arrays():
    """A difference of networks that share columns asks for none of their bits."""
    network = small()
    shared = Network.of(network.replace(layers={"a": network.layer("a").model_copy(update={"label": "b"})}))
    found = difference(network, shared)
    assert found.projections["x_to_a"].fate == "unchanged"
    assert "_moved" not in vars(found.projections["x_to_a"])
    assert repr(found) == "<Difference: 5 -> 5 units, 4 -> 4 connections, 0 values>"
