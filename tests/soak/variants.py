"""What the runs that are killed learn, from which data, and how: each a recipe, and what has to be there for it."""

import csv
import importlib
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from nestgraph.data.options import DataOptions
from nestgraph.data.own import dataset
from nestgraph.data.samples import Dataset
from tests.integrations.package import install

SEED = 7
"""Of every run."""

RECIPE = """
name = "short"
seed_epochs = 2
finish_epochs = 1
TASK
data = DATA
seed_network = { kind = "mlp", SHAPE, density = 0.2 }
training = { HOW, recalibration_batches = 1, threads = 1 }
shift = { epochs = 1 }

[growth]
size_limit = 400
max_edits = 2
evidence_batches = 1
PROPOSED
policies = [{ kind = "connection_growth", fraction = 0.2 }, { kind = "neuron_growth", limit = 12 }]

[pruning]
tolerance = 0.02
recovery_epochs = 0
max_edits = 2
activity_batches = 1
PROPOSED
policies = [{ PRUNED }, { kind = "unit_pruning" }]
"""


@dataclass(frozen=True)
class Variant:
    """One kind of run, on the digits unless it says otherwise.

    Attributes:
        how: it trains.
        data: in TOML; FOLDER stands for that of the harness.
        task: in TOML, as an option of the recipe.
        shape: of the seed network.
        pruned: the first policy of pruning.
        proposed: how policies propose, as an option of growth and pruning.
        ready: puts into a folder what the recipe names.
        given: the data that Python gives.
    """

    how: str = 'optimizer = "adamw", learning_rate = 0.02, batch_size = 200'
    data: str = '{ name = "digits", distortion = { degrees = 10.0, translate = 0.1 } }'
    task: str = ""
    shape: str = "widths = [64, 8, 10]"
    pruned: str = 'kind = "magnitude_pruning", fraction = 0.3'
    proposed: str = ""
    ready: Callable[[Path], None] = lambda _: None
    given: Callable[[], Dataset | None] = lambda: None

    def recipe(self, folder: Path) -> str:
        """The recipe, for what `ready` put into a folder."""
        words = {"HOW": self.how, "DATA": self.data, "TASK": self.task, "SHAPE": self.shape, "PRUNED": self.pruned}
        words["PROPOSED"] = self.proposed
        text = RECIPE
        for place, word in words.items():
            text = text.replace(place, word)
        return text.replace("FOLDER", str(folder))


# -- a loader with workers -------------------------------------------------------------------------------


class Shaken(TorchDataset[Any]):
    """Samples that each reading varies, by the generators of torch, NumPy and Python in turn."""

    def __init__(self, inputs: Any, targets: Any) -> None:
        self._inputs, self._targets = torch.from_numpy(inputs), targets

    def __len__(self) -> int:
        return len(self._inputs)

    def __getitem__(self, place: int) -> tuple[torch.Tensor, int]:
        drawn = (torch.rand(()).item(), np.random.random(), random.random())[place % 3]
        return self._inputs[place] * (0.8 + 0.4 * drawn), int(self._targets[place])


def loaded() -> Dataset:
    """Some of the digits, by a loader with two workers."""
    digits = DataOptions(name="digits").load(SEED)
    parts = [part.part(np.arange(count)) for part, count in ((digits.train, 500), (digits.validation, 200))]
    train, validation = ((part.inputs.reshape(len(part), -1), part.targets) for part in parts)
    loader = DataLoader(Shaken(*train), batch_size=100, shuffle=True, num_workers=2)
    return dataset(loader, validation, name="shaken", size=100)


# -- a table ---------------------------------------------------------------------------------------------


def write_table(folder: Path) -> None:
    """Flats with their rents: categories and numbers, with gaps in both, and rows without a rent."""
    rng = random.Random(SEED)
    with (folder / "flats.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["rooms", "city", "age", "floor", "rent"])
        for _ in range(600):
            rooms, city, age = rng.randint(1, 6), rng.choice(["Oslo", "Rome", "Kyiv", ""]), rng.uniform(0, 90)
            rent = 300 * rooms + 400 * (city == "Oslo") - 2 * age + rng.gauss(0, 40)
            cells = [rooms, city, f"{age:.1f}" if rng.random() > 0.1 else "NA", rng.choice(["low", "high"])]
            writer.writerow([*cells, f"{rent:.0f}" if rng.random() > 0.02 else ""])


# -- a policy of a package -------------------------------------------------------------------------------


def install_policy(folder: Path) -> None:
    """The package of docs/own-policies.md, installed where this process finds it."""
    sys.path.insert(0, str(install(folder)))
    importlib.invalidate_caches()


# -- half precision --------------------------------------------------------------------------------------


def scale_high(_: Path) -> None:
    """Let losses begin at a scale that is too high, so that each training has steps that are left out."""
    torch.amp.GradScaler = partial(torch.amp.GradScaler, init_scale=2.0**20)


VARIANTS = {
    "adamw": Variant(),
    "muon": Variant(
        'optimizer = "muon", learning_rate = 0.02, batch_size = 200, schedule = "one_cycle", accumulate = 3'
    ),
    "half": Variant(
        'optimizer = "rmsprop", learning_rate = 0.01, batch_size = 60, precision = "float16", accumulate = 2',
        ready=scale_high,
    ),
    "average": Variant(
        'optimizer = "adam", learning_rate = 0.02, batch_size = 200, ema = 0.9, early_stop = 3, precision = "bfloat16"'
    ),
    "loader": Variant(data='{ kind = "custom", name = "shaken" }', given=loaded),
    "table": Variant(
        how='optimizer = "adam", learning_rate = 0.02, batch_size = 60',
        data='{ kind = "csv", path = "FOLDER/flats.csv", target = "rent" }',
        task='task = { kind = "regression" }',
        shape="neurons = [8]",
        ready=write_table,
    ),
    "joined": Variant(proposed='proposals = "side_by_side"'),
    "package": Variant(pruned='kind = "activity_pruning", fraction = 0.3', ready=install_policy),
}
"""By what they are called with `--variant`."""
