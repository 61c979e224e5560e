"""C of int8: the arithmetic that its program says, without a warning, and little lost on data."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nestgraph.chip import trying
from nestgraph.chip.bounds import bounds, deviations
from nestgraph.chip.building import outputs_of, types_of
from nestgraph.chip.emulating import emulated, is_whole, numbers_of, read_as_whole
from nestgraph.chip.quantising import quantised
from nestgraph.chip.scales import Scale
from nestgraph.chip.scheduling import scheduled
from nestgraph.chip.sums import Sum
from nestgraph.chip.text import written
from nestgraph.data.datasets import load_dataset
from nestgraph.errors import ExportError
from nestgraph.graph import Network, UnitColumns
from nestgraph.graph.extents import given_out
from nestgraph.graph.reference import forward
from nestgraph.interop.export import export
from nestgraph.seeds import cnn, mlp
from nestgraph.snapshot import load
from nestgraph.spec import Dense, Layer
from tests.chip.test_floats import RESULTS
from tests.chip.trying import GCC, SANITIZERS, STRICT, SUPPORTED, missing, ported
from tests.laws import quick
from tests.lowering.test_compact import built
from tests.strategies import inputs_for
from tests.strategies.networks import drawn, networks, pool

numbers = st.floats(-1e6, 1e6, allow_nan=False)


@quick(100)
@given(numbers, numbers, st.floats(0, 1))
def test_a_scale_is_half_a_step_from_every_number_at_most(one, other, share):
    low, high = sorted((one, other))
    scale = Scale.over(low, high)
    number = np.array(min(low, 0) + share * (max(high, 0) - min(low, 0)))
    assert abs(scale.real(scale.of(number)) - number) <= scale.step * 0.5001
    assert scale.real(np.array(scale.zero)) == 0


def check_bytes(network, options=("-std=c99", *STRICT, *SANITIZERS), count=8):
    """Hold C of int8 to what is emulated, to the bit but where it has floats, and to its bound."""
    program = scheduled(network)
    inputs = inputs_for(network, count, np.random.default_rng(11))
    samples = ported(network, inputs)
    try:
        form = quantised(program, samples)
    except ExportError:  # numbers are too large
        return
    text = written(network, program, "net", form)
    whole = read_as_whole(program, form, samples)
    given = [array.astype(kind) for array, kind in zip(whole, types_of(text, program), strict=True)]
    exact, found = forward(network, inputs), outputs_of(text, program, given, GCC, options)
    said, apart = emulated(program, form, whole), deviations(program, form)
    if all(is_whole(step, form) for step in program.steps):
        assert apart == [0.0] * len(apart)
    numbers, others = numbers_of(program, form, found), numbers_of(program, form, said)
    results = zip(program.outputs, numbers, others, apart, bounds(program, form), strict=True)
    for (port, _), got, own, off, bound in results:
        assert np.abs(got - own).max() <= off * (1 + 1e-6)
        wanted = given_out(port, exact[port.layer])
        if np.isfinite(wanted).all():
            assert np.abs(got.reshape(wanted.shape) - wanted).max() <= bound * (1 + 1e-6)


@missing("gcc")
@pytest.mark.parametrize("family", SUPPORTED)
def test_one_of_each_family(family):
    check_bytes(pool(family)[6])


@missing("gcc")
@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(drawn(SUPPORTED))
def test_five_hundred_networks(network):
    check_bytes(network)


@quick(20)
@given(networks(("dense",)))
def test_sums_and_what_rises_need_no_floats(network):
    program = scheduled(network)
    samples = ported(network, inputs_for(network, 8, np.random.default_rng(1)))
    form = quantised(program, samples)
    if all(integers.finish != "float" for integers in form.integers.values()) and len(form.integers) == len(
        program.steps
    ):
        text = written(network, program, "net", form)
        assert "float" not in re.sub(r"/\*.*?\*/", "", text.source, flags=re.DOTALL)


def within(program, form, samples):
    """(batch,) bool: the samples whose numbers, and sums, stay within those by which scales were found."""
    held = program.run(samples)
    kept = np.ones(len(samples[0]), bool)
    for step in program.steps:
        asked = [(held[step.target.name], form.ranges.get(step.target.name))]
        asked += [(step.raw(held), form.raw[step.target.name])] if isinstance(step, Sum) else []
        for array, bounds_ in asked:
            flat = array.reshape(len(kept), -1)
            if bounds_ is not None and flat.shape[1]:
                kept &= (flat.min(axis=1) >= bounds_[0]) & (flat.max(axis=1) <= bounds_[1])
    for array, (_, value) in zip(samples, program.inputs, strict=True):
        if value.classes is None and value.count:
            flat = array.reshape(len(kept), -1)
            kept &= (flat.min(axis=1) >= form.ranges[value.name][0]) & (flat.max(axis=1) <= form.ranges[value.name][1])
    return kept


@quick(100)
@given(networks(SUPPORTED))
def test_the_bound_holds_what_the_arithmetic_gives(network):
    """For samples by which scales were found, and for others whose numbers stay within theirs."""
    program = scheduled(network)
    inputs = inputs_for(network, 60, np.random.default_rng(3))
    samples, exact = ported(network, inputs), forward(network, inputs)
    try:
        form = quantised(program, [array[:20] for array in samples])
    except ExportError:  # numbers are too large
        return
    kept = within(program, form, samples)
    assert kept[:20].all()
    said = numbers_of(program, form, emulated(program, form, read_as_whole(program, form, samples)))
    for (port, _), own, bound in zip(program.outputs, said, bounds(program, form), strict=True):
        wanted = given_out(port, exact[port.layer])[kept]
        if np.isfinite(wanted).all():
            assert np.abs(own[kept].reshape(wanted.shape) - wanted).max() <= bound * (1 + 1e-6)


def test_a_bound_says_something():
    """Of a sum of ten numbers: weights and inputs are each half a step apart, and so is what is rounded."""
    network = mlp((10, 1), seed=0)
    samples = np.random.default_rng(0).uniform(0, 1, (200, 10)).astype(np.float32)
    program = scheduled(network)
    form = quantised(program, [samples])
    (bound,) = bounds(program, form)
    outputs = program.run([samples])[program.outputs[0][1].name]
    weights = np.abs(network.connection_columns(network.projection_names[0]).weight)
    inputs, rounded = weights.sum() / 255 / 2, 10 * weights.max() / 127 / 2
    assert 0.9 * inputs < bound < 1.1 * (inputs + rounded) + 0.01 * np.abs(outputs).max()


@missing("gcc")
def test_the_header_says_how_to_call_it(tmp_path):
    network = mlp((8, 6, 3), seed=0)
    samples = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    found = export(network, tmp_path / "net.c", int8=True, inputs=samples)
    header = found.paths[1].read_text()
    assert "50 samples that were given" in header
    step = float(re.search(r"IN0_SCALE ([\d.e-]+)f", header)[1])
    zero = int(re.search(r"IN0_ZERO \((-?\d+)\)", header)[1])
    low, high = samples.min(), samples.max()
    assert (-128 - zero) * step <= low + step
    assert (127 - zero) * step >= high - step
    assert re.search(r"void net_run\(const int8_t \*in0, int16_t \*out0\);", header)
    export(network, tmp_path / "net.c", int8=True)
    assert "random numbers, not by data" in (tmp_path / "net.h").read_text()


@missing("gcc")
@pytest.mark.mnist
@pytest.mark.parametrize(
    ("name", "flash", "ram", "lost"),
    [("lenet-300-100-compact", 8 * 1024, 256, 0.1), ("lenet-5-compact", 6 * 1024, 2.2 * 1024, 0.1)],
)
def test_committed_networks_are_small_and_lose_little(name, flash, ram, lost, tmp_path):
    """The marks of issue 17, over all test images."""
    mnist = load_dataset("mnist")
    network = load(RESULTS / f"{name}.json")
    found = export(
        network,
        tmp_path / "net.c",
        int8=True,
        inputs=mnist.train.inputs[:1000],
        split=(mnist.test.inputs, mnist.test.targets),
        loss=lost,
    )
    assert found.chip.told.count == 10_000
    sizes = found.chip.report.sizes
    if sizes.compiler is None:
        pytest.skip("NOT RUN: arm-none-eabi-gcc is not installed here, so no flash was measured")
    assert sizes.flash <= flash
    assert sizes.ram <= ram


@missing("gcc")
def test_what_loses_too_much_is_not_written(tmp_path):
    digits = load_dataset("digits")
    network = mlp((64, 10), seed=0)
    flat = digits.test.inputs.reshape(len(digits.test.inputs), -1)
    right = forward(network, flat)[network.output_names[0]].argmax(axis=1)
    with pytest.raises(ExportError, match=r"expected at most 0\.1 points lost"):
        export(network, tmp_path / "net.c", int8=True, inputs=flat[:1] / 100, split=(flat, right), loss=0.1)
    assert list(tmp_path.iterdir()) == []


@missing("gcc")
def test_a_file_of_another_arithmetic_is_not_written(tmp_path, monkeypatch):
    honest = trying.outputs_of
    monkeypatch.setattr(trying, "outputs_of", lambda *given: [array - 1 for array in honest(*given)])
    samples = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)
    with pytest.raises(ExportError, match="of what it is to be"):
        export(mlp((8, 6, 3), seed=0), tmp_path / "net.c", int8=True, inputs=samples)
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_single_precision_has_not_are_refused(tmp_path):
    network = mlp((8, 3), seed=0)
    with pytest.raises(ExportError, match=r"layer '\w+': expected numbers below 1e\+30, of which int8 is made"):
        export(network, tmp_path / "net.c", int8=True, inputs=np.full((2, 8), 1e32, np.float32))


@pytest.mark.parametrize(
    "options",
    [
        {"int8": True},
        {"target": "uno"},
        {"split": (np.ones((1, 8)), np.array([0]))},
        {"example": True},
        {"arduino": True},
    ],
)
def test_other_formats_have_none_of_it(options, tmp_path):
    words = r"expected C \(\.c\)(, or ONNX \(\.onnx\) of prepared numbers with int8,)? with .*, got another format"
    with pytest.raises(ExportError, match=words):
        export(mlp((8, 3), seed=0), tmp_path / "net.safetensors", **options)


@pytest.mark.parametrize(
    ("samples", "classes"), [(5, np.zeros(4, np.int64)), (5, np.zeros(5)), (5, np.zeros((5, 1), np.int64))]
)
def test_a_split_has_a_class_for_each_sample(samples, classes, tmp_path):
    with pytest.raises(ExportError, match="expected a split of samples and a class for each"):
        export(mlp((8, 3), seed=0), tmp_path / "net.c", split=(np.ones((samples, 8), np.float32), classes))


@missing("gcc")
def test_a_source_whose_weights_all_become_0(tmp_path):
    """Beside another one whose weights are a million times as large."""
    layers = (
        Layer(name="x", kind="input", features=2),
        Layer(name="z", kind="input", features=2),
        Layer(name="y", kind="neurons", output=True),
    )
    projections = (Dense(source="x", target="y"), Dense(source="z", target="y"))
    arrays = {"x_to_y": np.full((1, 2), 1e-6), "z_to_y": np.ones((1, 2))}
    network = built(layers, projections, arrays, {"x": 2, "z": 2, "y": 1})
    check_bytes(network)
    assert "(void)x" in export(network, tmp_path / "net.c", int8=True).paths[0].read_text()


@missing("gcc")
def test_a_window_over_sums_without_live_weights(tmp_path):
    """Maps are their bias alone, as that is a billion times as large."""
    network = cnn((2,), (3,), 1.0, size=6, classes=2, batch_norm=False)
    name = next(p.name for p in network.projections_by_name.values() if p.target == "conv1")
    columns, units = network.connection_columns(name), network.unit_columns("conv1")
    tiny = columns.with_weight(columns.weight * np.float32(1e-12))
    biased = UnitColumns.of(units.ids, dict(units.values) | {"bias": np.ones(len(units), np.float32)})
    bare = Network.of(network.replace(connections={name: tiny}, units={"conv1": biased}))
    check_bytes(bare)
    assert "(void)x0" in export(bare, tmp_path / "net.c", int8=True).paths[0].read_text()
