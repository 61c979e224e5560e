"""Networks as files: exact round trips, atomic saves, and loading that is total on hostile input."""

import json
import os
import resource

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nestgraph.errors import SnapshotError, VerificationError
from nestgraph.graph import Grid, Network, Structure, UnitColumns
from nestgraph.snapshot import MAX_BYTES, NETWORK, Limits, NetworkDocument, from_bytes, load, save, to_bytes
from nestgraph.spec import BatchNorm, Dense, Layer
from tests.counting import calls_of
from tests.laws import quick
from tests.strategies import networks
from tests.strategies.networks import EVERY

some = quick(60)


def chain(widths, density=1.0):
    """A stack of dense layers; the first row and column of each mask are full, so nothing is an island."""
    rng = np.random.default_rng(0)
    layers, projections, units, connections = [], [], {}, {}
    for place, width in enumerate(widths):
        name, kind = f"l{place}", "input" if place == 0 else "neurons"
        operations = (BatchNorm(),) if 0 < place < len(widths) - 1 else ()
        layer = Layer(
            name=name,
            kind=kind,
            features=width if place == 0 else None,
            operations=operations,
            output=place == len(widths) - 1,
        )
        layers.append(layer)
        units[name] = UnitColumns.neutral(width, layer.column_names)
        if place:
            projection = Dense(source=f"l{place - 1}", target=name)
            mask = rng.random((width, widths[place - 1])) < density
            mask[0], mask[:, 0] = True, True
            weight = np.where(mask, rng.standard_normal(mask.shape), 0)
            projections.append(projection)
            connections[projection.name] = Grid.of(weight, mask)
    return Network.of(Structure(layers, projections, units, connections))


SMALL = chain((3, 2, 1))
DATA = to_bytes(SMALL)


def altered(change):
    """The bytes of the small network after `change` of its parsed JSON."""
    document = json.loads(DATA)
    change(document)
    return json.dumps(document).encode()


def one_line(error):
    """The message, which is one line, and through which no byte of the file can steer a terminal."""
    message = str(error)
    assert message.isprintable()
    assert len(message) < 1000
    return message


def refusal(data):
    with pytest.raises(SnapshotError) as caught:
        from_bytes(data, "net.json")
    message = one_line(caught.value)
    assert message.startswith("net.json: ")
    return message


# -- round trips -----------------------------------------------------------------------------------------


@some
@given(networks(EVERY))
def test_round_trip_is_exact_and_canonical(network):
    data = to_bytes(network)
    read = from_bytes(data)
    assert read == network
    assert to_bytes(read) == data
    for name in network.layer_names:
        assert read.unit_columns(name).next_id == network.unit_columns(name).next_id
    for name in network.projection_names:
        before, after = network.connection_columns(name), read.connection_columns(name)
        assert after.weight[before.mask].tobytes() == before.weight[before.mask].tobytes()
        assert not after.weight.flags.writeable


@some
@given(networks(EVERY))
def test_bytes_do_not_depend_on_the_order_of_records(network):
    turned = Structure(
        reversed(network.layers_by_name.values()),
        reversed(network.projections_by_name.values()),
        {
            name: UnitColumns(columns.ids, dict(reversed(columns.values.items())), columns.next_id)
            for name in network.layer_names
            for columns in [network.unit_columns(name)]
        },
        {name: network.connection_columns(name) for name in network.projection_names},
        interface=network.interface,
    )
    assert to_bytes(Network.of(turned)) == to_bytes(network)


@pytest.mark.parametrize("value", [-0.0, 1e-45, 3.4028235e38, 0.1, 1 / 3])
def test_every_kind_of_float_survives(value):
    bias = np.array([value, 0], np.float32)
    columns = SMALL.unit_columns("l1")
    units = {"l1": UnitColumns.of(columns.ids, {**columns.values, "bias": bias}, columns.next_id)}
    read = from_bytes(to_bytes(Network.of(SMALL.replace(units=units))))
    assert read.unit_columns("l1").values["bias"].tobytes() == bias.tobytes()


