"""Training on batches of any data: what a plain loop does, rates by a schedule, and the same bits from any point."""

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from nestgraph.data.own import as_batches
from nestgraph.edits import SetOperations
from nestgraph.errors import TrainingError
from nestgraph.loop import training
from nestgraph.loop.checkpoint import Pace
from nestgraph.loop.stepping import Steps
from nestgraph.loop.training import Course, train
from nestgraph.loop.training_state import Training, TrainingSaves
from nestgraph.lowering import Workbench
from nestgraph.recipes.recipe import TrainingOptions
from nestgraph.runs import interruption
from nestgraph.runs.interruption import Interrupted
from nestgraph.seeds import mlp
from nestgraph.spec import Dropout

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 5)).astype(np.float32)
Y = (X @ RNG.standard_normal((5, 2))).astype(np.float32)
NETWORK = mlp((5, 8, 2), 0.7, 0, batch_norm=False)
NETWORK = (
    SetOperations(layer="fc1", operations=(*NETWORK.layer("fc1").operations, Dropout(probability=0.2)), bias=True)
    .apply(NETWORK)
    .network
)


def loader():
    noisy = TensorDataset(torch.tensor(X), torch.tensor(Y))
    return DataLoader(noisy, batch_size=16, shuffle=True, generator=torch.Generator())


DATA = {
    "arrays": lambda: (X, Y),
    "loader": loader,
    "batches": lambda: [(X[n : n + 20], Y[n : n + 20]) for n in (0, 30, 70)],
}


def halves(module):
    first, *rest = module.parameters()
    return [torch.optim.SGD([{"params": [first], "lr": 0.05}], momentum=0.9), torch.optim.Adam(rest, lr=0.01)]


def course(kind, limit=1e9, accumulate=1):
    return Course(as_batches(DATA[kind](), 16), functional.mse_loss, limit, accumulate)


def steps_of(bench):
    return Steps(bench, TrainingOptions(learning_rate=0.02, final_rate=0.1), bench.device)


def trained(kind, epochs=3, saves=None, rate=1.0, bench=None, accumulate=1):
    bench = bench or Workbench(NETWORK, halves)
    training = Training(purpose="test", index=0, epochs=epochs, rate=rate)
    with torch.random.fork_rng():
        train(bench, course(kind, accumulate=accumulate), training, steps_of(bench), 7, saves)
    return bench


@pytest.mark.parametrize("kind", DATA)
def test_training_lowers_the_loss_and_repeats_to_the_bit(kind):
    before = functional.mse_loss(Workbench(NETWORK, halves).module.eval()(torch.tensor(X)), torch.tensor(Y))
    bench, again = trained(kind, 20), trained(kind, 20)
    assert functional.mse_loss(bench.module.eval()(torch.tensor(X)), torch.tensor(Y)) < 0.5 * before
    assert bench.network == again.network
    assert bench.state().same(again.state())
    assert bench.edited == NETWORK  # nothing is taken in


def test_it_is_a_plain_loop():
    bench, network = trained("batches", 2), Workbench(NETWORK, halves)
    optimizers = network.optimizers
    with torch.random.fork_rng():
        torch.manual_seed(7)
        for number in range(6):
            for optimizer in optimizers:
                fallen = 0.1 + 0.9 * (1 + np.cos(np.pi * number / 6)) / 2
                optimizer.param_groups[0]["lr"] = 0.02 * float(fallen)
                optimizer.zero_grad()
            inputs, targets = map(torch.tensor, DATA["batches"]()[number % 3])
            functional.mse_loss(network.module(inputs), targets).backward()
            for optimizer in optimizers:
                optimizer.step()
    for name, expected in network.module.state_dict().items():
        np.testing.assert_allclose(bench.module.state_dict()[name], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("kind", DATA)
def test_it_goes_on_from_any_point_to_the_same_bits(kind, accumulate, tmp_path, monkeypatch):
    whole, step, done = trained(kind, accumulate=accumulate), training.step, [0]

    def counted(*arguments):
        done[0] += 1
        if done[0] in (2, 4, 5):
            monkeypatch.setattr(interruption, "_noted", [2])
        return step(*arguments)

    monkeypatch.setattr(training, "step", counted)
    saves = TrainingSaves(tmp_path / "training.safetensors", Pace(1e9), torch.device("cpu"))
    parts = 0
    while True:
        try:
            bench = trained(kind, saves=saves, accumulate=accumulate)
            break
        except Interrupted:
            monkeypatch.setattr(interruption, "_noted", [])
            parts += 1
    assert parts > 1
    assert done[0] == 3 * -(-course(kind).batches.epoch(0).count // accumulate)  # no step was done twice
    assert bench.network == whole.network
    assert bench.state().same(whole.state())


def test_where_a_users_arrays_lie_in_memory_moves_no_bit():
    results = []
    for shift in range(3):
        held = np.zeros((2, 700), np.float32)
        inputs, targets = held[0, shift : shift + 450].reshape(90, 5), held[1, shift : shift + 180].reshape(90, 2)
        inputs[:], targets[:] = X, Y
        batches = as_batches([(inputs[first : first + 30], targets[first : first + 30]) for first in (0, 30, 60)])
        parts = [part for batch in batches.epoch(0).rest() for part in (*batch.inputs, *batch.told)]
        assert not any(part.data_ptr() % 64 for part in parts)
        results.append([part.numpy().tobytes() for part in parts])
    assert results[0] == results[1] == results[2]


def test_rates_begin_anew_with_each_training_and_are_undone():
    bench = trained("arrays", 1)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in bench.optimizers]
    trained("arrays", 1, rate=0.5, bench=bench)
    halved = [optimizer.param_groups[0]["lr"] for optimizer in bench.optimizers]
    assert halved == pytest.approx([rate / 2 for rate in rates])
    bench.drop()
    assert [optimizer.param_groups[0]["lr"] for optimizer in bench.optimizers] == [0.05, 0.01]


class Empty:
    together, count = 1, 0

    def epoch(self, _seed, _share):
        return self

    def rest(self, _start=0):
        return iter(())


def test_what_breaks_down_is_said():
    bench, once = Workbench(NETWORK, halves), Training(purpose="test", index=0, epochs=1)
    with pytest.raises(TrainingError, match=r"training \(test 0, epoch 1\) expected finite numbers, got a loss of"):
        train(bench, course("arrays", 1e-9), once, steps_of(bench), 0)
    with pytest.raises(TrainingError, match="expected batches to train on, got none"):
        train(bench, Course(Empty(), functional.mse_loss), once, steps_of(bench), 0)
