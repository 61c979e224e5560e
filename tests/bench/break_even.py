"""Training steps of single layers, sparse and masked, over sizes, densities and batches: what `StepCosts` was set by.

Layers between neurons, then convolutions with areas by pair, each pair computed at half of the places.

Run as a program, it prints a row for each case; beside the medians stands what the table expects.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nestgraph.graph import Grid
from nestgraph.lowering import lower
from nestgraph.lowering.live import Live
from nestgraph.lowering.masking import MaskedWeight
from nestgraph.lowering.proportion import StepCosts
from nestgraph.lowering.sparse import EXECUTION
from nestgraph.lowering.sparse_linear import SparseLinear, pattern_of
from tests.bench.timing import taken
from tests.lowering.test_compact import convolution

SHAPES = ((100, 300), (300, 784), (1024, 1024), (2048, 2048), (4096, 4096), (4096, 256), (256, 4096))
DENSITIES = (0.02, 0.05, 0.1, 0.2)
BATCHES = (1, 32, 256)
SWEEPS = ((3, 5, 0.7), (6, 8, 0.5), (9, 12, 0.3), (16, 12, 0.2), (32, 14, 0.1), (32, 14, 0.3))
"""Maps that are read, their extent, and the share of pairs that are joined, by kernels of 3 x 3."""


class Masked(nn.Module):
    def __init__(self, weight, mask):
        super().__init__()
        self.weight = MaskedWeight(nn.Parameter(weight), mask)

    def forward(self, x, bias):
        return functional.linear(x, self.weight(), bias)


def step(module, rows, width, batch):
    """A step of a layer in the middle of a network, forward, backward and a fused optimizer with momentum."""
    bias, x = nn.Parameter(torch.zeros(rows)), torch.randn(batch, width, requires_grad=True)
    parameters = [*module.parameters(), bias]
    optimizer = torch.optim.SGD(parameters, 0.01, 0.9, fused=True)
    for each in parameters:
        optimizer.state[each]["momentum_buffer"] = torch.zeros_like(each)
    gradient = torch.randn(batch, rows)

    def stepped():
        optimizer.zero_grad(set_to_none=True)
        x.grad = None
        module(x, bias).backward(gradient)
        optimizer.step()

    return stepped


def swept():
    print("maps, extent, density, batch: sparse, masked (ms), ratio with quartiles; whether auto takes it")
    for maps, extent, density in SWEEPS:
        rng = np.random.default_rng(0)
        edges = rng.random((maps + 2, maps)) < density
        edges[:, 0] |= ~edges.any(1)
        edges[0] |= ~edges.any(0)
        network = convolution(edges, rng.random((*edges.shape, extent, extent)) < 0.5, (extent, extent))
        (choice,) = lower(network).meta[EXECUTION].values()
        for batch in BATCHES:
            x = torch.rand(batch, maps, extent, extent, requires_grad=True)
            modules = (lower(network, execution=execution) for execution in ("sparse", "masked"))
            one, other, (low, median, high) = taken(*(swept_step(module, x) for module in modules), pairs=9)
            print(
                f"{maps}, {extent} x {extent} at {density}, {batch}: {1e3 * one:.2f}, {1e3 * other:.2f}, "
                f"{median:.2f} ({low:.2f} to {high:.2f}); {choice.sparse}",
                flush=True,
            )


def swept_step(module, x):
    optimizer = torch.optim.SGD(module.parameters(), 1e-5, 0.9)

    def stepped():
        optimizer.zero_grad()
        x.grad = None
        module(x).square().mean().backward()
        optimizer.step()

    return stepped


def main():
    torch.set_num_threads(1)
    print("rows, columns, density, batch: sparse, masked (ms), ratio with quartiles; expected of the table")
    for rows, width in SHAPES:
        for density in DENSITIES:
            rng = np.random.default_rng(0)
            mask = rng.random((rows, width)) < density
            columns = Grid.of(np.where(mask, rng.standard_normal(mask.shape), 0).astype(np.float32), mask)
            weight = torch.tensor(Live.of(columns).weights(columns.weight))
            sparse = SparseLinear(nn.Parameter(weight), pattern_of(columns))
            masked = Masked(torch.tensor(columns.weight), torch.tensor(mask).float())
            for batch in BATCHES:
                steps = [step(module, rows, width, batch) for module in (sparse, masked)]
                one, other, (low, median, high) = taken(*steps, pairs=9)
                expected = StepCosts().of(rows, width, columns.active, batch)
                print(
                    f"{rows} x {width} at {density}, {batch}: {1e3 * one:.2f}, {1e3 * other:.2f}, "
                    f"{median:.2f} ({low:.2f} to {high:.2f}); {expected[1] / expected[0]:.2f}",
                    flush=True,
                )
    swept()


if __name__ == "__main__":
    main()
