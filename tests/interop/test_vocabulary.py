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


def test_a_table_that_is_the_output_matrix_too_comes_in_as_one_and_goes_back():
    torch.manual_seed(0)
    module, ids = NextToken().eval(), torch.randint(0, 20, (2, 9))
    imported = ng.Imported(module, ids)
    network = imported.network
    (follower,) = (p for p in network.projections_by_name.values() if p.follows)
    assert network.projection(follower.follows).target == "table"
    assert not any("copies" in row.note for row in ng.import_report(network).rows)
    bench = imported.bench(torch.optim.SGD(module.parameters(), 0.1))
    assert len(bench.optimizer.param_groups[0]["params"]) == len(list(module.parameters()))
    bench.module(ids).square().mean().backward()
    bench.optimizer.step()
    (heads,) = [name for name in network.layer_names if network.matches(name)]
    trained = bench.network
    for edit in (ng.edits.remove_heads(trained, heads, [0]), ng.edits.untie(trained, follower.name)):
        left = edit.apply(trained).network
        module.load_state_dict(imported.state_dict(left))
        assert module.head.weight is module.table.weight
        with torch.no_grad():
            assert_all_agree(left, [ids], [module(ids)])
        assert imported.values(left, module.state_dict()).apply(left).network == left


def test_a_table_that_was_untied_goes_back_while_both_agree():
    module, ids = NextToken().eval(), torch.randint(0, 20, (2, 9))
    imported = ng.Imported(module, ids)
    network = imported.network
    loose = ng.edits.untie(network, next(iter(network.tied))).apply(network).network
    bench = ng.Workbench(loose, lambda lowered: torch.optim.SGD(lowered.parameters(), 0.1))
    bench.module(ids).square().mean().backward()
    bench.optimizer.step()
    bench.take_in()
    with pytest.raises(InteropError, match=r"copies of 'table\.weight' that agree"):
        imported.state_dict(bench.network)


class Twice(torch.nn.Module):
    """A table that is read at both ends, and once more by what is no linear map of it."""

    def __init__(self, kind):
        super().__init__()
        self.kind, self.table = kind, torch.nn.Embedding(6, 4)
        self.middle, self.last = torch.nn.Linear(4, 4), torch.nn.Linear(4, 6, bias=False)
        self.last.weight = self.table.weight

    def forward(self, ids):
        x = torch.tanh(self.middle(self.table(ids)))
        match self.kind:
            case "by hand":
                return torch.nn.functional.linear(x, self.table.weight)
            case "a part":
                return torch.nn.functional.linear(x[..., :3], self.table.weight[:, :3])
            case "scaled":
                return torch.nn.functional.linear(x, self.table.weight * 2)
            case "twice":
                return self.last(x), self.last(x + 1)
            case _:
                return self.last(x)


@pytest.mark.parametrize(
    ("kind", "tied"), [("by hand", True), ("module", True), ("a part", False), ("scaled", False), ("twice", False)]
)
@pytest.mark.parametrize("size", [(), (5,)])
def test_a_table_is_tied_where_it_is_all_of_one_linear_map(kind, tied, size):
    torch.manual_seed(0)
    module, ids = Twice(kind).eval(), torch.randint(0, 6, (3, *size))
    network = ng.import_module(module, ids)
    followers = [p.name for p in network.projections_by_name.values() if p.follows]
    assert len(followers) == (1 if tied or kind == "twice" else 0)  # of two one follows
    said = " ".join(row.note for row in ng.import_report(network).rows)
    assert ("copies" in said) == (not tied)
    given = module(ids)
    with torch.no_grad():
        assert_all_agree(network, [ids], list(given) if isinstance(given, tuple) else [given])


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
