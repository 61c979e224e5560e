"""Eight small models as people build them are imported whole, are edited as by hand, and come back."""

import numpy as np
import pytest
import torch

import nestgraph as ng
from nestgraph.errors import InteropError
from nestgraph.graph.reference import forward
from tests.interop.agreeing import assert_all_agree, assert_edits_are_the_modules, growths_of
from tests.interop.vocabulary import VOCABULARY, NextToken, made

OF_HEADS = ("encoder", "hand-written attention", "like Llama", "patches", "next token")


@pytest.mark.parametrize("case", VOCABULARY)
def test_what_is_left_is_the_module_with_those_weights_at_0(case, tmp_path):
    module, x = made(case)
    assert_edits_are_the_modules(module, [x], tmp_path)


@pytest.mark.parametrize("case", OF_HEADS)
def test_a_new_head_and_new_slots_change_nothing(case):
    module, x = made(case)
    network = ng.import_module(module, x)
    (port,) = network.outputs
    for edit in growths_of(network):
        applied = edit.apply(network)
        grown = applied.network
        assert grown.unit_count > network.unit_count
        before, after = (forward(each, (x.numpy(),))[port.layer] for each in (network, grown))
        np.testing.assert_array_equal(after, before)
        with torch.no_grad():
            assert_all_agree(grown, [x], [module(x)])
        assert applied.inverse.apply(grown).network.digest == network.digest


def test_a_table_that_is_the_output_matrix_too_goes_back_while_its_copies_agree():
    torch.manual_seed(0)
    module, ids = NextToken().eval(), torch.randint(0, 20, (2, 9))
    imported = ng.Imported(module, ids)
    network = imported.network
    notes = " ".join(row.note for row in ng.import_report(network).rows)
    assert "weights shared with table, they are copies here and train apart" in notes
    (heads,) = [name for name in network.layer_names if network.matches(name)]
    fewer = ng.edits.remove_heads(network, heads, [0]).apply(network).network
    module.load_state_dict(imported.state_dict(fewer))
    with torch.no_grad():
        assert_all_agree(fewer, [ids], [module(ids)])
    bench = ng.Workbench(fewer, lambda lowered: torch.optim.SGD(lowered.parameters(), 0.1))
    bench.module(ids).square().mean().backward()
    bench.optimizer.step()
    bench.take_in()
    for apart in (bench.network, ng.edits.narrow(network, 0.3).apply(network).network):
        with pytest.raises(InteropError, match=r"copies of 'table\.weight' that agree"):
            imported.state_dict(apart)


class Filled(torch.nn.Module):
    """A maximum over places of which a mask, which is no number of the module's, leaves some out."""

    def __init__(self):
        super().__init__()
        self.stem, self.head = torch.nn.Linear(4, 6), torch.nn.Linear(6, 2)
        self.register_buffer("late", torch.arange(5)[:, None] > 2)

    def forward(self, x):
        return self.head(self.stem(x).masked_fill(self.late, -1e9).amax(1))


def test_bodies_that_hold_truths_go_back_to_their_module():
    torch.manual_seed(0)
    module, x = Filled().eval(), torch.randn(2, 5, 4)
    imported = ng.Imported(module, x)
    left = ng.edits.narrow(imported.network, 0.5).apply(imported.network).network
    assert left.bodies
    module.load_state_dict(imported.state_dict(left))
    with torch.no_grad():
        torch.testing.assert_close(ng.lower(left).eval()(x), module(x))
