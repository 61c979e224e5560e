"""A lowered network means what the reference says, in every form and on every path through PyTorch."""

import copy
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import fx

from nestgraph.errors import LoweringError
from nestgraph.graph import Grid, Links, Network, Structure, UnitColumns, reference
from nestgraph.graph.projections import MEANINGS
from nestgraph.lowering import layer_nodes, lower, slots
from nestgraph.lowering.emitters import PROJECTIONS
from nestgraph.lowering.operations import ROOMS
from nestgraph.lowering.operations.activation import OPTIONAL, PLAIN
from nestgraph.spec import Activation, Conv, Dense, Layer, OneToOne, Pooling
from nestgraph.spec.operations import OPERATIONS, ActivationFunction
from tests.laws import quick
from tests.lowering.running import Watch, close, results, tensors, without_dropout
from tests.strategies import SEEDS, inputs_for, networks

some = quick(40)


def two_maps(area=None):
    """x -(conv)-> c -(depthwise)-> d -> y, all smooth, so that difference quotients approach derivatives."""
    rng = np.random.default_rng(3)
    pool = Pooling(function="average", kernel=(2, 2), stride=(2, 2), padding=(1, 1))
    size = (3, 3)
    layers = (
        Layer(name="x", kind="input", features=2, size=(4, 4)),
        Layer(name="c", kind="feature_maps", size=(4, 4), operations=(Activation(function="tanh"), pool)),
        Layer(name="d", kind="feature_maps", size=size, operations=(Activation(function="sigmoid"),)),
        Layer(name="y", kind="neurons", output=True),
    )
    same = {"kernel": (3, 3), "padding": (1, 1)}
    projections = (
        Conv(source="x", target="c", **same),
        OneToOne(source="c", target="d", trained=True, **same),
        Dense(source="d", target="y"),
    )
    shapes = ((3, 2, 3, 3), (3, 3, 3), (2, 3, *size))
    units = {
        layer.name: UnitColumns.neutral(n, layer.column_names) for layer, n in zip(layers, (2, 3, 3, 2), strict=True)
    }
    connections = {}
    for projection, shape in zip(projections, shapes, strict=True):
        mask = rng.random(shape) < 0.7
        weight = rng.standard_normal(shape) * mask
        if projection.kind == "one_to_one":
            columns = Links.of(weight, mask, np.stack([np.arange(3)] * 2, 1))
        else:
            columns = Grid.of(weight, mask, area if projection.kind == "conv" else None)
        connections[projection.name] = columns
    return Network.of(Structure(layers, projections, units, connections))


@some
@given(networks(), SEEDS)
def test_every_sum_and_output_is_the_references(network, seed):
    inputs = inputs_for(network, 3, np.random.default_rng(seed))
    expected = reference.forward(network, inputs)
    watch = Watch(lower(network, dtype=torch.float64).eval())
    watch.run(*(x.double() for x in tensors(network, inputs)))
    for name in network.layer_names:
        close(watch.output_of(name), expected[name], tolerance=1e-10)
        if network.layer(name).kind != "input":
            sums = reference.preactivation(network, name, expected)
            close(watch.sum_of(name), sums, tolerance=1e-10)


@some
@given(networks(), SEEDS)
def test_single_precision_outputs_are_the_references(network, seed):
    inputs = inputs_for(network, 3, np.random.default_rng(seed))
    expected = reference.forward(network, inputs)
    hidden = [n for n in network.layer_names if network.layer(n).kind != "input"]
    scale = max(np.abs(reference.preactivation(network, name, expected)).max() for name in hidden)
    for name, got in results(lower(network), network, inputs).items():
        close(got, expected[name], scale)


@some
@given(networks(), SEEDS)
def test_without_masks_the_outputs_are_the_same(network, seed):
    inputs = inputs_for(network, 3, np.random.default_rng(seed))
    masked = results(lower(network), network, inputs)
    plain = results(lower(network, masked=False), network, inputs)
    for name in network.output_names:
        close(masked[name], plain[name].numpy())


