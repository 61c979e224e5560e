"""What it saves that maps lie as processors ask for: against the same module map by map, in pairs of one run."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import nestgraph as ng
from nestgraph.seeds import lenet_5
from tests.bench.test_step_time import imported
from tests.bench.timing import judged, quartiles

pytestmark = pytest.mark.usefixtures("one_thread")


def step(module, samples, classes):
    optimizer = torch.optim.SGD(module.train().parameters(), lr=1e-5, momentum=0.9)

    def once():
        optimizer.zero_grad()
        functional.cross_entropy(module(samples), classes).backward()
        optimizer.step()

    return once


def inference(module, samples):
    @torch.no_grad()
    def once():
        module(samples)

    return once


BY_PAIR = "lenet-5 as committed"
"""Of areas by pair: products at each position, which no layout makes quicker and in whose place `auto` takes a sparse
matrix (test_sparse_time). What the rest of the network saves is recorded."""

NETWORKS = {
    "lenet-5 dense": lenet_5,
    BY_PAIR: lambda: ng.load("docs/results/lenet-5.json"),
    "lenet-5-compact": lambda: ng.load("docs/results/lenet-5-compact.json"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "bound"), [("lenet-5 dense", 0.8), (BY_PAIR, 0.8)])
def test_a_training_step(name, bound):
    network, rng = NETWORKS[name](), np.random.default_rng(0)
    samples = torch.tensor(rng.standard_normal((256, 1, 28, 28)), dtype=torch.float32)
    classes = torch.tensor(rng.integers(0, 10, 256))
    ours, *others = (
        step(ng.lower(network, layout=layout, execution=execution), samples, classes)
        for layout, execution in (("auto", "auto"), ("contiguous", "masked"), ("auto", "masked"))
    )
    judged(f"{name}, a step of 256 over map by map under masks", quartiles(ours, others[0]), bound)
    judged(f"{name}, a step of 256 over the same layout under masks", quartiles(ours, others[1]), 1.1)


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "bound"), [(1, 1.1), (32, 0.7), (256, 0.5), (1024, 0.5)])
@pytest.mark.parametrize("name", NETWORKS)
def test_inference(name, batch, bound):
    network, rng = NETWORKS[name](), np.random.default_rng(0)
    samples = torch.tensor(rng.standard_normal((batch, 1, 28, 28)), dtype=torch.float32)
    ours, plain = (inference(ng.compact(network, batch, each, "dense"), samples) for each in ("auto", "contiguous"))
    judged(f"{name}, compact on {batch}", quartiles(ours, plain), np.inf if name == BY_PAIR else bound)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "mobilenetv2_w1", "squeezenet_v1_1", "regnetx002", "dpn68"])
def test_models_that_nobody_tuned_to_are_not_slower(name):
    network, _, shape = imported(name)
    rng = np.random.default_rng(0)
    samples = torch.tensor(rng.standard_normal((4, *shape)), dtype=torch.float32)
    modules = [ng.lower(network, layout=each) for each in ("auto", "contiguous")]
    classes = torch.tensor(rng.integers(0, modules[0](samples).shape[1], 4))
    judged(f"{name}, a step of 4", quartiles(*(step(module, samples, classes) for module in modules)), 1.05)
    ours, plain = (inference(ng.compact(network, 4, each, "dense"), samples) for each in ("auto", "contiguous"))
    judged(f"{name}, compact on 4", quartiles(ours, plain), 1.05)
