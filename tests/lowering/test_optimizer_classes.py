"""Every optimizer of torch.optim on a bench: there and back to the bit, and on as if nothing had been edited."""

import itertools

import numpy as np
import pytest
import torch

from nestgraph.edits import SetValues, insert_batch_norm, remove_units, widen
from nestgraph.errors import LoweringError
from nestgraph.lowering import (
    OptimizerState,
    StateRecord,
    Workbench,
    carry_optimizer,
    collect,
    follow,
    following,
    lower,
)
from nestgraph.lowering.parameters import parameters_of
from nestgraph.seeds import mlp
from tests.laws import fresh_digest
from tests.lowering.test_masked import two_maps

RNG = np.random.default_rng(0)
SAMPLES = torch.tensor(RNG.standard_normal((16, 6)), dtype=torch.float32)
IMAGES = torch.tensor(RNG.standard_normal((4, 2, 4, 4)), dtype=torch.float32)


def random():
    return np.random.default_rng(2)


def of(name, **options):
    return lambda module: getattr(torch.optim, name)(module.parameters(), **{"lr": 0.01, **options})


def muon(module):
    matrices = [p for p in module.parameters() if p.ndim == 2]
    rest = [p for p in module.parameters() if p.ndim != 2]
    return torch.optim.Muon(matrices, lr=0.02), torch.optim.AdamW(rest, lr=0.01)


MAKERS = {
    "SGD": of("SGD", momentum=0.9, nesterov=True),
    "Adam": of("Adam"),
    "AdamW": of("AdamW", amsgrad=True),
    "Adamax": of("Adamax"),
    "NAdam": of("NAdam"),
    "RAdam": of("RAdam"),
    "RMSprop": of("RMSprop", momentum=0.5, centered=True),
    "Rprop": of("Rprop"),
    "ASGD": of("ASGD", t0=2),  # averages begin within the test
    "Adagrad": of("Adagrad", initial_accumulator_value=0.5),
    "Adadelta": of("Adadelta", lr=1.0),
    "Adafactor": of("Adafactor"),
    "Muon": muon,
    "LBFGS": of("LBFGS", lr=0.1, max_iter=3),
}
NETWORKS = {"matrices": (mlp((6, 5, 4, 3), 0.8, 0), SAMPLES), "maps": (two_maps(), IMAGES)}
CASES = [
    *((kind, "matrices") for kind in MAKERS),
    *((kind, "maps") for kind in ("AdamW", "Adafactor", "Rprop", "LBFGS")),
]


def test_no_class_is_forgotten():
    classes = {name for name, kind in vars(torch.optim).items() if isinstance(kind, type)}
    assert classes == {*MAKERS, "Optimizer", "SparseAdam"}


def step(bench, inputs, steps=1):
    def loss():
        for optimizer in bench.optimizers:
            optimizer.zero_grad()
        value = (bench.module(inputs) ** 2).mean() + bench.module(inputs).mean()
        value.backward()
        return value

    for _, optimizer in itertools.product(range(steps), bench.optimizers):
        if not isinstance(optimizer, torch.optim.LBFGS):
            loss()
        optimizer.step(loss if isinstance(optimizer, torch.optim.LBFGS) else None)


def moment(bench):
    network = bench.network
    return fresh_digest(network), [OptimizerState.of(one, network, bench.module) for one in bench.optimizers]


def same(one, other):
    return one[0] == other[0] and all(a.same(b) for a, b in zip(one[1], other[1], strict=True))


def hidden(network):
    return network.layer_names[1]


