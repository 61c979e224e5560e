"""The compact module gives what the reference gives, with nothing of nestgraph in it, and is as small as it says."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import fx, nn

from nestgraph.edits import untie
from nestgraph.errors import LoweringError
from nestgraph.graph import ConnectionColumns, Grid, Links, Network, UnitColumns, Whole, reference
from nestgraph.lowering import layer_nodes, lower
from nestgraph.lowering.blocks import blocks_of
from nestgraph.lowering.compact import compact
from nestgraph.lowering.compact_emitters import TERMS
from nestgraph.lowering.emitters import PROJECTIONS
from nestgraph.lowering.nodes import is_check
from nestgraph.lowering.opaque import ModuleBody
from nestgraph.spec import Activation, Argument, BatchNorm, Conv, Dense, Dropout, Layer, OneToOne, Pooling
from tests.laws import quick
from tests.lowering.running import close, results, tensors
from tests.strategies import SEEDS, inputs_for, networks

RELU = Activation(function="relu")


def scale_of(network, expected):
    """The largest sum in a network, or what normalisation makes of it: single precision is relative to it."""
    largest = 1.0
    for name in network.layer_names:
        layer, columns = network.layer(name), network.unit_columns(name)
        if layer.kind != "input":
            sums = reference.preactivation(network, name, expected)
            normalised = "variance" in layer.column_names
            factor = columns.values["gamma"] / np.sqrt(columns.values["variance"] + 1e-5) if normalised else 1
            largest = max(largest, np.abs(sums).max() * max(1, np.abs(factor).max()))
    return largest


def agrees(network, inputs, batch=1):
    """The compact module's outputs are those of the reference and of the masked module."""
    expected, masked = reference.forward(network, inputs), results(lower(network), network, inputs)
    for name, got in results(compact(network, batch), network, inputs).items():
        close(got, expected[name], scale_of(network, expected))
        close(got, masked[name].detach().numpy(), scale_of(network, expected))


@quick(40)
@given(networks(), SEEDS)
def test_outputs_are_those_of_the_reference_and_of_the_masked_module(network, seed):
    inputs = inputs_for(network, 3, np.random.default_rng(seed))
    agrees(network, inputs)
    agrees(network, inputs, batch=256)


def with_zeros(network, rng):
    """The network, untied, with a part of its weights, gammas and areas 0, which makes units constant or unused."""
    for name in (p.name for p in network.projections_by_name.values() if p.follows):
        network = untie(network, name).apply(network).network
    units, connections = {}, {}
    for name in network.layer_names:
        columns = network.unit_columns(name)
        values = {
            column: np.where(rng.random(len(columns)) < 0.3, 0, array) if column == "gamma" else array
            for column, array in columns.values.items()
        }
        units[name] = UnitColumns.of(columns.ids, values, columns.next_id)
    for name in network.projection_names:
        columns = network.connection_columns(name)
        kept = rng.random(columns.weight.shape[:2]) < rng.choice([0.3, 0.7])
        weight = columns.weight * kept.reshape(*kept.shape, *([1] * (columns.weight.ndim - kept.ndim)))
        area = columns.area
        if area is not None:
            area = area & (rng.random(area.shape[:2]) < 0.7).reshape(*area.shape[:2], *(1,) * (area.ndim - 2))
        connections[name] = columns.with_weight(weight).with_area(area)
    return Network.of(network.replace(units=units, connections=connections))


CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


@quick(60)
@given(networks(), SEEDS)
def test_constants_are_absorbed(network, seed):
    rng = np.random.default_rng(seed)
    network = with_zeros(network, rng)
    inputs = inputs_for(network, 3, rng)
    agrees(network, inputs)
    agrees(network, inputs, batch=256)


