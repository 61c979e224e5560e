"""What timings are taken with: one thread, pairs in turn, and quartiles of their ratios."""

import statistics
import time

import pytest
import torch

PAIRS = 30


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def taken(one, other, pairs=PAIRS):
    """The median processor time of one, that of the other, and what `quartiles` gives, over pairs taken in turn."""
    one()
    other()
    found = []
    for _ in range(pairs):
        began = time.process_time()
        one()
        between = time.process_time()
        other()
        found.append((between - began, time.process_time() - between))
    medians = (statistics.median(each) for each in zip(*found, strict=True))
    return *medians, statistics.quantiles([first / second for first, second in found], n=4)


def quartiles(one, other):
    """Of the processor time of one over that of the other, over pairs taken in turn: lower quartile, median, upper."""
    return taken(one, other)[2]


def judged(words, found, bound):
    low, median, high = found
    print(f"\n{words}: {median:.2f} ({low:.2f} to {high:.2f})")
    assert low <= bound
