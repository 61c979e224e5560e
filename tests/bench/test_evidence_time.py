"""What growth evidence over some batches costs beside training on them."""

import statistics
import time

import numpy as np
import pytest
import torch

from nestgraph.data.samples import Dataset, Samples
from nestgraph.loop.stepping import Steps
from nestgraph.loop.trainer import Trainer, cpu_threads
from nestgraph.loop.training import train
from nestgraph.loop.training_state import Training
from nestgraph.recipes.recipe import TrainingOptions
from nestgraph.seeds import alexnet, lenet_5, lenet_300_100

BOUND, BATCHES = 1.5, 4
CASES = {
    "lenet_300_100": (lambda: lenet_300_100(0.4, 0.1), (1, 28, 28), 10, 128, 9),
    "lenet_5": (lambda: lenet_5(0.5, 0.2), (1, 28, 28), 10, 128, 5),
    "alexnet": (lambda: alexnet(density=0.3), (3, 224, 224), 1000, 16, 2),
}


def dataset(image, classes, count):
    rng = np.random.default_rng(0)
    images = rng.random((count, *image), dtype=np.float32)
    part = Samples(images, rng.integers(0, classes, count))
    small = Samples(images[:1], part.targets[:1])
    return Dataset("random", part, small, small, classes=classes)


def seconds(call):
    began = time.process_time()
    call()
    return time.process_time() - began


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_evidence_costs_at_most_what_is_stated(case):
    build, image, classes, batch, rounds = CASES[case]
    trainer = Trainer(dataset(image, classes, BATCHES * batch), TrainingOptions(batch_size=batch))
    network = build()
    bench, epoch = trainer.bench(network), Training(purpose="bench", index=0, epochs=1, rate=1.0)
    steps, course = Steps(bench, trainer.options, trainer.device), trainer._course(network)
    with cpu_threads(1), torch.random.fork_rng():
        pairs = [
            (
                seconds(lambda: trainer.evidence(network, {"gradients"}, BATCHES, 0)),
                seconds(lambda: train(bench, course, epoch, steps, 0)),
            )
            for _ in range(rounds + 1)
        ][1:]
    measured = statistics.median(evidence / training for evidence, training in pairs)
    print(f"\n{case}: evidence of {BATCHES} batches takes {measured:.2f} times training on them")
    assert measured <= BOUND