@quick(40)
@given(networks())
def test_modules_need_only_pytorch_and_hold_no_name_of_a_user(network):
    state = torch.get_rng_state()
    module = compact(network)
    assert torch.equal(torch.get_rng_state(), state)
    assert not module.training
    targets = [node.target for node in module.graph.nodes if node.op == "call_function"]
    homes = {type(part).__module__ for part in module.modules() if part is not module}
    homes |= {getattr(target, "__module__", None) or "" for target in targets}
    assert not [home for home in homes if home.startswith("nestgraph")]
    assert "nestgraph" not in module.meta
    generated = {node.name for node in module.graph.nodes} | dict(module.named_modules()).keys()
    assert not generated & {*network.layer_names, *network.projection_names}
    assert not any(parameter.requires_grad for parameter in module.parameters())
    if not network.bodies:
        assert {type(part) for part in module.modules()} <= {nn.Linear, *CONVOLUTIONS, nn.Module, type(module)}


@quick(8)
@given(networks(), SEEDS)
def test_copies_and_a_free_batch_export(network, seed):
    module = copy.deepcopy(compact(network))
    batch = torch.export.Dim("batch", min=1)
    rng = np.random.default_rng(seed)
    given = tuple(tensors(network, inputs_for(network, 3, rng)))
    program = torch.export.export(module, given, dynamic_shapes=tuple({0: batch} for _ in given)).module()
    for count in (1, 4):
        x = tensors(network, inputs_for(network, count, rng))
        torch.testing.assert_close(program(*x), module(*x))


# -- what is gone --------------------------------------------------------------------------------------


def built(layers, projections, arrays, counts, values=None, bodies=None):
    """A network of arrays by projection: weights, or ConnectionColumns."""
    units = {layer.name: UnitColumns.neutral(counts[layer.name], layer.column_names) for layer in layers}
    for name, columns in (values or {}).items():
        old = units[name]
        units[name] = UnitColumns.of(old.ids, {**old.values, **columns})
    connections = {
        p.name: arrays[p.name]
        if isinstance(arrays[p.name], ConnectionColumns)
        else Grid.of(arrays[p.name], arrays[p.name] != 0)
        for p in projections
    }
    return Network(layers, projections, units, connections, bodies)


def links(*pairs, weight=None):
    pairs = np.array(pairs)
    return Links.of(np.ones(len(pairs)) if weight is None else weight, links=pairs)


def functions(module):
    """The names of what a module calls to compute, in order."""
    names = {
        "call_module": lambda target: type(module.get_submodule(target)).__name__,
        "call_function": lambda target: target.__name__,
        "call_method": str,
    }
    return [names[node.op](node.target) for node in module.graph.nodes if node.op in names and not is_check(node)]


def test_a_chain_of_normalised_layers_is_linear_maps_and_activations():
    """x -> h (batch norm, ReLU, dropout) -> y: nothing else is left."""
    rng = np.random.default_rng(0)
    layers = (
        Layer(name="x", kind="input", features=3),
        Layer(name="h", kind="neurons", operations=(BatchNorm(), RELU, Dropout(probability=0.5)), bias=False),
        Layer(name="y", kind="neurons", output=True),
    )
    arrays = {"x_to_h": rng.standard_normal((4, 3)), "h_to_y": rng.standard_normal((2, 4))}
    values = {"h": {"gamma": rng.standard_normal(4), "mean": rng.standard_normal(4), "variance": rng.random(4) + 0.1}}
    network = built(
        layers, (Dense(source="x", target="h"), Dense(source="h", target="y")), arrays, {"x": 3, "h": 4, "y": 2}, values
    )
    assert functions(compact(network)) == ["Linear", "relu", "Linear"]
    agrees(network, inputs_for(network, 3, rng))


