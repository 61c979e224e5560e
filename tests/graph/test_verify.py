"""Each law that a structure can break is found, and the unit or place is named."""

import dataclasses
import hashlib
from unittest import mock

import networkx as nx
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nestgraph.errors import StructureError, VerificationError
from nestgraph.graph import Grid, Links, Network, Structure, UnitColumns, violations
from nestgraph.spec import BatchNorm, Conv, Dense, Layer, OneToOne, Pooling
from tests.laws import quick
from tests.strategies import networks

LAYERS = {
    "x": Layer(name="x", kind="input", features=3, size=(4, 4)),
    "c": Layer(name="c", kind="feature_maps", size=(2, 2), operations=(BatchNorm(),), bias=False),
    "d": Layer(name="d", kind="feature_maps", size=(2, 2)),
    "y": Layer(name="y", kind="neurons", output=True),
}
PROJECTIONS = {
    "xc": Conv(source="x", target="c", kernel=(3, 3), name="xc"),
    "cd": OneToOne(source="c", target="d", name="cd"),
    "dy": Dense(source="d", target="y", name="dy"),
}


def sound():
    units = {name: UnitColumns.neutral(2, layer.column_names) for name, layer in LAYERS.items()}
    connections = {
        "xc": Grid.of(np.ones((2, 2, 3, 3))),
        "cd": Links.of(np.ones(2), links=[[0, 0], [1, 1]]),
        "dy": Grid.of(np.ones((2, 2, 2, 2))),
    }
    return Structure(LAYERS.values(), PROJECTIONS.values(), units, connections)


def layer(name, **changes):
    return sound().replace(layers={name: LAYERS[name].model_copy(update=changes)})


def units(name, ids=(0, 1), next_id=9, **values):
    columns = UnitColumns.neutral(2, LAYERS[name].column_names).values
    arrays = {column: np.asarray(array, np.float32) for column, array in (dict(columns) | values).items()}
    return sound().replace(units={name: UnitColumns(np.asarray(ids, np.int64), arrays, next_id)})


def connections(name, **changes):
    old = sound().connection_columns(name)
    arrays = {field: None if value is None else np.asarray(value) for field, value in changes.items()}
    return sound().replace(connections={name: dataclasses.replace(old, **arrays)})


def exchanged(name, columns):
    return sound().replace(connections={name: columns})


def at(array, place, value):
    changed = np.array(array)
    changed[place] = value
    return changed


ONES = np.ones((2, 2, 3, 3), np.float32)
NAN, INF = float("nan"), float("inf")
CUT = at(np.ones((2, 2, 2, 2), bool), (slice(None), 1), False)
UNFED = at(np.ones((2, 2, 3, 3), bool), 1, False)
CYCLE = Dense(source="y", target="h", name="yh"), Dense(source="h", target="y", name="hy")

