"""Seeds: no islands, exactly as many connections as asked for, He weights, and the same each time."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.errors import StructureError
from nestgraph.graph import cost, violations
from nestgraph.graph.reference import predict
from nestgraph.lowering import lower
from nestgraph.seeds import (
    ALEXNET,
    NEST_ALEXNET,
    NEST_VGG_16,
    VGG_16,
    alexnet,
    cnn,
    densenet,
    joint_mlp,
    lenet_5,
    lenet_300_100,
    mlp,
    resnet,
    resnet18,
    sparse,
    vgg16,
)
from nestgraph.seeds.sparse import he_connections, sparse_mask
from nestgraph.spec import OneToOne
from tests.counting import calls_of
from tests.laws import fresh_digest, quick
from tests.strategies import inputs_for

WIDTHS = st.lists(st.integers(1, 40), min_size=2, max_size=5)
DENSITIES = st.floats(1e-6, 1, exclude_min=True)
SEEDS = st.integers(0, 2**63 - 1)
FEW = st.lists(st.integers(1, 4), min_size=1, max_size=3)
GROUPS = st.integers(1, 3)


def wanted(mask, density):
    return max(round(density * mask.size), *mask.shape[:2])


def blocks(mask, groups):
    """The blocks of a mask, out and in cut as evenly as can be."""
    groups = min(groups, *mask.shape[:2])
    ends = [[extent * place // groups for place in range(groups + 1)] for extent in mask.shape[:2]]
    return [mask[ends[0][n] : ends[0][n + 1], ends[1][n] : ends[1][n + 1]] for n in range(groups)]


def check(network, density, groups=None):
    """No islands, exactly the density (in each of the projections' groups), all one-to-one connections active."""
    assert violations(network.replace()) == ()
    for name in network.projection_names:
        mask = network.connection_columns(name).mask
        if isinstance(network.projection(name), OneToOne):
            assert mask.all()
            continue
        parts = blocks(mask, (groups or {}).get(name, 1))
        assert [part.sum() for part in parts] == [wanted(part, density) for part in parts]
        assert mask.sum() == sum(part.sum() for part in parts)


@given(WIDTHS, DENSITIES, SEEDS, st.booleans())
@quick(60)
def test_a_perceptron_has_no_islands_and_exactly_its_density(widths, density, seed, batch_norm):
    network = mlp(widths, density, seed, batch_norm=batch_norm)
    check(network, density)
    assert [len(network.units(name)) for name in network.layer_names] == widths
    assert network == mlp(np.array(widths), density, seed, batch_norm=batch_norm)


@st.composite
def convolutional(draw, density, seed):
    """(network, its groups by projection, image size and classes): any seed of maps, small."""
    activation, batch_norm = draw(st.sampled_from(("relu", "tanh"))), draw(st.booleans())
    choices = (density, seed, activation, batch_norm)
    width, classes, family = draw(st.floats(1e-3, 0.02)), draw(st.integers(1, 5)), draw(st.integers(0, 4))
    if family == 0:
        groups, size = draw(GROUPS), draw(st.integers(64, 80))
        network = alexnet(width, *choices, groups=groups, classes=classes, size=size)
        grouped = dict.fromkeys(("conv1_to_conv2", "conv3_to_conv4", "conv4_to_conv5"), groups)
        return network, grouped, (size, size), classes
    size = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    if family == 1:
        size = (32, 34)
        network = vgg16(width, *choices, classes=classes, size=size)
    elif family == 2:
        maps, neurons = draw(st.one_of(st.just([]), FEW)), draw(st.one_of(st.just([]), FEW))
        kernel = draw(st.sampled_from((1, 3)))
        network = cnn(maps, neurons, *choices, channels=3, size=size, classes=classes, kernel=kernel)
    elif family == 3:
        maps = draw(FEW)
        depths = draw(st.lists(st.integers(1, 2), min_size=len(maps), max_size=len(maps)))
        network = resnet(maps, depths, *choices, classes=classes, size=size)
    else:
        size = (4 + size[0], 4 + size[1])
        layers = draw(st.lists(st.integers(1, 3), min_size=1, max_size=3))
        network = densenet(draw(st.integers(1, 3)), layers, *choices, classes=classes, size=size)
    return network, {}, size, classes


@given(st.data(), DENSITIES, SEEDS)
@quick(60)
def test_convolutional_seeds_have_no_islands_and_exactly_their_density(data, density, seed):
    network, groups, size, classes = data.draw(convolutional(density, seed))
    check(network, density, groups)
    assert network.layer("input").size == size
    assert len(network.units("output")) == classes


@given(st.floats(0.01, 0.3), DENSITIES, SEEDS)
@quick(15)
def test_lenet_5_has_no_islands_and_exactly_its_density(width, density, seed):
    network = lenet_5(width, density, seed)
    check(network, density)
    assert predict(network, np.zeros((1, 1, 28, 28))).shape == (1, 10)


TINY = {
    "alexnet": lambda: alexnet(0.03, 0.5, classes=5, size=67),
    "alexnet without normalisation": lambda: alexnet(0.02, 0.7, 0, "relu", False, classes=3, size=(70, 64), groups=3),
    "vgg16": lambda: vgg16(0.02, 0.5, classes=4, size=32),
    "cnn": lambda: cnn((3, 5), (6,), 0.5, size=(9, 12), channels=2, kernel=4),
    "resnet": lambda: resnet((3, 4, 5), (1, 2, 1), 0.6, size=(10, 13), classes=4),
    "resnet with a large stem": lambda: resnet((3, 4), (1, 1), 0.6, 3, "tanh", False, size=66, classes=4),
    "densenet": lambda: densenet(2, (2, 1), 0.5, size=(6, 4), classes=3),
}


@pytest.mark.parametrize("make", TINY.values(), ids=TINY)
def test_the_lowered_module_of_a_seed_gives_what_the_reference_gives(make):
    network = make()
    inputs = inputs_for(network, 2, np.random.default_rng(0))["input"]
    with torch.no_grad():
        got = lower(network).eval()(torch.tensor(inputs)).numpy()
    expected = predict(network, inputs)
    assert expected.std() > 0
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))


SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 12), st.sampled_from([(), (1, 1), (3, 2)]))
LIMITS = st.sampled_from((0, sparse.COARSE))  # of 0: as masks of millions of entries are drawn


@given(SHAPES, DENSITIES, SEEDS, GROUPS, LIMITS)
@quick(150)
def test_a_mask_joins_every_unit_on_both_sides(shape, density, seed, groups, limit):
    out, inputs, kernel = shape
    with mock.patch.object(sparse, "COARSE", limit):
        mask = sparse_mask((out, inputs, *kernel), density, np.random.default_rng(seed), groups)
    parts = blocks(mask, groups)
    assert [part.sum() for part in parts] == [wanted(part, density) for part in parts]
    assert mask.sum() == sum(part.sum() for part in parts)
    edges = mask.reshape(out, inputs, -1).any(axis=2)
    assert edges.any(axis=0).all()
    assert edges.any(axis=1).all()


@pytest.mark.parametrize("limit", [0, sparse.COARSE])
def test_a_mask_is_uniform_apart_from_its_cover(limit):
    with mock.patch.object(sparse, "COARSE", limit):
        counts = sum(sparse_mask((6, 8), 0.5, np.random.default_rng(seed)).astype(int) for seed in range(2000))
    assert np.abs(counts / 2000 - 0.5).max() < 0.06  # five standard deviations


def test_a_large_mask_has_exactly_its_density_although_scores_tie():
    shape, density = (2100, 2003), 0.123
    mask = sparse_mask(shape, density, np.random.default_rng(0))
    assert mask.size > sparse.COARSE
    assert mask.sum() == round(density * mask.size)
    deviation = np.sqrt(density * (1 - density) / shape[1])
    assert mask.mean(axis=1).std() == pytest.approx(deviation, rel=0.1)
    assert mask.any(axis=0).all()


def test_seeds_stay_the_same_from_version_to_version():
    assert mlp((20, 10, 5), 0.1, 7).digest.startswith("539a22d19b6f9734")
    assert lenet_300_100(0.4, 0.1, 0).digest.startswith("7167bd5bc2d52ab9")
    assert lenet_5(1.0, 0.1, 0).digest.startswith("b3f434ed10656879")


def test_seeds_differ_and_repeat_and_leave_the_global_generator():
    state = np.random.get_state()[1].copy()
    digests = {fresh_digest(mlp((20, 10, 5), 0.3, seed)) for seed in (0, 1, 2, 0)}
    assert len(digests) == 3
    np.testing.assert_array_equal(np.random.get_state()[1], state)