def test_constant_and_unused_units_are_gone():
    """Of h one unit has a gamma of 0, one has outgoing weights of 0, and two stay."""
    rng = np.random.default_rng(1)
    layers = (
        Layer(name="x", kind="input", features=3),
        Layer(name="h", kind="neurons", operations=(BatchNorm(), Activation(function="sigmoid"))),
        Layer(name="y", kind="neurons", output=True),
    )
    weights = rng.standard_normal((2, 4))
    out = Grid.of(weights * [1, 1, 0, 1])
    network = built(
        layers,
        (Dense(source="x", target="h"), Dense(source="h", target="y")),
        {"x_to_h": rng.standard_normal((4, 3)), "h_to_y": out},
        {"x": 3, "h": 4, "y": 2},
        {"h": {"gamma": np.array([1.0, 0.0, 1.0, 1.0]), "beta": np.array([0.1, 0.7, 0.2, 0.3])}},
    )
    module = compact(network)
    assert [(p.in_features, p.out_features) for p in module.modules() if isinstance(p, nn.Linear)] == [(3, 2), (2, 2)]
    agrees(network, inputs_for(network, 3, rng))


def test_a_constant_map_behind_padding_leaves_what_differs_by_position():
    """c has a constant map, 3 everywhere, which a padded convolution reads less of at the border."""
    rng = np.random.default_rng(2)
    same = {"kernel": (3, 3), "padding": (1, 1)}
    layers = (
        Layer(name="x", kind="input", features=1, size=(4, 4)),
        Layer(name="c", kind="feature_maps", size=(4, 4)),
        Layer(name="y", kind="feature_maps", size=(4, 4), output=True),
    )
    first = Grid.of(rng.standard_normal((2, 1, 3, 3)) * np.array([1, 0]).reshape(2, 1, 1, 1))
    network = built(
        layers,
        (Conv(source="x", target="c", **same), Conv(source="c", target="y", **same)),
        {"x_to_c": first, "c_to_y": rng.standard_normal((2, 2, 3, 3))},
        {"x": 1, "c": 2, "y": 2},
        {"c": {"bias": np.array([0.5, 3.0])}},
    )
    module = compact(network, layout="contiguous", execution="dense")
    assert functions(module) == ["Conv2d", "Conv2d", "add"]
    assert dict(module.named_buffers())["layer2_offset"].shape == (2, 4, 4)
    agrees(network, inputs_for(network, 3, rng))


def test_an_output_that_nothing_feeds_any_more_is_its_bias():
    layers = (Layer(name="x", kind="input", features=2), Layer(name="y", kind="neurons", output=True))
    zero = Grid.of(np.zeros((3, 2)))
    network = built(
        layers, (Dense(source="x", target="y"),), {"x_to_y": zero}, {"x": 2, "y": 3}, {"y": {"bias": np.arange(3.0)}}
    )
    assert compact(network)(torch.randn(2, 2)).tolist() == [[0.0, 1.0, 2.0]] * 2


def test_concatenation_is_cat_and_a_skip_is_an_addition():
    """a -> b; c = [a, b] side by side, nothing else; y reads c, and adds a."""
    rng = np.random.default_rng(3)
    layers = (
        Layer(name="x", kind="input", features=2),
        Layer(name="a", kind="neurons", operations=(RELU,)),
        Layer(name="b", kind="neurons", operations=(RELU,)),
        Layer(name="c", kind="neurons", bias=False),
        Layer(name="s", kind="neurons", bias=False),
        Layer(name="y", kind="neurons", output=True),
    )
    projections = (
        Dense(source="x", target="a"),
        Dense(source="a", target="b"),
        OneToOne(source="a", target="c"),
        OneToOne(source="b", target="c"),
        OneToOne(source="c", target="s"),
        Dense(source="s", target="y"),
        Dense(source="a", target="y"),
    )
    arrays = {
        "x_to_a": rng.standard_normal((2, 2)),
        "a_to_b": rng.standard_normal((2, 2)),
        "a_to_c": links((0, 0), (1, 1)),
        "b_to_c": links((0, 2), (1, 3)),
        "c_to_s": links((0, 0), (1, 1), (2, 2), (3, 3)),
        "s_to_y": rng.standard_normal((2, 4)),
        "a_to_y": rng.standard_normal((2, 2)),
    }
    network = built(layers, projections, arrays, {"x": 2, "a": 2, "b": 2, "c": 4, "s": 4, "y": 2})
    assert functions(compact(network)) == ["Linear", "relu", "Linear", "relu", "cat", "Linear", "Linear", "add"]
    agrees(network, inputs_for(network, 3, rng))