BROKEN = {
    "no layers": (Structure((), (), {}, {}), "records", "network"),
    "no output": (layer("y", output=False), "records", "network"),
    "end without a layer": (
        sound().replace(projections={"dy": PROJECTIONS["dy"].model_copy(update={"target": "z"})}),
        "records",
        "dy",
    ),
    "a projection into an input": (
        sound().replace(
            projections={"hx": OneToOne(source="h", target="x", name="hx")},
            layers={"h": Layer(name="h", kind="input", features=2, size=(4, 4))},
            units={"h": UnitColumns.neutral(2, ())},
            connections={"hx": Links.of(np.ones(2), links=[[0, 0], [1, 1]])},
        ),
        "records",
        "x",
    ),
    "a cycle": (
        sound().replace(
            layers={"h": Layer(name="h", kind="neurons")},
            units={"h": UnitColumns.neutral(1, ("bias",))},
            projections={p.name: p for p in CYCLE},
            connections={
                "yh": Grid.of(np.ones((1, 2))),
                "hy": Grid.of(np.ones((2, 1))),
            },
        ),
        "acyclic",
        "network",
    ),
    "a pooling that does not fit": (
        layer("d", operations=(Pooling(function="max", kernel=(3, 3), stride=(1, 1)),)),
        "shapes",
        "d",
    ),
    "no units": (units("d", ids=(), bias=()), "shapes", "d"),
    "ids twice": (units("d", ids=(1, 1)), "ids", "d"),
    "a negative id": (units("d", ids=(-1, 1)), "ids", "d"),
    "an id beyond the features": (units("x", ids=(0, 3)), "ids", ("x", 3)),
    "an id not below next_id": (units("d", ids=(0, 9)), "ids", ("d", 9)),
    "a column missing": (sound().replace(units={"d": UnitColumns.of([0, 1], {})}), "shapes", "d"),
    "a column too many": (units("d", gamma=[1.0, 1.0]), "shapes", "d"),
    "a column too short": (units("d", bias=[1.0]), "shapes", "d"),
    "a bias that is NaN": (units("d", bias=[0.0, NAN]), "finite", ("d", 1)),
    "a mean that is infinite": (units("c", mean=[INF, 0.0]), "finite", ("c", 0)),
    "a negative variance": (units("c", variance=[1.0, -1.0]), "finite", ("c", 1)),
    "weights of a wrong shape": (connections("xc", weight=ONES[:1], mask=ONES[:1] > 0), "shapes", "xc"),
    "a kernel of a wrong shape": (connections("xc", weight=ONES[..., :2], mask=ONES[..., :2] > 0), "shapes", "xc"),
    "a mask of a wrong shape": (connections("dy", mask=np.ones((2, 2), bool)), "shapes", "dy"),
    "an area of a wrong shape": (connections("xc", area=np.ones((2, 2, 4, 4), bool)), "shapes", "xc"),
    "an area on a dense projection": (connections("dy", area=np.ones((2, 2, 2, 2), bool)), "shapes", "dy"),
    "links on a convolution": (exchanged("xc", Links.of(np.ones(1), links=[[0, 0]])), "shapes", "xc"),
    "no links": (exchanged("cd", Grid.of(np.ones(2))), "shapes", "cd"),
    "links that are no pairs": (connections("cd", links=[0, 1]), "shapes", "cd"),
    "links in triples": (connections("cd", links=[[0, 0, 0], [1, 1, 1]]), "shapes", "cd"),
    "more links than weights": (connections("cd", links=[[0, 0], [1, 1], [1, 2]]), "shapes", "cd"),
    "a link from nothing": (connections("cd", links=[[7, 0], [1, 1]]), "links", ("c", 7)),
    "a link into nothing": (connections("cd", links=[[0, 0], [1, 8]]), "links", ("d", 8)),
    "links not in order": (connections("cd", links=[[1, 1], [0, 0]]), "links", "cd"),
    "two links into one unit": (connections("cd", links=[[0, 0], [1, 0]]), "links", "cd"),
    "a weight that is NaN": (connections("xc", weight=at(ONES, (1, 0, 2, 2), NAN)), "finite", ("c", 1)),
    "a link that is infinite": (connections("cd", weight=[1.0, INF]), "finite", ("d", 1)),
    "a dormant weight that is not 0": (connections("dy", mask=CUT), "finite", ("y", 0)),
    "a dormant link that is not 0": (connections("cd", mask=[True, False]), "finite", ("d", 1)),
    "maps of a wrong size": (layer("d", size=(3, 3)), "shapes", "cd"),
    "a convolution into neurons": (
        sound().replace(projections={"dy": Conv(source="d", target="y", kernel=(2, 2), name="dy")}),
        "shapes",
        "dy",
    ),
    "a dense projection into maps": (
        sound().replace(projections={"cd": Dense(source="c", target="d", name="cd")}),
        "shapes",
        "cd",
    ),
    "an island without a way in": (
        connections("xc", mask=UNFED, weight=ONES * UNFED),
        "islands",
        ("c", 1),
    ),
    "an island without a way out": (
        connections("dy", mask=CUT, weight=CUT.astype(np.float32)),
        "islands",
        ("d", 1),
    ),
    "a link that is asleep": (connections("cd", mask=[True, False], weight=[1.0, 0.0]), "islands", ("d", 1)),
}


