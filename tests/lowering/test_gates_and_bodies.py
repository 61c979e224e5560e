"""Gates and opaque layers against PyTorch written by hand, and what is frozen around them."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import nn

from nestgraph.edits import AddUnits, Editor, RemoveUnits, SetMask, drop_islands, prune_connections, remove_units
from nestgraph.errors import EditError, LoweringError, StructureError
from nestgraph.graph import Grid, Links, Network, Structure, UnitColumns, Whole, cost
from nestgraph.graph.pinning import pinned
from nestgraph.graph.reference import predict
from nestgraph.lowering import Workbench, lower
from nestgraph.lowering.opaque import ModuleBody
from nestgraph.lowering.slots import slots
from nestgraph.policies import Evidence, MagnitudePruning, UnitPruning
from nestgraph.policies.maps import map_layers
from nestgraph.snapshot.files import from_bytes, to_bytes
from nestgraph.spec import Activation, AdaptivePooling, Argument, Conv, Dense, Layer, OneToOne
from tests.laws import quick
from tests.strategies import networks

RELU, SIGMOID = Activation(function="relu"), Activation(function="sigmoid")


class SqueezeExcitation(nn.Module):
    """x -> conv -> conv times sigmoid(linear(relu(linear(mean of conv)))) -> linear."""

    def __init__(self):
        super().__init__()
        self.conv, self.down, self.up = nn.Conv2d(2, 3, 3, padding=1), nn.Linear(3, 2), nn.Linear(2, 3)
        self.head = nn.Linear(3 * 16, 2)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        gate = torch.sigmoid(self.up(torch.relu(self.down(x.mean((2, 3))))))
        return self.head((x * gate[:, :, None, None]).flatten(1))


def built(layers, joined, values, bodies=()):
    """A network of records and of (record, weight or links) in order; `values` are columns by layer."""
    units = {}
    for layer in layers:
        count = layer.features or values[layer.name][0]
        columns = UnitColumns.neutral(count, layer.column_names).values
        units[layer.name] = UnitColumns.of(np.arange(count), {**columns, **values.get(layer.name, (0, {}))[1]})
    connections = {}
    for record, block in joined:
        if isinstance(record, Argument):
            connections[record.name] = Whole.of(np.zeros(0))
        elif isinstance(record, OneToOne):
            links = np.stack([np.arange(block)] * 2, 1)
            connections[record.name] = Links.of(np.ones(block), links=links)
        else:
            connections[record.name] = Grid.of(block)
    network = Network.of(Structure(layers, [record for record, _ in joined], units, connections))
    return network.with_bodies(dict(bodies))


def excited(module, bias=None):
    """The network of a SqueezeExcitation; the gated layer may have a bias."""
    weights = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
    layers = [
        Layer(name="x", kind="input", features=2, size=(4, 4)),
        Layer(name="conv", kind="feature_maps", size=(4, 4), operations=(RELU,)),
        Layer(name="mean", kind="feature_maps", size=(4, 4), bias=False, operations=MEAN),
        Layer(name="down", kind="neurons", operations=(RELU,)),
        Layer(name="up", kind="neurons", operations=(SIGMOID,)),
        Layer(name="gated", kind="feature_maps", size=(4, 4), bias=bias is not None),
        Layer(name="y", kind="neurons", output=True),
    ]
    joined = [
        (Conv(source="x", target="conv", kernel=(3, 3), padding=(1, 1)), weights["conv.weight"]),
        (OneToOne(source="conv", target="mean"), 3),
        (Dense(source="mean", target="down"), weights["down.weight"][:, :, None, None]),
        (Dense(source="down", target="up"), weights["up.weight"]),
        (OneToOne(source="conv", target="gated"), 3),
        (OneToOne(source="up", target="gated", gate=True), 3),
        (Dense(source="gated", target="y"), weights["head.weight"].reshape(2, 3, 4, 4)),
    ]
    values = {
        "conv": (3, {"bias": weights["conv.bias"]}),
        "mean": (3, {}),
        "down": (2, {"bias": weights["down.bias"]}),
        "up": (3, {"bias": weights["up.bias"]}),
        "gated": (3, {} if bias is None else {"bias": np.asarray(bias, np.float32)}),
        "y": (2, {"bias": weights["head.bias"]}),
    }
    return built(layers, joined, values)


MEAN = (AdaptivePooling(function="average", size=(1, 1)),)


@pytest.fixture
def module():
    torch.manual_seed(0)
    return SqueezeExcitation()


@pytest.fixture
def images():
    return np.random.default_rng(0).standard_normal((3, 2, 4, 4)).astype(np.float32)


def test_a_squeeze_and_excitation_block_is_what_pytorch_computes(module, images):
    network, expected = excited(module), module(torch.tensor(images))
    np.testing.assert_allclose(predict(network, images), expected.detach(), rtol=1e-5, atol=1e-6)
    lowered = lower(network)
    result = lowered(torch.tensor(images))
    torch.testing.assert_close(result, expected)
    result.square().sum().backward()
    expected.square().sum().backward()
    gradients = {tuple(p.shape): p.grad for p in lowered.parameters()}
    torch.testing.assert_close(gradients[2, 3, 1, 1][..., 0, 0], module.down.weight.grad)
    assert cost(network).by_projection["up_to_gated"].flops == 3 * 16


def test_removing_a_gated_map_takes_its_gate_along(module, images):
    network = excited(module)
    after = remove_units(network, "gated", [1]).apply(network).network
    assert {name: len(after.units(name)) for name in ("conv", "mean", "up", "gated")} == dict.fromkeys(
        ("conv", "mean", "up", "gated"), 2
    )
    with torch.no_grad():
        module.head.weight.view(2, 3, 16)[:, 1] = 0
        module.down.weight[:, 1] = 0
    np.testing.assert_allclose(predict(after, images), module(torch.tensor(images)).detach(), rtol=1e-5, atol=1e-6)


def test_a_gate_that_becomes_constant_scales_what_it_multiplied(module, images):
    """Also the bias inside of the gate; here the gates of all maps become constant."""
    network = excited(module, bias=[0.5, -0.25, 1.0])
    entries = np.arange(network.connection_columns("mean_to_down").mask.size)
    after = prune_connections(network, {"mean_to_down": entries}).apply(network).network
    assert not after.has_layer("up")
    bias = torch.tensor([0.5, -0.25, 1.0])[:, None, None]
    with torch.no_grad():
        gate = torch.sigmoid(module.up(torch.relu(module.down.bias)))[:, None, None]
        expected = module.head(((torch.relu(module.conv(torch.tensor(images))) + bias) * gate).flatten(1))
    np.testing.assert_allclose(predict(after, images), expected, rtol=1e-5, atol=1e-6)


def test_a_bias_that_gates_still_multiply_is_no_constant(module):
    for bias, refused in (([1.0, 0, 0], True), ([0, 1.0, 1.0], False)):
        network = excited(module, bias)
        links = network.connection_columns("conv_to_gated")
        mask = np.array([False, True, True])
        structure = network.replace(connections={"conv_to_gated": links.with_weight(links.weight * mask, mask)})
        if refused:
            with pytest.raises(EditError, match=r"unit \('gated', 0\) expected a path .* set the bias to 0"):
                drop_islands(structure)
        else:
            after = Network.of(drop_islands(structure).change(structure)[0])
            assert after.units("gated").tolist() == [1, 2]


def test_gates_have_no_dormant_links_and_are_not_pruned(module):
    network = excited(module)
    dormant = SetMask(projection="up_to_gated", entries=[0], active=[False], weights=[0.0])
    with pytest.raises(EditError, match="expected all links of a gate to be active"):
        dormant.apply(network)
    with pytest.raises(EditError, match="got those of 'up_to_gated'"):
        prune_connections(network, {"up_to_gated": [0]})


def softmaxed():
    """x -> a -> softmax of a -> h -> y, with an identity from x to a."""
    layers = [
        Layer(name="x", kind="input", features=3),
        Layer(name="a", kind="neurons"),
        Layer(name="o", kind="neurons", bias=False, opaque="softmax: no kind covers it", operations=(RELU,)),
        Layer(name="h", kind="neurons", operations=(RELU,)),
        Layer(name="y", kind="neurons", output=True),
    ]
    rng = np.random.default_rng(0)
    joined = [
        (Dense(source="x", target="a"), rng.standard_normal((4, 3))),
        (Argument(source="a", target="o", place=0), None),
        (Dense(source="o", target="h"), rng.standard_normal((2, 4))),
        (Dense(source="h", target="y"), rng.standard_normal((2, 2))),
    ]
    values = {"a": (4, {}), "o": (4, {}), "h": (2, {}), "y": (2, {})}
    return built(layers, joined, values, {"o": ModuleBody(nn.Softmax(1))})


def test_a_body_is_what_pytorch_computes_forward_and_backward():
    network, x = softmaxed(), np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)
    module = lower(network)
    result = module(torch.tensor(x))
    weights = {name: network.connection_columns(name).weight for name in network.projection_names}
    first = torch.tensor(weights["x_to_a"], requires_grad=True)
    hidden = torch.relu(torch.softmax(torch.tensor(x) @ first.T, 1) @ torch.tensor(weights["o_to_h"]).T)
    expected = hidden @ torch.tensor(weights["h_to_y"]).T
    torch.testing.assert_close(result, expected)
    np.testing.assert_allclose(predict(network, x), expected.detach(), rtol=1e-5, atol=1e-6)
    result.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(next(p.grad for p in module.parameters() if p.shape == first.shape), first.grad)


def test_a_body_is_a_copy_and_leaves_the_original_alone():
    body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    before = copy.deepcopy(body.state_dict())
    network = softmaxed().with_bodies({"o": ModuleBody(body)})
    bench = Workbench(network, lambda module: torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9))
    bench.module(torch.randn(8, 3)).square().sum().backward()
    bench.optimizer.step()
    assert bench.network.bodies["o"] != network.bodies["o"]
    assert network.bodies["o"] == ModuleBody(body)
    assert all(torch.equal(tensor, before[name]) for name, tensor in body.state_dict().items())
    assert body.training
    assert all(parameter.requires_grad for parameter in body.parameters())


def test_bodies_are_no_part_of_a_network_s_value_or_file():
    network = softmaxed()
    bare = from_bytes(to_bytes(network))
    assert bare == network
    assert not bare.bodies
    x = np.zeros((1, 3))
    with pytest.raises(StructureError, match=r"opaque layer 'o' .* expected its body.*import the model again"):
        predict(bare, x)
    with pytest.raises(StructureError, match="expected its body"):
        lower(bare)
    again = bare.with_bodies(network.bodies)
    np.testing.assert_array_equal(predict(again, x), predict(network, x))
    with pytest.raises(StructureError, match=r"expected a body that gives an array of shape \(1, 4\), got \(1, 3\)"):
        predict(bare.with_bodies({"o": lambda a: a[:, :3]}), x)
    with pytest.raises(LoweringError, match=r"expected a nestgraph\.lowering\.opaque\.ModuleBody"):
        lower(bare.with_bodies({"o": lambda a: a}))
    with pytest.raises(StructureError, match="expected names of opaque layers, got 'h'"):
        bare.with_bodies({"h": lambda a: a})


def test_what_an_opaque_layer_reads_and_gives_is_frozen():
    network, editor = softmaxed(), Editor(softmaxed())
    assert pinned(network) == {"a", "o"}
    for edit in (RemoveUnits(layer="a", units=[0]), RemoveUnits(layer="o", units=[0]), AddUnits(layer="a", ids=[9])):
        preview = editor.preview(edit)
        assert not preview.legal
        assert "'o'" in preview.reason
    with pytest.raises(EditError, match="all of which the opaque layer 'o' reads"):
        remove_units(network, "a", [1])
    with pytest.raises(EditError, match=r"argument of opaque layer 'o': unit \('a', 0\) expected a path"):
        prune_connections(network, {"x_to_a": [0, 1, 2]})
    fewer = (
        prune_connections(network, {"o_to_h": [0, 4]}).apply(network).network
    )  # none reads unit 0: the body gives it
    assert fewer.units("o").tolist() == [0, 1, 2, 3]


def test_policies_leave_what_is_frozen():
    network, rng = softmaxed(), np.random.default_rng(0)
    quiet = {name: np.array([0.0, *[1.0] * (len(network.units(name)) - 1)]) for name in network.layer_names}
    batch = UnitPruning(fraction=0.5).propose(network, Evidence(activity=quiet), rng)
    after = batch.apply(network).network
    assert [len(after.units(name)) for name in ("a", "o", "h")] == [4, 4, 1]
    for _ in range(4):
        batch = MagnitudePruning(fraction=0.6, projections=("x_to_a",)).propose(network, Evidence(), rng)
        network = batch.apply(network).network
    assert network.connection_columns("x_to_a").mask.sum(axis=1).tolist() == [1] * 4
    assert map_layers(network) == ()


@quick(150)
@given(networks())
def test_every_parameter_is_a_column_of_the_network(network):
    """Also where a projection has lost its last link: an optimizer over the module finds nothing else."""
    module = lower(network)
    columns = {id(slot.tensor(module)) for slot in slots(network)}
    assert {id(parameter) for parameter in module.parameters()} <= columns
