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


def of_least(one, other, pairs=PAIRS, groups=6):
    """As `quartiles`, by the wall clock, of the least time of one over that of the other in each of some groups.

    For several threads: their processor time is added up while they are to be done sooner, and where another job holds
    a processor, each waits for the other.
    """
    one()
    other()
    found = []
    for _ in range(groups):
        times = [(_seconds(one), _seconds(other)) for _ in range(pairs)]
        least = [min(each) for each in zip(*times, strict=True)]
        found.append(least[0] / least[1])
    return statistics.quantiles(found, n=4)


def _seconds(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def judged(words, found, bound):
    low, median, high = found
    print(f"\n{words}: {median:.2f} ({low:.2f} to {high:.2f})")
    assert low <= bound