@pytest.mark.parametrize(("structure", "law", "place"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_law_is_named_with_its_place(structure, law, place):
    with pytest.raises(VerificationError) as refusal:
        Network.of(structure)
    found = [(violation.law, violation.place) for violation in refusal.value.violations]
    assert (law, place) in found
    assert {violation.law for violation in refusal.value.violations} <= {law, "shapes", "links"}
    assert str(place) in str(refusal.value)


def test_the_sound_structure_is_a_network():
    assert violations(sound()) == ()
    assert Network.of(sound()).digest == Network.of(sound()).digest


@quick(30)
@given(network=networks(), data=st.data())
def test_a_unit_cut_off_is_named(network, data):
    """Whatever single unit loses all that feeds it is among the islands named, unless it is mixed with others."""
    summing = [name for name in network.layer_names if network.summed(name) and not network.layer(name).mixes_units]
    tied = {p.target for p in network.projections_by_name.values() if p.name in network.tied}
    names = [name for name in summing if not network.gates(name) and name not in tied]
    assume(names)
    name = data.draw(st.sampled_from(names))
    place = data.draw(st.integers(0, len(network.units(name)) - 1))
    unit, changed = int(network.units(name)[place]), {}
    for projection in network.incoming(name):
        columns = network.connection_columns(projection.name)
        mask = columns.mask.copy()
        mask[columns.links[:, 1] == unit if isinstance(columns, Links) else place] = False
        changed[projection.name] = columns.with_weight(columns.weight * mask, mask)
    found = violations(network.replace(connections=changed))
    assert (name, unit) in [violation.place for violation in found]
    assert {violation.law for violation in found} == {"islands"}


@quick(20)
@given(network=networks())
def test_the_digest_sees_one_bit(network):
    for name in (name for name in network.projection_names if name not in network.tied):
        columns = network.connection_columns(name)
        assume(columns.active)
        weight = columns.weight.copy()
        first = np.unravel_index(np.flatnonzero(columns.mask)[0], weight.shape)
        weight[first] = np.nextafter(weight[first], np.float32(9))
        other = Network.of(network.replace(connections={name: columns.with_weight(weight)}))
        assert other != network
        assert hash(other) != hash(network)


def stated_digest(network):
    """The digest from whole arrays, each after its length in 8 bytes."""
    pieces = []
    for name in sorted(network.layers_by_name):
        columns = network.unit_columns(name)
        pieces += [network.layer(name).model_dump_json().encode(), columns.ids.astype("<i8").tobytes()]
        pieces += [columns.values[column].astype("<f4").tobytes() for column in sorted(columns.values)]
    for name in sorted(network.projections_by_name):
        columns = network.connection_columns(name)
        pieces += [network.projection(name).model_dump_json().encode(), np.array(columns.mask.shape, "<i8").tobytes()]
        pieces += [np.packbits(columns.mask).tobytes(), columns.weight[columns.mask].astype("<f4").tobytes()]
        area, links = columns.area, columns.parts.get("links")
        pieces += [b"" if area is None else np.array(area.shape, "<i8").tobytes() + np.packbits(area).tobytes()]
        pieces += [b"" if links is None else links.astype("<i8").tobytes()]
    pieces += [] if network.interface is None else [network.interface.model_dump_json().encode()]
    lengths = [len(piece).to_bytes(8, "little") for piece in pieces]
    whole = b"".join(part for pair in zip(lengths, pieces, strict=True) for part in pair)
    return hashlib.sha256(b"nestgraph network 1" + whole).hexdigest()


@quick(30)
@given(network=networks(), part=st.integers(1, 9))
def test_the_digest_taken_in_parts_is_that_of_whole_arrays(network, part):
    with mock.patch("nestgraph.graph.digest.PART", part):
        assert Network.of(network.replace()).digest == stated_digest(network)


@quick(60)
@given(st.integers(1, 30), st.integers(1, 9), st.data())
def test_weights_looked_at_in_parts_are_sound_where_all_are(size, part, data):
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    values = st.sampled_from((0.0, -0.0, 1.5, NAN, INF))
    weight = np.array(data.draw(st.lists(st.one_of(st.just(0.0), values), min_size=size, max_size=size)))
    sound = np.isfinite(weight).all() and not weight[~mask].any()
    with mock.patch("nestgraph.graph.columns.PART", part):
        assert Grid.of(weight, mask).sound == sound


@quick(30)
@given(st.permutations(range(9)), st.lists(st.integers(0, 4)))
def test_positions_of_many_units_are_those_of_each(ids, chosen):
    columns = UnitColumns.of(np.array(ids[:5]), {})
    wanted = columns.ids[chosen]
    assert columns.positions(wanted).tolist() == [columns.position[int(unit)] for unit in wanted] == chosen


def test_names_that_are_not_there_are_refused_with_those_that_are():
    with pytest.raises(StructureError, match="got 'z'; there are: c, d, x, y"):
        sound().layer("z")
    with pytest.raises(StructureError, match="got 'cx'; there are: cd, dy, xc"):
        sound().connection_columns("cx")
    with pytest.raises(StructureError, match="different names, got 'x' twice"):
        Structure([LAYERS["x"], LAYERS["x"]], [], {}, {})


def test_no_way_of_making_a_network_skips_the_laws():
    structure = Network.from_graph(nx.DiGraph([(("x", 0), ("y", 0))]))
    lonely = UnitColumns.of(np.array([0, 1]), {"bias": np.zeros(2)})
    arguments = ([structure.layer(n) for n in ("x", "y")], [structure.projection("x_to_y")])
    connections = {"x_to_y": Grid.of(np.ones((2, 1)), np.array([[True], [False]]))}
    with pytest.raises(VerificationError, match=r"\('y', 1\)"):
        Network(*arguments, {"x": structure.unit_columns("x"), "y": lonely}, connections)