@some
@given(networks())
def test_graphs_are_sound_and_hold_no_name_of_a_user(network):
    module = lower(network)
    module.graph.lint()
    generated = {node.name for node in module.graph.nodes} | dict(module.named_modules()).keys()
    assert not generated & {*network.layer_names, *network.projection_names}
    assert {slot.path for slot in slots(network)} >= {name for name, _ in module.named_parameters()}
    heads = {
        name for name in network.layer_names if network.matches(name)
    }  # which one call may take with what they mix
    for each, left_out in ((module, heads), (lower(network, fuse=False), set())):
        owners = {node.meta["nestgraph"]["layer"] for node in each.graph.nodes if "nestgraph" in node.meta}
        assert layer_nodes(each).keys() | left_out == owners | left_out == set(network.layer_names)


@some
@given(networks(families=("dense", "skip")), SEEDS)
def test_without_masks_a_dense_gradient_is_dormant_connections_too(network, seed):
    """method.md: the gradient of connection (i, o) is the sum over samples of dL/du_o * x_i."""
    module = without_dropout(lower(network, masked=False)).eval()
    watch = Watch(module)
    given_outputs = watch.run(*tensors(network, inputs_for(network, 4, np.random.default_rng(seed))))
    given_outputs = given_outputs if isinstance(given_outputs, tuple) else (given_outputs,)
    sum((y**2).mean() for y in given_outputs).backward()
    for slot in slots(network):
        if slot.is_weight and isinstance(network.projection(slot.owner), Dense):
            projection = network.projection(slot.owner)
            to, of = watch.sum_of(projection.target).grad, watch.output_of(projection.source).detach()
            wanted = (to.T @ of.flatten(1)).reshape(slot.values(network).shape)
            close(slot.tensor(module).grad, wanted.numpy())


@pytest.mark.parametrize("area", [None, (3, 2, 4, 4), (3, 1, 4, 4)])
def test_without_masks_every_gradient_is_the_difference_quotient(area):
    rng = np.random.default_rng(0)
    network = two_maps(None if area is None else rng.random(area) < 0.6)
    module = lower(network, masked=False).double()
    x = torch.tensor(rng.standard_normal((2, 2, 4, 4)))
    (module(x) ** 2).sum().backward()
    for slot in slots(network):
        parameter = slot.tensor(module)
        for entry in np.ndindex(*parameter.shape):
            sides = [loss_at(module, x, parameter, entry, step) for step in (1e-5, -1e-5)]
            assert parameter.grad[entry].item() == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-5, abs=1e-7)


def loss_at(module, x, parameter, entry, step):
    with torch.no_grad():
        kept = parameter[entry].clone()
        parameter[entry] += step
        loss = (module(x) ** 2).sum().item()
        parameter[entry] = kept
    return loss


def test_masked_gradients_of_dormant_connections_are_zero_where_plain_ones_are_not():
    network, x = two_maps(), torch.randn(2, 2, 4, 4)
    masked, plain = lower(network), lower(network, masked=False)
    for module in (masked, plain):
        (module(x) ** 2).sum().backward()
    for slot in slots(network):
        if slot.is_weight:
            mask = torch.tensor(network.connection_columns(slot.owner).mask)
            dense, sparse = slot.tensor(plain).grad, slot.tensor(masked).grad
            assert not sparse[~mask].any()
            assert dense[~mask].any()
            torch.testing.assert_close(sparse[mask], dense[mask])


def test_a_plain_skip_keeps_its_gradient_apart():
    """a feeds b by a plain skip and y directly: dL/du of b is not all of dL/da."""
    layers = (
        Layer(name="a", kind="input", features=2),
        Layer(name="h", kind="neurons"),
        Layer(name="b", kind="neurons", bias=False),
        Layer(name="y", kind="neurons", output=True),
    )
    skip = OneToOne(source="h", target="b")
    projections = (Dense(source="a", target="h"), skip, Dense(source="b", target="y"), Dense(source="h", target="y"))
    units = {layer.name: UnitColumns.neutral(1 if layer.output else 2, layer.column_names) for layer in layers}
    connections = {p.name: Grid.of(np.ones((1 if p.target == "y" else 2, 2))) for p in projections}
    connections[skip.name] = Links.of(np.ones(2), links=np.array([[0, 0], [1, 1]]))
    watch = Watch(lower(Network.of(Structure(layers, projections, units, connections))))
    watch.run(torch.ones(1, 2)).sum().backward()
    assert watch.sum_of("b").grad.tolist() == [[1.0, 1.0]]
    assert watch.output_of("h").grad.tolist() == [[2.0, 2.0]]


