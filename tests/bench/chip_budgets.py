"""Prints what budget recipes end at, beside pruning the usual way and with `finish_int8` (docs/deploy.md).

    OMP_NUM_THREADS=1 python -m tests.bench.chip_budgets digits-chip digits-macs digits-300 [--seeds 5]

The usual way is a dense network of the recipe's seed, trained until it is pruned for as many epochs as the seed and
growth of that seed took, pruned by |weight|, a tenth of each projection at a step, to as many bytes or multiply-adds as
the budget ended with, with the same trainings in between and at the end. All are converted to int8 by 1,000 training
samples, and the C files tell the test split.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import t

from nestgraph.chip.writing import CALIBRATING, export_c
from nestgraph.loop.synthesis import synthesize
from nestgraph.policies import MagnitudePruning
from nestgraph.recipes.recipe import Recipe, load_recipe

PRUNED = MagnitudePruning(fraction=0.1)


@dataclass(frozen=True)
class Ended:
    """A run: what the network takes, the shares of the test split that it and its C file tell right, its growth."""

    spent: dict[str, int]
    connections: int
    network: float
    file: float
    grown: int


def ended(recipe: Recipe, seed: int) -> Ended:
    """A run of a recipe, converted."""
    with tempfile.TemporaryDirectory() as folder:
        run = synthesize(recipe, Path(folder, "run"), seed=seed)
        data = recipe.load(seed)
        inputs, split = data.train.parts[0][:CALIBRATING], (data.test.parts[0], data.test.targets)
        network, grown = run.network, [row.phase for row in run.metrics].count("grow")
        told = export_c(network, Path(folder, "net.c"), True, inputs, split, loss=100.0).told
        spent = run.result.stages[-1].spent
    return Ended(spent, network.connection_count, 100 * told.network, 100 * told.file, grown)


def usual(recipe: Recipe, other: Ended) -> Recipe:
    """The usual way to what a run of a budget ended with."""
    epochs = recipe.seed_epochs + recipe.growth.epochs * other.grown + recipe.shift.epochs
    return recipe.model_copy(
        update={
            "seed_epochs": epochs,
            "seed_network": recipe.seed_network.model_copy(update={"density": 1.0}),
            "growth": None,
            "pruning": recipe.pruning.model_copy(update={"policies": (PRUNED,)}),
            "budget": recipe.budget.model_copy(update=other.spent),
        }
    )


def compared(name: str, one: list[float], other: list[float]) -> str:
    """The mean difference of pairs, with its interval of 95%."""
    apart = np.array(one) - other
    half = t.ppf(0.975, len(apart) - 1) * apart.std(ddof=1) / np.sqrt(len(apart))
    return f"{name}: {apart.mean():+.2f} points ({apart.mean() - half:+.2f} to {apart.mean() + half:+.2f})"


def main() -> None:
    """Compare, a recipe after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    for name in arguments.recipes:
        recipe, found = load_recipe(name), dict[str, list[Ended]]()
        for seed in range(arguments.seeds):
            budget = ended(recipe, seed)
            rows = {
                "budget": budget,
                "usual": ended(usual(recipe, budget), seed),
                "finish_int8": ended(recipe.model_copy(update={"finish_int8": True}), seed),
            }
            for form, each in rows.items():
                found.setdefault(form, []).append(each)
                counts = ", ".join(f"{what} {count:,}" for what, count in each.spent.items())
                told = f"network {each.network:.2f}%, int8 {each.file:.2f}%"
                print(f"{name} seed {seed} {form:12} {counts}, {each.connections} connections, {told}", flush=True)
        for form, runs in found.items():
            files = [each.file for each in runs]
            print(f"{name} {form}: median {np.median(files):.2f}% ({min(files):.2f} to {max(files):.2f})")
        files = {form: [each.file for each in runs] for form, runs in found.items()}
        print(compared(f"{name}: the budget less the usual way", files["budget"], files["usual"]))
        print(compared(f"{name}: finish_int8 less without", files["finish_int8"], files["budget"]))


if __name__ == "__main__":
    main()
