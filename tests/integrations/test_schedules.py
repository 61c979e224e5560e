"""What the edits of every foreign loop go through: which are due, on what evidence, and whether they reach the loop."""

import importlib
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, WeightedRandomSampler

import nestgraph as ng
from nestgraph.errors import TrainingError
from nestgraph.integrations.owners import check_owner, hand_over
from nestgraph.integrations.schedules import Schedule, apart
from nestgraph.policies import ConnectionGrowth, MagnitudePruning, NeuronGrowth

generator = torch.Generator().manual_seed(0)
BATCHES = [(torch.randn(16, 6, generator=generator), torch.arange(16) % 3) for _ in range(3)]
STEPS = {1: [ConnectionGrowth(fraction=0.3), NeuronGrowth(units=1)], 3: MagnitudePruning(fraction=0.2)}


class Owner(nn.Module):
    def __init__(self, bench):
        super().__init__()
        self.body = nn.Module()
        hand_over(self, "body.net", bench)


def start():
    seed = ng.seeds.mlp((6, 5, 3), density=0.5, seed=0)
    return ng.Workbench(seed, lambda module: torch.optim.SGD(module.parameters(), lr=0.1))


def schedule(**options):
    return Schedule(STEPS, functional.cross_entropy, **options)


def edited(plan, bench, *epochs, loader=BATCHES):
    owner = Owner(bench)
    done = [plan.edit(number, owner, "body.net", bench, loader) for number in epochs]
    assert owner.body.net is bench.module
    return done


def test_each_step_is_made_once_however_often_it_is_asked_for():
    bench, plan = start(), schedule()
    assert edited(plan, bench, 0, 1, 1, 2, 3, 4) == [False, True, False, False, True, False]
    assert (len(bench.history), plan.done) == (3, {1, 3})


def test_what_was_missed_is_made_up_for_in_its_order():
    one, other = start(), start()
    edited(schedule(), one, 1, 3)
    assert edited(schedule(), other, 3) == [True]
    assert one.network == other.network


def test_a_checkpoint_says_what_was_done_and_without_one_the_past_is_past():
    plan = schedule()
    plan.begin(3, [1])
    assert edited(plan, start(), 3) == [True]
    plan.begin(1, None)
    assert edited(plan, start(), 1, 3) == [False, True]


def test_edits_depend_on_the_seed_alone_and_leave_the_loops_generators_alone():
    samples = [(x, y) for batch in BATCHES for x, y in zip(*batch, strict=True)]
    found = []
    for number in (1, 2, 3):
        own = torch.Generator().manual_seed(number)
        shuffled = DataLoader(samples, 16, shuffle=number < 3, generator=own)
        torch.manual_seed(number)
        before, bench = (torch.get_rng_state(), own.get_state()), start()
        edited(schedule(), bench, 1, loader=shuffled)
        assert all(map(torch.equal, before, (torch.get_rng_state(), own.get_state())))
        found.append(bench.network)
    assert found[0] == found[1] == found[2]
    other = start()
    edited(schedule(seed=1), other, 1, loader=shuffled)
    assert other.network != found[0]


def test_a_sampler_that_chooses_in_its_own_way_is_kept():
    chosen = DataLoader(torch.arange(8), 2, sampler=WeightedRandomSampler([0, 0, 0, 1, 0, 0, 0, 0], 6))
    assert [batch.tolist() for batch in apart(chosen, 0)] == [[3, 3]] * 3
    grouped = DataLoader(torch.arange(4), batch_sampler=[[0, 3], [1, 2]])
    assert [batch.tolist() for batch in apart(grouped, 0)] == [[0, 3], [1, 2]]
    listed = [torch.arange(2)]
    assert apart(listed, 0) is listed
    plain = apart(DataLoader(torch.arange(9), 4, shuffle=True, drop_last=True, collate_fn=sum), 0)
    assert len(list(plain)) == 2


def test_batches_are_those_that_are_told():
    read = []

    def batch(given):
        read.append(given["x"])
        return given["x"], given["y"]

    own = [{"x": x, "y": y} for x, y in BATCHES]
    edited(schedule(batch=batch, batches=own, most=2), start(), 1, loader=None)
    assert [id(x) for x in read] == [id(BATCHES[n][0]) for n in (0, 1)] * 2


def test_a_loop_that_an_edit_does_not_reach_is_told():
    bench, other = start(), start()
    owner = Owner(bench)
    check_owner(owner, "body.net", bench, [bench.optimizer])

    class Wrapper:
        optimizer = bench.optimizer

    check_owner(owner, "body.net", bench, [Wrapper])
    with pytest.raises(TrainingError, match=r"expected the bench's module as 'body\.net' in Owner, got another"):
        check_owner(owner, "body.net", other, [other.optimizer])
    with pytest.raises(TrainingError, match="expected the loop to step the bench's own SGD, got none of its own"):
        check_owner(owner, "body.net", bench, [])
    twice = torch.optim.Adam(owner.parameters())
    with pytest.raises(TrainingError, match="expected Adam without parameters of the bench's module, got some"):
        check_owner(owner, "body.net", bench, [twice, bench.optimizer])
    owner.half()
    with pytest.raises(TrainingError, match=r"expected a module of float32, got torch\.float16: values that an edit"):
        check_owner(owner, "body.net", bench, [bench.optimizer])
    bench = ng.Workbench(bench.network, lambda module: torch.optim.SGD(module.parameters(), lr=0.1))
    owner = Owner(bench).to("meta")
    with pytest.raises(
        TrainingError, match=r"expected the module on cpu, where its bench is, got meta: make the bench"
    ):
        check_owner(owner, "body.net", bench, [bench.optimizer])


def test_what_wraps_a_module_is_refused():
    """DistributedDataParallel and DataParallel keep the parameters from before an edit."""
    owner = nn.Module()
    owner.net = nn.DataParallel(start().module)
    with pytest.raises(TrainingError, match="expected a lowered module as 'net', or nothing yet, got DataParallel"):
        hand_over(owner, "net", start())
    with pytest.raises(TrainingError, match="expected a module named 'body' in Module, got none"):
        hand_over(owner, "body.net", start())
    with pytest.raises(TrainingError, match="expected the name of an attribute, got 'a b'"):
        hand_over(owner, "a b", start())


@pytest.mark.parametrize("name", ["lightning", "transformers"])
def test_a_missing_package_is_one_sentence_with_its_remedy(name, monkeypatch):
    for loaded in (name, *(known for known in sys.modules if known.startswith(f"{name}."))):
        monkeypatch.setitem(sys.modules, loaded, None)
    monkeypatch.delitem(sys.modules, f"nestgraph.integrations.{name}", raising=False)
    with pytest.raises(TrainingError) as told:
        importlib.import_module(f"nestgraph.integrations.{name}")
    assert str(told.value).endswith(f": pip install 'nestgraph[{name}]'")
    assert str(told.value).startswith(f"nestgraph.integrations.{name} expected the package {name}, got: ")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"steps": {0: MagnitudePruning()}}, "expected steps after 1 epoch or more, got one after 0"),
        ({"steps": {1: "prune"}}, "expected steps"),
        ({"steps": STEPS, "most": 0}, "expected most: a whole number from 1 to 9,007,199,254,740,991 or None, got 0"),
        ({"steps": STEPS, "loss": "mse"}, "expected loss: a function"),
    ],
)
def test_wrong_arguments_are_told(options, sentence):
    with pytest.raises(TrainingError, match=sentence):
        Schedule(**{"loss": functional.cross_entropy, **options})
