"""The NumPy meaning of a network, against loops, SciPy and hand-made cases."""

from itertools import product

import numpy as np
import pytest
import scipy.signal
from hypothesis import given

from nestgraph.errors import StructureError
from nestgraph.graph import ConnectionColumns, Network, Structure, UnitColumns
from nestgraph.graph.geometry import output_size
from nestgraph.graph.reference import forward, predict
from nestgraph.spec import Activation, BatchNorm, Conv, Dense, Layer, Pooling
from tests.graph.explicit import connections_of
from tests.laws import quick
from tests.strategies import inputs_for, networks

FUNCTIONS = {
    "relu": lambda x, _: max(x, 0.0),
    "leaky_relu": lambda x, slope: x if x >= 0 else slope * x,
    "tanh": lambda x, _: np.tanh(x),
    "sigmoid": lambda x, _: 1 / (1 + np.exp(-x)),
}


def slow_forward(network, sample):
    """The outputs of one sample by loops over units, connections and pixels: {(layer, id): scalar or 2-D array}."""
    outputs = {}
    for name in network.layer_names:
        layer, columns = network.layer(name), network.unit_columns(name)
        for place, unit in enumerate(columns.ids.tolist()):
            if layer.kind == "input":
                outputs[name, unit] = sample[name][unit].astype(float)
                continue
            values = {column: float(array[place]) for column, array in columns.values.items()}
            total = np.zeros(layer.size or ()) + values.get("bias", 0.0)
            for projection in network.incoming(name):
                for source, target, weight, mask, area in connections_of(network, projection):
                    if target == unit:
                        given = slow_project(projection, outputs[projection.source, source], weight * mask, layer.size)
                        total = total + given * (1 if area is None else area)
            outputs[name, unit] = slow_chain(layer, values, total)
    return outputs


def slow_project(projection, source, weight, size):
    if size is None:
        return np.sum(source * weight)
    if getattr(projection, "kernel", None) is None:
        return source * weight
    result = np.zeros(size)
    for p, q, h, w in product(*map(range, (*size, *weight.shape))):
        row = p * projection.stride[0] + h * projection.dilation[0] - projection.padding[0]
        column = q * projection.stride[1] + w * projection.dilation[1] - projection.padding[1]
        if 0 <= row < source.shape[0] and 0 <= column < source.shape[1]:
            result[p, q] += source[row, column] * weight[h, w]
    return result


def slow_chain(layer, values, total):
    for op in layer.operations:
        if isinstance(op, BatchNorm):
            deviation = np.sqrt(values["variance"] + op.epsilon)
            total = values["gamma"] * (total - values["mean"]) / deviation + values["beta"]
        elif isinstance(op, Activation):
            total = np.vectorize(FUNCTIONS[op.function], otypes=[float])(total, op.slope)
        elif isinstance(op, Pooling):
            total = slow_pool(op, total)
    return total


def slow_pool(op, total):
    rows, columns = (
        range(-pad, extent + pad - window + 1, step)
        for extent, window, step, pad in zip(total.shape, op.kernel, op.stride, op.padding, strict=True)
    )
    result = np.zeros((len(rows), len(columns)))
    for (p, row), (q, column) in product(enumerate(rows), enumerate(columns)):
        cut = total[max(row, 0) : row + op.kernel[0], max(column, 0) : column + op.kernel[1]]
        result[p, q] = cut.max() if op.function == "max" else cut.sum() / np.prod(op.kernel)
    return result


@quick(40)
@given(network=networks())
def test_forward_is_what_loops_over_units_and_connections_give(network):
    inputs = inputs_for(network, 2, np.random.default_rng(0))
    fast = forward(network, inputs)
    for row in range(2):
        slow = slow_forward(network, {name: values[row] for name, values in inputs.items()})
        for (name, unit), expected in slow.items():
            got = fast[name][row, network.unit_columns(name).position[unit]]
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@quick(20)
@given(network=networks())
def test_sizes_types_and_empty_batches(network):
    inputs = inputs_for(network, 2, np.random.default_rng(0))
    for name, values in forward(network, inputs, np.float32).items():
        assert values.dtype == np.float32
        assert values.shape == (2, len(network.units(name)), *(output_size(network.layer(name)) or ()))
    empty = forward(network, {name: values[:0] for name, values in inputs.items()})
    assert all(len(values) == 0 for values in empty.values())


def one_conv(weight, kernel, size, given_size, bias=0.0, area=None, operations=(), **how):
    layers = [
        Layer(name="x", kind="input", features=weight.shape[1], size=given_size),
        Layer(name="y", kind="feature_maps", size=size, output=True, operations=operations),
    ]
    projection = Conv(source="x", target="y", name="k", kernel=kernel, **how)
    units = {layer.name: UnitColumns.neutral(weight.shape[1 - place], ()) for place, layer in enumerate(layers)}
    units["y"] = UnitColumns.of(np.arange(len(weight)), {"bias": np.full(len(weight), bias)})
    return Network.of(Structure(layers, [projection], units, {"k": ConnectionColumns.of(weight, area=area)}))


