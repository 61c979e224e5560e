"""docs/format.md is enough to write networks and to compute them: held to by code that knows the page alone."""

import ast
import inspect
import json
import re
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from nestgraph.graph import Network
from nestgraph.graph.columns import Links
from nestgraph.graph.reference import forward
from nestgraph.snapshot import from_bytes, to_bytes
from nestgraph.spec import Activation, Argument, Conv, Dense, InputPort, Layer, OneToOne, OutputPort
from nestgraph.spec.arrays import encode
from nestgraph.spec.operations import OPERATIONS, ActivationFunction
from nestgraph.spec.unit_column import COLUMNS
from tests.laws import quick
from tests.snapshot import outsider
from tests.strategies import FAMILIES, inputs_for, networks

FLOATS = TypeAdapter(list[float])
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-9, 25).map(lambda power: 10.0**power),
    st.integers(-(10**18), 10**18).map(float),
    st.builds(lambda share, power: share * 10.0**power, st.floats(-1, 1), st.integers(-9, 20)),
)


def plain(value):
    """A record as a dictionary of all its fields, whatever JSON leaves out."""
    if hasattr(type(value), "model_fields"):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    return (
        [plain(entry) for entry in value] if isinstance(value, tuple) and value and not is_number(value[0]) else value
    )


def is_number(value):
    return isinstance(value, int | float)


def described(network):
    """A network as the outsider holds it."""
    layers = []
    for name in reversed(network.layer_names):  # in no order
        columns = network.unit_columns(name)
        known = {"record": plain(network.layer(name)), "next_id": columns.next_id, "values": dict(columns.values)}
        layers.append(known | {"ids": columns.ids.tolist()})
    projections = []
    for name in reversed(network.projection_names):
        columns = network.connection_columns(name)
        one = {"record": plain(network.projection(name)), "weight": columns.weight, "mask": columns.mask}
        one |= {} if columns.area is None else {"area": columns.area}
        projections.append(one | ({} if not isinstance(columns, Links) else {"links": columns.links}))
    interface = network.interface
    return layers, projections, None if interface is None else plain(interface)


@st.composite
def remarked(draw):
    """A network whose records also say what changes no output: what does not train, and notes."""
    network = draw(networks())
    trained = [name for name, column in COLUMNS.items() if column.trained]
    frozen = st.lists(st.sampled_from(trained), unique=True).map(tuple)
    layers = [
        layer.model_copy(update={"frozen": draw(frozen), "note": draw(st.sampled_from(["", "a note"]))})
        for layer in network.layers_by_name.values()
    ]
    projections = [
        one
        if one.kind == "argument" or one.name in network.tied
        else one.model_copy(update={"frozen": draw(st.booleans())})
        for one in network.projections_by_name.values()
    ]
    units = {name: network.unit_columns(name) for name in network.layer_names}
    connections = {name: network.connection_columns(name) for name in network.projection_names}
    return Network(layers, projections, units, connections, interface=network.interface)


@quick(60)
@given(st.one_of(networks(), remarked()))
def test_a_writer_that_knows_the_page_alone_writes_the_same_bytes(network):
    data = outsider.written(*described(network))
    assert data == to_bytes(network)
    assert from_bytes(data).digest == network.digest


OPTIONS = {
    "clamp": {"low": -0.5, "high": 1.5},
    "hard_shrink": {"high": 0.5},
    "soft_shrink": {"high": 0.5},
    "threshold": {"low": -0.5, "value": 1.5},
    "power": {"exponent": -1.5},
    "softplus": {"sharpness": 0.5, "high": 3.0},
    "logit": {"low": 0.25},
}
RANGES = {
    **dict.fromkeys(("log", "log2", "log10", "sqrt", "rsqrt", "power"), (0.1, 4)),
    **dict.fromkeys(("asin", "acos", "atanh"), (-0.95, 0.95)),
    "acosh": (1.05, 4),
    "log1p": (-0.95, 4),
}


