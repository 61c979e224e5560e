"""Whether two versions of the package give the same results: networks by digest, measurements to the last digit.

    git worktree add /tmp/before COMMIT
    python -m tests.bench.same_results /tmp/before . --out /tmp/results --drawn 50

Runs every case with the code of both folders, alternately, on one thread, and prints a line for each. Packaged recipes
on MNIST are shortened to a few edits of each kind; `--whole NAME:SEED` runs one as it is. Runs that are in `--out` are
compared as they are. A migration that changes numbers on purpose is listed in docs/migration.md.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

RUNNER = """
import importlib, sys
import nestgraph as ng
for name in ("nestgraph.runs.run_folder", "nestgraph.train.run_folder"):
    try:
        module = importlib.import_module(name)
    except ImportError:
        continue
    module.draw_stage = module.draw_run = lambda *_: None
recipe, folder, seed = sys.argv[1:]
ng.synthesize(ng.load_recipe(recipe), folder, int(seed), overwrite=True)
"""
"""One run, without its pictures, wherever the modules are."""

PACKAGED = Path(__file__).parents[2] / "nestgraph" / "recipes" / "packaged"
DIGITS = 3
"""Seeds of the recipe for the digits, which is run whole."""

SHORT: dict[str, Any] = {
    "seed_epochs": 1,
    "finish_epochs": 1,
    "growth": {"epochs": 1, "max_edits": 2, "evidence_batches": 20},
    "shift": {"epochs": 1},
    "pruning": {"epochs": 1, "recovery_epochs": 1, "max_edits": 2, "smallest_step": 0.5},
}
"""What makes a packaged recipe on MNIST one of minutes."""

Case = tuple[str, dict[str, Any], int]


def packaged(name: str) -> dict[str, Any]:
    return tomllib.loads((PACKAGED / f"{name}.toml").read_text())


def changed(recipe: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A recipe with some options in the place of its own."""
    nested = {name: changed(recipe[name], value) for name, value in changes.items() if isinstance(value, dict)}
    return recipe | changes | nested


def drawn(number: int) -> dict[str, Any]:
    """A small run on the digits: any optimizer of both versions, retries, recovery, both ways to back off."""
    rng = random.Random(number)
    policies = [
        {"kind": "magnitude_pruning", "fraction": rng.choice([0.1, 0.3, 0.6])},
        {"kind": "unit_pruning"},
        {"kind": "magnitude_pruning", "fraction": 0.2, "scope": "global", "score": "lamp"},
    ][: rng.randint(1, 3)]
    growing = [{"kind": "connection_growth", "fraction": 0.2}, {"kind": "neuron_growth", "units": 2}]
    optimizer = rng.choice(["sgd", "adam", "adamw"])
    rate = rng.choice([0.02, 0.1, 3.0] if optimizer == "sgd" else [0.003, 0.02, 0.3])
    recipe: dict[str, Any] = {
        "name": f"drawn-{number}",
        "data": {"name": "digits"},
        "seed_network": {"kind": "mlp", "widths": [64, rng.randint(6, 16), 10], "density": rng.choice([0.2, 0.5])},
        "seed_epochs": rng.randint(2, 5),
        "finish_epochs": rng.randint(0, 2),
        "training": {
            "optimizer": optimizer,
            "learning_rate": rate,
            "batch_size": rng.choice([64, 200]),
            "recalibration_batches": rng.choice([0, 2]),
            "label_smoothing": rng.choice([0.0, 0.1]),
            "retries": rng.randint(0, 2),
            "loss_limit": rng.choice([4.0, 1000.0]),
            "threads": 1,
        },
        "shift": {"epochs": rng.randint(0, 1)},
        "pruning": {
            "policies": policies,
            "tolerance": rng.choice([0.0, 0.02, 0.2]),
            "epochs": rng.randint(1, 2),
            "recovery_epochs": rng.randint(0, 2),
            "smallest_step": rng.choice([0.2, 0.5]),
            "max_edits": rng.randint(1, 5),
            **({"back_off": rng.choice(["all", "worst"])} if len(policies) > 1 else {}),
        },
    }
    if rng.random() < 0.5:
        recipe["data"]["distortion"] = {"degrees": 10.0, "translate": 0.1}
    if rng.random() < 0.8:
        recipe["growth"] = {
            "policies": growing[: rng.randint(1, 2)],
            "size_limit": rng.choice([300, 900]),
            "max_edits": rng.randint(1, 4),
            "patience": rng.randint(1, 2),
        }
    return recipe


