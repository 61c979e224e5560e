"""The state of a bench goes through a file: another bench that loads it goes on to the same bits."""

import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from nestgraph.edits import remove_units
from nestgraph.errors import EditError, LoweringError
from nestgraph.lowering import Workbench, collect
from nestgraph.lowering.bench_state import BenchRecord, BenchState
from nestgraph.lowering.parameters import parameters_of
from nestgraph.runs.state_files import TypeAdapter, read_state, write_state
from nestgraph.seeds import mlp
from nestgraph.snapshot import from_bytes, to_bytes
from tests.edits.test_joining import digits, pruned
from tests.laws import quick, unless_refused
from tests.lowering.test_masked import two_maps
from tests.lowering.test_workbench import IMAGES, MAKERS, assert_same_moment, moment, step
from tests.strategies import SEEDS, edits_for, inputs_for, networks

KIND = TypeAdapter(BenchRecord)


def through_a_file(state, folder):
    write_state(folder / "state.safetensors", state.record, state.arrays)
    return BenchState.read(*read_state(folder / "state.safetensors", KIND))


@quick(25)
@given(data=st.data(), network=networks(), seed=SEEDS, kind=st.sampled_from(sorted(MAKERS)))
def test_a_bench_goes_on_from_a_state_in_a_file(tmp_path_factory, data, network, seed, kind):
    inputs = inputs_for(network, 4, np.random.default_rng(seed))
    bench = Workbench(network, MAKERS[kind])
    step(bench, inputs)
    edit = data.draw(edits_for(bench.network))
    assume(unless_refused(lambda: bench.apply(edit)))
    names = bench.network.input_names
    step(bench, {name: inputs[name] for name in names})
    frozen = data.draw(st.sampled_from([None, *parameters_of(bench.edited, bench.module).values()]))
    if frozen is not None:
        frozen.requires_grad_(False)
    state = through_a_file(bench.state(), tmp_path_factory.mktemp("state"))
    assert state.same(bench.state())
    other = Workbench(network, MAKERS[kind])
    optimizer = other.optimizer
    bodies = bench.network.bodies  # which no file holds
    other.load(from_bytes(to_bytes(bench.network)).with_bodies(bodies), state)
    assert other.optimizer is optimizer
    assert other.history == ()
    assert_same_moment(moment(other), moment(bench))
    for one in (bench, other):
        step(one, {name: inputs[name] for name in names})
    assert_same_moment(moment(other), moment(bench))
    other.undo()
    assert other.state().same(state)


def test_looking_changes_nothing():
    bench = Workbench(two_maps(), MAKERS["adam"])
    step(bench)
    bench.take_in()
    step(bench)
    module, tensors = bench.module, {name: value.clone() for name, value in bench.module.state_dict().items()}
    moments, state, edited = bench.moments, bench.state(), bench.edited
    for _ in range(2):
        assert bench.network != bench.edited
        assert len(bench.history) == 2
    assert bench.module is module
    assert all(torch.equal(value, tensors[name]) for name, value in module.state_dict().items())
    assert bench.moments == moments
    assert bench.edited is edited
    assert bench.state().same(state)


def test_another_network_begins_a_history_and_keeps_options_and_rates():
    bench = Workbench(two_maps(), MAKERS["groups"])
    scheduler = torch.optim.lr_scheduler.ExponentialLR(bench.optimizer, gamma=0.5)
    first = bench.mark()
    step(bench)
    scheduler.step()
    rates = [group["lr"] for group in bench.optimizer.param_groups]
    other = mlp((4, 3, 2), 1.0, 0)
    bench.load(other)
    assert bench.network == other
    assert bench.moments == (bench.mark(),)
    assert not bench.optimizer.state
    assert [group["lr"] for group in bench.optimizer.param_groups] == rates
    assert {id(p) for g in bench.optimizer.param_groups for p in g["params"]} == set(map(id, bench.module.parameters()))
    with pytest.raises(EditError, match="of this editor"):
        bench.back_to(first)


def test_a_state_that_does_not_fit_is_refused_and_the_bench_stays():
    def several(module):
        first, *rest = module.parameters()
        return [torch.optim.SGD([first], 0.1), torch.optim.Adam(rest)]

    bench = Workbench(two_maps(), MAKERS["adam"])
    step(bench)
    before, kept, module = moment(bench), bench.state(), bench.module
    smaller = remove_units(bench.network, "d", [1]).apply(bench.network).network
    for network, state, match in (
        (smaller, kept, "expected a network of the units it was taken for"),
        (two_maps(), Workbench(two_maps(), several).state(), "expected a state of 1 optimizers, got one of 2"),
    ):
        with pytest.raises(LoweringError, match=match):
            bench.load(network, state)
        assert bench.module is module
        assert_same_moment(moment(bench), before)
    step(bench, IMAGES)


def test_a_module_that_is_given_up_goes_at_once():
    bench = Workbench(two_maps(), MAKERS["adam"])
    held, branch = bench.module, bench.branch()
    gone = []
    gc.collect()
    gc.disable()
    try:
        for act in (lambda: bench.apply(remove_units(bench.edited, "d", [1])), bench.undo, bench.drop):
            step(bench)
            gone.append(weakref.ref(bench.module))
            act()
        alive = [reference() for reference in gone if reference() is not bench.module]
    finally:
        gc.enable()
    assert alive[1:] == [None] * len(alive[1:])
    outputs = held(torch.tensor(IMAGES["x"]))  # it still computes where somebody holds it
    assert outputs.shape == branch.module(torch.tensor(IMAGES["x"])).shape


def test_a_bench_merges_what_it_trained_with_what_a_branch_pruned():
    bench = Workbench(digits(), lambda module: torch.optim.Adam(module.parameters(), lr=0.01))
    branch = bench.branch()
    bench.module(torch.eye(64)).square().mean().backward()
    bench.optimizers[0].step()
    branch.apply(pruned(branch.network, "input_to_fc1", 40))
    bench.merge(branch)
    before, here, there = (n.connection_columns("input_to_fc1") for n in (digits(), bench.network, branch.network))
    assert np.array_equal(here.mask, there.mask)
    assert (here.weight != before.weight)[here.mask].any()
    assert collect(bench.network, bench.module) == bench.network
    bench.module(torch.eye(64)).square().mean().backward()
    bench.optimizers[0].step()  # goes on with the same optimizer