@pytest.mark.parametrize("function", get_args(ActivationFunction))
def test_the_page_says_what_every_activation_computes(function):
    operation = Activation(function=function, slope=0.3, **OPTIONS.get(function, {}))
    least, most = RANGES.get(function, (-4.05, 4))
    x = np.linspace(least, most, 83)
    found = outsider.applied(plain(operation), {}, x)
    np.testing.assert_allclose(found, operation.of(x), rtol=1e-9, atol=1e-12)
    assert re.search(rf"\b{function}\b", Path("docs/format.md").read_text(encoding="utf-8"))


@quick(60)
@given(
    networks(tuple(family for family in FAMILIES if family not in ("opaque", "unitwise"))),
    st.integers(0, 2**32 - 1),
)
def test_what_the_page_says_that_a_network_means_is_what_it_computes(network, seed):
    layers, projections, _ = outsider.read(to_bytes(network))
    samples = inputs_for(network, 1, np.random.default_rng(seed))
    expected = forward(network, samples)
    shaped = {p.layer: samples[p.layer][0] for p in network.inputs}
    own = {name: (network.layer(name).features, *(network.layer(name).size or ())) for name in shaped}
    found = outsider.evaluate(layers, projections, {name: value.reshape(own[name]) for name, value in shaped.items()})
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        scale = max(1.0, float(np.abs(values).max(initial=0)))
        np.testing.assert_allclose(found[name], values[0], rtol=0, atol=1e-6 * scale)


@quick(300)
@given(NUMBERS)
def test_floats_are_spelled_as_the_page_says(value):
    assert outsider.number(value) == FLOATS.dump_json([value]).decode()[1:-1]
    if abs(value) < 1e38:
        single = np.array([value], np.float32)
        assert outsider.number(single[0], True) == FLOATS.dump_json(encode(single)).decode()[1:-1]


@quick(100)
@given(
    st.text(
        st.characters(
            exclude_categories=("Cc", "Cs", "Zl", "Zp"),
            exclude_characters="\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",
        ),
        max_size=40,
    )
)
def test_text_is_spelled_as_the_page_says(text):
    layer = Layer(name="a", kind="neurons", label=text)
    assert outsider.layer_record(plain(layer)) == layer.model_dump_json()


def test_the_outsider_knows_nothing_of_the_library():
    tree = ast.parse(inspect.getsource(outsider))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names == {"base64", "hashlib", "json", "math", "decimal", "numpy"}


ROWS = {
    "layer": Layer,
    **{f"`{one.model_fields['kind'].default}`": one for one in OPERATIONS},
    **{one.model_fields["kind"].default: one for one in (Dense, Conv, OneToOne, Argument)},
    "input port": InputPort,
    "output port": OutputPort,
}


@pytest.mark.parametrize("name", ROWS)
def test_the_page_has_every_field_of_a_record(name):
    """In order, those that are left out at a value in brackets."""
    page = (Path(__file__).parents[2] / "docs" / "format.md").read_text("utf-8")
    row, *_ = re.findall(rf"^\| {re.escape(name)} \| (`.*) \|$", page, re.MULTILINE)
    told = re.findall(r"\[`(\w+)`: ([^\]]*\]?)\]|`(\w+)`(?![^(]*\))", row)
    fields = ROWS[name].model_fields
    assert [left or always for left, _, always in told] == list(fields)
    for field, value, _ in told:
        if field:
            default = fields[field].default
            assert json.loads(value) == (list(default) if isinstance(default, tuple) else default)
    assert {field for field, _, _ in told if field} == {field for field, info in fields.items() if info.exclude_if}
    assert list(outsider.RECORDS[name.strip("`")]) == list(fields)
    assert outsider.LEFT_OUT.get(name.strip("`"), {}) == {field: json.loads(value) for field, value, _ in told if field}
