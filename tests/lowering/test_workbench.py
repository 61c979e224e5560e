"""The workbench: edits, training and the way back to the bit, optimizer state included."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from nestgraph.edits import (
    AddProjection,
    Block,
    Editor,
    RemoveUnits,
    SetValues,
    prune_connections,
    remove_units,
)
from nestgraph.errors import EditError, LoweringError
from nestgraph.lowering import lower, slots
from nestgraph.lowering.parameters import parameters_of
from nestgraph.lowering.states import OptimizerState, StateRecord
from nestgraph.lowering.workbench import Workbench
from nestgraph.seeds import mlp
from nestgraph.spec import Dense
from tests.laws import fresh_digest, quick, unless_refused
from tests.lowering.running import over, train, without_dropout
from tests.lowering.test_collect import OPTIMIZERS
from tests.lowering.test_masked import two_maps
from tests.strategies import SEEDS, edits_for, inputs_for, networks

IMAGES = {"x": np.random.default_rng(1).standard_normal((4, 2, 4, 4)).astype(np.float32)}


def in_groups(parameters):
    """Weights decay, the rest learns faster."""
    weights = [p for p in parameters if p.ndim > 1]
    rest = [p for p in parameters if p.ndim == 1]
    return torch.optim.SGD([{"params": weights, "weight_decay": 0.1}, {"params": rest, "lr": 0.1}], 0.02, 0.9)


MAKERS = {kind: over(make) for kind, make in {**OPTIMIZERS, "groups": in_groups}.items()}


def step(bench, inputs=IMAGES, steps=1):
    without_dropout(bench.module)
    train(bench.module, bench.optimizer, bench._network, inputs, steps)


def moment(bench):
    """Everything that undo must restore; the network is read back from the module."""
    network = bench.network
    return fresh_digest(network), OptimizerState.of(bench.optimizer, network, bench.module)


def assert_same_moment(one, other):
    assert one[0] == other[0]
    assert one[1].same(other[1])


@quick(40)
@given(data=st.data(), network=networks(), seed=SEEDS, kind=st.sampled_from(sorted(MAKERS)))
def test_undo_and_redo_restore_everything_to_the_bit(data, network, seed, kind):
    inputs = inputs_for(network, 4, np.random.default_rng(seed))
    bench = Workbench(network, MAKERS[kind])
    past, future = [moment(bench)], []
    for action in data.draw(st.lists(st.sampled_from(("apply", "train", "undo", "redo")), min_size=3, max_size=8)):
        if action == "train":
            step(bench, {name: inputs[name] for name in bench.network.input_names})
            bench.take_in()
            past, future = [*past, moment(bench)], []
        elif action == "apply":
            edit = data.draw(edits_for(bench.network))
            if unless_refused(lambda edit=edit: bench.apply(edit)):
                past, future = [*past, moment(bench)], []
        elif action == "undo" and len(past) > 1:
            future.append(past.pop())
            bench.undo()
        elif action == "redo" and future:
            past.append(future.pop())
            bench.redo()
        assert_same_moment(moment(bench), past[-1])
        assert len(bench.history) == len(past) - 1
    assert Editor(network).replay(bench.history) == bench.network


@quick(25)
@given(data=st.data(), network=networks(), seed=SEEDS, kind=st.sampled_from(sorted(MAKERS)))
def test_training_after_undo_goes_on_as_if_the_edit_had_never_been(data, network, seed, kind):
    inputs = inputs_for(network, 4, np.random.default_rng(seed))
    bench = Workbench(network, MAKERS[kind])
    step(bench, inputs, 2)
    edit = data.draw(edits_for(bench.network))
    without = bench.branch()
    assume(unless_refused(lambda: bench.apply(edit)))
    trained = {name: inputs[name] for name in bench.network.input_names}
    step(bench, trained, 2)
    bench.undo()
    bench.undo()
    for one in (bench, without):
        step(one, inputs)
    assert_same_moment(moment(bench), moment(without))


def test_a_branch_is_tried_and_left():
    bench = Workbench(two_maps(), MAKERS["adam"])
    step(bench)
    before = moment(bench)
    trial = bench.branch()
    trial.apply(remove_units(trial.network, "d", [1]))
    step(trial, steps=3)
    assert_same_moment(moment(bench), before)
    assert [edit.kind for edit in bench.history] == ["set_values"]
    assert [edit.kind for edit in trial.history] == ["set_values", "batch", "set_values"]
    for _ in range(2):
        trial.undo()
    assert_same_moment(moment(trial), before)


def test_an_edit_takes_in_what_was_trained():
    bench = Workbench(two_maps(), MAKERS["sgd"])
    step(bench)
    bench.take_in()
    chosen = bench.select_connections("c_to_d").smallest(0.1)
    step(bench, steps=3)  # a selection holds through training
    entries = chosen.members["c_to_d"]
    chosen.prune()
    trained = bench.history[0].units["c"]["bias"]
    np.testing.assert_array_equal(bench.network.unit_columns("c").values["bias"], bench.history[1].units["c"]["bias"])
    assert not np.array_equal(trained, bench.history[1].units["c"]["bias"])
    assert not bench.network.connection_columns("c_to_d").mask.flat[entries].any()
    assert bench.module.projection1.weight.detach().numpy().flat[entries].tolist() == [0.0] * len(entries)


@pytest.mark.parametrize("kind", ["sgd", "adamw", "groups"])
def test_a_scheduler_goes_on_through_edits_and_undo_restores_its_rates(kind):
    bench = Workbench(two_maps(), MAKERS[kind])
    scheduler = torch.optim.lr_scheduler.ExponentialLR(bench.optimizer, gamma=0.5)
    first = [group["lr"] for group in bench.optimizer.param_groups]
    for count in (1, 2, 3):
        step(bench)
        scheduler.step()
        weakest = bench.select_connections("d_to_y").smallest(0.1)
        weakest.prune()
        assert [group["lr"] for group in bench.optimizer.param_groups] == pytest.approx([r / 2**count for r in first])
    for _ in range(3):
        bench.undo()
    assert [group["lr"] for group in bench.optimizer.param_groups] == pytest.approx([rate / 4 for rate in first])
    assert not hasattr(bench.optimizer, "param_names")
    step(bench)


def test_steps_that_change_no_value_still_count():
    bench = Workbench(two_maps(), lambda module: torch.optim.Adam(module.parameters(), lr=0.0))
    step(bench)
    assert bench.history == (SetValues(),)
    assert [state["step"].item() for state in bench.optimizer.state.values()] == [1.0] * 6
    bench.undo()
    assert not bench.optimizer.state
    bench.redo()
    assert [state["step"].item() for state in bench.optimizer.state.values()] == [1.0] * 6
    assert bench.module(torch.tensor(IMAGES["x"])).shape == (4, 2)
    assert len(bench.history) == 1  # looking at it is no change


def test_training_that_broke_down_is_dropped_by_undo():
    bench = Workbench(two_maps(), MAKERS["sgd"])
    step(bench)
    bench.take_in()
    before = moment(bench)
    with torch.no_grad():
        bench.module.layer1.bias.fill_(float("nan"))
    with pytest.raises(LoweringError, match="training diverged"):
        bench.apply(SetValues())
    assert bench.undo().digest == before[0]
    assert_same_moment(moment(bench), before)


@pytest.mark.parametrize("edited", [False, True])
def test_training_that_broke_down_goes_nowhere_else(edited):
    bench = Workbench(two_maps(), MAKERS["sgd"])
    step(bench)
    there, before = bench.mark(), moment(bench)
    if edited:
        bench.apply(remove_units(bench.network, "d", [2]))
    with torch.no_grad():
        for parameter in bench.module.parameters():
            parameter.fill_(float("nan"))
    broken = bench.module
    with pytest.raises(EditError, match="expected a moment of this editor"):
        bench.back_to(Editor(two_maps()).mark())
    assert bench.module is broken
    assert bench.back_to(there).digest == before[0]
    assert_same_moment(moment(bench), before)


def test_a_refused_edit_leaves_the_workbench_as_it_was():
    bench = Workbench(two_maps(), MAKERS["adam"])
    step(bench)
    before, module = moment(bench), bench.module
    with pytest.raises(EditError, match="expected distinct living unit ids"):
        bench.apply(RemoveUnits(layer="y", units=[9]))
    assert_same_moment(moment(bench), before)
    assert bench.module is module
    with pytest.raises(EditError, match="redo expected"):
        bench.redo()


def test_the_mode_of_the_module_stays():
    bench = Workbench(two_maps(), MAKERS["sgd"])
    bench.module.eval()
    bench.apply(SetValues())
    assert not bench.module.training
    bench.undo()
    assert not bench.module.training


def test_arrays_of_layers_that_an_edit_leaves_alone_are_shared():
    bench = Workbench(two_maps(), MAKERS["adam"])
    step(bench)
    before = bench.branch()._kept.optimizers[0].arrays
    bench.apply(
        prune_connections(bench.network, {"d_to_y": np.flatnonzero(two_maps().connection_columns("d_to_y").mask)[:1]})
    )
    after = bench._kept.optimizers[0].arrays
    assert after["x_to_c.weight.exp_avg"] is before["x_to_c.weight.exp_avg"]
    assert after["d_to_y.weight.exp_avg"] is not before["d_to_y.weight.exp_avg"]
    assert not after["d_to_y.weight.exp_avg"].flags.writeable


# -- the state as a value ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(MAKERS))
def test_a_state_goes_through_json_and_plain_arrays(kind, tmp_path):
    bench = Workbench(two_maps(), MAKERS[kind])
    step(bench, steps=2)
    bench.take_in()
    network = bench.network
    state = bench._kept.optimizers[0]
    np.savez(tmp_path / "state.npz", **state.arrays)
    record = StateRecord.model_validate_json(state.record.model_dump_json())
    read = OptimizerState(record, dict(np.load(tmp_path / "state.npz")))
    assert read.same(state)
    other = Workbench(network, MAKERS[kind])
    read.restore(other.optimizer, network, other.module)
    for one in (bench, other):
        step(one)
    assert_same_moment(moment(bench), moment(other))


def test_a_rate_on_the_device_stays_a_tensor():
    rate = torch.tensor(0.05)
    bench = Workbench(two_maps(), lambda module: torch.optim.Adam(module.parameters(), lr=rate))
    step(bench)
    bench.apply(SetValues())
    assert isinstance(bench.optimizer.param_groups[0]["lr"], torch.Tensor)
    assert bench.optimizer.param_groups[0]["lr"].item() == rate.item()


def test_a_state_of_other_units_is_refused():
    bench = Workbench(two_maps(), MAKERS["sgd"])
    network = remove_units(bench.network, "d", [1]).apply(bench.network).network
    with pytest.raises(LoweringError, match="expected a network of the units"):
        next(iter(bench._states.values())).optimizers[0].restore(bench.optimizer, network, lower(network))


def test_optimizers_that_cannot_be_kept():
    with pytest.raises(LoweringError, match="of the lowered module only"):
        Workbench(two_maps(), lambda module: torch.optim.SGD([*module.parameters(), torch.nn.Parameter(torch.ones(1))]))


def test_what_is_kept_belongs_to_the_slots():
    bench = Workbench(two_maps(), MAKERS["rmsprop"])
    step(bench)
    bench.take_in()
    owners = {(slot.owner, slot.column) for slot in slots(bench.network)}
    assert {tuple(place.split(".")[:2]) for place in bench._kept.optimizers[0].arrays} == owners


def test_a_hook_goes_to_no_namesake_on_another_branch():
    network = mlp((4, 3, 3, 2), 1.0, 0, batch_norm=False)
    bench, (source, _, *targets) = Workbench(network, MAKERS["adam"]), network.layer_names
    first, ends = bench.mark(), []
    for target in targets:
        bench.back_to(first)
        shape = len(network.units(target)), len(network.units(source))
        block = Block(weight=np.zeros(shape), mask=np.ones(shape, bool))
        bench.apply(AddProjection(projection=Dense(source=source, target=target, name="new"), connections=block))
        ends.append(bench.mark())
    weights = []
    for moment in ends:
        bench.back_to(moment)
        weights.append(parameters_of(bench.network, bench.module)["new", "weight"])
        weights[0].register_hook(torch.neg)  # on the first branch, before the way to the second
    assert weights[1].shape != weights[0].shape
    assert not weights[1]._backward_hooks
