"""ONNX that keeps int8: within its bound by another engine, by the scales of C, and for samples that it was made by."""

import json

import numpy as np
import pytest

from nestgraph.chip.samples import affordable, expected
from nestgraph.errors import ExportError
from nestgraph.interop.export import export
from nestgraph.interop.onnx_int8 import held, int8_of, typed
from nestgraph.interop.onnx_model import onnx_bytes, onnx_runner
from nestgraph.lowering.compact import compact
from nestgraph.seeds import mlp
from nestgraph.snapshot import load, save
from tests.chip.test_floats import RESULTS
from tests.chip.trying import SUPPORTED, ported
from tests.cli.running import run
from tests.strategies import inputs_for
from tests.strategies.networks import pool

onnx = pytest.importorskip("onnx")


def kept_of(network, inputs=None):
    """How a network is kept, and what its model computes; None where numbers are too large."""
    try:
        kept = int8_of(network, "net.onnx", inputs)
    except ExportError:
        return None
    data = onnx_bytes(network, held(compact(network, 1, "contiguous", "dense"), kept), None, int8=True)
    return kept, data, onnx_runner(data)


def check_bounds(network):
    """Hold a model to its bound of the network, and what C gives to the same."""
    samples = inputs_for(network, 8, np.random.default_rng(5))
    found = kept_of(network, samples)
    if found is None:
        return
    kept, _, compute = found
    given = ported(network, samples)
    exact, got = expected(network, given), compute(typed(network, given))
    for values, array, bound in zip(exact, got, kept.bounds, strict=True):
        if np.isfinite(values).all():
            assert np.abs(array - values).max() <= bound * (1 + 1e-6)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("family", SUPPORTED)
def test_some_of_each_family(family):
    for network in pool(family)[:4]:
        check_bounds(network)


def test_weights_and_scales_are_those_of_c():
    network = mlp((8, 6, 3), density=0.7, seed=0, batch_norm=True)
    samples = np.random.default_rng(0).standard_normal((50, 8)).astype(np.float32)
    kept, data, _ = kept_of(network, samples)
    parts = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load_from_string(data).graph.initializer}
    whole = [array for array in parts.values() if array.dtype == np.int8 and array.ndim == 2]
    assert not [array for array in parts.values() if array.dtype == np.float32 and array.ndim == 2]
    for step, weights in zip(kept.program.steps, whole, strict=True):
        terms, source = kept.form.integers[step.target.name].sum.terms, step.sources[0]
        rows = np.zeros((len(weights), source.count))
        for row, (part,) in zip(rows, terms[0].rows, strict=True):
            row[part.offsets] = part.weights
        live = rows.any(axis=0)
        assert np.array_equal(rows[:, live], weights[:, weights.any(axis=0)])
    scales = [kept.form.scales[value.name] for value in kept.program.values if value.name in kept.form.scales]
    held_scales = [(float(parts[f"scale{n}"]), int(parts[f"zero{n}"])) for n in range(len(scales))]
    assert held_scales == [(scale.step, scale.zero) for scale in scales]


def test_engines_are_given_int8_on_both_sides_of_sums():
    """Each sum reads numbers and weights through `DequantizeLinear`, and an int32 bias of what both are worth."""
    network = load(RESULTS / "lenet-5-compact.json")
    _, data, _ = kept_of(network, np.random.default_rng(0).random((4, 1, 28, 28)))
    graph = onnx.load_from_string(data).graph
    made = {name: node for node in graph.node for name in node.output}
    types = {each.name: each.data_type for each in graph.initializer}
    sums = [node for node in graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(sums) == 4
    for node in sums:
        read = [made[name] for name in node.input[1:]]
        assert [each.op_type for each in read] == ["DequantizeLinear"] * 2
        assert [types[each.input[0]] for each in read] == [onnx.TensorProto.INT8, onnx.TensorProto.INT32]


def test_a_split_is_told_and_what_is_off_is_not_written(tmp_path, monkeypatch):
    network = mlp((8, 6, 3), seed=0)
    rng = np.random.default_rng(0)
    samples, classes = rng.standard_normal((50, 8)).astype(np.float32), rng.integers(0, 3, 50)
    written = export(network, tmp_path / "net.onnx", int8=True, inputs=samples, split=(samples, classes), loss=100.0)
    assert written.told.count == 50
    assert len(written.bounds) == 1
    assert written.difference > 0
    right = expected(network, [samples])[0].argmax(axis=1)
    with pytest.raises(ExportError, match="expected at most 0 points lost"):
        export(network, tmp_path / "other.onnx", int8=True, inputs=samples[:1] / 99, split=(samples, right), loss=0.0)
    honest = onnx_runner
    monkeypatch.setattr(
        "nestgraph.interop.exporting.onnx_runner", lambda data: lambda given_: [x + 9 for x in honest(data)(given_)]
    )
    with pytest.raises(ExportError, match="as int8 is, got a difference of"):
        export(network, tmp_path / "other.onnx", int8=True, inputs=samples)
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert len(affordable(network, [samples])[0]) == 50


def test_the_command_says_how_far_it_can_be_off(tmp_path):
    save(mlp((64, 6, 10), density=0.3, seed=0), tmp_path / "net.json")
    words = ["export", tmp_path / "net.json", tmp_path / "net.onnx", "--int8", "--data", "digits", "--loss", "100"]
    done = run(*words, "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    assert told["told"]["count"] == 359
    assert len(told["bounds"]) == 1
    refused = run("export", tmp_path / "net.json", tmp_path / "net.onnx", "--data", "digits")
    assert refused.exit_code == 2
    assert "--int8" in refused.stderr
