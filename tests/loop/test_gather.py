"""Evidence on anybody's batches: any loss, any loader, one pass, and a sentence for what is no batch."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nestgraph as ng
from nestgraph.errors import TrainingError
from nestgraph.graph.reference import predict
from nestgraph.policies import ConnectionGrowth, MagnitudePruning, NeuronGrowth, RigL, UnitPruning
from nestgraph.seeds import mlp
from tests.loop.test_evidence import with_weight

RNG = np.random.default_rng(3)
X = RNG.standard_normal((60, 5)).astype(np.float32)
Y = np.tanh(X[:, :1] - X[:, 1:2]).astype(np.float32) + np.float32(0.3)
NETWORK = mlp((5, 6, 1), 0.5, 0, "tanh", batch_norm=False)
WIDE = mlp((5, 4, 5), 0.6, 1, "tanh", batch_norm=False)
STEP = 1e-2


def quantile(outputs, targets):
    return torch.maximum(0.9 * (targets - outputs), 0.1 * (outputs - targets)).mean()


def multi_label(outputs, targets):
    return np.mean(np.logaddexp(0, outputs) - targets * outputs)


TASKS = {
    "squares": (NETWORK, Y, functional.mse_loss, lambda o, t: np.mean((o - t) ** 2)),
    "quantile": (NETWORK, Y, quantile, lambda o, t: np.mean(np.maximum(0.9 * (t - o), 0.1 * (o - t)))),
    "labels": (WIDE, (X > 0).astype(np.float32), functional.binary_cross_entropy_with_logits, multi_label),
    "itself": (WIDE, X, functional.mse_loss, lambda o, t: np.mean((o - t) ** 2)),
}


def cut(size, *arrays):
    return [tuple(array[place : place + size] for array in arrays) for place in range(0, len(arrays[0]), size)]


@pytest.mark.parametrize("task", TASKS)
def test_gradients_of_any_loss_are_its_finite_differences_dormant_entries_included(task):
    network, targets, loss, plain = TASKS[task]
    found = ng.gather(network, cut(25, X, targets), loss, {"gradients"})
    assert found.samples == len(X)
    for name, gradient in found.gradients.items():
        for place in np.random.default_rng(0).permutation(gradient.size)[:8]:
            ends = [with_weight(network, name, place, change) for change in (STEP, -STEP)]
            up, down = (plain(predict(each, X.astype(np.float64)), targets) for each in ends)
            assert gradient.flat[place] == pytest.approx((up - down) / (2 * STEP), abs=2e-3)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kind", ["gradients", "bridges", "activity"])
def test_parts_make_the_whole(task, kind):
    network, targets, loss, _ = TASKS[task]
    whole, parts = (getattr(ng.gather(network, cut(n, X, targets), loss, {kind}), kind) for n in (60, 17))
    assert whole.keys() == parts.keys()
    for name, mean in whole.items():
        np.testing.assert_allclose(parts[name], mean, atol=1e-6 + 1e-5 * np.abs(mean).max())


def test_arrays_tensors_loaders_and_generators_are_batches():
    dataset = TensorDataset(torch.tensor(X), torch.tensor(Y))
    given = {
        "arrays": cut(20, X, Y),
        "doubles": cut(20, X.astype(np.float64), Y.astype(np.float64)),
        "tensors": cut(20, torch.tensor(X), torch.tensor(Y)),
        "loader": DataLoader(dataset, 20),
        "generator": (batch for batch in cut(20, X, Y)),
        "lists": [[[x], y] for x, y in cut(20, X, Y)],
    }
    found = {
        name: ng.gather(NETWORK, each, functional.mse_loss, {"gradients", "trial"}) for name, each in given.items()
    }
    first = found["arrays"]
    for each in found.values():
        assert each.samples == 60
        assert each.loss(NETWORK) == first.loss(NETWORK)
        assert all(np.array_equal(each.gradients[name], mean) for name, mean in first.gradients.items())


def test_trials_are_of_the_first_batches_and_a_pass_reads_no_more_than_it_needs():
    read = []

    def batches():
        for batch in cut(10, X, Y):
            read.append(batch)
            yield batch

    found = ng.gather(NETWORK, batches(), functional.mse_loss, {"trial"}, trial=2)
    assert (len(read), found.samples) == (2, 20)
    expected = np.mean((predict(NETWORK, X[:20].astype(np.float64)) - Y[:20]) ** 2)
    assert found.loss(NETWORK) == pytest.approx(expected, rel=1e-4)
    both = ng.gather(NETWORK, batches(), functional.mse_loss, {"trial", "activity"}, trial=2)
    assert both.samples == 60
    assert both.loss(NETWORK) == found.loss(NETWORK)
    assert ng.gather(NETWORK, batches(), functional.mse_loss, ()).samples == 0
    assert len(read) == 2 + 6


def test_weights_go_to_the_loss():
    def weighted(outputs, targets, weights):
        return (weights * (outputs - targets) ** 2).mean()

    twice = ng.gather(NETWORK, cut(20, X, Y, np.full_like(Y, 2.0)), weighted, {"gradients"})
    once = ng.gather(NETWORK, cut(20, X, Y), functional.mse_loss, {"gradients"})
    for name, mean in once.gradients.items():
        np.testing.assert_allclose(twice.gradients[name], 2 * mean, rtol=1e-5, atol=1e-7)


def test_own_loops_grow_and_prune_on_their_own_task():
    bench = ng.Workbench(NETWORK, lambda module: torch.optim.Adam(module.parameters(), lr=0.02))
    policies = (
        ConnectionGrowth(fraction=0.2),
        NeuronGrowth(units=2),
        MagnitudePruning(fraction=0.3),
        UnitPruning(),
        RigL(),
    )
    inputs, targets = torch.tensor(X), torch.tensor(Y)
    for number, policy in enumerate(policies):
        for _ in range(5):
            bench.optimizer.zero_grad()
            functional.mse_loss(bench.module(inputs), targets).backward()
            bench.optimizer.step()
        network, rng = bench.network, np.random.default_rng(number)
        evidence = ng.gather(network, cut(20, X, Y), functional.mse_loss, policy.needs, seed=number)
        edit = policy.propose(network, evidence, rng)
        if edit.edits:
            bench.apply(edit)
    kinds = [edit.kind for edit in bench.history]
    assert kinds.count("batch") >= 3
    while bench.history:
        bench.undo()
    assert bench.network == NETWORK


NEEDS = {"gradients"}
WRONG = {
    "no batch": ([], functional.mse_loss, NEEDS, "at least one batch, got none"),
    "no batch to try": ([], functional.mse_loss, {"trial"}, "at least one batch, got none"),
    "inputs alone": ([torch.tensor(X)], functional.mse_loss, NEEDS, r"batches of \(inputs, targets"),
    "words": ([("some words", Y)], functional.mse_loss, NEEDS, "inputs as arrays or tensors"),
    "a vector": (cut(20, X, Y), lambda o, t: (o - t) ** 2, NEEDS, r"one number, the mean of a batch, got one of shape"),
    "a float": (cut(20, X, Y), lambda *_: 1.0, NEEDS, "one number, the mean of a batch, got 1.0"),
    "flat targets": (cut(20, X, Y[:, 0]), functional.mse_loss, NEEDS, "targets of the outputs' shape"),
    "narrow": (cut(20, X[:, :4], Y), functional.mse_loss, NEEDS, r"network and loss can take, got inputs of \(20, 4\)"),
    "two inputs": ([((X, X), Y)], functional.mse_loss, NEEDS, "batches of 1 inputs, as the network has, got 2"),
    "a loss that fails": (cut(20, X, Y), lambda *_: {}["x"], NEEDS, "KeyError"),
    "unknown": (cut(20, X, Y), functional.mse_loss, {"hessians"}, "gather expected"),
    "nothing to iterate": (5, functional.mse_loss, NEEDS, "gather expected"),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.filterwarnings("ignore:Using a target size")
def test_what_is_no_evidence_is_one_sentence(wrong):
    batches, loss, needs, words = WRONG[wrong]
    with pytest.raises(TrainingError, match=words):
        ng.gather(NETWORK, batches, loss, needs)


@pytest.mark.parametrize("trial", [0, -2, 1.5, None])
def test_trials_are_of_a_batch_at_least(trial):
    with pytest.raises(TrainingError, match="trial"):
        ng.gather(NETWORK, cut(20, X, Y), functional.mse_loss, {"trial"}, trial=trial)


def test_a_device_that_is_not_there_is_one_sentence():
    with pytest.raises(TrainingError, match="device of this machine"):
        ng.gather(NETWORK, cut(20, X, Y), functional.mse_loss, NEEDS, device="abacus")


@pytest.mark.parametrize("kind", sorted(NEEDS - {"trial"}))
def test_what_is_not_finite_is_no_evidence(kind):
    with pytest.raises(TrainingError, match=rf"expected finite {kind}, got NaN or infinity in '.*': look for infinite"):
        ng.gather(NETWORK, cut(20, X * np.inf, Y), functional.mse_loss, {kind})
