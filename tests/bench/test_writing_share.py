"""Where the time of a run goes, and what share of it snapshots, journal, points to resume from and pictures take."""

import importlib
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from nestgraph.data.own import split
from nestgraph.loop import synthesis, trainer, training
from nestgraph.loop.checkpoint import RunState
from nestgraph.loop.engine import Engine
from nestgraph.loop.stepping import Steps
from nestgraph.loop.trainer import Trainer
from nestgraph.loop.training_state import TrainingSaves
from nestgraph.lowering.workbench import Workbench
from nestgraph.recipes.recipe import load_recipe, parse_recipe
from nestgraph.runs import run_folder
from nestgraph.runs.run_folder import RunFolder

BOUNDS = {"digits": 0.045, "generated": 0.03}
"""By the run, of all that is written; snapshots, points and pictures are held to 3% of either."""
JOURNAL = "journal and measurements"

RECIPE = """
name = "lenet-300-100-generated"
seed_epochs = 12
finish_epochs = 100
data = { kind = "custom" }
seed_network = { kind = "lenet_300_100", density = 0.2 }
training = { learning_rate = 0.02, threads = 1 }

[growth]
size_limit = 70000
epochs = 8
max_edits = 3
policies = [{ kind = "connection_growth", fraction = 0.1 }]

[shift]
epochs = 8

[pruning]
epochs = 8
recovery_epochs = 8
tolerance = 0.1
max_edits = 5
policies = [{ kind = "magnitude_pruning", fraction = 0.1 }]
"""

WRITERS: dict[str, list[tuple[Any, str]]] = {
    "pictures": [(run_folder, "draw_stage"), (run_folder, "draw_run")],
    JOURNAL: [(RunFolder, "log"), (RunFolder, "measured"), (RunFolder, "fault")],
    "points": [(RunState, "begin"), (RunState, "keep"), (Engine, "_point"), (TrainingSaves, "_write")],
    "snapshots": [(RunState, "keep_seed"), (RunFolder, "keep"), (RunFolder, "finish"), (RunFolder, "prepare")],
}
"""What writes, by what; a part within another counts as itself alone."""

OTHERS: dict[str, list[tuple[Any, str]]] = {
    "forward": [(training, "_mean_loss")],
    "backward": [(torch.Tensor, "backward")],
    "optimizer": [(Steps, "begin"), (Steps, "end")],
    "evidence": [(Trainer, "evidence")],
    "proposing, edits, lowering": [
        *((Engine, name) for name in ("_propose", "_shift", "_damages")),
        *((Workbench, name) for name in ("take_in", "apply", "mark")),
    ],
    "evaluation, recalibration": [(Trainer, "measure"), (trainer, "update_bn")],
    "data": [(synthesis, "trainer_of"), (synthesis, "facts_of")],
}


class Spent:
    """Process time by part, without that of parts within it."""

    def __init__(self) -> None:
        self.seconds, self._within = Counter[str](), [0.0]

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, whose time counts for a part."""

        def counted(*given: Any, **named: Any) -> Any:
            began = time.process_time()
            self._within.append(0.0)
            try:
                return function(*given, **named)
            finally:
                whole = time.process_time() - began
                self.seconds[part] += whole - self._within.pop()
                self._within[-1] += whole

        return counted


def generated():
    """Images of ten patterns in noise, (24000, 1, 28, 28), of which 14,400 train."""
    rng = np.random.default_rng(0)
    classes, patterns = rng.integers(0, 10, 24_000), rng.random((10, 1, 28, 28), dtype=np.float32)
    return split((patterns[classes] + rng.normal(0, 2, (24_000, 1, 28, 28)).astype(np.float32), classes))


@pytest.mark.slow
@pytest.mark.parametrize("name", BOUNDS)
def test_writing_takes_a_small_share_of_a_run(name, tmp_path, monkeypatch):
    spent, parts = Spent(), {**WRITERS, **OTHERS}
    for part, functions in parts.items():
        for owner, function in functions:
            monkeypatch.setattr(owner, function, spent.timed(part, getattr(owner, function)))
    of_digits = name == "digits"
    recipe = load_recipe(name) if of_digits else parse_recipe(RECIPE, "generated.toml")
    data = None if of_digits else generated()
    importlib.import_module("nestgraph.render.chart")  # with matplotlib: to load it is a part of starting up
    began = time.process_time()
    run = synthesis.synthesize(recipe, tmp_path / "run", data=data)
    whole = time.process_time() - began
    shares = {part: seconds / whole for part, seconds in spent.seconds.most_common()}
    written = sum(shares[part] for part in WRITERS)
    told = ", ".join(f"{part} {share:.1%}" for part, share in shares.items())
    rest = 1 - sum(shares.values())
    print(
        f"\n{name}: {run.result.edits} edits in {whole:.1f} s, {written:.1%} for writing: {told}, the rest {rest:.1%}"
    )
    assert set(spent.seconds) >= set(WRITERS)
    assert written <= BOUNDS[name]
    assert written - shares[JOURNAL] <= 0.03