def test_a_normalisation_after_a_sum_of_skips_stays_as_one_function():
    network = preactivated()
    assert functions(compact(network))[-3:] == ["addcmul", "relu", "Linear"]
    agrees(network, inputs_for(network, 3, np.random.default_rng(0)))


def preactivated():
    rng = np.random.default_rng(4)
    layers = (
        Layer(name="x", kind="input", features=2),
        Layer(name="a", kind="neurons"),
        Layer(name="b", kind="neurons", operations=(BatchNorm(), RELU)),
        Layer(name="y", kind="neurons", output=True),
    )
    projections = (Dense(source="x", target="a"), OneToOne(source="a", target="b"), Dense(source="b", target="y"))
    arrays = {
        "x_to_a": rng.standard_normal((2, 2)),
        "a_to_b": links((0, 0), (1, 1)),
        "b_to_y": rng.standard_normal((1, 2)),
    }
    values = {"b": {"bias": rng.standard_normal(2), "mean": rng.standard_normal(2), "gamma": rng.standard_normal(2)}}
    return built(layers, projections, arrays, {"x": 2, "a": 2, "b": 2, "y": 1}, values)


def convolution(edges, area=None, size=(5, 5), seed=5):
    """x -> y by kernels of 3 x 3 on pairs of maps that an edge joins; y is the output."""
    rng = np.random.default_rng(seed)
    out, into = edges.shape
    layers = (
        Layer(name="x", kind="input", features=into, size=size),
        Layer(name="y", kind="feature_maps", size=size, output=True, operations=(RELU,)),
    )
    weight = rng.standard_normal((out, into, 3, 3)) * edges[:, :, None, None]
    columns = Grid.of(weight, weight != 0, area)
    values = {"y": {"bias": rng.standard_normal(out)}}
    conv = Conv(source="x", target="y", kernel=(3, 3), padding=(1, 1))
    return built(layers, (conv,), {"x_to_y": columns}, {"x": into, "y": out}, values)


def blocks(*sizes):
    """Edges within blocks (out, in) along the diagonal."""
    out, into = (sum(size[side] for size in sizes) for side in (0, 1))
    edges, row, column = np.zeros((out, into), bool), 0, 0
    for high, wide in sizes:
        edges[row : row + high, column : column + wide] = True
        row, column = row + high, column + wide
    return edges


@pytest.mark.parametrize(
    ("edges", "groups", "calls"),
    [
        (blocks((2, 3), (2, 3), (2, 3)), 3, ["Conv2d", "relu"]),
        (blocks((2, 3), (1, 3), (2, 2)), 3, ["index_select", "Conv2d", "index_select", "relu"]),
        (blocks((5, 5), (1, 1)), 1, ["Conv2d", "relu"]),
        (np.eye(4, dtype=bool)[[2, 0, 3, 1]], 4, ["index_select", "Conv2d", "relu"]),
        (np.ones((3, 2), bool), 1, ["Conv2d", "relu"]),
    ],
)
def test_blocks_are_groups_where_that_is_cheaper(edges, groups, calls):
    network = convolution(edges)
    module = compact(network, layout="contiguous", execution="dense")
    assert [part.groups for part in module.modules() if isinstance(part, nn.Conv2d)] == [groups]
    assert functions(module) == calls
    agrees(network, inputs_for(network, 2, np.random.default_rng(0)))


