"""Networks as files: exact round trips, atomic saves, and loading that is total on hostile input."""

import errno
import json
import os
import resource
import signal
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from nestgraph.errors import SnapshotError, VerificationError
from nestgraph.graph import ConnectionColumns, Network, Structure, UnitColumns
from nestgraph.snapshot import MAX_BYTES, NETWORK, NetworkDocument, disk, from_bytes, load, save, to_bytes
from nestgraph.spec import BatchNorm, Dense, Layer
from tests.strategies import networks

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


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
            connections[projection.name] = ConnectionColumns.of(weight, mask)
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


@quick
@given(networks())
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


@quick
@given(networks())
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


def test_lenet_is_saved_and_loaded_well_under_a_second(tmp_path):
    network = chain((784, 300, 100, 10))
    start = time.perf_counter()
    save(network, tmp_path / "net.json")
    assert load(tmp_path / "net.json") == network
    assert time.perf_counter() - start < 1.0


# -- damage ----------------------------------------------------------------------------------------------


def test_every_truncation_is_refused():
    for length in range(len(DATA) - 1):
        assert "net.json: " in refusal(DATA[:length])
    assert from_bytes(DATA[:-1]) == SMALL  # only the newline is gone


@settings(max_examples=400, deadline=None)
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
    ("projections", 0, "mask"),
    ("projections", 0, "mask", "shape"),
    ("projections", 0, "weights"),
    ("projections", 0, "area"),
    ("projections", 0, "links"),
    ("digest",),
]


@settings(max_examples=300, deadline=None)
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


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused(data):
    refusal(data)


# -- hostile files ---------------------------------------------------------------------------------------


def put(*place, value):
    def change(document):
        for step in place[:-1]:
            document = document[step]
        document[place[-1]] = value

    return altered(change)


def packed(dtype, shape, data):
    return {"dtype": dtype, "shape": shape, "data": data}


