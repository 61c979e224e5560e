"""Each operation means what PyTorch's function of that name does, in the reference and lowered."""

import json
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from nestgraph.edits import RemoveUnits, SetMask, duplicate_unit, merge_twins, split_unit, widen
from nestgraph.errors import EditError, RecordError, StructureError
from nestgraph.graph import Grid, Links, Network, Structure, UnitColumns, reference
from nestgraph.graph.geometry import output_size
from nestgraph.lowering import lower
from nestgraph.snapshot import from_bytes, to_bytes
from nestgraph.spec import (
    Activation,
    AdaptivePooling,
    Conv,
    Dense,
    Layer,
    LocalResponseNorm,
    OneToOne,
    Pad,
    ParametricReLU,
    Pick,
    Pooling,
    Series,
    Upsampling,
)
from nestgraph.spec.operations import ActivationFunction
from tests.laws import assert_same_outputs, quick
from tests.strategies import SEEDS

MODULES = {
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(0.2),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "relu6": nn.ReLU6(),
    "hard_sigmoid": nn.Hardsigmoid(),
    "hard_swish": nn.Hardswish(),
    "silu": nn.SiLU(),
    "gelu": nn.GELU(),
    "gelu_tanh": nn.GELU(approximate="tanh"),
    "elu": nn.ELU(0.2),
    "selu": nn.SELU(),
    "softplus": nn.Softplus(),
    "softsign": nn.Softsign(),
    "mish": nn.Mish(),
    "log_sigmoid": nn.LogSigmoid(),
    "tanh_shrink": nn.Tanhshrink(),
    "celu": nn.CELU(0.2),
    "hard_shrink": nn.Hardshrink(0.7),
    "soft_shrink": nn.Softshrink(0.7),
    "threshold": nn.Threshold(-0.4, 20.0),
    "asinh": torch.asinh,
    "atan": torch.atan,
    "erfc": torch.erfc,
    "erf": torch.erf,
}
OPTIONS = {"hard_shrink": {"high": 0.7}, "soft_shrink": {"high": 0.7}, "threshold": {"low": -0.4, "value": 20.0}}
FUNCTIONS = {
    name: getattr(torch, name)
    for name in (
        *("abs", "sign", "exp", "sqrt", "rsqrt", "reciprocal", "sin", "cos", "log", "square", "exp2", "expm1"),
        *("log1p", "log2", "log10", "logit", "sinc", "tan", "sinh", "cosh", "asin", "acos", "acosh", "atanh"),
        *("floor", "ceil", "round", "trunc", "frac"),
    )
}
NUMBERS = np.array([[0.5, 3.0, 1e-3], [2.0, 1.0, 40.0], [0.25, 1.5, 2.5], [-0.5, -1.5, -2.7], [700.0, -700.0, 0.0]])


def applying(operation, size, ids=(0, 1, 2), columns=None):
    """A network whose output is an operation on its input: maps of a size, or neurons without one."""
    kind = "neurons" if size is None else "feature_maps"
    layers = (
        Layer(name="x", kind="input", features=len(ids), size=size),
        Layer(name="y", kind=kind, size=size, operations=(operation,), bias=False, output=True),
    )
    units = {"x": UnitColumns.neutral(len(ids), ()), "y": UnitColumns.of(ids, columns or {})}
    order = np.argsort(ids)
    links = np.stack([order, np.array(ids)[order]], 1)
    connections = {"x_to_y": Links.of(np.ones(len(ids)), links=links)}
    return Network.of(Structure(layers, (OneToOne(source="x", target="y"),), units, connections))


def assert_means(operation, size, function, seed, ids=(0, 1, 2), columns=None):
    """The reference gives PyTorch's values, the lowered module its gradients, too; JSON brings the operation back."""
    network = applying(operation, size, ids, columns)
    rng = np.random.default_rng(seed)
    x = torch.tensor(3 * rng.standard_normal((2, len(ids), *(size or ()))), requires_grad=True)
    wanted = function(x)
    expected = wanted.detach().numpy()
    np.testing.assert_allclose(reference.predict(network, x.detach().numpy()), expected, rtol=1e-12, atol=1e-12)
    if size is not None:
        assert output_size(network.layer("y")) == tuple(wanted.shape[2:])
    module = lower(network).double()
    got = module(x)
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    weights = torch.tensor(rng.standard_normal(wanted.shape))
    torch.testing.assert_close(*(torch.autograd.grad((y * weights).sum(), x)[0] for y in (got, wanted)))
    assert from_bytes(to_bytes(network)) == network


