"""How much sooner two processes of one thread train a LeNet-5 than one.

Wall time, on two cores that nobody else uses; the processes are started as `torchrun` starts them.
"""

import json
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np
import pytest

import nestgraph as ng
from nestgraph.loop.trainer import Trainer
from nestgraph.parallel.ranks import joined
from nestgraph.recipes.recipe import TrainingOptions
from nestgraph.seeds import lenet_5
from tests.parallel.launching import ended, together

PAIRS = 3


def trained(place, batch_norm):
    """The seconds of an epoch of 8,192 images in batches of 256, after one that warms up."""
    ranks, rng = joined(), np.random.default_rng(0)
    images, labels = rng.random((8192, 1, 28, 28), np.float32), rng.integers(0, 10, 8192)
    data = ng.split((images, labels), seed=0, validation=0.01, test=0.01)
    trainer = Trainer(data, TrainingOptions(batch_size=256, learning_rate=0.01), seed=0, ranks=ranks)
    bench = trainer.bench(lenet_5(batch_norm=batch_norm))
    trainer.fit(bench, 1, "warm", 0)
    ranks.meet(0)
    began = time.perf_counter()
    trainer.fit(bench, 1, "measured", 0)
    ranks.meet(0)
    if ranks.leads:
        place.write_text(json.dumps(time.perf_counter() - began))


def seconds(count, place, form):
    everyone = ended(*together(count, "tests.bench.test_processes_time", place, form))
    assert not any(code for code, *_ in everyone), everyone
    return json.loads(place.read_text())


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("form", "least"), [("plain", 1.1), ("normalised", 0.8)])
def test_two_processes_train_sooner_than_one(tmp_path, form, least):
    pairs = [[seconds(count, tmp_path / "told", form) for count in (1, 2)] for _ in range(PAIRS)]
    ratios = sorted(one / two for one, two in pairs)
    print(f"\none process {median(one for one, _ in pairs):.2f} s, two {median(two for _, two in pairs):.2f} s")
    print(f"{median(ratios):.2f} times as fast ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    assert ratios[-1] > least


if __name__ == "__main__":
    trained(Path(sys.argv[1]), sys.argv[2] == "normalised")