MASK, WEIGHTS = ("projections", 0, "mask"), ("projections", 0, "weights")
HOSTILE = {
    "empty": (b"", "line 1 column 1"),
    "broken on line 2": (DATA.replace(b',"digest"', b',\n"digest"').replace(b'"layers":', b'"layers"'), "line 2 col"),
    "duplicate key": (DATA.replace(b'"version":1', b'"version":2,"version":1'), "each key once, got 'version' twice"),
    "duplicate key in escapes": (DATA.replace(b'"version":1', b'"\\u0076ersion":2,"version":1'), "'version' twice"),
    "NaN": (DATA.replace(b'"next_id":3', b'"next_id":NaN'), "finite numbers, got NaN"),
    "infinity": (DATA.replace(b'"next_id":3', b'"next_id":-Infinity'), "finite numbers, got -Infinity"),
    "overflow": (DATA.replace(b"[0.0]", b"[1e999]"), "finite numbers, got 1e999"),
    "float32 overflow": (DATA.replace(b"[0.0]", b"[1e300]"), "layers[2].values.bias: expected finite"),
    "packed NaN": (put(*WEIGHTS, value=packed("float32", [6], "AADAfwAAwH8AAMB/AADAfwAAwH8AAMB/")), "finite"),
    "text as number": (DATA.replace(b"[0.0]", b'["NaN"]'), "layers[2].values.bias: expected entries of type float32"),
    "true as 1": (DATA.replace(b'"next_id":3', b'"next_id":true'), "layers[0].next_id: "),
    "huge integer": (put("layers", 0, "layer", "features", value=10**400), "integers below 2**53"),
    "2**53": (put("layers", 0, "next_id", value=2**53), "integers below 2**53"),
    "huge list entry": (put("layers", 2, "values", "bias", value=[10**400]), "integers below 2**53"),
    "byte order mark": (b"\xef\xbb\xbf" + DATA, "without a byte order mark"),
    "UTF-16": (DATA.decode().encode("utf-16"), "expected UTF-8 text, got byte 0xff at offset 0"),
    "Latin-1": (DATA.replace(b'"label":""', b'"label":"\xe9"'), "expected UTF-8 text, got byte 0xe9"),
    "deep": (b"[" * 33 + b"]" * 33, "at most 32 deep, got 33"),
    "very deep": (b"[" * 400_000, "at most 32 deep, got 400000"),
    "deep objects": (b'{"a":' * 100_000, "at most 32 deep"),
    "many values": (b"[" + b"[]," * 2**19 + b"[]]", "at most 524,288 values"),
    "many problems": (put("layers", 1, "layer", "operations", value=[0] * 100_000), "100,000 problems"),
    "base64 of a wrong length": (put(*WEIGHTS, value=packed("float32", [6], "AAAA")), "expected 24 bytes of data"),
    "not base64": (put(*MASK, value=packed("bool", [2, 3], "!!!!")), "projections[0].mask: expected base64"),
    "wrong dtype": (put(*WEIGHTS, value=packed("float64", [1], "AAAAAAAA8D8=")), "array object of dtype float32"),
    "shape overflow": (put(*MASK, value=packed("bool", [2**31 - 1] * 8, "/A==")), "bytes of data for shape"),
    "shape overflow of nothing": (put(*MASK, value=packed("bool", [0] + [2**31 - 1] * 7, "")), "too big"),
    "negative shape": (put(*MASK, value=packed("bool", [-2, -3], "/A==")), "sizes from 0"),
    "too few weights": (put(*WEIGHTS, value=[1.0]), "one weight for each of 6 active connections, got (1,)"),
    "links of one dimension": (put("projections", 0, "links", value=[1]), "links of shape (links, 2), got (1,)"),
    "links on a dense projection": (put("projections", 0, "links", value=packed("int64", [0, 2], "")), "one-to-one"),
    "keyword": (put("layers", 1, "layer", "name", value="class"), "layers[1].layer.name: expected a name of letters"),
    "port": (put("layers", 1, "layer", "name", value="a:b"), "layers[1].layer.name: "),
    "quotes": (put("layers", 1, "layer", "name", value='a"b'), "layers[1].layer.name: "),
    "newline": (put("layers", 1, "layer", "name", value="a\n"), "layers[1].layer.name: "),
    "code": (put("layers", 1, "layer", "name", value='x=__import__("os")'), "layers[1].layer.name: "),
    "bidirectional label": (
        put("layers", 1, "layer", "label", value="a\u202eb"),
        "bidirectional characters, got '\\u202e'",
    ),
    "control label": (put("layers", 1, "layer", "label", value="a\x1b[2J"), "layers[1].layer.label: "),
    "long label": (put("layers", 1, "layer", "label", value="a" * 257), "layers[1].layer.label: "),
    "lone surrogate": (DATA.replace(b'"label":""', b'"label":"\\ud800"'), "Invalid JSON"),
    "unknown key": (put("layers", 1, "colour", value="red"), "layers[1].colour: unknown key"),
    "unknown key with code": (put("layers", 1, "\u202e\n\x1b[2J", value=1), "layers[1].'\\u202e\\n\\x1b[2J': unknown"),
    "unknown column": (put("layers", 2, "values", "weight\u202e", value=[0.0]), "layers[2].values"),
    "unknown kind": (put("layers", 1, "layer", "operations", value=[{"kind": "exec\n\u202e"}]), "exec\\n\\u202e"),
    "missing key": (altered(lambda document: document.pop("projections")), "projections: missing"),
    "newer version": (put("version", value=2), "version: made by a newer nestgraph (expected version 1, got 2)"),
    "older version": (put("version", value=0), "version: unknown format"),
    "other format": (put("format", value="onnx"), "format: expected 'nestgraph.network', got 'onnx'"),
    "wrong digest": (put("digest", value="0" * 64), "digest: expected " + SMALL.digest),
    "digest of capitals": (put("digest", value=SMALL.digest.upper()), "digest: "),
    "no layers": (altered(lambda document: document.update(layers=[], projections=[])), "got no layer"),
    "layer twice": (altered(lambda document: document["layers"].append(document["layers"][0])), "'l0' twice"),
    "projection twice": (
        altered(lambda document: document["projections"].append(document["projections"][0])),
        "distinct names, got 'l0_to_l1' twice",
    ),
    "stranger at an end": (put("projections", 0, "projection", "source", value="who"), "expected a layer 'who'"),
    "mask without weights": (put(*MASK, value=packed("bool", [2, 3], "4A==")), "expected one weight for each of 3"),
    "cycle": (
        altered(
            lambda document: document["projections"].append(
                {
                    "projection": {"kind": "dense", "source": "l2", "target": "l1", "name": "back"},
                    "mask": packed("bool", [2, 1], "wA=="),
                    "weights": [1.0, 1.0],
                }
            )
        ),
        "cycle, got l1 -> l2",
    ),
    "reused id": (put("layers", 1, "next_id", value=1), "unit ('l1', 1): expected an id below next_id 1"),
    "same id twice": (put("layers", 1, "ids", value=[1, 1]), "distinct"),
    "id beyond the features": (put("layers", 0, "ids", value=[0, 1, 3]), "features"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused_with_the_reason(case):
    data, reason = HOSTILE[case]
    start = time.perf_counter()
    assert reason in refusal(data)
    assert time.perf_counter() - start < 3


def test_islands_are_named_and_their_violations_kept():
    def cut(document):
        document["projections"][0].update(mask=packed("bool", [2, 3], "4A=="), weights=[1.0, 2.0, 3.0])

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
def test_time_and_memory_grow_no_faster_than_the_file(data):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    refusal(data)
    assert time.perf_counter() - start < 3
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
        "a\0b": "null byte",
        "x" * 300: "name too long",
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
    assert load(path, max_bytes=len(DATA)) == SMALL
    with pytest.raises(SnapshotError, match=f"at most {len(DATA) - 1:,} bytes, got {len(DATA):,}"):
        load(path, max_bytes=len(DATA) - 1)
    os.truncate(path, MAX_BYTES + 1)  # sparse: takes no room
    with pytest.raises(SnapshotError, match="too large"):
        load(path)


def fail(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class FullDisk:
    """A file that takes half of what it is given."""

    def __init__(self, *how):
        self.file = open(*how)  # noqa: SIM115

    def __enter__(self):
        self.file.__enter__()
        return self

    def __exit__(self, *reason):
        return self.file.__exit__(*reason)

    def write(self, data):
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        fail()


@pytest.mark.parametrize("step", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("failure", [None, KeyboardInterrupt])
def test_a_save_that_fails_leaves_the_old_file_whole(tmp_path, monkeypatch, step, failure):
    path = tmp_path / "net.json"
    path.write_bytes(b"old")

    def interrupt(*_, **__):
        raise failure

    with monkeypatch.context() as patch:
        if step == "write":
            patch.setattr(disk, "open", FullDisk, raising=False)
        elif step == "open":
            patch.setattr(disk, "open", interrupt if failure else fail, raising=False)
        else:
            patch.setattr(os, step, interrupt if failure else fail)
        expected = failure if failure and step != "write" else SnapshotError
        with pytest.raises(expected) as caught:
            save(SMALL, path)
    if expected is SnapshotError:
        assert str(caught.value) == f"{path}: cannot be written (expected a usable file, got: no space left on device)"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["net.json"]


def killed(step, write):
    """Run `write` in a process that is killed at the first call of `step`; whether it was."""
    child = os.fork()
    if child == 0:
        try:
            if step == "write":
                disk.open = KilledFile
            else:
                setattr(os, step, die)
            write()
        finally:
            os._exit(0)
    return os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


class KilledFile(FullDisk):
    def write(self, data):
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        die()


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_save_that_is_killed_leaves_the_old_file_whole(tmp_path, step):
    path = tmp_path / "net.json"
    save(SMALL, path)
    assert killed(step, lambda: save(chain((5, 4, 2)), path))
    assert load(path) == SMALL
    save(chain((5, 4, 2)), path)
    assert load(path) == chain((5, 4, 2))


def test_the_killing_would_tear_a_naive_save(tmp_path):
    path = tmp_path / "net.json"
    save(SMALL, path)

    def naive():
        with disk.open(path, "wb") as file:
            file.write(to_bytes(chain((5, 4, 2))))

    assert killed("write", naive)
    with pytest.raises(SnapshotError):
        load(path)


def test_a_save_is_durable_before_it_is_visible(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))[1])
    save(SMALL, tmp_path / "net.json")
    assert calls == ["fsync", "replace", "fsync"]


def test_file_systems_that_cannot_sync_folders_are_no_error(tmp_path, monkeypatch):
    real, seen = os.fsync, []

    def fsync(descriptor):
        seen.append(descriptor)
        if len(seen) == 2:
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    save(SMALL, tmp_path / "net.json")
    assert load(tmp_path / "net.json") == SMALL
    assert len(seen) == 2


def test_paths_that_cannot_be_written(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("folder", "none/net.json", "a\0b"):
        with pytest.raises(SnapshotError, match="cannot be written"):
            save(SMALL, tmp_path / name)
    assert os.listdir(tmp_path) == ["folder"]


def test_a_save_has_the_permissions_of_new_files(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    save(SMALL, tmp_path / "net.json")
    assert (tmp_path / "net.json").stat().st_mode == (tmp_path / "plain").stat().st_mode