@pytest.mark.parametrize("name", MODULES)
@quick(5)
@given(SEEDS)
def test_activations(name, seed):
    assert_means(Activation(function=name, slope=0.2, **OPTIONS.get(name, {})), None, MODULES[name], seed)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.filterwarnings("error")
def test_functions_that_are_not_defined_or_bounded_everywhere(name):
    network = applying(Activation(function=name), None)
    wanted = FUNCTIONS[name](torch.tensor(NUMBERS)).numpy()
    np.testing.assert_allclose(reference.predict(network, NUMBERS), wanted, rtol=1e-12)  # and NaN where there is none
    np.testing.assert_allclose(lower(network).double()(torch.tensor(NUMBERS)).detach(), wanted, rtol=1e-12)


def test_every_function_is_compared_with_that_of_torch():
    assert {*MODULES, *FUNCTIONS, "clamp", "power"} == set(get_args(ActivationFunction))


@pytest.mark.parametrize(
    ("fields", "function"),
    [
        ({"function": "leaky_relu", "slope": -0.3}, lambda x: functional.leaky_relu(x, -0.3)),
        ({"function": "leaky_relu", "slope": 2.5}, lambda x: functional.leaky_relu(x, 2.5)),
        ({"function": "elu", "slope": -3.0}, lambda x: functional.elu(x, -3.0)),
        ({"function": "celu", "slope": -0.7}, lambda x: functional.celu(x, -0.7)),
        ({"function": "celu", "slope": 4.0}, lambda x: functional.celu(x, 4.0)),
        ({"function": "softplus", "sharpness": 0.5}, lambda x: functional.softplus(x, 0.5)),
        ({"function": "softplus", "sharpness": 2.0, "high": 1.5}, lambda x: functional.softplus(x, 2.0, 3.0)),
        ({"function": "softplus", "high": 1.0}, lambda x: functional.softplus(x, 1.0, 1.0)),
        ({"function": "power", "exponent": 3.0}, lambda x: x**3),
        ({"function": "power", "exponent": -2.0}, lambda x: x**-2),
        ({"function": "logit", "low": 0.1}, lambda x: torch.logit(x, 0.1)),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "torch",
)
def test_options_of_functions(fields, function):
    assert_means(Activation(**fields), None, function, 0)


@quick(5)
@given(SEEDS)
def test_a_slope_of_each_unit(seed):
    slopes = np.random.default_rng(seed).standard_normal(3).astype(np.float32)
    wanted = torch.tensor(slopes).double()
    assert_means(ParametricReLU(), (2, 3), lambda x: functional.prelu(x, wanted), seed, columns={"slope": slopes})


@pytest.mark.parametrize("bounds", [{"low": -0.5}, {"high": 2.0}, {"low": -0.5, "high": 2.0}])
def test_clamps(bounds):
    names = {"low": "min", "high": "max"}
    options = {names[bound]: value for bound, value in bounds.items()}
    assert_means(Activation(function="clamp", **bounds), None, lambda x: torch.clamp(x, **options), 0)


@pytest.mark.parametrize(
    "fields", [{"function": "clamp"}, {"function": "relu", "low": 0.0}, {"function": "clamp", "low": 1.0, "high": 0.0}]
)
def test_bounds_that_are_none_are_refused(fields):
    with pytest.raises(RecordError, match=r"expected (low, high of a clamp|no option of a relu|low of at most high)"):
        Activation(**fields)


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.filterwarnings("error")
def test_activations_of_huge_sums_are_finite(name):
    x = np.array([[-1e30, 0.0, 1e30]], np.float32)
    network = applying(Activation(function=name, **OPTIONS.get(name, {})), None)
    np.testing.assert_allclose(reference.predict(network, x), lower(network)(torch.tensor(x)), rtol=1e-6, atol=1e-9)
    assert reference.predict(network, x / 1e30, np.float32).dtype == np.float32


EXTENTS = st.tuples(st.integers(1, 9), st.integers(1, 9))


@st.composite
def poolings(draw, function):
    """A pooling of any form, and a size that a window fits."""
    kernel, stride = draw(EXTENTS), draw(EXTENTS)
    padding = tuple(draw(st.integers(0, extent // 2)) for extent in kernel)
    operation = Pooling(
        function=function,
        kernel=kernel,
        stride=stride,
        padding=padding,
        ceil_mode=draw(st.booleans()),
        count_padding=draw(st.booleans()),
    )
    least = [max(1, extent - 2 * pad) for extent, pad in zip(kernel, padding, strict=True)]
    return operation, tuple(draw(st.integers(extent, extent + 8)) for extent in least)


@quick(100)
@given(poolings("max"), SEEDS)
def test_maximum_pooling(case, seed):
    operation, size = case
    windows = (operation.kernel, operation.stride, operation.padding)
    ceil = operation.ceil_mode
    assert_means(operation, size, lambda x: functional.max_pool2d(x, *windows, ceil_mode=ceil), seed)


@quick(100)
@given(poolings("average"), SEEDS)
def test_average_pooling(case, seed):
    operation, size = case
    windows = (operation.kernel, operation.stride, operation.padding)
    rules = (operation.ceil_mode, operation.count_padding)
    assert_means(operation, size, lambda x: functional.avg_pool2d(x, *windows, *rules), seed)


def test_a_window_beyond_the_padding_is_dropped_and_a_window_too_wide_is_refused():
    """Of 3 columns with padding 1, windows of 2 with stride 4 start at -1 and at 3, which is in the padding."""
    pooling = Pooling(function="average", kernel=(2, 2), stride=(4, 4), padding=(1, 1), ceil_mode=True)
    layer = Layer(name="a", kind="feature_maps", size=(3, 4), operations=(pooling,))
    assert output_size(layer) == (1, 2)
    wide = pooling.model_copy(update={"kernel": (9, 9), "padding": (0, 0)})
    with pytest.raises(StructureError, match="expected a pooling window that fits"):
        output_size(layer.model_copy(update={"operations": (wide,)}))


@pytest.mark.parametrize("function", ["max", "average"])
@quick(40)
@given(EXTENTS, EXTENTS, SEEDS)
def test_adaptive_pooling(function, size, goal, seed):
    pool = functional.adaptive_max_pool2d if function == "max" else functional.adaptive_avg_pool2d
    assert_means(AdaptivePooling(function=function, size=goal), size, lambda x: pool(x, goal), seed)


@pytest.mark.parametrize(("mode", "corners"), [("nearest", None), ("bilinear", False), ("bilinear", True)])
@quick(40)
@given(EXTENTS, EXTENTS, SEEDS)
def test_upsampling(mode, corners, size, goal, seed):
    operation = Upsampling(mode=mode, size=goal, align_corners=bool(corners))

    def interpolated(x):
        return functional.interpolate(x, size=goal, mode=mode, align_corners=corners)

    assert_means(operation, size, interpolated, seed)


@pytest.mark.parametrize("goal", [82, 94, 110, 112])
def test_nearest_places_are_rounded_as_in_single_precision(goal):
    """41 * 2 / 82 is 1, but not in single precision."""
    x = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    network = applying(Upsampling(mode="nearest", size=(goal, 3)), (2, 2), (0,))
    wanted = functional.interpolate(torch.tensor(x), size=(goal, 3))
    assert (reference.predict(network, x) == wanted.numpy()).all()


NORMS = st.builds(
    LocalResponseNorm,
    size=st.integers(1, 6),
    alpha=st.sampled_from((0.0, 1e-4, 2.0)),
    beta=st.sampled_from((0.5, 0.75)),
    k=st.sampled_from((0.5, 2.0)),
)


@quick(40)
@given(NORMS, EXTENTS, st.integers(0, 3), st.integers(1, 7), SEEDS)
def test_local_response_norm_of_consecutive_ids(operation, size, start, count, seed):
    options = (operation.size, operation.alpha, operation.beta, operation.k)
    ids = np.arange(start, start + count)
    assert_means(operation, size, lambda x: functional.local_response_norm(x, *options), seed, ids)


@quick(40)
@given(NORMS, st.permutations(range(7)), st.integers(1, 7), SEEDS)
def test_local_response_norm_goes_by_ids(operation, order, count, seed):
    """In any order and with gaps: as PyTorch's of all ids, of which the absent ones are 0."""
    ids = np.array(order[:count])

    def spread(x):
        whole = torch.zeros(len(x), 7, *x.shape[2:], dtype=x.dtype).index_copy(1, torch.tensor(ids), x)
        given = functional.local_response_norm(whole, operation.size, operation.alpha, operation.beta, operation.k)
        return given[:, ids]

    assert_means(operation, (2, 3), spread, seed, ids)


def normalised(count=4, alpha=1.0):
    """x -> a, maps under local response normalisation -> y; maps 1 and 2 of a are the same."""
    norm = LocalResponseNorm(size=3, alpha=alpha)
    layers = (
        Layer(name="x", kind="input", features=2, size=(2, 2)),
        Layer(name="a", kind="feature_maps", size=(2, 2), operations=(Activation(function="relu"), norm)),
        Layer(name="y", kind="neurons", output=True),
    )
    projections = (Conv(source="x", target="a", kernel=(1, 1)), Dense(source="a", target="y"))
    rng = np.random.default_rng(0)
    kernels = rng.uniform(0.5, 1.0, (count, 2, 1, 1))
    kernels[2] = kernels[1]
    connections = {
        "x_to_a": Grid.of(kernels),
        "a_to_y": Grid.of(rng.standard_normal((2, count, 2, 2))),
    }
    counts = {"x": 2, "a": count, "y": 2}
    units = {layer.name: UnitColumns.neutral(counts[layer.name], layer.column_names) for layer in layers}
    return Network.of(Structure(layers, projections, units, connections))


@pytest.mark.parametrize("unit", range(4))
def test_removing_a_unit_that_gives_zero_leaves_its_neighbours_alone(unit):
    network = normalised()
    entries = np.arange(2) + 2 * unit
    zeros = SetMask(projection="x_to_a", entries=entries, active=np.ones(2, bool), weights=np.zeros(2, np.float32))
    silent = zeros.apply(network).network
    smaller = RemoveUnits(layer="a", units=np.array([unit])).apply(silent).network
    assert_same_outputs(silent, smaller, 0.0)
    x = np.random.default_rng(1).standard_normal((3, 2, 2, 2)).astype(np.float32)
    pair = (lower(each).double()(torch.tensor(x).double()) for each in (silent, smaller))
    torch.testing.assert_close(*pair, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "attempt",
    [
        lambda network: split_unit(network, "a", 0),
        lambda network: duplicate_unit(network, "a", 0),
        lambda network: widen(network, "a", 1, np.random.default_rng(0)),
        lambda network: merge_twins(network, "a"),
    ],
)
def test_copies_of_units_that_depend_on_their_neighbours_are_refused(attempt):
    with pytest.raises(EditError, match=r"do not mix their units.* got 'a' with local_response_norm: replace its op"):
        attempt(normalised())


def test_new_fields_are_left_out_at_their_default_and_read_back():
    plain = {"kind": "pooling", "function": "average", "kernel": [2, 2], "stride": [2, 2], "padding": [0, 0]}
    pooling = Pooling.model_validate_json(json.dumps(plain))
    assert json.loads(pooling.model_dump_json()) == plain
    for field in ({"ceil_mode": True}, {"count_padding": False}):
        changed = pooling.model_copy(update=field)
        assert json.loads(changed.model_dump_json()) == {**plain, **field}
        assert Pooling.model_validate_json(changed.model_dump_json()) == changed != pooling


@pytest.mark.parametrize(
    "operation",
    [
        Pooling(function="max", kernel=(2, 2), stride=(2, 2)),
        AdaptivePooling(function="max", size=(1, 1)),
        Pick(place=(0, 0)),
        Series(after=1),
        Pad(before=(1,), after=(0,)),
        Upsampling(mode="nearest", size=(2, 2)),
        LocalResponseNorm(size=5),
    ],
    ids=lambda operation: operation.kind,
)
def test_only_maps_have_them(operation):
    with pytest.raises(RecordError, match=f"expected no {operation.kind}, as it has no maps"):
        Layer(name="a", kind="neurons", operations=(operation,))


def test_corners_are_a_matter_of_bilinear_interpolation():
    with pytest.raises(RecordError, match="expected align_corners with mode bilinear only, got mode nearest"):
        Upsampling(mode="nearest", size=(2, 2), align_corners=True)