@pytest.mark.parametrize("shape", [(400, 300), (40, 30, 5, 5)])
def test_weights_have_he_variance_by_the_fan_in_that_is_there(shape):
    columns = he_connections(shape, 0.2, np.random.default_rng(0))
    assert not columns.weight[~columns.mask].any()
    rows = columns.mask.reshape(shape[0], -1)
    scaled = columns.weight.reshape(rows.shape) * np.sqrt(rows.sum(axis=1, keepdims=True) / 2)
    live = scaled[rows]
    assert live.var() == pytest.approx(1, abs=0.05)
    assert live.mean() == pytest.approx(0, abs=0.03)
    fan_in = rows.sum(axis=1)
    assert np.corrcoef(fan_in, (scaled**2).sum(axis=1) / fan_in)[0, 1] == pytest.approx(0, abs=0.25)


def test_signals_keep_their_size_through_a_deep_seed():
    network = mlp((200,) * 8 + (10,), 0.2, batch_norm=False)
    outputs = predict(network, np.random.default_rng(1).standard_normal((64, 200)))
    assert 0.3 < np.sqrt((outputs**2).mean()) / np.sqrt(2) < 3


def test_reference_widths():
    assert [len(lenet_300_100(0.4, 0.1).units(n)) for n in ("input", "fc1", "fc2", "output")] == [784, 120, 40, 10]
    assert lenet_300_100().connection_count == 266_200
    assert lenet_5().connection_count == 430_500
    assert lenet_5(1e-9, 1.0).unit_count == 1 + 1 + 1 + 1 + 10


def test_a_full_sized_seed_takes_no_call_an_edge():
    assert calls_of(lambda: lenet_300_100(1.0, 0.1)) < 20_000
    check(lenet_300_100(1.0, 0.1), 0.1)


PUBLISHED = {
    "alexnet": (alexnet, 61.0e6, 1.45e9),  # Krizhevsky et al. 2012
    "vgg16": (vgg16, 138.4e6, 30.9e9),  # Simonyan, Zisserman 2015
    "resnet18": (resnet18, 11.69e6, 3.63e9),  # He et al. 2016: 1.8e9 multiply-adds
    "densenet": (densenet, 1.02e6, None),  # Huang et al. 2017
}


@pytest.mark.parametrize("name", [pytest.param("vgg16", marks=pytest.mark.slow), "alexnet", "resnet18", "densenet"])
def test_reference_networks_have_their_published_parameters_and_flops(name):
    make, parameters, flops = PUBLISHED[name]
    total = cost(make()).total
    assert total.parameters == pytest.approx(parameters, rel=0.01)
    assert flops is None or total.flops == pytest.approx(flops, rel=0.005)


def test_alexnet_has_its_published_maps():
    for size in (224, 227):
        network = alexnet(1e-6, size=size)
        sizes = [network.layer(name).size for name in ("conv1", "conv2", "conv3", "conv4", "conv5")]
        assert sizes == [(55, 55), (27, 27), (13, 13), (13, 13), (13, 13)]
        assert network.connection_columns("conv5_to_fc6").weight.shape == (1, 1, 6, 6)


def test_seeds_of_nest():
    seed = alexnet(0.05, 0.3, widths=NEST_ALEXNET, groups=1)
    assert [len(seed.units(name)) for name in seed.layer_names] == [3, 3, 7, 12, 10, 8, 160, 80, 1000]
    assert [round(0.75 * maps) for maps in VGG_16[:13]] == list(NEST_VGG_16[:13])
    assert (len(ALEXNET), len(VGG_16)) == (len(NEST_ALEXNET), len(NEST_VGG_16))


def test_residual_sums_read_both_branches_and_project_where_maps_change():
    network = resnet((3, 3, 5), (2, 1, 1), size=8)
    sources = {name: {p.source for p in network.incoming(name)} for name in network.layer_names}
    assert sources["block1_1"] == {"block1_1_conv2", "stem"}
    assert sources["block1_2"] == {"block1_2_conv2", "block1_1"}
    assert sources["block2_1"] == {"block2_1_conv2", "block2_1_skip"}
    assert sources["block3_1"] == {"block3_1_conv2", "block3_1_skip"}
    assert [network.layer(f"block{stage}_1").size for stage in (1, 2, 3)] == [(8, 8), (4, 4), (2, 2)]


