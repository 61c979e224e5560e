"""The NumPy meaning of a network, against loops, SciPy and hand-made cases."""

import math
from itertools import product

import numpy as np
import pytest
import scipy.special
from hypothesis import given

from nestgraph.errors import StructureError
from nestgraph.graph import Grid, Network, Structure, UnitColumns, cost
from nestgraph.graph.explicit import plain_graph
from nestgraph.graph.geometry import output_size
from nestgraph.graph.reference import forward, predict
from nestgraph.spec import (
    Activation,
    AdaptivePooling,
    Argument,
    BatchNorm,
    Conv,
    Dense,
    Layer,
    LocalResponseNorm,
    Lookup,
    Match,
    Mix,
    Norm,
    Pad,
    ParametricReLU,
    Pick,
    Pooling,
    Series,
    Softmax,
    Upsampling,
)
from tests.graph.explicit import connections_of
from tests.graph.test_cost import counted
from tests.laws import quick
from tests.strategies import inputs_for, networks
from tests.strategies.networks import EVERY

FUNCTIONS = {
    "relu": lambda x, _: max(x, 0.0),
    "leaky_relu": lambda x, slope: x if x >= 0 else slope * x,
    "tanh": lambda x, _: np.tanh(x),
    "sigmoid": lambda x, _: 1 / (1 + np.exp(-x)),
    "relu6": lambda x, _: min(max(x, 0.0), 6.0),
    "hard_sigmoid": lambda x, _: min(max(x / 6 + 0.5, 0.0), 1.0),
    "hard_swish": lambda x, _: 0.0 if x < -3 else x if x > 3 else x * (x + 3) / 6,
    "silu": lambda x, _: x / (1 + np.exp(-x)),
    "gelu": lambda x, _: x * scipy.special.ndtr(x),
    "gelu_tanh": lambda x, _: x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "celu": lambda x, slope: x if x >= 0 else slope * math.expm1(x / slope),
    "atan": lambda x, _: math.atan(x),
}


def slow_forward(network, sample):
    """The outputs of one sample by loops over units, connections and pixels: {(layer, id): scalar or array}."""
    outputs = {}
    for name in network.layer_names:
        layer, columns = network.layer(name), network.unit_columns(name)
        for place, unit in enumerate(columns.ids.tolist()):
            if layer.kind == "input":
                outputs[name, unit] = sample[name][unit].astype(float)
                continue
            total = slow_sum(network, name, unit, outputs)
            if layer.opaque is not None:
                total = slow_body(network, name, outputs)[0, place]
            outputs[name, unit] = total
        if layer.kind != "input":
            slow_chain(layer, columns, outputs)
    return outputs


def slow_sum(network, name, unit, outputs):
    """A unit's bias, what projections add to it, and what becomes of that by those that multiply it or mix it."""
    layer, columns = network.layer(name), network.unit_columns(name)
    place = columns.ids.tolist().index(unit)
    values = {column: array[place].astype(float) for column, array in columns.values.items()}
    mix = next((p for p in network.incoming(name) if isinstance(p, Mix)), None)
    size = layer.size if mix is None else network.layer(mix.source).size[1:]
    total = np.zeros(size or ()) + values.get("bias", 0.0) + values.get("places", 0.0)
    total = total + slow_scores(network, name, unit, outputs)
    for projection in sorted(network.incoming(name), key=lambda each: each.gates):
        if isinstance(projection, Mix):
            total = slow_mix(network, projection, unit, outputs, total).reshape(layer.size)
        elif not isinstance(projection, Match | Argument):
            for source, target, weight, mask, area in connections_of(network, projection):
                if target == unit:
                    read = outputs[projection.source, source]
                    given = slow_project(projection, read, weight * mask, layer.size)
                    given = given if mix is None else np.reshape(given, size)
                    given = given * (1 if area is None else area)
                    total = total * given if projection.gates else total + given
    return total


def slow_scores(network, name, head, outputs):
    """How alike queries and keys of a head are, slot by slot, at each row and column; 0 of what is no head."""
    found = {"query": {}, "key": {}}
    for match in (p for p in network.incoming(name) if isinstance(p, Match)):
        columns = network.connection_columns(match.name)
        for (source, target, slot), weight in zip(columns.links.tolist(), columns.weight, strict=True):
            if target == head:
                found[match.side][slot] = np.ravel(outputs[match.source, source]) * weight
    both = found["query"].keys() & found["key"].keys()
    return sum((np.outer(found["query"][slot], found["key"][slot]) for slot in both), 0.0)


def slow_mix(network, mix, unit, outputs, total):
    """A unit's sum at all columns, as its head weighs them for each row."""
    columns = network.connection_columns(mix.name)
    ((head, weight),) = [
        (source, weight)
        for (source, target), weight in zip(columns.links.tolist(), columns.weight, strict=True)
        if target == unit
    ]
    return np.array([math.fsum(row * np.ravel(total)) for row in outputs[mix.source, head]]) * weight


