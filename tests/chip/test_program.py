"""What a program says it computes is the network, whether there is a compiler or not."""

import numpy as np
import pytest
from hypothesis import given

from nestgraph.chip.memory import laid_out
from nestgraph.chip.operating import STEPS
from nestgraph.chip.scheduling import scheduled
from nestgraph.chip.summing import TERMS
from nestgraph.errors import ExportError
from nestgraph.graph.extents import given_out
from nestgraph.graph.reference import forward
from nestgraph.seeds import cnn, lenet_300_100, mlp
from nestgraph.spec.operations import OPERATIONS, Activation, BatchNorm, Dropout, ParametricReLU
from nestgraph.spec.projection import PROJECTIONS, Argument, Match, Mix
from tests.chip.trying import SUPPORTED, ported
from tests.laws import quick
from tests.strategies import inputs_for, networks


@quick(100)
@given(networks(SUPPORTED))
def test_a_program_computes_the_network(network):
    program = scheduled(network)
    inputs = inputs_for(network, 3, np.random.default_rng(5))
    exact, held = forward(network, inputs), program.run(ported(network, inputs))
    for port, value in program.outputs:
        wanted = given_out(port, exact[port.layer])
        if np.isfinite(wanted).all():
            np.testing.assert_allclose(
                held[value.name].reshape(wanted.shape), wanted, rtol=0, atol=2e-5 * np.abs(wanted).max() + 1e-30
            )


@quick(60)
@given(networks(SUPPORTED))
def test_values_that_live_at_the_same_time_do_not_share_a_place(network):
    program = scheduled(network)
    memory = laid_out(program, {value.name for _, value in program.inputs})
    counts = {step.target.name: step.target.count for step in program.steps}
    taken = {}
    for number, step in enumerate(program.steps):
        place, count = memory.places[step.target.name], counts[step.target.name]
        assert place + count <= memory.count
        taken[step.target.name] = range(place, place + count)
        here = taken[step.target.name]
        for other, place in taken.items():
            alive = memory.lives[other][0] < number <= memory.lives[other][1] and other != step.target.name
            if alive and not (step.in_place and other == step.sources[0].name and memory.lives[other][1] == number):
                assert not set(here) & set(place)


def test_buffers_are_used_again():
    program = scheduled(lenet_300_100(width=0.4, density=0.1, seed=0))
    memory = laid_out(program, {value.name for _, value in (*program.inputs, *program.outputs)})
    hidden = [step.target.count for step in program.steps[:-1]]
    assert memory.count == sum(hidden)
    deep = scheduled(mlp((8, 30, 20, 30, 20, 3), seed=0))
    inside = laid_out(deep, {value.name for _, value in (*deep.inputs, *deep.outputs)})
    assert inside.count == 30 + 20


@pytest.mark.parametrize("family", ["opaque", "unitwise"])
def test_what_c_is_not_known_for_is_refused_by_its_layer(family):
    from tests.strategies.networks import pool

    with pytest.raises(ExportError, match=r"^layer '\w+': expected layers of kinds that C is known for, got an opaque"):
        scheduled(pool(family)[0])


def test_every_kind_of_the_vocabulary_has_a_row():
    by_number = {Activation, ParametricReLU, BatchNorm, Dropout}
    assert {*OPERATIONS} <= {*STEPS, *by_number}
    assert {*PROJECTIONS} <= {*TERMS, Match, Mix, Argument}


def test_what_padded_kernels_read_is_there_once():
    """Between the first convolution and the second lie maps of 4 x 4 with zeros around, and no copy of them."""
    network = cnn((3, 4), (5,), 1.0, size=8, classes=2)
    program = scheduled(network)
    first = next(step for step in program.steps if step.layer == "conv1")
    assert [step.layer for step in program.steps] == ["input", "conv1", "conv2", "fc1", "output"]
    assert first.target.shape == (3, 6, 6)
    held = program.run([np.ones((1, 1, 8, 8))])[first.target.name]
    assert not held[:, :, 0].any()
    assert not held[:, :, :, -1].any()
    assert held[:, :, 1:-1, 1:-1].any()