def cases(asked: argparse.Namespace) -> list[Case]:
    """All that is run: name, recipe and seed."""
    mnist = sorted(path.stem for path in PACKAGED.glob("lenet-*.toml")) if asked.mnist else []
    whole = [(name, packaged(name), int(seed)) for name, _, seed in (each.partition(":") for each in asked.whole)]
    return [
        *(("digits", packaged("digits"), seed) for seed in range(asked.digits)),
        *((f"{name}-short", changed(packaged(name), SHORT), 0) for name in mnist),
        *whole,
        *((f"drawn-{number}", drawn(number), number) for number in range(asked.drawn)),
    ]


def ran(tree: Path, case: Case, folder: Path) -> Path:
    """The run of a case with the code of a tree; one that broke down leaves no result."""
    name, recipe, seed = case
    place = folder / f"{name}-{seed}"
    if (place / "result.json").exists() or place.with_suffix(".log").exists():
        return place
    file = folder / f"{name}.json"
    file.write_text(json.dumps(recipe))
    env = os.environ | {"PYTHONPATH": str(tree.resolve()), "OMP_NUM_THREADS": "1"}
    command = ["nice", sys.executable, "-c", RUNNER, str(file), str(place), str(seed)]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        place.with_suffix(".log").write_text(done.stderr)
    return place


def told(place: Path) -> dict[str, Any]:
    """What is compared of a run: digests of its stages, and every row but the clock; of a refused one the last line."""
    if not (place / "result.json").exists():
        return {"refused": place.with_suffix(".log").read_text().splitlines()[-1]}
    result = json.loads((place / "result.json").read_text())
    digests = {stage["stage"]: stage["digest"] for stage in result["stages"]}
    rows = [json.loads(line) for line in (place / "metrics.jsonl").read_text().splitlines()]
    return {"digests": digests, "rows": [measured(row) for row in rows], "tests": [tests(s) for s in result["stages"]]}


def measured(row: dict[str, Any]) -> list[Any]:
    accuracy = row["accuracy"] if "accuracy" in row else row["scores"]["accuracy"]
    names = ("phase", "edit", "accepted", "units", "connections", "flops", "loss")
    return [*(row[name] for name in names), accuracy]


def tests(stage: dict[str, Any]) -> float:
    return stage["test_accuracy"] if "test_accuracy" in stage else stage["test"]["accuracy"]


def line(name: str, old: dict[str, Any], new: dict[str, Any]) -> str:
    """What is printed of a case."""
    if "refused" in new:
        return f"{name}: {'the same refusal' if old == new else f'DIFFERENT: {old} against {new}'}"
    if old == new:
        return f"{name}: {new['digests']['final'][:12]}, {len(new['rows'])} rows, test {new['tests'][-1]:.4f}: the same"
    pairs = itertools.zip_longest(old.get("rows", ()), new["rows"])
    row = next((number for number, (one, other) in enumerate(pairs) if one != other), None)
    return f"{name}: DIFFERENT, first in row {row}: {old.get('digests')} against {new['digests']}"


def main() -> None:
    """Print a line for each case; exit code 1 where something differs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("before", type=Path, help="the folder with the package to compare with")
    parser.add_argument("after", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="where the runs go, and stay")
    parser.add_argument("--digits", type=int, default=DIGITS, help="seeds of the whole recipe for the digits")
    parser.add_argument("--mnist", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--whole", nargs="*", default=[], help="NAME:SEED of packaged recipes to run as they are")
    parser.add_argument("--drawn", type=int, default=0, help="drawn runs on the digits")
    asked = parser.parse_args()
    different = 0
    for number, case in enumerate(cases(asked)):
        sides = [("before", asked.before), ("after", asked.after)]
        found: dict[str, dict[str, Any]] = {}
        for side, tree in sides if number % 2 else reversed(sides):
            folder = (asked.out / side).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            found[side] = told(ran(tree, case, folder))
        different += found["before"] != found["after"]
        print(line(f"{case[0]}, seed {case[2]}", found["before"], found["after"]), flush=True)
    raise SystemExit(min(different, 1))


if __name__ == "__main__":
    main()