def test_blocks_of_any_mask_hold_every_edge_once():
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(300):
        edges = rng.random((rng.integers(1, 7), rng.integers(1, 7))) < rng.choice([0.1, 0.3])
        edges[0, 0] = True
        weight = (rng.standard_normal(edges.shape) * edges)[:, :, None, None]
        split = blocks_of(edges)
        if split is not None:
            found += 1
            dense = np.zeros(edges.shape)
            for group, kernels in enumerate(np.split(split.weights(weight), len(split.targets))):
                for row, target in enumerate(split.targets[group]):
                    np.add.at(
                        dense, (max(target, 0), split.read.reshape(split.sources.shape)[group]), kernels[row, :, 0, 0]
                    )
            np.testing.assert_array_equal(dense, weight[:, :, 0, 0])
            assert (split.targets.reshape(-1)[split.places] == np.arange(len(edges))).all()
    assert found > 50


def area_of(rows, columns, size=(40, 40)):
    area = np.zeros(size, bool)
    area[rows, columns] = True
    return area


def test_an_area_is_the_box_around_it():
    """One row of boxes: what lies outside is never computed, and the bias is everywhere."""
    area = np.broadcast_to(area_of(slice(3, 9), slice(30, 40)), (4, 1, 40, 40))
    network = convolution(np.ones((4, 6), bool), area, (40, 40))
    assert functions(compact(network, layout="contiguous", execution="dense")) == [
        "pad",
        "Conv2d",
        "pad",
        "add",
        "relu",
    ]
    agrees(network, inputs_for(network, 2, np.random.default_rng(0)))


@pytest.mark.parametrize("batch", [1, 256])
def test_areas_of_pairs_that_no_edge_joins_do_not_count(batch):
    rng = np.random.default_rng(0)
    edges = np.array([[1, 0], [0, 1], [1, 1]], bool)
    area = np.where(edges[:, :, None, None], rng.random((3, 1, 5, 5)) < 0.7, rng.random((3, 2, 5, 5)) < 0.5)
    alike, apart = convolution(edges, area), convolution(edges, rng.random((3, 2, 5, 5)) < 0.5)
    assert functions(compact(alike, batch, "contiguous", "dense")) == ["Conv2d", "addcmul", "relu"]
    assert len(functions(compact(apart, batch, execution="dense"))) > 4
    for network in (alike, apart):
        agrees(network, inputs_for(network, 2, rng), batch)


def test_columns_that_a_matrix_does_not_use_go_where_that_pays():
    """y reads few of h's many units, z reads all."""
    rng = np.random.default_rng(6)
    layers = (
        Layer(name="x", kind="input", features=4),
        Layer(name="h", kind="neurons", operations=(RELU,)),
        Layer(name="y", kind="neurons", output=True),
        Layer(name="z", kind="neurons", output=True),
    )
    weight = rng.standard_normal((300, 400))
    weight[:, rng.permutation(400)[:300]] = 0
    few = rng.standard_normal((3, 400)) * (rng.random(400) < 0.5)
    projections = (Dense(source="x", target="h"), Dense(source="h", target="y"), Dense(source="h", target="z"))
    for into, calls in ((weight, 1), (few, 0)):
        arrays = {"x_to_h": rng.standard_normal((400, 4)), "h_to_y": into, "h_to_z": rng.standard_normal((2, 400))}
        network = built(layers, projections, arrays, {"x": 4, "h": 400, "y": len(into), "z": 2})
        assert functions(compact(network)).count("index_select") == calls
        agrees(network, inputs_for(network, 2, rng))


# -- gates and opaque layers ---------------------------------------------------------------------------