def test_ids_that_were_used_stay_used():
    columns = SMALL.unit_columns("l1")
    worn = Network.of(SMALL.replace(units={"l1": UnitColumns.of(columns.ids, columns.values, 41)}))
    assert from_bytes(to_bytes(worn)).fresh_ids("l1", 1) == [41]


def test_a_document_gives_its_network_without_building_it_again(monkeypatch):
    assert NetworkDocument.of(SMALL).network is SMALL
    document = NETWORK.validate_json(DATA)
    monkeypatch.setattr(Network, "of", None)
    assert document.network is document.network


@pytest.mark.parametrize("density", [0.1, 1.0])
def test_weights_are_stored_for_active_connections_only(density):
    network = chain((300, 100, 10), density)
    live, possible = network.connection_count, 300 * 100 + 100 * 10
    assert len(to_bytes(network)) < 4 * live * 4 / 3 + possible / 8 * 4 / 3 + 40 * network.unit_count + 2000


# -- damage ----------------------------------------------------------------------------------------------


def test_every_truncation_is_refused():
    for length in range(len(DATA) - 1):
        assert "net.json: " in refusal(DATA[:length])
    assert from_bytes(DATA[:-1]) == SMALL  # only the newline is gone


@quick(400)
@given(st.data())
def test_mutations_are_refused_or_change_nothing(data):
    broken = bytearray(DATA)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(broken) - 1))
        end = place + data.draw(st.sampled_from((0, 1, 1, 1, 5)))
        broken[place:end] = data.draw(
            st.one_of(st.binary(max_size=2), st.sampled_from((b"0", b"9", b"e9", b"[", b'"')))
        )
    try:
        assert from_bytes(bytes(broken)) == SMALL
    except SnapshotError as error:
        one_line(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
PLACES = [
    ("layers", 1, "layer", "operations"),
    ("layers", 1, "layer", "name"),
    ("layers", 1, "ids"),
    ("layers", 1, "next_id"),
    ("layers", 1, "values"),
    ("layers", 1, "values", "bias"),
    ("layers", 0),
    ("projections", 0, "projection"),
    ("projections", 0, "live"),
    ("projections", 0, "shape"),
    ("projections", 0, "weights"),
    ("projections", 0, "area"),
    ("projections", 0, "area_shape"),
    ("projections", 0, "links"),
    ("sidecar",),
    ("digest",),
]


@quick(300)
@given(st.sampled_from(PLACES), JSON | st.lists(st.integers(-3, 2**54), max_size=6))
def test_any_json_in_any_place_is_refused_or_changes_nothing(place, value):
    def change(document):
        for step in place[:-1]:
            document = document[step]
        document[place[-1]] = value

    try:
        assert from_bytes(altered(change)) == SMALL
    except SnapshotError as error:
        one_line(error)


@quick(200)
@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused(data):
    refusal(data)


# -- hostile files ---------------------------------------------------------------------------------------


def packed(dtype, shape, data):
    return {"dtype": dtype, "shape": shape, "data": data}


LARGE = {
    "very deep": (b"[" * 400_000, "at most 32 deep, got 400000"),
    "very deep objects": (b'{"a":' * 100_000, "at most 32 deep"),
    "many values": (b"[" + b"[]," * 2**19 + b"[]]", "at most 524,288 values"),
    "many problems": (
        altered(lambda document: document["layers"][1]["layer"].update(operations=[0] * 100_000)),
        "100,000 problems",
    ),
}


@pytest.mark.parametrize("case", LARGE)
def test_large_hostile_files_are_refused_with_the_reason(case):
    """The small ones are in tests/hostile."""
    data, reason = LARGE[case]
    assert reason in refusal(data)
    assert calls_of(lambda: from_bytes(data, "net.json")) < 2 * len(data)


def test_each_limit_can_be_raised_and_lowered():
    for limit, value, reason in (
        ("document_bytes", len(DATA) - 1, "too large"),
        ("depth", 4, "nested at most 4 deep, got 6"),
        ("values", 50, "at most 50 values"),
        ("entries", 7, "at most 7 entries, got 8"),
    ):
        with pytest.raises(SnapshotError, match=reason):
            from_bytes(DATA, "net.json", Limits(**{limit: value}))
    assert from_bytes(DATA, limits=Limits(document_bytes=len(DATA), depth=6, entries=8)) == SMALL
    deep = b"[" * 40 + b"]" * 40
    for limits, reason in ((Limits(), "at most 32 deep"), (Limits(depth=40), "expected an object, got list")):
        with pytest.raises(SnapshotError, match=reason):
            from_bytes(deep, "net.json", limits)
    with pytest.raises(ValueError, match="depth"):
        Limits(depth=0)


def test_islands_are_named_and_their_violations_kept():
    def cut(document):
        document["projections"][0].update(live=packed("bool", [6], "4A=="), weights=[1.0, 2.0, 3.0])

    with pytest.raises(
        SnapshotError, match=r"net.json: unit \('l1', 1\): is an island: no path from an input"
    ) as caught:
        from_bytes(altered(cut), "net.json")
    broken = caught.value.__cause__
    assert isinstance(broken, VerificationError)
    assert [violation.place for violation in broken.violations] == [("l1", 1)]
    with pytest.raises(ValidationError, match="island"):  # the schema itself holds the law
        NETWORK.validate_json(altered(cut))


@pytest.mark.parametrize(
    "data",
    [
        b'["' + b'\\"' * 2**23,  # a string that never ends, in escapes
        b'"\\' * 2**22,
        b'["' + b"a" * 2**24 + b'"]',
        b" " * 2**24,
        b"1" * 2**24,
    ],
)
def test_memory_grows_no_faster_than_the_file_and_no_pattern_goes_astray(data):
    """A pattern that tries every way would not end before the watchdog."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refusal(data)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 10 * len(data) + 2**26


def test_brackets_in_labels_are_no_nesting():
    label = '[{"\\' * 50
    labelled = SMALL.replace(layers={"l1": SMALL.layer("l1").model_copy(update={"label": label})})
    assert from_bytes(to_bytes(Network.of(labelled))).layer("l1").label == label


def test_exhaustion_is_reported(monkeypatch):
    for failure in (RecursionError, MemoryError):

        def exhausted(*_, failure=failure, **__):
            raise failure

        monkeypatch.setattr(json, "loads", exhausted)
        assert failure.__name__ in refusal(DATA)


# -- the disk --------------------------------------------------------------------------------------------


def test_files_that_cannot_be_read(tmp_path):
    save(SMALL, tmp_path / "net.json")
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    reasons = {
        "none.json": "no such file",
        "link": "directory",
        "": "directory",
        "loop": "symbolic links",
        "pipe": "pipe or device",
        "net.json/x": "not a directory",
        "a\0b": "NUL",
        "x" * 300: "names of at most 255",
    }
    for name, reason in reasons.items():
        with pytest.raises(SnapshotError) as caught:
            load(tmp_path / name)
        assert reason in one_line(caught.value)
    with pytest.raises(SnapshotError, match="pipe or device"):
        load("/dev/zero")


def test_size_is_checked_before_reading(tmp_path):
    path = tmp_path / "net.json"
    save(SMALL, path)
    assert load(path, Limits(document_bytes=len(DATA))) == SMALL
    with pytest.raises(SnapshotError, match=f"at most {len(DATA) - 1:,} bytes, got {len(DATA):,}"):
        load(path, Limits(document_bytes=len(DATA) - 1))
    os.truncate(path, MAX_BYTES + 1)  # sparse: takes no room
    with pytest.raises(SnapshotError, match="too large"):
        load(path)
