"""The page of results, from runs to Markdown: the choice of a network, its numbers, and what was reached."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from nestgraph.errors import SnapshotError
from nestgraph.loop.synthesis import synthesize
from nestgraph.recipes.recipe import parse_recipe
from nestgraph.runs import run_folder
from nestgraph.runs.run import Run
from nestgraph.spec.metrics import metric
from nestgraph.studies.references import REFERENCES
from nestgraph.studies.results import results_page
from nestgraph.studies.results_files import write_results
from nestgraph.studies.sections import NetworkFigures, read_sections
from nestgraph.studies.sweep_table import SweepRow, SweepTable
from tests.cli.running import TINY, run
from tests.studies.pages import check_page

DOCS = Path(__file__).parents[2] / "docs"
ACCURACIES = {0: (0.90, 0.95), 1: (0.92, 0.90), 2: (0.91, 0.97)}
"""By seed, of the final network: validation, test."""


def altered(folder, final, **changes):
    """Give a run's result other numbers, as a run of an earlier version that had no manifest."""
    (folder / "manifest.json").unlink(missing_ok=True)
    result = json.loads((folder / "result.json").read_text()) | changes
    result["stages"][-1].update(final)
    (folder / "result.json").write_text(json.dumps(result))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three runs of a tiny recipe with accuracies of our own, and one that is not finished."""
    folder, recipe = tmp_path_factory.mktemp("runs"), parse_recipe(TINY.format(edits=1), "tiny.toml")
    with pytest.MonkeyPatch.context() as patch:
        for picture in ("draw_stage", "draw_run"):
            patch.setattr(run_folder, picture, lambda *_: None)
        for seed, (validation, test) in ACCURACIES.items():
            synthesize(recipe, folder / f"seed-{seed}", seed)
            accuracies = {"validation": {"accuracy": validation}, "test": {"accuracy": test}}
            altered(folder / f"seed-{seed}", accuracies, seconds=60.0 * (seed + 3))
    (folder / "seed-3").mkdir()
    return folder


@pytest.fixture(scope="module")
def section(folder):
    (section,) = read_sections([folder])
    return section


def test_validation_and_not_the_test_split_chooses_the_network(folder, section):
    assert section.seeds == (0, 1, 2)
    assert section.chosen.result.seed == 1  # whose test accuracy is the worst
    assert read_sections([folder], {"tiny": 2})[0].chosen.result.seed == 2


def test_of_equal_accuracies_the_smaller_network_is_chosen(folder, tmp_path):
    for seed in (0, 1):
        shutil.copytree(folder / f"seed-{seed}", tmp_path / f"seed-{seed}")
        altered(tmp_path / f"seed-{seed}", {"validation": {"accuracy": 0.9}, "connections": 100 - seed})
    assert read_sections([tmp_path])[0].chosen.result.seed == 1


def test_medians_are_those_of_the_final_networks(section):
    finals = sorted(run.result.stages[-1].connections for run in section.runs)
    assert section.medians.connections == finals[1]
    assert section.medians.score == 5.0
    assert section.committed.score == 10.0


def test_the_page_agrees_with_its_files_and_is_written_the_same_again(section, tmp_path):
    first, second = (write_results([section], tmp_path / name) for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert check_page(tmp_path / "a") == {"tiny.json"}
    files = [sorted((tmp_path / name / "results").iterdir()) for name in "ab"]
    assert [path.name for path in files[0]] == [path.name for path in files[1]]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*files, strict=True))
    page = first.read_text()
    assert "nestgraph synthesize docs/results/tiny-recipe.json --seed 1  # the committed network, 4 min" in page
    assert "--seed 0 --seeds 3  # all seeds, 12 min" in page
    assert "Training images are plain" in page
    assert "| 1 (committed) |" in page


def test_targets_are_reached_or_missed_by_error_size_and_flops(section):
    runs = tuple(Run(run.folder, run.recipe, run.result) for run in section.runs)
    recipe = section.chosen.recipe.model_copy(
        update={"seed_network": section.chosen.recipe.seed_network.model_copy(update={"kind": "lenet_5"})}
    )
    chosen = replace(runs[1], recipe=recipe)
    final = chosen.result.stages[-1].model_copy(
        update={"test": {"accuracy": 0.9915}, "connections": 5_800, "flops": 200_000, "active_flops": 90_000.0}
    )
    chosen = replace(chosen, result=chosen.result.model_copy(update={"stages": (*chosen.result.stages[:2], final)}))
    page = results_page([replace(section, runs=(chosen,), chosen=chosen)])
    verdicts = [
        line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ") and "reached" in line
    ]
    rows = {target.split(":")[0]: verdict for target, verdict in verdicts}
    assert rows["NeST"] == "not reached: error 0.08 points above; FLOPs reached if activation-aware ones are meant"
    assert rows["SNIP"] == "not reached: error 0.05 points above"
    assert rows["ADMM, progressive"] == "not reached: 3,200 connections above"
    dense = REFERENCES["lenet_5"]
    assert f"5,800 ({dense.connections / 5800:.1f}x)" in page
    assert "| NeST | 0.77% | 5.8K (74.3x) |  | 105K (43.7x) |  |" in page


def test_even_medians_are_not_off_by_a_rounding(section):
    final = section.chosen.result.stages[-1]
    pair = [final.model_copy(update={"test": {"accuracy": accuracy}}) for accuracy in (0.9843, 0.9841)]
    assert NetworkFigures.of(pair, metric("accuracy")).score == 1.58


def test_sweeps_are_tables_of_their_medians(section, tmp_path):
    rows = (SweepRow.of("narrow", {"seed_network.width": 0.2, "training.optimizer": "a|`b"}, section.runs),)
    table = SweepTable(sweep="width", description="One | *two*", recipe="tiny", set={"finish_epochs": 3}, rows=rows)
    (tmp_path / "sweep.json").write_text(table.model_dump_json())
    (read,) = read_sections([tmp_path])
    assert read == table
    write_results([section, read], tmp_path / "docs")
    check_page(tmp_path / "docs")
    page = (tmp_path / "docs/results.md").read_text()
    medians = rows[0].medians
    assert r"One \| \*two\*" in page
    assert "All with `finish_epochs = 3`." in page
    start = (
        f'| narrow | `seed_network.width = 0.2`, `training.optimizer = "a\\|\'b"` | {medians.grown_connections:,.0f} |'
    )
    assert start in page
    assert "| 91.00% (90.00 to 92.00) | 5.00% (3.00 to 10.00) |" in page


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: [folder / "seed-3"], "expected a finished run"),
        (lambda folder: [folder, folder / "seed-0"], "expected one run a seed"),
    ],
    ids=["unfinished", "twice"],
)
def test_what_gives_no_page_is_refused(folder, make, words):
    with pytest.raises(SnapshotError, match=words):
        read_sections(make(folder))


def test_seeds_that_are_not_there_are_refused(folder):
    with pytest.raises(SnapshotError, match="expected one of the seeds 0, 1, 2, got 7"):
        read_sections([folder], {"tiny": 7})
    with pytest.raises(SnapshotError, match="one of the recipes tiny, got one for 'lenet-5'"):
        read_sections([folder], {"lenet-5": 0})


def test_runs_of_one_name_and_two_recipes_are_refused(folder, tmp_path):
    shutil.copytree(folder / "seed-0", tmp_path / "seed-0")
    recipe = json.loads((tmp_path / "seed-0/recipe.json").read_text()) | {"finish_epochs": 9}
    (tmp_path / "seed-0/recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(SnapshotError, match="expected runs of one recipe"):
        read_sections([tmp_path, folder / "seed-1"])


def test_the_verb_writes_the_page(folder, tmp_path):
    result = run("results", folder, "--docs", tmp_path, "--committed", "tiny=2", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"page": str(tmp_path / "results.md"), "committed": {"tiny": 2}}
    check_page(tmp_path)
    assert "| 2 (committed, as asked for) |" in (tmp_path / "results.md").read_text()
    assert run("results", folder, "--docs", tmp_path, "--committed", "tiny").exit_code == 2


@pytest.mark.skipif(not (DOCS / "results.md").exists(), reason="no results are committed")
def test_the_page_in_docs_agrees_with_its_networks():
    assert check_page(DOCS)
