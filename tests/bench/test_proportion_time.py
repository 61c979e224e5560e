"""What training in proportion to live connections saves, beside the same module under its masks."""

import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from nestgraph.lowering import lower
from nestgraph.seeds import mlp
from tests.bench.timing import judged, quartiles

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

ROOT = Path(__file__).parents[2]
SEEDS = (0, 1, 2)


class Training:
    """A module, its optimizer and a batch of noise: each call is a step, whose loss is kept."""

    def __init__(self, network, execution, batch=256, rate=0.01):
        generator = torch.Generator().manual_seed(0)
        self.module, self.losses = lower(network, execution=execution), []
        self.optimizer = torch.optim.SGD(
            self.module.parameters(), rate, 0.9, weight_decay=1e-4, nesterov=True, fused=True
        )
        for parameter in self.module.parameters():
            self.optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        features, classes = (len(network.units(name)) for name in ("input", "output"))
        self.x = torch.rand(batch, features, generator=generator)
        self.y = torch.randint(classes, (batch,), generator=generator)

    def __call__(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = cross_entropy(self.module(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        self.losses.append(loss.item())

    @property
    def bytes(self):
        """Of parameters and what the optimizer holds of them, and with masks or indices and gradients, too."""
        state = [value for held in self.optimizer.state.values() for value in held.values()]
        parameters = list(self.module.parameters())
        lean = sum(each.nbytes for each in (*parameters, *state))
        return lean, lean + sum(each.nbytes for each in (*self.module.buffers(), *(p.grad for p in parameters)))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_step_of_a_wide_network(seed):
    network = mlp((784, 2048, 2048, 10), density=0.05, seed=seed)
    sparse, masked = (Training(network, execution) for execution in ("auto", "masked"))
    for _ in range(100):
        sparse()
        masked()
    apart = float(np.abs(np.array(sparse.losses) - masked.losses).max())
    lean, whole = (one / other for one, other in zip(sparse.bytes, masked.bytes, strict=True))
    print(
        f"\nseed {seed}: losses {apart:.1e} apart over 100 steps, of {masked.losses[0]:.3f} to {masked.losses[-1]:.3f}"
    )
    print(f"parameters and optimizer state {lean:.3f}, with masks or indices and gradients {whole:.3f}")
    assert apart <= 1e-5
    assert lean <= 0.2
    assert whole <= 0.2
    judged(f"784-2048-2048-10 at 5%, seed {seed}: auto over masked", quartiles(sparse, masked), 0.6)


@pytest.mark.parametrize("batch", [2, 32, 256])
@pytest.mark.parametrize(("width", "density"), [(1024, 0.05), (2048, 0.1), (4096, 0.15)])
def test_what_auto_takes_is_worth_it_at_any_batch(width, density, batch):
    network = mlp((width, width, 10), density=density, seed=0)
    sparse, masked = (Training(network, execution, batch) for execution in ("auto", "masked"))
    judged(f"{width} to {width} at {density}, batch {batch}: auto over masked", quartiles(sparse, masked), 0.8)


@pytest.mark.parametrize(("optimizer", "bound"), [("adam", 0.35), ("sgd", 0.43)])
def test_memory_of_alexnet(optimizer, bound):
    found = {}
    for execution in ("auto", "masked"):
        called = [sys.executable, "-m", "tests.bench.training_memory", execution, optimizer]
        runs = (subprocess.run([*called, str(s)], cwd=ROOT, capture_output=True, check=True, text=True) for s in SEEDS)
        found[execution] = [int(run.stdout) for run in runs]
    ratios = [one / other for one, other in zip(found["auto"], found["masked"], strict=True)]
    shown = {name: [f"{each / 2**20:,.0f} MiB" for each in peaks] for name, peaks in found.items()}
    print(f"\nAlexNet at 10%, batch 32, {optimizer}: {statistics.median(ratios):.2f} of {ratios}: {shown}")
    assert statistics.median(ratios) <= bound
