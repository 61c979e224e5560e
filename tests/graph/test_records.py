"""Records take what is meant and refuse the rest; arrays survive JSON to the bit."""

import base64
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydantic import TypeAdapter, ValidationError

from nestgraph.edits import EDIT, Batch, RemoveUnits, SetValues
from nestgraph.edits.layers import Block
from nestgraph.errors import RecordError
from nestgraph.graph import Grid, UnitColumns
from nestgraph.spec import (
    Activation,
    AdaptivePooling,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Layer,
    LocalResponseNorm,
    OneToOne,
    Pick,
    Pooling,
    Upsampling,
)
from nestgraph.spec.arrays import READABLE, Booleans, Floats, Integers
from tests.laws import quick

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=READABLE + 2)
KINDS = [
    (Floats, "float32", FINITE),
    (Integers, "int64", st.integers(1 - 2**53, 2**53 - 1)),
    (Booleans, "bool", st.booleans()),
]


@pytest.mark.parametrize(("field", "dtype", "elements"), KINDS, ids=lambda kind: str(kind)[:12])
@quick(60)
@given(data=st.data())
def test_arrays_survive_json_to_the_bit(field, dtype, elements, data):
    shape = data.draw(SHAPES.filter(lambda shape: np.prod(shape) < 200))
    array = data.draw(arrays.arrays(dtype, shape, elements=elements))
    adapter = TypeAdapter(field)
    again = adapter.validate_json(adapter.dump_json(array))
    assert (again.dtype, again.shape, again.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert not again.flags.writeable


@quick(200)
@given(bits=st.integers(0, 2**32 - 1))
def test_every_float_has_a_decimal_that_reads_back(bits):
    value = np.array([bits], np.uint32).view(np.float32)
    adapter = TypeAdapter(Floats)
    if np.isfinite(value).all():
        assert adapter.validate_json(adapter.dump_json(value)).tobytes() == value.tobytes()


@quick(60)
@given(data=st.data())
def test_data_that_is_packed_has_one_form(data):
    """Bits beyond the shape, and those that base64 leaves unused, are 0."""
    count = data.draw(st.integers(READABLE + 1, 80))
    array = data.draw(arrays.arrays(bool, count))
    adapter = TypeAdapter(Booleans)
    form = json.loads(adapter.dump_json(array))
    raw = bytearray(base64.b64decode(form["data"]))
    for bit in range(-count % 8):
        altered = bytes([*raw[:-1], raw[-1] | 1 << bit])
        with pytest.raises(ValidationError, match=f"expected zeros after the last of {count} bits"):
            adapter.validate_json(json.dumps({**form, "data": base64.b64encode(altered).decode()}))
    if form["data"].endswith("="):
        text = form["data"].rstrip("=")
        digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
        other = text[:-1] + digits[digits.index(text[-1]) + 1] + form["data"][len(text) :]
        with pytest.raises(ValidationError, match="expected base64 data whose unused bits are 0"):
            adapter.validate_json(json.dumps({**form, "data": other}))


@pytest.mark.parametrize("text", ["[1e-50]", "[0.5, -1e-46]"])
def test_floats_that_would_become_0_are_refused(text):
    with pytest.raises(ValidationError, match="0 or large enough not to become 0, got"):
        TypeAdapter(Floats).validate_json(text)
    assert TypeAdapter(Floats).validate_json("[0.0, -0.0, 1e-45]").tolist()[2] > 0


def packed(**changes):
    form = {"dtype": "float32", "shape": [2, 2], "data": "AAAAAAAAAAAAAAAAAAAAAA=="}
    return form | changes


BAD_ARRAYS = [
    packed(dtype="float64"),
    packed(dtype="object"),
    packed(shape=[2, 3]),
    packed(shape=[-2, -2]),
    packed(shape=[2.0, 2.0]),
    packed(shape=[True, 4]),
    packed(shape=[1] * 9),
    packed(shape=[2**40, 2**40]),
    packed(shape="22"),
    packed(data="!" * 24),
    packed(data="AAAAAAAAAAAAAAAAAAAAAAA="),
    packed(data="AADAfwAAAAAAAAAAAAAAAA=="),
    packed(data=None),
    packed(more=1),
    {"shape": [0]},
    [None],
    ["1.0"],
    [True],
    [[1.0], [2.0]],
    [1e39],
    [10**400],
    "AAAA",
    3,
    None,
]


@pytest.mark.parametrize("form", BAD_ARRAYS, ids=lambda form: str(form)[:40])
def test_bad_array_forms_are_refused(form):
    with pytest.raises(ValidationError):
        TypeAdapter(Floats).validate_json(json.dumps(form))


@pytest.mark.parametrize("text", ["[NaN]", "[Infinity]", "[-Infinity]", "[1e999]"])
def test_numbers_that_are_not_finite_are_refused(text):
    with pytest.raises(ValidationError):
        TypeAdapter(Floats).validate_json(text)


BAD_INTEGERS = [[1.0], [True], ["1"], [2**53], [-(2**53)], [2**64 - 1], [2**70], [[1], [1, 2]], [None], "12", object()]


@pytest.mark.parametrize("units", BAD_INTEGERS, ids=[str(number) for number in range(len(BAD_INTEGERS))])
def test_ids_are_integers_that_json_can_carry(units):
    with pytest.raises(RecordError):
        RemoveUnits(layer="a", units=units)


def test_python_lists_and_numpy_numbers_will_do():
    assert RemoveUnits(layer="a", units=[3, 7]) == RemoveUnits(layer="a", units=np.array([3, 7], np.uint8))
    conv = Conv(source="a", target="b", kernel=[np.int64(3), 3], padding=np.array([1, 1]).tolist())
    assert conv == Conv(source="a", target="b", kernel=(3, 3), padding=(1, 1))
    maps = Layer(name="m", kind="input", features=np.uint8(3), size=[4, 4])
    assert Layer.model_validate_json(maps.model_dump_json()) == maps
    chain = [BatchNorm(), Activation(function="relu")]
    assert Layer(name="n", kind="neurons", operations=chain).operations == tuple(chain)
    assert Batch(edits=[RemoveUnits(layer="a", units=[])]) == Batch(edits=(RemoveUnits(layer="a", units=[]),))


BAD_RECORDS = [
    lambda: Layer(name="n", kind="neuron"),
    lambda: Layer(name="n", kind="neurons", size=(1, 1)),
    lambda: Layer(name="n", kind="neurons", features=2),
    lambda: Layer(name="n", kind="input"),
    lambda: Layer(name="n", kind="input", features=2, output=True),
    lambda: Layer(name="n", kind="input", features=2.0),
    lambda: Layer(name="n", kind="input", features=np.float64(2)),
    lambda: Layer(name="n", kind="input", features=True),
    lambda: Layer(name="n", kind="input", features=np.bool_(True)),
    lambda: Layer(name="n", kind="input", features=0),
    lambda: Layer(name="n", kind="feature_maps"),
    lambda: Layer(name="n", kind="feature_maps", size=(0, 1)),
    lambda: Layer(name="n", kind="feature_maps", size=()),
    lambda: Layer(name="n", kind="feature_maps", size=(1, 1, 1, 1)),
    lambda: Layer(name="n", kind="neurons", bias=1),
    lambda: Layer(name="n", kind="neurons", more=1),
    lambda: Layer(name="n", kind="neurons", operations=(BatchNorm(), BatchNorm())),
    lambda: Layer(name="n", kind="neurons", operations=(Dropout(probability=0.1),) * 17),
    lambda: Layer(name="n", kind="neurons", operations=(Pooling(function="max", kernel=(1, 1), stride=(1, 1)),)),
    lambda: Pooling(function="max", kernel=(2, 2), stride=(1, 1), padding=(2, 0)),
    lambda: Pooling(function="median", kernel=(2, 2), stride=(1, 1)),
    lambda: AdaptivePooling(function="max", size=(0, 1)),
    lambda: Pick(place=(0, 1.5)),
    lambda: Pick(place=()),
    lambda: Upsampling(mode="bicubic", size=(1, 1)),
    lambda: LocalResponseNorm(size=0),
    lambda: LocalResponseNorm(size=5, alpha=-1.0),
    lambda: LocalResponseNorm(size=5, k=0.0),
    lambda: Activation(function="sine"),
    lambda: Activation(function="leaky_relu", slope=float("nan")),
    lambda: BatchNorm(epsilon=float("inf")),
    lambda: BatchNorm(epsilon="1e-5"),
    lambda: BatchNorm(momentum=True),
    lambda: Dropout(probability=1),
    lambda: Conv(source="a", target="b", kernel=(1.0, 1)),
    lambda: Conv(source="a", target="b"),
    lambda: Conv(source="a", target="b", kernel=(3, 3), stride=(1,)),
    lambda: Conv(source="a", target="b", kernel=(3,), padding=(1, 1)),
    lambda: OneToOne(source="a", target="b", kernel=(3, 3, 3), dilation=(1, 1)),
    lambda: SetValues(units={"a": {"weight": [1.0]}}),
    lambda: SetValues(units={"a b": {"bias": [1.0]}}),
    lambda: SetValues(weights={"a": [float("nan")]}),
    lambda: EDIT.validate_json('{"kind": "batch", "edits": [{"kind": "run", "code": "1"}]}'),
    lambda: EDIT.validate_json('{"kind": "remove_units", "layer": "a", "units": [1], "layers": "b"}'),
]


@pytest.mark.parametrize("build", BAD_RECORDS, ids=range(len(BAD_RECORDS)))
def test_records_that_make_no_sense_are_refused(build):
    with pytest.raises(RecordError):
        build()


BAD_NAMES = [
    *("", " ", "a b", "a-b", "a.b", "a:b", "1a", "a\n", "\na", "a\x00", "class", "None", "lambda", "é", "a" * 65),
    *("x=__import__('os')", "a\u200b", "\uff41", "a/../b", "'", '"', "<b>", "a;b", "a\\", "%s", "${a}"),
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_hostile_names_are_refused_everywhere(name):
    for build in (
        lambda: Layer(name=name, kind="neurons"),
        lambda: Dense(source=name, target="b"),
        lambda: Dense(source="a", target=name),
        lambda: Dense(source="a", target="b", name=name),
        lambda: RemoveUnits(layer=name, units=[1]),
        lambda: SetValues(units={name: {"bias": [1.0]}}),
        lambda: Layer.model_validate_json(json.dumps({"name": name, "kind": "neurons"})),
    ):
        with pytest.raises(RecordError):
            build()


@pytest.mark.parametrize("text", ["\n", "\x1b[31m", "\u202e", "\u2066", "\u2028", "\ud800", "a" * 257], ids=ascii)
def test_labels_have_no_characters_that_mislead(text):
    with pytest.raises(RecordError):
        Layer(name="n", kind="neurons", label=f"label {text}")
    assert Layer(name="n", kind="neurons", label="<b>größer & 'höher'</b> 数").label


def test_a_default_name_is_a_name_even_of_long_ends():
    assert Dense(source="a" * 64, target="b" * 64).name == "a" * 64
    assert Dense(source="a", target="b").name == "a_to_b"


def test_columns_do_not_change_with_the_array_they_came_from():
    ids, weight, mask = np.arange(3), np.ones((3, 3), np.float32), np.ones((3, 3), bool)
    units, columns = UnitColumns.of(ids, {"bias": weight[0]}), Grid.of(weight[:2], mask.T[:2])
    edit = RemoveUnits(layer="a", units=ids)
    block = Block(weight=weight, mask=mask)
    ids[:], weight[:], mask[:] = 7, 7, False
    assert units.ids.tolist() == edit.units.tolist() == [0, 1, 2]
    assert units.values["bias"].tolist() == [1, 1, 1]
    assert columns.mask.all()
    assert (columns.weight == 1).all()
    assert (block.weight == 1).all()
    for array in (units.ids, units.values["bias"], columns.weight, columns.mask, edit.units, block.weight):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_blocks_and_edits_are_equal_when_their_arrays_are():
    one, same = (Block(weight=[[1.0, 2.0]], mask=[[True, True]]) for _ in range(2))
    assert one == same
    assert hash(one) == hash(same)
    assert one != Block(weight=[[1.0, 3.0]], mask=[[True, True]])
    assert one != RemoveUnits(layer="a", units=[1])