def slow_softmax(op, total):
    result = np.zeros(total.shape)
    for row, scores in enumerate(total):
        admitted = [at for at in range(len(scores)) if not op.causal or at <= row]
        raised = {at: math.exp(scores[at] - max(scores[admitted])) for at in admitted}
        for at, value in raised.items():
            result[row, at] = value / math.fsum(raised.values())
    return result


def slow_body(network, name, outputs):
    arguments = [p.source for p in sorted(network.incoming(name), key=lambda p: p.place)]
    read = {a: network.units(name if network.layer(name).unitwise else a).tolist() for a in arguments}
    return network.bodies[name](*(np.array([[outputs[a, u] for u in read[a]]]) for a in arguments))


def slow_project(projection, source, weight, size):
    if isinstance(projection, Lookup):
        return np.vectorize(lambda at: weight[int(at)], [float])(source)
    if size is None:
        return np.sum(source * weight)
    if getattr(projection, "kernel", None) is None:
        return source * weight
    result = np.zeros(size)
    sweep = list(zip(projection.stride, projection.dilation, projection.padding, source.shape, strict=True))
    for position, place in product(np.ndindex(size), np.ndindex(weight.shape)):
        steps = zip(position, place, sweep, strict=True)
        if projection.transposed:  # read / stride is the place that gives to this position by this entry
            read = tuple(at - inner * dilate + pad for at, inner, (_, dilate, pad, _) in steps)
            if any(at % stride for at, (stride, *_) in zip(read, sweep, strict=True)):
                continue
            read = tuple(at // stride for at, (stride, *_) in zip(read, sweep, strict=True))
        else:
            read = tuple(at * stride + inner * dilate - pad for at, inner, (stride, dilate, pad, _) in steps)
        if all(0 <= at < extent for at, (*_, extent) in zip(read, sweep, strict=True)):
            result[position] += source[read] * weight[place]
    return result


def slow_chain(layer, columns, outputs):
    """Put what a layer's operations make of its sums in their place."""
    for op in layer.operations:
        sums = {unit: outputs[layer.name, unit] for unit in columns.ids.tolist()}
        for place, (unit, total) in enumerate(sums.items()):
            values = {column: array[place].astype(float) for column, array in columns.values.items()}
            outputs[layer.name, unit] = slow_operation(op, values, total, unit, sums)


def slow_operation(op, values, total, unit, sums):
    if isinstance(op, BatchNorm):
        deviation = np.sqrt(values["variance"] + op.epsilon)
        return values["gamma"] * (total - values["mean"]) / deviation + values["beta"]
    if isinstance(op, Activation):
        return np.vectorize(FUNCTIONS[op.function], otypes=[float])(total, op.slope)
    if isinstance(op, ParametricReLU):
        return np.vectorize(FUNCTIONS["leaky_relu"], otypes=[float])(total, values["slope"])
    if isinstance(op, LocalResponseNorm):
        near = range(unit - op.size // 2, unit + (op.size + 1) // 2)
        return total / (op.k + op.alpha / op.size * sum(sums.get(other, 0.0) ** 2 for other in near)) ** op.beta
    if isinstance(op, Softmax):
        return slow_softmax(op, total)
    if isinstance(op, Norm):
        own = {column.name: values[column.name] for column in op.columns}
        return slow_norm(op, total, unit, sums) * own.get("gamma", 1.0) + own.get("beta", 0.0)
    slow = {Pooling: slow_pool, AdaptivePooling: slow_adaptive, Upsampling: slow_upsample, Pick: slow_pick}
    if isinstance(op, Pad):
        return slow_pad(op, total)
    if isinstance(op, Series):
        return slow_series(op, values, total)
    return slow[type(op)](op, total) if type(op) in slow else total


def slow_pad(op, total):
    result = np.zeros(op.resized(total.shape))
    for place in np.ndindex(result.shape):
        at = tuple(one - first for one, first in zip(place, op.before, strict=True))
        ends = list(zip(at, total.shape, strict=True))
        if op.mode == "constant":
            result[place] = total[at] if all(0 <= one < extent for one, extent in ends) else op.value
            continue
        found = {
            "reflect": lambda one, extent: extent - 1 - abs(extent - 1 - abs(one)),
            "replicate": lambda one, extent: min(max(one, 0), extent - 1),
            "circular": lambda one, extent: one % extent,
        }[op.mode]
        result[place] = total[tuple(found(*end) for end in ends)]
    return result


def slow_series(op, values, total):
    places = [total[place] for place in np.ndindex(total.shape)]
    ends = list(values["ends"]) if op.before + op.after else []
    return np.array([*ends[: op.before], *places, *ends[op.before :]])


def slow_pick(op, total):
    return np.full((1,) * total.ndim, total[op.place])


def slow_norm(op, total, unit, sums):
    """Place by place, from what is normalised together and the zeros of what is absent."""

    def group(i):
        return i * op.groups // op.count if i < op.count else i % op.groups

    result = np.zeros(np.shape(total))
    for place in np.ndindex(np.shape(total)):
        if op.over == "places":
            values, divisor = list(np.ravel(total)), np.size(total)
        else:
            near = [np.asarray(values) for other, values in sums.items() if group(other) == group(unit)]
            divisor = op.divisors[group(unit)] if op.divisors else op.count // op.groups
            values = [float(one[place]) for one in near]
            if op.over == "both":
                values, divisor = [float(v) for one in near for v in np.ravel(one)], divisor * np.size(total)
        mean = math.fsum(values) / divisor if op.center else 0.0
        apart = [(value - mean) ** 2 for value in values]
        zeros = (divisor - len(values)) * mean**2
        variance = max(0.0, (math.fsum(apart) + zeros) / divisor)
        result[place] = (np.asarray(total)[place] - mean) / math.sqrt(variance + op.epsilon)
    return result if np.ndim(total) else np.float64(result)


def slow_starts(extent, window, step, pad, ceil):
    starts = [-pad]
    while True:
        last, following = starts[-1] + window, starts[-1] + step
        goes_on = last < extent + pad and following < extent if ceil else following + window <= extent + pad
        if not goes_on:
            return starts
        starts.append(following)


def slow_pool(op, total):
    axes = zip(total.shape, op.kernel, op.stride, op.padding, strict=True)
    starts = [slow_starts(*axis, op.ceil_mode) for axis in axes]
    padded = np.pad(np.zeros(total.shape), [(pad, pad) for pad in op.padding])
    result = np.zeros([len(along) for along in starts])
    for place in np.ndindex(result.shape):
        ends = [(along[at], window) for at, along, window in zip(place, starts, op.kernel, strict=True)]
        cut = total[tuple(slice(max(start, 0), start + window) for start, window in ends)]
        around = zip(ends, op.padding, strict=True)
        whole = padded[tuple(slice(start + pad, start + pad + window) for (start, window), pad in around)]
        result[place] = cut.max() if op.function == "max" else cut.sum() / (whole if op.count_padding else cut).size
    return result


def slow_adaptive(op, total):
    result = np.zeros(op.size)
    for place in np.ndindex(op.size):
        ends = [(i * e / n, (i + 1) * e / n) for i, e, n in zip(place, total.shape, op.size, strict=True)]
        cut = total[tuple(slice(math.floor(low), math.ceil(high)) for low, high in ends)]
        result[place] = cut.max() if op.function == "max" else cut.mean()
    return result


def slow_upsample(op, total):
    """Bilinear as the sum of all pixels, each with a tent around it as its share."""
    result = np.zeros(op.size)
    for place in np.ndindex(op.size):
        axes = list(zip(place, total.shape, op.size, strict=True))
        if op.mode == "nearest":
            result[place] = total[tuple(i * e // n for i, e, n in axes)]
            continue
        middles = [
            (i * (e - 1) / max(n - 1, 1)) if op.align_corners else max(0.0, (i + 0.5) * e / n - 0.5) for i, e, n in axes
        ]
        tents = [
            np.maximum(0, 1 - np.abs(np.arange(e) - min(at, e - 1)))
            for at, (_, e, _) in zip(middles, axes, strict=True)
        ]
        rest = total
        for tent in tents:
            rest = np.tensordot(tent, rest, (0, 0))
        result[place] = rest
    return result


@quick(40)
@given(network=networks(EVERY))
def test_forward_is_what_loops_over_units_and_connections_give(network):
    assert_what_loops_give(network)


@quick(15)
@given(network=networks(("rotated",)))
def test_links_with_weights_by_place_are_what_loops_give(network):
    assert_what_loops_give(network)
    for row in network.projections_by_name:
        assert cost(network).by_projection[row] == counted(network, network.projection(row))
    if all(network.connection_columns(name).area is None for name in network.projection_names):
        assert Network.from_graph(plain_graph(network)) == network


def assert_what_loops_give(network):
    inputs = inputs_for(network, 2, np.random.default_rng(0))
    fast = forward(network, inputs)
    for row in range(2):
        slow = slow_forward(network, {name: values[row] for name, values in inputs.items()})
        for (name, unit), expected in slow.items():
            got = fast[name][row, network.unit_columns(name).position[unit]]
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)


@quick(20)
@given(network=networks(EVERY))
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
    return Network.of(Structure(layers, [projection], units, {"k": Grid.of(weight, area=area)}))


def test_convolution_is_scipys_correlation():
    from scipy.signal import correlate2d  # lazy: slower to import than all of nestgraph

    rng = np.random.default_rng(1)
    weight, x = rng.standard_normal((3, 2, 3, 2)).astype(np.float32), rng.standard_normal((1, 2, 6, 5))
    network = one_conv(weight, (3, 2), (4, 4), (6, 5))
    expected = [sum(correlate2d(x[0, i], weight[o, i], "valid") for i in range(2)) for o in range(3)]
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
    columns = {"w": Grid.of(np.array([[4.0], [4.0]]))}
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
    columns = {p.name: Grid.of(np.ones((1, 1))) for p in projections}
    network = Network.of(Structure(layers, projections, units, columns))
    with pytest.raises(StructureError, match="as many samples"):
        forward(network, {"a": np.zeros((1, 1)), "b": np.zeros((2, 1))})
    with pytest.raises(StructureError, match="expected one output layer"):
        predict(network, np.zeros((1, 1)))
