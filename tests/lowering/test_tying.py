"""A table at both ends of a network is one parameter of its module: it trains once, by what both ends say of it."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from torch import nn
from torch.nn import functional

from nestgraph.edits import SetMask, narrow, tie, untie
from nestgraph.errors import LoweringError
from nestgraph.graph.tying import Tie
from nestgraph.loop.evidence import gather
from nestgraph.lowering import Workbench, collect, lower, slots
from nestgraph.lowering.optimizer import carry_optimizer
from nestgraph.lowering.parameters import parameters_of
from tests.edits.test_tying import TIED, assert_tied, ends_of, small
from tests.laws import quick
from tests.lowering.running import tensors
from tests.strategies import SEEDS, inputs_for, networks


def adam(module):
    """An optimizer with moments."""
    return torch.optim.Adam(module.parameters())


class Tied(nn.Module):
    """What `small` says, in PyTorch: one table, of which the output layer has the first four rows."""

    def __init__(self, network):
        super().__init__()
        columns = {name: network.connection_columns(name).weight for name in ("x_to_a", "a_to_b")}
        self.table = nn.Parameter(torch.tensor(columns["x_to_a"][:, 0].T, dtype=torch.float64))
        self.middle = nn.Linear(3, 3).double()
        self.bias = nn.Parameter(torch.zeros(4, dtype=torch.float64))
        self.middle.weight.data = torch.tensor(columns["a_to_b"], dtype=torch.float64)
        self.middle.bias.data.zero_()
        live = network.connection_columns("x_to_a").mask[:, 0].T
        self.register_buffer("mask", torch.tensor(live, dtype=torch.float64))

    def forward(self, ids):
        table = self.table * self.mask
        return torch.tanh(self.middle(functional.embedding(ids[:, 0].long(), table))) @ table[:4].T + self.bias


def test_it_computes_and_trains_as_a_module_of_pytorch_that_has_the_table_twice():
    network = small()
    mine, theirs = lower(network, dtype=torch.float64), Tied(network)
    ids, wanted = torch.tensor([[0.0], [3.0], [4.0], [1.0]], dtype=torch.float64), torch.tensor([1, 0, 3, 2])
    steppers = [torch.optim.SGD(module.parameters(), 0.1, momentum=0.9) for module in (mine, theirs)]
    for _ in range(5):
        given = [module(ids) for module in (mine, theirs)]
        torch.testing.assert_close(*given, rtol=1e-10, atol=1e-10)
        for stepper, outputs in zip(steppers, given, strict=True):
            stepper.zero_grad()
            functional.cross_entropy(outputs, wanted).backward()
            stepper.step()
    table = parameters_of(network, mine)["x_to_a", "weight"]
    torch.testing.assert_close(table[:, 0].T * theirs.mask, theirs.table * theirs.mask, rtol=1e-10, atol=1e-10)
    assert_tied(collect(network, mine))


@quick(40)
@given(networks(TIED), SEEDS)
def test_there_is_one_parameter_and_its_gradient_is_that_of_both_ends(network, seed):
    leader, follower = ends_of(network)
    assume(not network.projection(leader).held)
    loose = untie(network, leader).apply(network).network
    assert {slot.owner for slot in slots(loose) if slot.is_weight} - {
        slot.owner for slot in slots(network) if slot.is_weight
    } == {follower}
    inputs = tensors(network, inputs_for(network, 4, np.random.default_rng(seed)))
    found = []
    for each in (network, loose):
        module = lower(each, masked=False, dtype=torch.float64).eval()
        given = [x.double() for x in inputs]
        outputs = module(*given)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum(x.square().sum() for x in outputs).backward()
        found.append({slot.owner: slot.tensor(module).grad for slot in slots(each) if slot.is_weight})
    tied, apart = found
    tie_of = Tie.of(network, leader)
    both = apart[leader].numpy() + tie_of.back(apart[follower].numpy(), np.zeros(apart[leader].shape))
    np.testing.assert_allclose(tied[leader].numpy(), both, rtol=1e-9, atol=1e-9 * max(1.0, np.abs(both).max()))


@quick(20)
@given(networks(TIED), SEEDS)
def test_what_was_trained_is_collected_at_both_ends(network, seed):
    module, rng = lower(network), np.random.default_rng(seed)
    with torch.no_grad():
        for slot in slots(network):
            if slot.is_weight:
                slot.tensor(module).copy_(torch.from_numpy(rng.standard_normal(slot.tensor(module).shape)))
    assert_tied(collect(network, module))


def test_moments_of_the_table_stay_when_it_is_tied_and_untied():
    network = small()
    bench = Workbench(network, adam)
    ids = torch.tensor([[0.0], [3.0], [2.0]])
    bench.module(ids).square().sum().backward()
    bench.optimizer.step()
    network = bench.network
    known = bench.optimizer.state[parameters_of(bench.edited, bench.module)["x_to_a", "weight"]]["exp_avg"].clone()
    loose = untie(network, "b_to_y").apply(network).network
    apart = lower(loose)
    carried = carry_optimizer(bench.optimizer, (bench.edited, bench.module), (loose, apart))
    held = parameters_of(loose, apart)
    assert torch.equal(carried.state[held["x_to_a", "weight"]]["exp_avg"], known)
    assert held["b_to_y", "weight"] not in carried.state
    again = tie(loose, "b_to_y", "x_to_a").apply(loose).network
    module = lower(again)
    back = carry_optimizer(carried, (loose, apart), (again, module))
    assert torch.equal(back.state[parameters_of(again, module)["x_to_a", "weight"]]["exp_avg"], known)
    assert sum(len(group["params"]) for group in back.param_groups) == len(parameters_of(again, module))


def test_a_state_of_two_tables_is_none_of_one():
    network = small()
    loose = untie(network, "b_to_y").apply(network).network
    with pytest.raises(LoweringError, match="load_state_dict"):
        lower(network).load_state_dict(lower(loose).state_dict())
    with pytest.raises(LoweringError, match="load_state_dict"):
        lower(loose).load_state_dict(lower(network).state_dict(), strict=False)


def test_evidence_of_a_table_is_told_of_the_lookup_alone():
    network = small()
    batch = (torch.tensor([[0.0], [3.0]]), torch.tensor([1, 0]))
    found = gather(network, [batch], functional.cross_entropy, ["gradients", "saliency", "activity"])
    assert found.gradients.keys() == {"x_to_a", "a_to_b"}
    assert found.gradients["x_to_a"][:, 0, 2].any()  # class 2 was not read: what is told is of the output end


@quick(20)
@given(networks(TIED))
def test_a_bench_follows_edits_of_both_ends(network):
    bench = Workbench(network, adam)
    leader, _ = ends_of(network)
    entries = np.flatnonzero(network.connection_columns(leader).mask)[:1]
    edit = SetMask(projection=leader, entries=entries, active=[True], weights=[0.5])
    assume(edit.apply(network).network != network)
    bench.apply(edit)
    module = lower(bench.network)
    for key, parameter in parameters_of(bench.network, bench.module).items():
        assert torch.equal(parameter, parameters_of(bench.network, module)[key])
    bench.undo()
    assert bench.network == network


def test_units_of_a_trained_table_are_narrowed_with_their_moments():
    bench = Workbench(small(), adam)
    bench.module(torch.tensor([[0.0], [3.0], [2.0]])).square().sum().backward()
    bench.optimizer.step()
    old = parameters_of(bench.network, bench.module)["x_to_a", "weight"]
    known = bench.optimizer.state[old]["exp_avg"].clone()
    left = bench.apply(narrow(bench.network, 0.4)).network.units("a")
    new = parameters_of(bench.network, bench.module)["x_to_a", "weight"]
    assert torch.equal(bench.optimizer.state[new]["exp_avg"], known[torch.tensor(left)])
