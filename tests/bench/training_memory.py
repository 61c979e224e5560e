"""What a process takes in memory while AlexNet at a density of 0.1 trains, beside the network's own arrays.

A process of its own, as memory that another test gave back stays with it: run as a program, it prints bytes. A small
network trains before, so that what PyTorch imports and sets up at its first step is not counted.
"""

import ctypes
import gc
import re
import sys
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from nestgraph.loop.own_process import keep_freed_memory
from nestgraph.lowering import lower
from nestgraph.seeds import alexnet, cnn

OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.01, 0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, 1e-3),
}


def now(what):
    """Bytes of the process: `VmRSS`, or `VmHWM`, the most since that was reset."""
    return int(re.search(rf"{what}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024


def trained(network, execution, optimizer, samples, steps=3):
    module = lower(network, execution=execution)
    stepping = OPTIMIZERS[optimizer](module.parameters())
    x, y = torch.rand(samples, 3, *network.layer("input").size), torch.zeros(samples, dtype=torch.long)
    for _ in range(steps):
        stepping.zero_grad()
        cross_entropy(module(x), y).backward()
        stepping.step()


def peak(execution, optimizer, seed, samples=32):
    """Bytes at the most, from lowering the network to the last of three steps, over those before.

    The process keeps memory that is freed as those of the verbs do, or as its environment says.
    """
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    small, network = cnn((8, 8), (16,), 0.5, 0, size=16, channels=3, classes=10), alexnet(density=0.1, seed=seed)
    for each in ("masked", "sparse"):
        trained(small, each, optimizer, 4)
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = now("VmRSS")
    trained(network, execution, optimizer, samples)
    return now("VmHWM") - before


if __name__ == "__main__":
    print(peak(sys.argv[1], sys.argv[2], int(sys.argv[3])))
