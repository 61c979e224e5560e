"""What it costs to map edits to another network, on AlexNet's 61 million connections."""

import time
import tracemalloc

import numpy as np
import pytest

from nestgraph.edits import RemoveUnits, way_over
from nestgraph.policies import MagnitudePruning
from nestgraph.policies.evidence import Evidence
from nestgraph.seeds import alexnet

SECONDS, MEBIBYTES = 0.3, 64


@pytest.mark.slow
def test_a_prune_of_one_percent_over_a_removal_of_units():
    network = alexnet()
    pruned = MagnitudePruning(fraction=0.01).propose(network, Evidence(), np.random.default_rng(0))
    way = way_over(network, [RemoveUnits(layer="fc6", units=[1, 5, 77, 900, 2000])])
    times = []
    for _ in range(5):
        began = time.process_time()
        moved = pruned.map(way)
        times.append(time.process_time() - began)
    tracemalloc.start()
    pruned.map(way)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    count = sum(len(edit.entries) for edit in moved.edits if edit.kind == "set_mask")
    print(f"\nmap a prune of {count:,} connections: {min(times) * 1e3:.0f} ms, {peak:.0f} MiB")
    assert min(times) <= SECONDS
    assert peak <= MEBIBYTES
