"""Maps of one to three extents: an axis of one place changes nothing, and sizes that clash are told."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.graph import Grid, Links, Structure, UnitColumns, cost
from nestgraph.graph.extents import given_out, sample_shape
from nestgraph.graph.readings import readings
from nestgraph.graph.reference import forward
from nestgraph.graph.summary import summary
from nestgraph.graph.verify import violations
from nestgraph.spec import Activation, Conv, Dense, InputPort, Interface, Layer, OneToOne, OutputPort
from tests.laws import quick
from tests.strategies import SEEDS, areas, sparse


def series(size, rng, area=None, transposed=False):
    """x -> a, sweeping; b, depthwise, dilated; b gated by the single values g; y, dense: maps of any extents."""
    axes = len(size)
    steps = {"stride": (2, 1, 1)[:axes], "padding": (1, 0, 1)[:axes], "transposed": transposed}
    if transposed:
        steps["output_padding"] = (1, 0, 0)[:axes]
    first = Conv(source="x", target="a", kernel=(2,) * axes, **steps)
    inner = first.swept_size(size)
    records = [
        Layer(name="x", kind="input", features=3, size=size),
        Layer(name="a", kind="feature_maps", size=inner, operations=(Activation(function="relu"),)),
        Layer(name="b", kind="feature_maps", size=inner),
        Layer(name="g", kind="neurons"),
        Layer(name="y", kind="neurons", output=True),
    ]
    near = {"transposed": transposed, "kernel": (3,) * axes, "dilation": (2, 1, 1)[:axes], "padding": (2, 1, 1)[:axes]}
    links = np.array([[0, 0], [1, 1]])
    projections = {
        first: sparse((2, 3, *first.kernel), 0.7, rng),
        OneToOne(source="a", target="b", trained=True, **near): Links.of(
            rng.standard_normal((2, *near["kernel"])), links=links
        ),
        Dense(source="a", target="g"): sparse((2, 2, *inner), 0.7, rng),
        OneToOne(source="g", target="b", gate=True): Links.of(np.ones(2), links=links),
        Dense(source="b", target="y"): sparse((2, 2, *inner), 1.0, rng),
    }
    units = {"x": 3, "a": 2, "b": 2, "g": 2, "y": 2}
    columns = {
        record.name: UnitColumns.of(
            np.arange(units[record.name]),
            {name: rng.standard_normal(units[record.name]) for name in record.column_names},
        )
        for record in records
    }
    connections = {record.name: block for record, block in projections.items()}
    block = connections["x_to_a"]
    connections["x_to_a"] = Grid.of(block.weight, block.mask, None if area is None else area((2, 3), inner))
    return Structure(records, projections, columns, connections)


def with_axis(structure, at):
    """The same with one more axis, of one place, among those of its maps."""

    def more(extents, extent=1):
        return extents and (*extents[:at], extent, *extents[at:])

    layers = {
        name: layer.model_copy(update={"size": more(layer.size)}) for name, layer in structure.layers_by_name.items()
    }
    projections, connections = {}, {}
    for name, projection in structure.projections_by_name.items():
        fields = ("kernel", "stride", "padding", "dilation", "output_padding")
        sweep = {field: getattr(projection, field, None) for field in fields}
        wider = {
            field: more(extents, int("padding" not in field)) for field, extents in sweep.items() if sweep["kernel"]
        }
        projections[name] = projection.model_copy(update=wider)
        columns = structure.connection_columns(name)
        if columns.inner:
            axis = columns.axes + at
            grown = [None if block is None else np.expand_dims(block, axis) for block in (columns.weight, columns.mask)]
            area = None if columns.area is None else np.expand_dims(columns.area, 2 + at)
            columns = columns.with_weight(*grown).with_area(area)
        connections[name] = columns
    return structure.replace(layers=layers, projections=projections, connections=connections)


@quick(30)
@given(data=st.data())
def test_an_axis_of_one_place_changes_nothing(data):
    rng = np.random.default_rng(data.draw(SEEDS))
    size = data.draw(st.sampled_from(((5,), (4, 3))))
    given_area = data.draw(st.booleans())
    area = (lambda units, inner: data.draw(areas(units, inner, rng))) if given_area else None
    plain = series(size, rng, area, data.draw(st.booleans()))
    at = data.draw(st.integers(0, len(size)))
    wider = with_axis(plain, at)
    assert violations(plain) == violations(wider) == ()
    samples = rng.standard_normal((2, 3, *size))
    expected, found = forward(plain, samples), forward(wider, np.expand_dims(samples, 2 + at))
    for name, outputs in expected.items():
        assert np.allclose(outputs, found[name].reshape(outputs.shape), rtol=1e-12, atol=1e-12), name
    assert cost(plain) == cost(wider)
    for name in plain.projection_names:
        for strength in (False, True):
            ours, theirs = readings(plain, name, strength), readings(wider, name, strength)
            assert np.array_equal(ours, theirs.reshape(ours.shape))


@pytest.mark.parametrize("size", [(5,), (4, 3), (3, 2, 4)])
def test_a_series_an_image_and_a_volume_are_told_in_the_summary(size):
    structure = series(size, np.random.default_rng(0))
    assert violations(structure) == ()
    assert "x".join(map(str, size)) in summary(structure).split()


CLASHES = [
    (
        lambda record: record.model_copy(update={"size": (4,)}),
        "expected a kernel with an extent for each of the maps' (4,)",
    ),
    (lambda record: record.model_copy(update={"size": (4, 3, 2)}), "expected a kernel with an extent for each"),
    (lambda record: record.model_copy(update={"size": (4, 4)}), "expected to give maps of size"),
    (lambda record: record.model_copy(update={"size": None}), "cannot lead from"),
]


@pytest.mark.parametrize(("change", "words"), CLASHES, ids=range(len(CLASHES)))
def test_sizes_that_clash_are_one_violation_in_words(change, words):
    structure = series((4, 3), np.random.default_rng(0))
    (found,) = violations(structure.replace(layers={"x": change(structure.layer("x"))}))
    assert (found.law, found.place) == ("shapes", "x_to_a")
    assert words in found.problem


def test_ports_say_where_units_stand_and_say_nothing_where_they_stand_first():
    structure, rng = series((4, 3), np.random.default_rng(0)), np.random.default_rng(1)
    given, taken = InputPort(layer="x", axis=3), OutputPort(layer="y")
    assert taken.model_dump_json() == '{"layer":"y"}'
    moved = structure.with_interface(Interface(inputs=(given,), outputs=(taken,)))
    assert violations(moved) == ()
    samples = rng.standard_normal((2, 3, 4, 3))
    assert sample_shape(moved, given) == (4, 3, 3)
    outside = given_out(given, samples)
    assert np.array_equal(forward(moved, outside)["y"], forward(structure, samples)["y"])
    flat = InputPort(layer="x", axis=3, shape=(36,))
    flattened = structure.with_interface(Interface(inputs=(flat,), outputs=(taken,)))
    assert np.array_equal(forward(flattened, outside.reshape(2, 36))["y"], forward(structure, samples)["y"])


def test_units_stand_at_an_axis_that_a_layer_has():
    structure = series((5,), np.random.default_rng(0))
    for ports in (
        (InputPort(layer="x", axis=3), OutputPort(layer="y")),
        (InputPort(layer="x"), OutputPort(layer="y", axis=2)),
    ):
        (found,) = violations(structure.with_interface(Interface(inputs=ports[:1], outputs=ports[1:])))
        assert found.law == "interface"
        assert "expected units at one of the axes" in found.problem