def test_a_one_to_one_projection_without_links_adds_nothing():
    network = two_maps()
    empty = OneToOne(source="c", target="d", name="empty", kernel=(3, 3), padding=(1, 1), trained=True)
    columns = Links.of(np.zeros((0, 3, 3)), links=np.zeros((0, 2)))
    wider = Network.of(network.replace(projections={"empty": empty}, connections={"empty": columns}))
    inputs = {"x": np.ones((1, 2, 4, 4), np.float32)}
    assert torch.equal(results(lower(wider), wider, inputs)["y"], results(lower(network), network, inputs)["y"])


def test_hostile_text_reaches_no_code():
    hostile = 'x=__import__("os").system("exit 1")'
    names = {"x": "self", "c": "torch", "d": "layer0", "y": "exit"}
    network = two_maps()
    layers = [
        layer.model_copy(update={"name": names[layer.name], "label": hostile})
        for layer in network.layers_by_name.values()
    ]
    projections = [
        p.model_copy(update={"source": names[p.source], "target": names[p.target]})
        for p in network.projections_by_name.values()
    ]
    renamed = Network.of(
        Structure(
            layers,
            projections,
            {new: network.unit_columns(old) for old, new in names.items()},
            {p.name: network.connection_columns(p.name) for p in projections},
        )
    )
    module, plain = lower(renamed), lower(network)
    x = torch.randn(2, 2, 4, 4)
    assert "__import__" not in module.code
    assert "exit" not in module.code
    assert torch.equal(module(x), plain(x))


def test_copies_keep_values_and_nodes():
    network, x = two_maps(), torch.randn(2, 2, 4, 4)
    module = lower(network)
    twin = copy.deepcopy(module)
    assert torch.equal(twin(x), module(x))
    assert layer_nodes(twin).keys() == layer_nodes(module).keys()
    assert {p.data_ptr() for p in twin.parameters()}.isdisjoint(p.data_ptr() for p in module.parameters())


def test_layer_nodes_of_a_foreign_module():
    with pytest.raises(LoweringError, match=r"nestgraph\.lower"):
        layer_nodes(fx.symbolic_trace(torch.nn.Linear(1, 1)))


@pytest.mark.parametrize("masked", [True, False])
def test_export_with_a_free_batch(masked):
    module = lower(two_maps(np.random.default_rng(0).random((3, 2, 4, 4)) < 0.6), masked=masked).eval()
    batch = torch.export.Dim("batch", min=1)
    exported = torch.export.export(module, (torch.randn(3, 2, 4, 4),), dynamic_shapes=({0: batch},))
    x = torch.randn(5, 2, 4, 4)
    torch.testing.assert_close(exported.module()(x), module(x))


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled(backend):
    module, x = lower(two_maps()), torch.randn(2, 2, 4, 4)
    compiled = torch.compile(module, backend=backend, fullgraph=True)
    torch.testing.assert_close(compiled(x), module(x))
    compiled(x).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize("device", ["xpu", "cuda:99", "no such device", 1.5])
def test_a_device_that_is_not_there(device):
    with pytest.raises(LoweringError, match=r"device='cpu' always is|expected device: a text"):
        lower(two_maps(), device=device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu():
    network = two_maps()
    inputs = {"x": np.random.default_rng(0).standard_normal((2, 2, 4, 4)).astype(np.float32)}
    module = lower(network, device="cuda").eval()
    got = module(*(x.cuda() for x in tensors(network, inputs)))
    np.testing.assert_allclose(got.detach().cpu().numpy(), reference.predict(network, inputs), atol=1e-4)


def test_every_kind_has_a_row():
    records = {record.model_fields["kind"].default: record for record in MEANINGS}
    apart = {kind for kind, record in records.items() if not record.weighted or record.matches or record.mixes}
    assert PROJECTIONS.keys() == records.keys() - apart  # bodies read arguments, and heads the others
    assert set(ROOMS) == set(OPERATIONS)
    assert {*PLAIN, *OPTIONAL} == set(get_args(ActivationFunction))
