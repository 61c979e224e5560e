"""What it costs to make an edit of what was trained, beside a step of training, and what a bench holds after many."""

import gc
import statistics
import time
import tracemalloc

import numpy as np
import pytest
import torch
from torch.nn import functional

from nestgraph.edits import SetMask
from nestgraph.lowering import Workbench
from tests.bench.test_step_time import lenet_300_100

BOUND = 0.75
MAKERS = {
    "sgd": lambda module: torch.optim.SGD(module.parameters(), 0.01, 0.9),
    "adam": lambda module: torch.optim.Adam(module.parameters(), 0.001),
}


def bench_of(kind):
    network, _, shape = lenet_300_100(np.random.default_rng(0))
    bench = Workbench(network, MAKERS[kind])
    samples, classes = torch.randn(128, *shape), torch.randint(0, 10, (128,))

    def step():
        bench.optimizer.zero_grad()
        functional.cross_entropy(bench.module(samples), classes).backward()
        bench.optimizer.step()

    return bench, step


def seconds(call):
    began = time.process_time()
    call()
    return time.process_time() - began


@pytest.mark.slow
@pytest.mark.parametrize("kind", MAKERS)
def test_taking_in_costs_at_most_what_is_stated(kind):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        bench, step = bench_of(kind)
        pairs = []
        for _ in range(60):
            pairs.append((seconds(bench.take_in), seconds(step), seconds(step)))
            bench.forget(bench.mark())
    finally:
        torch.set_num_threads(threads)
    measured = statistics.median(2 * taken / (one + two) for taken, one, two in pairs[10:])
    print(f"\n{kind}: taking in what was trained takes {measured:.2f} times a step")
    assert measured <= BOUND


@pytest.mark.slow
def test_memory_is_flat_over_50_edits_that_are_let_go():
    bench, step = bench_of("adam")
    name = bench.edited.projection_names[0]
    tracemalloc.start()
    held = []
    for number in range(50):
        step()
        columns = bench.edited.connection_columns(name)
        entry = np.flatnonzero(columns.mask)[[number]]
        bench.apply(SetMask(projection=name, entries=entry, active=[False], weights=[0.0]))
        bench.forget(bench.mark())
        gc.collect()  # modules of torch.fx refer to themselves
        held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    print(f"\nheld by NumPy and Python after 10 and 50 edits: {held[9] / 2**20:.1f} and {held[49] / 2**20:.1f} MB")
    assert held[49] <= 1.1 * held[9]
