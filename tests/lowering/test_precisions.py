"""A network lowered to another precision: the reference's outputs, and values that come back rounded."""

import numpy as np
import pytest
import torch
from hypothesis import given
from torch import nn

import nestgraph as ng
from nestgraph.errors import LoweringError
from nestgraph.graph import reference
from nestgraph.lowering import collect, lower, slots
from nestgraph.lowering.masked import PRECISIONS
from tests.laws import quick
from tests.lowering.running import layer_shape, tensors
from tests.lowering.test_masked import two_maps
from tests.strategies import inputs_for, networks

ROUNDED = {torch.float32: 1e-5, torch.float64: 1e-12, torch.bfloat16: 5e-2, torch.float16: 5e-3}


@quick(20)
@given(networks())
def test_values_come_back_as_the_precision_rounds_them(network):
    for dtype in PRECISIONS:
        module = lower(network, dtype=dtype)
        floats = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()]
        assert all(tensor.dtype == dtype for tensor in floats)
        back = collect(network, module)
        for slot in slots(network):
            wanted = torch.tensor(slot.values(network)).to(dtype).float().numpy()
            np.testing.assert_array_equal(slot.values(back), wanted)
        if dtype in (torch.float32, torch.float64):
            assert back == network


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_smooth_network_agrees_as_far_as_the_precision_goes(dtype):
    network = two_maps()
    inputs = inputs_for(network, 3, np.random.default_rng(0))
    (output,) = network.output_names
    wanted = reference.forward(network, inputs, np.float64)[output]
    module = lower(network, dtype=dtype).eval()
    (given,) = (x.to(dtype) for x in tensors(network, inputs))
    got = module(given)
    assert got.dtype == dtype
    assert tuple(got.shape) == layer_shape(network, output, 3)
    assert np.abs(got.detach().double().numpy() - wanted).max() <= ROUNDED[dtype] * np.abs(wanted).max()


@pytest.mark.parametrize("dtype", PRECISIONS)
def test_a_step_of_training_moves_live_weights_alone(dtype):
    network = two_maps()
    module = lower(network, dtype=dtype)
    (given,) = (x.to(dtype) for x in tensors(network, inputs_for(network, 3, np.random.default_rng(0))))
    module(given).square().sum().backward()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter -= 0.1 * parameter.grad
    after = collect(network, module)
    assert after != network
    assert after.connection_count == network.connection_count


def test_lowering_again_keeps_the_precision_and_the_tensors():
    network = ng.seeds.mlp((5, 6, 3), seed=0)
    module = lower(network, dtype=torch.float64)
    smaller = ng.edits.remove_units(network, "fc1", [2]).apply(network).network
    again = lower(smaller, like=(network, module))
    assert {parameter.dtype for parameter in again.parameters()} == {torch.float64}
    kept = {id(parameter) for parameter in module.parameters()} & {id(parameter) for parameter in again.parameters()}
    assert kept
    assert {p.dtype for p in lower(smaller, like=(smaller, again), dtype=torch.float32).parameters()} == {torch.float32}


def test_bodies_compute_in_the_precision_of_the_rest():
    torch.manual_seed(0)
    module, x = (
        nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.Linear(6, 3)).eval(),
        torch.randn(4, 5),
    )
    network = ng.import_module(module, x)
    lowered = lower(network, dtype=torch.float64).eval()
    torch.testing.assert_close(lowered(x.double()), module.double()(x.double()), rtol=1e-6, atol=1e-7)
    assert collect(network, lowered) == network
    assert {
        body.module.inner.get_parameter(name).dtype
        for body in network.bodies.values()
        for name, _ in body.module.inner.named_parameters()
    } == {torch.float32}


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.bool, torch.float8_e5m2])
def test_other_numbers_are_refused(dtype):
    with pytest.raises(LoweringError, match="a dtype among torch"):
        lower(ng.seeds.mlp((5, 6, 3), seed=0), dtype=dtype)
