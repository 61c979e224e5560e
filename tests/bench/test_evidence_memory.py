"""What growth evidence on AlexNet holds and computes beside the network, its module and a pass without any evidence."""

import os
import re
import subprocess
import sys

import pytest

BOUND = 0.25
SAMPLES, BATCHES = 16, 4
MEASURE = f"""
import gc, sys
import numpy, torch
import nestgraph as ng
from nestgraph.loop.evidence import Recorder
from nestgraph.lowering import lower, slots
from nestgraph.policies import ConnectionGrowth
from nestgraph.seeds import alexnet

torch.set_num_threads(1)
network, rng = alexnet(density=0.1), numpy.random.default_rng(0)
dense = sum(network.connection_columns(name).weight.nbytes for name in network.projection_names)
x, y = rng.random(({SAMPLES}, 3, 224, 224), dtype=numpy.float32), rng.integers(0, 1000, {SAMPLES})
loss = torch.nn.functional.cross_entropy


def status(key):
    found = next(line for line in open("/proc/self/status") if line.startswith(key))
    return 1024 * int(found.split()[1])


def most(task):
    gc.collect()
    open("/proc/self/clear_refs", "w").write("5")  # the largest so far is what is there now
    before = status("VmRSS")
    given = task()
    return given, (status("VmHWM") - before) / dense


def passes():
    module = lower(network, masked=False, fuse=False)
    for slot in slots(network):
        if slot.is_weight:
            slot.tensor(module).requires_grad_(False)
    for _ in range({BATCHES}):
        loss(Recorder(module, layers=False).run(torch.tensor(x)), torch.tensor(y)).backward()


if sys.argv[1] == "pass":
    print(most(passes)[1])
else:
    evidence, gathering = most(lambda: ng.gather(network, [(x, y)] * {BATCHES}, loss, {{"gradients"}}))
    print(gathering)
    policy = ConnectionGrowth(fraction=float(sys.argv[2]))
    edit, reading = most(lambda: policy.propose(network, evidence, rng))
    print(reading, sum(13 * len(each.entries) for each in edit.edits) / dense)
"""


def measured(*arguments):
    """Peaks over the bytes of a dense gradient, with an allocator that gives back what is free."""
    settings = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0", "OMP_NUM_THREADS": "1"}
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(each) for each in re.split(r"\s+", told.stdout.strip())]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux to reset the peak of memory")
def test_growth_evidence_needs_a_quarter_of_a_dense_gradient():
    (bare,), (gathering, reading, edit), (_, larger, large) = (
        measured(*each) for each in (["pass"], ["growth", "0.01"], ["growth", "0.05"])
    )
    print(f"\nAlexNet, {BATCHES} batches of {SAMPLES}: peaks over the bytes of a dense gradient, module among them:")
    print(f"passes {bare:.2f}, gathering {gathering:.2f}, so for evidence {gathering - bare:.2f}")
    print(f"growing 1% {reading:.2f}, of which the edit {edit:.2f}; 5% {larger:.2f}, of which the edit {large:.2f}")
    assert gathering - bare <= BOUND
    assert reading <= BOUND