@pytest.mark.parametrize(("kind", "where"), CASES)
def test_there_and_back_to_the_bit(kind, where):
    network, inputs = NETWORKS[where]
    bench, undisturbed = Workbench(network, MAKERS[kind]), Workbench(network, MAKERS[kind])
    step(bench, inputs, 3)
    step(undisturbed, inputs, 3)
    bench.take_in()
    moments = [moment(bench)]
    for edit in (
        lambda network: remove_units(network, hidden(network), [2]),
        lambda network: widen(network, hidden(network), 6, random()),
    ):
        bench.apply(edit(bench.network))
        moments.append(moment(bench))
        step(bench, inputs, 2)
        bench.take_in()
        moments.append(moment(bench))
    assert len({digest for digest, _ in moments}) == 5, "each edit and each training changes something"
    for before in reversed(moments[:-1]):
        bench.undo()
        assert same(moment(bench), before)
    for after in moments[1:]:
        bench.redo()
        assert same(moment(bench), after)
    for _ in moments[1:]:
        bench.undo()
    step(bench, inputs, 2)
    step(undisturbed, inputs, 2)
    assert same(moment(bench), moment(undisturbed))


@pytest.mark.parametrize(("kind", "where"), [case for case in CASES if case[0] != "LBFGS"])
def test_training_goes_on_as_without_an_edit_that_comes_to_nothing(kind, where):
    network, inputs = NETWORKS[where]
    bench, undisturbed = Workbench(network, MAKERS[kind]), Workbench(network, MAKERS[kind])
    step(bench, inputs, 3)
    step(undisturbed, inputs, 3)
    wider = widen(bench.network, hidden(network), len(network.units(hidden(network))) + 1, random())
    back = wider.apply(bench.network).inverse
    bench.apply(wider)
    bench.apply(back)
    for one in (bench, undisturbed):
        step(one, inputs, 3)
    (digest, states), (expected, others) = moment(bench), moment(undisturbed)
    assert digest == expected
    for state, other in zip(states, others, strict=True):
        assert state.record == other.record
        for place, array in other.arrays.items():  # dead entries are +0 where there was -0
            np.testing.assert_array_equal(state.arrays[place], array, place)


@pytest.mark.parametrize(("kind", "where"), CASES)
def test_a_state_goes_through_json_and_arrays(kind, where):
    network, inputs = NETWORKS[where]
    bench = Workbench(network, MAKERS[kind])
    step(bench, inputs, 2)
    _, states = moment(bench)
    for state in states:
        record = StateRecord.model_validate_json(state.record.model_dump_json())
        assert OptimizerState(record, {name: array.copy() for name, array in state.arrays.items()}).same(state)


# -- what entries begin with -------------------------------------------------------------------------------


def grown(kind):
    """The state of what widening adds and keeps: of the first optimizer over the weights into the widened layer."""
    network, inputs = NETWORKS["matrices"]
    bench = Workbench(network, MAKERS[kind])
    step(bench, inputs, 5)
    bench.apply(widen(bench.network, hidden(network), 2, random()))
    weight = parameters_of(bench.network, bench.module)["input_to_fc1", "weight"]
    return bench.optimizers[0].state[weight], weight, bench.network.connection_columns("input_to_fc1").mask


@pytest.mark.parametrize(("kind", "name", "value"), [("Rprop", "step_size", 0.01), ("Adagrad", "sum", 0.5)])
def test_new_and_dormant_entries_begin_as_in_a_new_optimizer(kind, name, value):
    state, weight, mask = grown(kind)
    assert state[name].shape == weight.shape
    assert torch.equal(state[name][5:], torch.full_like(state[name][5:], value))
    assert torch.equal(state[name][torch.tensor(~mask)], torch.full((int((~mask).sum()),), value))
    assert (state[name][:5][torch.tensor(mask[:5])] != value).any()


def test_the_average_of_new_weights_begins_at_them():
    state, weight, _ = grown("ASGD")
    assert torch.equal(state["ax"][5:], weight[5:])
    assert not torch.equal(state["ax"][:5], weight[:5])