def test_convolution_is_scipys_correlation():
    rng = np.random.default_rng(1)
    weight, x = rng.standard_normal((3, 2, 3, 2)).astype(np.float32), rng.standard_normal((1, 2, 6, 5))
    network = one_conv(weight, (3, 2), (4, 4), (6, 5))
    expected = [sum(scipy.signal.correlate2d(x[0, i], weight[o, i], "valid") for i in range(2)) for o in range(3)]
    np.testing.assert_allclose(predict(network, x)[0], expected)


def test_a_dilated_strided_padded_convolution_by_hand():
    how = {"stride": (1, 2), "padding": (0, 1), "dilation": (1, 2)}
    network = one_conv(np.array([[[[1.0, 10.0]]]]), (1, 2), (1, 2), (1, 4), **how)
    x = np.array([[[[1.0, 2.0, 3.0, 4.0]]]])  # taps two apart on 0 1 2 3 4 0, from the first and the third place
    assert predict(network, x).tolist() == [[[[0 + 20.0, 2 + 40.0]]]]


def test_an_area_limits_where_the_kernel_is_computed_but_not_the_bias():
    per_pair = np.array([[[[True, False]], [[False, True]]]])
    x = np.array([[[[1.0, 2.0]], [[10.0, 20.0]]]])
    ones = np.ones((1, 2, 1, 1))
    assert predict(one_conv(ones, (1, 1), (1, 2), (1, 2), 0.5, per_pair), x).tolist() == [[[[1.5, 20.5]]]]
    assert predict(one_conv(ones, (1, 1), (1, 2), (1, 2), 0.5, per_pair[:, :1]), x).tolist() == [[[[11.5, 0.5]]]]


@pytest.mark.parametrize(("function", "expected"), [("max", [[-1.0, -2.0]]), ("average", [[-0.5, -2.5]])])
def test_padding_never_wins_a_maximum_and_counts_as_zero_in_an_average(function, expected):
    pooling = Pooling(function=function, kernel=(1, 2), stride=(1, 2), padding=(0, 1))
    network = one_conv(np.ones((1, 1, 1, 1)), (1, 1), (1, 3), (1, 3), operations=(pooling,))
    assert predict(network, np.array([[[[-1.0, -2.0, -3.0]]]])).tolist() == [[expected]]


def test_batch_normalisation_and_bias_by_hand():
    layers = [
        Layer(name="x", kind="input", features=1),
        Layer(name="y", kind="neurons", output=True, operations=(BatchNorm(epsilon=0.25), Activation(function="relu"))),
    ]
    values = {
        "bias": [1.0, 1.0],
        "gamma": [2.0, -2.0],
        "beta": [0.5, 0.5],
        "mean": [3.0, 3.0],
        "variance": [3.75, 3.75],
    }
    units = {"x": UnitColumns.neutral(1, ()), "y": UnitColumns.of([0, 1], values)}
    columns = {"w": ConnectionColumns.of(np.array([[4.0], [4.0]]))}
    network = Network.of(Structure(layers, [Dense(source="x", target="y", name="w")], units, columns))
    assert predict(network, np.array([[1.0]])).tolist() == [[2 * (4 + 1 - 3) / 2 + 0.5, 0.0]]


BAD = [
    np.zeros((2, 3)),
    np.zeros((2, 2, 5, 5)),
    np.zeros(4),
    [[["a"]]],
    {"x": np.zeros((1, 2, 6, 5)), "more": np.zeros((1, 1))},
    {},
    None,
]


@pytest.mark.parametrize("inputs", BAD, ids=str)
def test_inputs_that_do_not_fit_are_refused(inputs):
    network = one_conv(np.ones((3, 2, 3, 2)), (3, 2), (4, 4), (6, 5))
    with pytest.raises(StructureError, match="expected"):
        forward(network, inputs)


def test_as_many_samples_for_each_input_and_one_output():
    layers = [Layer(name=name, kind="input", features=1) for name in "ab"]
    layers += [Layer(name=name, kind="neurons", output=True) for name in "yz"]
    projections = [Dense(source=a, target=y, name=a + y) for a in "ab" for y in "yz"]
    units = {layer.name: UnitColumns.neutral(1, layer.column_names) for layer in layers}
    columns = {p.name: ConnectionColumns.of(np.ones((1, 1))) for p in projections}
    network = Network.of(Structure(layers, projections, units, columns))
    with pytest.raises(StructureError, match="as many samples"):
        forward(network, {"a": np.zeros((1, 1)), "b": np.zeros((2, 1))})
    with pytest.raises(StructureError, match="expected one output layer"):
        predict(network, np.zeros((1, 1)))
