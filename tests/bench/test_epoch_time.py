"""What an epoch of a run costs beside a loop that a person would write over the same tensors."""

import statistics
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nestgraph.data.distortion import AffineDistortion
from nestgraph.data.samples import Dataset, Samples
from nestgraph.loop.stepping import Steps
from nestgraph.loop.trainer import Trainer, cpu_threads
from nestgraph.loop.training import train
from nestgraph.loop.training_state import Training
from nestgraph.recipes.recipe import TrainingOptions
from nestgraph.seeds import lenet_300_100

BOUNDS = {False: 1.15, True: 1.20}
"""By whether images are distorted."""

SAMPLES, ROUNDS, GROUP = 12_800, 15, 10
"""Samples of an epoch; pairs of epochs that count; batches that the loop by hand distorts at once."""


def run_epoch(images, labels, batch, distorted):
    """A call that trains LeNet-300-100, half of its connections, for an epoch of a run."""
    samples = Samples(images, labels)
    few = samples.part(np.arange(10))
    dataset, options = Dataset("random", samples, few, few, classes=10), TrainingOptions(batch_size=batch)
    trainer = Trainer(dataset, options, AffineDistortion() if distorted else None)
    network, training = lenet_300_100(1.0, 0.5), Training(purpose="bench", index=0, epochs=1)
    bench, course = trainer.bench(network), trainer._course(network)
    return lambda: train(bench, course, training, Steps(bench, trainer.options, trainer.device), 0)


def turned(images):
    """Images turned, moved and scaled, each in its own way."""
    count, limits = len(images), AffineDistortion()
    angle = torch.deg2rad((2 * torch.rand(count) - 1) * limits.degrees)
    factor = 1 + (2 * torch.rand(count) - 1) * limits.scale
    shift = (2 * torch.rand(2, count) - 1) * 2 * limits.translate
    cosine, sine = torch.cos(angle) / factor, torch.sin(angle) / factor
    matrix = torch.stack([cosine, sine, shift[0], -sine, cosine, shift[1]], 1).view(-1, 2, 3)
    grid = functional.affine_grid(matrix, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)


def epoch_by_hand(images, labels, batch, distorted):
    """A call that trains a dense module of those shapes in a loop over tensors, at a rate that falls along a cosine."""
    images, labels = torch.from_numpy(images), torch.from_numpy(labels)
    module = nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(784, 300, bias=False), nn.BatchNorm1d(300), nn.LeakyReLU(0.01)),
        *(nn.Linear(300, 100, bias=False), nn.BatchNorm1d(100), nn.LeakyReLU(0.01)),
        nn.Linear(100, 10),
    )
    optimizer = torch.optim.SGD(module.parameters(), 0.05, momentum=0.9, weight_decay=1e-4, nesterov=True, fused=True)

    def epoch():
        order = torch.randperm(len(images))
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(order) // batch)
        for places in order.split(batch * GROUP):
            group = turned(images[places]) if distorted else images[places]
            for inputs, classes in zip(group.split(batch), labels[places].split(batch), strict=True):
                optimizer.zero_grad()
                functional.cross_entropy(module(inputs), classes).backward()
                optimizer.step()
                falling.step()

    return epoch


def seconds(call):
    began = time.process_time()
    call()
    return time.process_time() - began


def ratios(batch, distorted):
    """Epochs of a run over epochs by hand that follow them."""
    rng = np.random.default_rng(0)
    images, labels = rng.random((SAMPLES, 1, 28, 28), dtype=np.float32), rng.integers(0, 10, SAMPLES)
    with cpu_threads(1), torch.random.fork_rng():
        run, by_hand = run_epoch(images, labels, batch, distorted), epoch_by_hand(images, labels, batch, distorted)
        pairs = [(seconds(run), seconds(by_hand)) for _ in range(ROUNDS + 1)][1:]
    return [one / other for one, other in pairs]


@pytest.mark.slow
@pytest.mark.parametrize("batch", [128, 256])
@pytest.mark.parametrize("distorted", BOUNDS)
def test_an_epoch_costs_at_most_what_is_stated(batch, distorted):
    low, middle, high = statistics.quantiles(ratios(batch, distorted), n=4)
    how = "distorted, " if distorted else ""
    print(f"\n{how}batch {batch}: an epoch takes {middle:.2f} times one by hand (quartiles {low:.2f} to {high:.2f})")
    assert low <= BOUNDS[distorted]