class Reversal(nn.Module):
    """A module that no kind of layer covers, with a weight of its own."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.arange(3.0).reshape(3, 1, 1))

    def forward(self, *sources):
        return torch.flip(sources[0], (2,)).cumsum(3) * self.weight


class Stubborn(Reversal):
    """One that fx cannot trace."""

    def forward(self, x):
        return super().forward(x) if x.sum() > -1e9 else x


def gated(body=None, unlinked=False):
    """x -> c; its means through a sigmoid gate c's copy g, of which a unit may have no gate; an opaque layer; y."""
    rng = np.random.default_rng(7)
    size, pool = (4, 4), Pooling(function="average", kernel=(4, 4), stride=(4, 4))
    layers = [
        Layer(name="x", kind="input", features=2, size=size),
        Layer(name="c", kind="feature_maps", size=size),
        Layer(name="m", kind="feature_maps", size=size, operations=(pool, Activation(function="sigmoid"))),
        Layer(name="g", kind="feature_maps", size=size, operations=(BatchNorm(),)),
        Layer(name="y", kind="neurons", output=True),
    ]
    same = {"kernel": (3, 3), "padding": (1, 1)}
    every, own = ((0, 0), (1, 1), (2, 2)), range(3 - unlinked)
    projections = [
        Conv(source="x", target="c", **same),
        OneToOne(source="c", target="m"),
        OneToOne(source="c", target="g"),
        OneToOne(source="m", target="g", gate=True, trained=True),
    ]
    arrays = {
        "x_to_c": rng.standard_normal((3, 2, 3, 3)),
        "c_to_m": links(*((unit + unlinked, unit) for unit in own)),
        "c_to_g": links(*every),
        "m_to_g": links(*((unit, unit + unlinked) for unit in own), weight=rng.standard_normal(len(own))),
        "g_to_y": rng.standard_normal((2, 3, 4, 4)),
        "o_to_y": rng.standard_normal((2, 3, 4, 4)),
    }
    last = "g"
    if body is not None:
        layers.append(Layer(name="o", kind="feature_maps", size=size, opaque="reversal", bias=False))
        projections.append(Argument(source="g", target="o", place=0))
        arrays["g_to_o"] = Whole.of(np.zeros(0))
        last = "o"
    projections.append(Dense(source=last, target="y"))
    bodies = {"o": ModuleBody(body)} if body is not None else None
    counts = {"x": 2, "c": 3, "m": len(own), "g": 3, "o": 3, "y": 2}
    values = {"g": {"bias": rng.standard_normal(3), "mean": rng.standard_normal(3)}}
    return built(tuple(layers), tuple(projections), arrays, counts, values, bodies)


@pytest.mark.parametrize("unlinked", [False, True])
def test_gates_multiply_after_the_bias_and_before_normalisation(unlinked):
    network = gated(unlinked=unlinked)
    agrees(network, inputs_for(network, 3, np.random.default_rng(0)))


@pytest.mark.parametrize("kind", [Reversal, Stubborn])
def test_opaque_layers_are_what_is_in_their_modules(kind):
    network = gated(kind())
    agrees(network, inputs_for(network, 3, np.random.default_rng(0)))
    module = compact(network)
    assert ("flip" in functions(module)) == (kind is Reversal)
    assert not [part for part in module.modules() if type(part).__module__.startswith("nestgraph")]
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_an_opaque_layer_without_a_module_says_so():
    network = gated(Reversal()).with_bodies({"o": lambda x: x})
    with pytest.raises(LoweringError, match="opaque layer 'o'"):
        compact(network)


# -- the rest ------------------------------------------------------------------------------------------


def test_hostile_text_reaches_no_code():
    network = gated()
    hostile = 'x=__import__("os").system("exit 1")'
    layers = {name: network.layer(name).model_copy(update={"label": hostile}) for name in network.layer_names}
    module = compact(Network.of(network.replace(layers=layers)))
    assert "__import__" not in module.code


def test_layer_nodes_are_for_modules_that_train():
    with pytest.raises(LoweringError, match=r"nestgraph\.lower"):
        layer_nodes(compact(gated()))
    assert isinstance(compact(gated()), fx.GraphModule)


def test_every_kind_has_a_row():
    assert TERMS.keys() == PROJECTIONS.keys()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu():
    network = gated(Reversal())
    inputs = inputs_for(network, 2, np.random.default_rng(0))
    got = compact(network).cuda()(*(x.cuda() for x in tensors(network, inputs)))
    np.testing.assert_allclose(got.cpu().numpy(), reference.predict(network, inputs), atol=1e-4)