def test_factors_follow_the_axis_that_they_are_of():
    network, inputs = NETWORKS["matrices"]
    one = remove_units(network, "fc1", [1, 2, 3, 4]).apply(network).network
    bench = Workbench(one, MAKERS["Adafactor"])
    assert tuple(parameters_of(one, bench.module)["fc1_to_fc2", "weight"].shape)[1] == 1, "an axis that looks like one"
    step(bench, inputs, 2)
    bench.apply(widen(bench.network, "fc1", 3, random()))
    parameters = parameters_of(bench.network, bench.module)
    for key in (("input_to_fc1", "weight"), ("fc1_to_fc2", "weight")):
        state, (rows, columns) = bench.optimizer.state[parameters[key]], parameters[key].shape
        assert (tuple(state["row_var"].shape), tuple(state["col_var"].shape)) == ((rows, 1), (1, columns))
    step(bench, inputs)


def test_two_optimizers_over_one_module():
    network, inputs = mlp((6, 5, 4, 3), 0.8, 0, batch_norm=False), SAMPLES
    bench = Workbench(network, muon)
    step(bench, inputs, 2)
    bench.apply(insert_batch_norm(bench.network, "fc1"))
    owned = [{id(p) for group in one.param_groups for p in group["params"]} for one in bench.optimizers]
    for (_, column), parameter in parameters_of(bench.network, bench.module).items():
        assert [id(parameter) in one for one in owned] == [column == "weight", column != "weight"]
    step(bench, inputs, 2)


# -- LBFGS -------------------------------------------------------------------------------------------------


def test_lbfgs_starts_anew_at_an_edit_and_trains_the_new_module():
    network, inputs = NETWORKS["matrices"]
    bench = Workbench(network, MAKERS["LBFGS"])
    step(bench, inputs, 2)
    before = moment(bench)
    assert any(name.endswith("old_dirs.0") for name in before[1][0].arrays)
    bench.apply(remove_units(bench.network, "fc1", [2]))
    assert not bench.optimizer.state
    edited = bench.network
    step(bench, inputs, 2)
    assert bench.network != edited
    trained = lower(network)
    optimizer = MAKERS["LBFGS"](trained)
    after = lower(collect(network, trained))
    assert not carry_optimizer(optimizer, (network, trained), (network, after)).state


# -- other classes -----------------------------------------------------------------------------------------


class Signs(torch.optim.SGD):
    """Keeps what can follow only if it is told how."""

    def step(self, closure=None):
        loss = super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["last"] = [parameter.grad.clone()]
        return loss


@pytest.fixture
def _rules_restored(monkeypatch):
    monkeypatch.setattr(following, "_known", dict(following._known))


@pytest.mark.usefixtures("_rules_restored")
def test_other_classes_follow_as_they_say():
    network, inputs = NETWORKS["matrices"]
    bench = Workbench(network, lambda module: Signs(module.parameters(), lr=0.01))
    step(bench, inputs)
    with pytest.raises(LoweringError, match=r"'last' of list.*nestgraph\.follow"):
        bench.apply(SetValues())
    follow(Signs, lambda state, moved: {"last": [moved(each, fresh=2.0) for each in state["last"]]})
    bench.apply(widen(bench.network, "fc1", 1, random()))
    bias = parameters_of(bench.network, bench.module)["fc1", "beta"]
    (last,) = bench.optimizer.state[bias]["last"]
    assert last[5] == 2.0
    assert last[:5].any()
    follow(Signs, "restart")
    bench.apply(SetValues())
    assert not bench.optimizer.state
    follow(Signs, lambda *_: 3)
    step(bench, inputs)
    with pytest.raises(LoweringError, match="the function that follows Signs to give a state by name, got int"):
        bench.apply(SetValues())


@pytest.mark.parametrize(("kind", "how"), [(3, "shape"), (int, "shape"), (Signs, "shapes"), (Signs, 3)])
def test_no_way_to_follow(kind, how):
    with pytest.raises(LoweringError, match="follow"):
        follow(kind, how)


def test_sparse_gradients_are_refused():
    with pytest.raises(LoweringError, match="expected an optimizer of dense gradients, got SparseAdam: use Adam"):
        Workbench(NETWORKS["matrices"][0], lambda module: torch.optim.SparseAdam(list(module.parameters())))
