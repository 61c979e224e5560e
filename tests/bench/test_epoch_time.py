"""What an epoch of a run costs beside a loop that a person would write over the same tensors."""

import statistics
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nestgraph.data.samples import Dataset, Samples
from nestgraph.loop.stepping import Steps
from nestgraph.loop.trainer import Trainer, cpu_threads
from nestgraph.loop.training import train
from nestgraph.loop.training_state import Training
from nestgraph.recipes.recipe import TrainingOptions
from nestgraph.seeds import lenet_300_100

BOUNDS = {128: 1.25, 256: 1.20}
"""By the size of batches; the aim is 1.15 for both."""

SAMPLES, ROUNDS = 12_800, 15
"""Samples of an epoch; pairs of epochs that count."""


def run_epoch(images, labels, batch):
    """A call that trains LeNet-300-100, half of its connections, for an epoch of a run."""
    samples = Samples(images, labels)
    few = samples.part(np.arange(10))
    trainer = Trainer(Dataset("random", samples, few, few, classes=10), TrainingOptions(batch_size=batch))
    network, training = lenet_300_100(1.0, 0.5), Training(purpose="bench", index=0, epochs=1)
    bench, course = trainer.bench(network), trainer._course(network)
    return lambda: train(bench, course, training, Steps(bench, trainer.options, trainer.device), 0)


def epoch_by_hand(images, labels, batch):
    """A call that trains a dense module of those shapes in a loop over tensors, at a rate that falls along a cosine."""
    images, labels = torch.from_numpy(images).flatten(1), torch.from_numpy(labels)
    module = nn.Sequential(
        *(nn.Linear(784, 300, bias=False), nn.BatchNorm1d(300), nn.LeakyReLU(0.01)),
        *(nn.Linear(300, 100, bias=False), nn.BatchNorm1d(100), nn.LeakyReLU(0.01)),
        nn.Linear(100, 10),
    )
    optimizer = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9, weight_decay=1e-4, nesterov=True)

    def epoch():
        batches = torch.randperm(len(images)).split(batch)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(batches))
        for places in batches:
            optimizer.zero_grad()
            functional.cross_entropy(module(images[places]), labels[places]).backward()
            optimizer.step()
            falling.step()

    return epoch


def seconds(call):
    began = time.process_time()
    call()
    return time.process_time() - began


def ratios(batch):
    """Epochs of a run over epochs by hand that follow them."""
    rng = np.random.default_rng(0)
    images, labels = rng.random((SAMPLES, 1, 28, 28), dtype=np.float32), rng.integers(0, 10, SAMPLES)
    with cpu_threads(1), torch.random.fork_rng():
        run, by_hand = run_epoch(images, labels, batch), epoch_by_hand(images, labels, batch)
        pairs = [(seconds(run), seconds(by_hand)) for _ in range(ROUNDS + 1)][1:]
    return [one / other for one, other in pairs]


@pytest.mark.slow
@pytest.mark.parametrize("batch", BOUNDS)
def test_an_epoch_costs_at_most_what_is_stated(batch):
    low, middle, high = statistics.quantiles(ratios(batch), n=4)
    print(f"\nbatch {batch}: an epoch takes {middle:.2f} times one by hand (quartiles {low:.2f} to {high:.2f})")
    assert middle <= BOUNDS[batch]
