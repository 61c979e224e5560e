"""How much a training step of a lowered network costs beside one of the module a person would write."""

import statistics
import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from nestgraph.graph import Grid, Network, Structure, UnitColumns
from nestgraph.interop import import_module
from nestgraph.lowering import lower
from nestgraph.seeds import alexnet as alexnet_seed
from nestgraph.spec import Activation, Conv, Dense, Layer, Pooling
from tests.bench.models import built

BOUND = 1.10
RELU = Activation(function="relu")
HALVE = Pooling(function="max", kernel=(2, 2), stride=(2, 2))


def network_of(layers, projections, counts, shapes, density, rng):
    units = {layer.name: UnitColumns.neutral(counts[layer.name], layer.column_names) for layer in layers}
    connections = {}
    for projection in projections:
        shape = shapes[projection.target]
        mask = rng.random(shape) < density
        sources = np.arange(shape[1])
        mask[sources % shape[0], sources] = True  # no island
        weight = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        connections[projection.name] = Grid.of(np.where(mask, weight, 0), mask)
    return Network.of(Structure(layers, projections, units, connections))


def lenet_300_100(rng):
    layers = (
        Layer(name="x", kind="input", features=784),
        Layer(name="fc1", kind="neurons", operations=(RELU,)),
        Layer(name="fc2", kind="neurons", operations=(RELU,)),
        Layer(name="y", kind="neurons", output=True),
    )
    projections = (Dense(source="x", target="fc1"), Dense(source="fc1", target="fc2"), Dense(source="fc2", target="y"))
    counts = {"x": 784, "fc1": 300, "fc2": 100, "y": 10}
    shapes = {"fc1": (300, 784), "fc2": (100, 300), "y": (10, 100)}
    by_hand = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    return network_of(layers, projections, counts, shapes, 0.5, rng), by_hand, (784,)


def lenet_5(rng):
    layers = (
        Layer(name="x", kind="input", features=1, size=(28, 28)),
        Layer(name="c1", kind="feature_maps", size=(24, 24), operations=(HALVE,)),
        Layer(name="c2", kind="feature_maps", size=(8, 8), operations=(HALVE,)),
        Layer(name="fc", kind="neurons", operations=(RELU,)),
        Layer(name="y", kind="neurons", output=True),
    )
    projections = (
        Conv(source="x", target="c1", kernel=(5, 5)),
        Conv(source="c1", target="c2", kernel=(5, 5)),
        Dense(source="c2", target="fc"),
        Dense(source="fc", target="y"),
    )
    counts = {"x": 1, "c1": 20, "c2": 50, "fc": 500, "y": 10}
    shapes = {"c1": (20, 1, 5, 5), "c2": (50, 20, 5, 5), "fc": (500, 50, 4, 4), "y": (10, 500)}
    by_hand = nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.MaxPool2d(2),
        nn.Conv2d(20, 50, 5),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(),
        nn.Linear(500, 10),
    )
    return network_of(layers, projections, counts, shapes, 0.5, rng), by_hand, (1, 28, 28)


def alexnet(_rng):
    def maps(into, out, kernel, stride=1, padding=0, groups=1, pooled=False):
        convolution = nn.Conv2d(into, out, kernel, stride, padding, groups=groups, bias=False)
        return [convolution, nn.BatchNorm2d(out), nn.LeakyReLU(0.01), *([nn.MaxPool2d(3, 2)] if pooled else [])]

    by_hand = nn.Sequential(
        *maps(3, 96, 11, 4, 2, pooled=True),
        *maps(96, 256, 5, 1, 2, 2, pooled=True),
        *maps(256, 384, 3, 1, 1),
        *maps(384, 384, 3, 1, 1, 2),
        *maps(384, 256, 3, 1, 1, 2, pooled=True),
        nn.Flatten(),
        *(nn.Linear(9216, 4096, bias=False), nn.BatchNorm1d(4096), nn.LeakyReLU(0.01)),
        *(nn.Linear(4096, 4096, bias=False), nn.BatchNorm1d(4096), nn.LeakyReLU(0.01)),
        nn.Linear(4096, 1000),
    )
    return alexnet_seed(density=0.5), by_hand, (3, 224, 224)


def imported(name):
    """A public definition with random weights; what is lowered has exactly its parameters, groups and all."""
    by_hand, (images,) = built(name)
    network = import_module(by_hand, images)
    assert parameters(lower(network)) == parameters(by_hand)
    return network, by_hand.train(), tuple(images.shape[1:])


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def regnetx002(_rng):
    return imported("regnetx002")


def resnext26_32x4d(_rng):
    return imported("resnext26_32x4d")


def dpn68(_rng):
    return imported("dpn68")


def stepper(module, samples, classes):
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)

    def step():
        start = time.process_time()
        optimizer.zero_grad()
        functional.cross_entropy(module(samples), classes).backward()
        optimizer.step()
        return time.process_time() - start

    return step


def ratio(build, batch, rounds):
    """The median over rounds of lowered time over hand-written time, and the median times in seconds."""
    rng = np.random.default_rng(0)
    network, by_hand, shape = build(rng)
    samples = torch.tensor(rng.standard_normal((batch, *shape)), dtype=torch.float32)
    classes = torch.tensor(rng.integers(0, 10, batch))
    steps = [stepper(module, samples, classes) for module in (lower(network), by_hand)]
    warm = [(steps[0](), steps[1]()) for _ in range(rounds)][max(1, rounds // 10) :]
    lowered, hand = (statistics.median(column) for column in zip(*warm, strict=True))
    return statistics.median(a / b for a, b in warm), lowered, hand


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "batch", "rounds"),
    [
        (lenet_300_100, 128, 200),
        (lenet_5, 128, 100),
        (alexnet, 32, 8),
        (regnetx002, 8, 8),
        (resnext26_32x4d, 8, 8),
        (dpn68, 8, 8),
    ],
)
def test_a_step_costs_at_most_what_is_stated(build, batch, rounds):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        measured, lowered, hand = ratio(build, batch, rounds)
    finally:
        torch.set_num_threads(threads)
    print(f"\n{build.__name__}: {measured:.3f} times a hand-written step ({lowered * 1e3:.2f} to {hand * 1e3:.2f} ms)")
    assert measured <= BOUND