def test_concatenations_keep_their_parts_in_order():
    network = densenet(2, (2,), size=4)
    links = {p.source: network.connection_columns(p.name).links for p in network.incoming("block1")}
    assert {source: pairs[:, 1].tolist() for source, pairs in links.items()} == {
        "stem": list(range(16)),
        "block1_conv1": [16, 17],
        "block1_conv2": [18, 19],
    }


REFUSED = {
    "one width": (lambda: mlp((5,)), "at least two widths"),
    "no width": (lambda: mlp(()), "at least two widths"),
    "a width of 0": (lambda: mlp((5, 0, 2)), "at least two widths"),
    "a negative width": (lambda: mlp((5, -3)), "at least two widths"),
    "half a unit": (lambda: mlp((5, 2.5)), "widths: entries that are an integer"),
    "a number for widths": (lambda: mlp(784), "widths: a sequence"),
    "words for widths": (lambda: mlp("ab"), "widths: a sequence"),
    "density 0": (lambda: mlp((5, 2), 0.0), "a density above 0"),
    "density above 1": (lambda: mlp((5, 2), 1.5), "a density above 0"),
    "density NaN": (lambda: lenet_5(density=float("nan")), "density: a finite number"),
    "width ratio 0": (lambda: lenet_300_100(0.0), "a width above 0"),
    "width ratio below 0": (lambda: lenet_5(-1.0), "a width above 0"),
    "width ratio NaN": (lambda: lenet_300_100(float("nan")), "width: a finite number"),
    "width ratio infinite": (lambda: lenet_300_100(float("inf")), "width: a finite number"),
    "image size 0": (lambda: cnn(size=0), "an image size"),
    "three sides": (lambda: cnn(size=(3, 3, 3)), "an image size"),
    "half a pixel": (lambda: vgg16(size=32.5), "size: an integer .* or a sequence"),
    "no maps": (lambda: cnn(maps=(3, 0)), "numbers of maps"),
    "no classes": (lambda: resnet18(classes=0), "channels and classes"),
    "no groups": (lambda: alexnet(groups=0), "classes and groups"),
    "two widths of seven": (lambda: alexnet(widths=(96, 256)), "7 widths"),
    "blocks for other stages": (lambda: resnet((3, 4), (1,)), "the blocks of 2 stages"),
    "images too small for a kernel": (lambda: alexnet(size=5), "'conv1': expected images large enough"),
    "images too small for a pooling": (lambda: vgg16(size=31), "'conv5_3': expected a pooling .* larger size"),
    "images too small to halve": (lambda: densenet(2, (1, 1, 1), size=2), "'halving3': expected a pooling"),
    "random seed below 0": (lambda: mlp((5, 2), seed=-1), "expected seed: a whole number from 0 to 9,223"),
    "unknown activation": (lambda: mlp((5, 2, 2), activation="swish"), "activation: one of 'relu'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_choice_is_a_sentence(name):
    make, expected = REFUSED[name]
    with pytest.raises(StructureError, match=expected) as caught:
        make()
    assert "\n" not in str(caught.value)
    assert "got" in str(caught.value)


# -- several inputs and outputs --------------------------------------------------------------------------


@quick(30)
@given(FEW, st.lists(st.integers(1, 5), max_size=2), FEW, DENSITIES, SEEDS)
def test_several_inputs_and_outputs_are_joined_by_what_is_between(inputs, hidden, outputs, density, seed):
    names = {f"z{len(outputs) - place}": count for place, count in enumerate(outputs)}
    network = joint_mlp(inputs, hidden, names, density, seed)
    check(network, density)
    assert [len(network.units(port.layer)) for port in network.outputs] == outputs
    assert [port.layer for port in network.outputs] == list(names), "in the order that is given"
    assert [network.layer(port.layer).features for port in network.inputs] == inputs
    joins = len(inputs) * len(outputs) if not hidden else len(inputs) + len(hidden) - 1 + len(outputs)
    assert len(network.projection_names) == joins
    assert joint_mlp(inputs, hidden, names, density, seed) == network


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        (((), (3,), {"a": 1}), "the width of an input"),
        (((2,), (3,), ()), "the width of an output"),
        (((2,), (3,), {"fc1": 1}), "a name of its own for each layer, got 'fc1' twice"),
        (((2,), (3,), {"no name": 1}), "no name"),
    ],
)
def test_choices_that_join_nothing(choice, words):
    with pytest.raises(StructureError, match=words):
        joint_mlp(*choice)
