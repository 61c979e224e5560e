"""What goes into lowered modules and comes out: by position, in the shapes of the ports, of no other size."""

import copy
import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import fx

from nestgraph.errors import StructureError
from nestgraph.graph import Network
from nestgraph.graph.extents import free_extents, given_out, sample_shape
from nestgraph.graph.reference import forward
from nestgraph.lowering import lower
from nestgraph.lowering.compact import compact
from nestgraph.seeds import lenet_5, mlp
from nestgraph.spec import InputPort, Interface, OutputPort
from tests.laws import quick
from tests.lowering.running import by_position, close, layer_shape, tensors
from tests.strategies import SEEDS, inputs_for, networks
from tests.strategies.networks import EVERY

FORMS = {"masked": lower, "compact": compact}


@pytest.mark.parametrize("form", FORMS)
@given(network=networks(EVERY), seed=SEEDS)
@quick()
def test_outputs_stand_at_their_positions_in_their_shapes(form, network, seed):
    inputs = inputs_for(network, 2, np.random.default_rng(seed))
    wanted = forward(network, inputs)
    got = by_position(FORMS[form](network), network, inputs)
    assert len(got) == len(network.outputs)
    for port, values in zip(network.outputs, got, strict=True):
        assert tuple(values.shape[1:]) == sample_shape(network, port)
        close(values, given_out(port, wanted[port.layer]), tolerance=1e-4)


@given(network=networks(EVERY), seed=SEEDS)
@quick()
def test_the_reference_takes_samples_by_position_as_by_layer(network, seed):
    inputs = inputs_for(network, 2, np.random.default_rng(seed))
    samples = tuple(tensor.numpy() for tensor in tensors(network, inputs))
    by_layer, by_place = forward(network, inputs), forward(network, samples)
    assert all(np.array_equal(values, by_place[name]) for name, values in by_layer.items())


@pytest.mark.parametrize("form", FORMS)
@given(network=networks(EVERY), data=st.data())
@quick()
def test_samples_of_another_shape_are_refused_but_along_free_extents(form, network, data):
    module, place = FORMS[form](network).eval(), data.draw(st.integers(0, len(network.inputs) - 1))
    inputs, port = inputs_for(network, 2, np.random.default_rng(0)), network.inputs[place]
    samples = tensors(network, inputs)
    axis = data.draw(st.integers(1, max(samples[place].ndim - 1, 1)))
    assume(samples[place].ndim > axis and sample_shape(network, port)[axis - 1] is not None)
    for other in (
        torch.cat([samples[place]] * 2, axis),
        samples[place].flatten(1)[:, None, None, None],
        samples[place][0],
    ):
        given = [*samples[:place], other, *samples[place + 1 :]]
        with pytest.raises(AssertionError, match=rf"input '{port.layer}' expected a tensor of shape \(batch"):
            module(*given)
        if other.shape[1:] != inputs[port.layer].shape[1:]:  # the layer's own form is known to the reference, too
            with pytest.raises(StructureError, match="expected samples of numbers of shape"):
                forward(network, tuple(x.numpy() for x in given))


@given(network=networks(families=("conv", "skip", "residual", "gated")), seed=SEEDS)
@quick(40)
def test_free_extents_take_any_size_that_the_reference_takes(network, seed):
    ports = [_freed(network, port) for port in network.inputs]
    outputs = [port.model_copy(update={"shape": None}) for port in network.outputs]
    network = Network.of(network.with_interface(Interface(inputs=ports, outputs=outputs)))
    assume(any(any(free_extents(network, port)) for port in network.inputs))
    rng = np.random.default_rng(seed)
    samples = tuple(rng.standard_normal((2, *_larger(network, port))).astype(np.float32) for port in network.inputs)
    try:
        wanted = forward(network, samples)
    except ValueError:
        return  # sums of sizes that part at this one
    for make in FORMS.values():
        try:
            got = make(network).eval()(*map(torch.tensor, samples))
        except AssertionError:
            assert make is compact  # where it holds constants that were made for the declared sizes
            continue
        got = got if isinstance(got, tuple) else (got,)
        for port, values in zip(network.outputs, got, strict=True):
            close(values, given_out(port, wanted[port.layer]), tolerance=1e-4)


def _freed(network, port):
    size = network.layer(port.layer).size or ()
    return InputPort(layer=port.layer, free=tuple(True for _ in size))


def _larger(network, port):
    layer = network.layer(port.layer)
    free = free_extents(network, port)
    return layer.features, *(extent + 3 if may else extent for extent, may in zip(layer.size or (), free, strict=True))


def test_a_linear_map_of_places_or_an_area_holds_extents():
    dense = lenet_5(seed=0)
    freed = Network.of(dense.with_interface(Interface(inputs=[_freed(dense, dense.inputs[0])], outputs=dense.outputs)))
    assert freed.inputs[0].free == (True, True)
    assert free_extents(freed, freed.inputs[0]) == (False, False)


def _checks(module):
    return sum(node.target is torch._assert for node in module.graph.nodes)


def _pickled(module):
    return pickle.loads(pickle.dumps(module))


def _cleaned(module):
    module.graph.eliminate_dead_code()
    module.recompile()
    return module


@pytest.mark.parametrize("again", [copy.deepcopy, _pickled, fx.symbolic_trace, _cleaned])
@pytest.mark.parametrize("form", FORMS)
def test_checks_survive_whoever_copies_or_traces_a_module(form, again):
    module = again(FORMS[form](mlp((8, 6, 3), seed=0)))
    assert _checks(module) == 1
    assert module(torch.randn(2, 8)).shape == (2, 3)
    with pytest.raises(AssertionError, match="expected a tensor of shape"):
        module(torch.randn(2, 9))


def test_an_interface_that_says_nothing_is_none():
    network = mlp((8, 6, 3), seed=0)
    plain = Interface(inputs=[InputPort(layer="input")], outputs=[OutputPort(layer="output")])
    assert Network.of(network.with_interface(plain)) == network
    assert Network.of(network.with_interface(plain)).interface is None
    other = plain.model_copy(update={"inputs": (InputPort(layer="input", shape=(2, 4)),)})
    assert Network.of(network.with_interface(other)) != network
    assert layer_shape(network, "output", 2) == (2, 3)
