"""Runs of every kind of task, and all that shows them: rows, results, reports, tables, curves, the display."""

import csv
import json
import os
import signal

import numpy as np
import pytest
from rich.console import Console
from torch.nn import functional

import nestgraph as ng
from nestgraph.cli.live_display import RunDisplay
from nestgraph.cli.progress import describe
from nestgraph.cli.results import evaluation, evaluation_rows, result_rows
from nestgraph.errors import DataError, RecipeError, TrainingError
from nestgraph.recipes.recipe import parse_recipe
from nestgraph.runs.run import Measurement, Result, Run
from nestgraph.studies.results import results_page
from nestgraph.studies.sections import read_sections

TASKS = {
    "regression": ({"kind": "regression", "metrics": ["r2", "rmse"]}, ["y"], ["r2", "rmse"]),
    "two numbers": ({"kind": "regression", "loss": "huber", "goal": "-mae"}, ["y", "z"], ["mae", "r2"]),
    "gaussian": ({"kind": "regression", "loss": "gaussian"}, ["y"], ["r2", "mae"]),
    "binary": ({"kind": "binary", "metrics": ["auroc", "f1"], "goal": "auroc"}, ["even"], ["auroc", "f1"]),
    "labels": ({"kind": "multi_label"}, ["even", "high"], ["f1", "accuracy"]),
    "balanced": ({"kind": "classification", "class_weights": "balanced", "goal": "f1"}, ["even"], ["f1", "accuracy"]),
}
OUTPUTS = {"labels": 2, "two numbers": 2, "gaussian": 2, "balanced": 2}


@pytest.fixture(autouse=True)
def no_pictures_of_stages(monkeypatch):
    monkeypatch.setattr("nestgraph.runs.run_folder.draw_stage", lambda *_: None)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table whose targets depend on its columns."""
    path, rng = tmp_path_factory.mktemp("table") / "table.csv", np.random.default_rng(0)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["a", "b", "c", "y", "z", "even", "high"])
        for a, b, c in rng.standard_normal((90, 3)).round(4).tolist():
            rows.writerow([a, b, c, 100 + 20 * a - 10 * b, a * b, int(a + b > 0), int(c > 0)])
    return path


def recipe(table, name, **more):
    task, targets, _ = TASKS[name]
    rest = [each for each in ("y", "z", "even", "high") if each not in targets]
    target = targets if len(targets) > 1 else targets[0]
    content = {
        "name": "tiny",
        "data": {
            "kind": "csv",
            "path": str(table),
            "target": target,
            "ignore": rest,
        },
        "task": task,
        "seed_network": {"kind": "mlp", "widths": [3, 6, OUTPUTS.get(name, 1)], "density": 0.8, "batch_norm": False},
        "training": {"threads": 1, "optimizer": "adam", "learning_rate": 0.02, "batch_size": 16},
        "seed_epochs": 2,
        "shift": {"epochs": 0},
        "pruning": {
            "max_edits": 1,
            "tolerance": 0.5,
            "recovery_epochs": 0,
            "policies": [{"kind": "magnitude_pruning"}],
        },
    }
    return parse_recipe(json.dumps({**content, **more}), "tiny.json")


@pytest.mark.parametrize("name", TASKS)
def test_a_run_and_whoever_shows_it_have_the_metrics_of_its_task(name, table, tmp_path):
    asked, told = recipe(table, name), TASKS[name][2]
    run = ng.synthesize(asked, tmp_path / "run")
    assert Run.read(tmp_path / "run").recipe == asked
    assert all(list(row.scores) == told for row in run.metrics)
    assert list(run.result.stages[-1].test) == [*told, "loss"]
    assert run.result.goal == asked.task.goal
    goal, final = run.result.aim, run.result.stages[-1]
    shown = goal.metric.shown(final.test[goal.name])
    text = ng.report(run.folder).read_text()
    assert f'<span class="value">{shown}</span>' in text
    assert f"Test {goal.metric.words}" in text
    assert result_rows([run.result])[-1][-1] == shown
    assert goal.metric.words in result_rows([run.result])[0][-1]
    assert f"| {shown} |" in results_page(read_sections([run.folder]))
    assert goal.metric.words in describe(run.metrics[-1], None)
    found = evaluation(run.network, "it", asked, "test", 0, "cpu")
    assert {metric: found[metric] for metric in told} == {metric: final.test[metric] for metric in told}
    assert (goal.metric.words, shown) in evaluation_rows(found)
    assert goal.metric.title in (run.folder / "curves.svg").read_text()


def test_images_are_reconstructed(tmp_path):
    asked = {
        "name": "images",
        "data": {"name": "digits"},
        "task": {"kind": "reconstruction"},
        "seed_network": {"kind": "mlp", "widths": [64, 12, 64], "density": 0.3},
        "training": {"threads": 1, "optimizer": "adam", "learning_rate": 0.01},
        "pruning": {"max_edits": 1, "policies": [{"kind": "magnitude_pruning"}]},
    }
    run = ng.synthesize(parse_recipe(json.dumps(asked), "images.json"), tmp_path / "run")
    assert all(list(row.scores) == ["r2", "rmse"] for row in run.metrics)


def test_a_run_with_a_loss_of_ones_own_goes_on_with_it_alone(table, tmp_path):
    own = ng.task(loss=functional.l1_loss, metrics={"worst": lambda o, t: (o - t).abs().max()}, goal="-worst")
    asked = recipe(table, "regression", task={"kind": "regression"})
    whole = ng.synthesize(asked, tmp_path / "whole", task=own)

    def stop(row, _):
        if row.phase == "seed":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(ng.Interrupted):
        ng.synthesize(asked, tmp_path / "parts", task=own, progress=stop)
    with pytest.raises(TrainingError, match="expected its loss and metrics again, got none: give task="):
        ng.resume(tmp_path / "parts")
    parts = ng.resume(tmp_path / "parts", task=own)
    assert parts.network == whole.network
    names = [path.name for path in (tmp_path / "whole").iterdir() if path.is_file() and path.name != "timing.jsonl"]
    assert [n for n in names if (tmp_path / "whole" / n).read_bytes() != (tmp_path / "parts" / n).read_bytes()] == []
    with pytest.raises(TrainingError, match="give task="):
        ng.synthesize(whole.recipe.model_copy(update={"task": type(own).model_validate_json(own.model_dump_json())}))


def test_a_loss_that_is_not_finite_is_refused_before_anything_is_written(table, tmp_path):
    own = ng.task(loss=lambda o, t: ((o - t) / 0).mean())
    with pytest.raises(DataError, match="expected a finite loss at the first batch, got"):
        ng.synthesize(recipe(table, "regression"), tmp_path / "run", task=own)
    assert not (tmp_path / "run").exists()


# -- rows and results of other times ---------------------------------------------------------------------


def test_rows_and_results_of_accuracy_alone_are_read_as_they_were_written():
    counts = '"units":1,"connections":1,"flops":2'
    old = f'{{"step":0,"phase":"seed","edit":"e","accepted":true,{counts},"loss":0.5,"accuracy":0.75}}'
    row = Measurement.model_validate_json(old)
    assert row.scores == {"accuracy": 0.75}
    assert row.model_dump_json(exclude={"seconds"}) == old
    counts = {"units": 1, "connections": 1, "parameters": 1, "flops": 2, "active_flops": 1.0, "digest": "d"}
    stage = {"stage": "final", **counts, "validation_accuracy": 0.5, "test_accuracy": 0.25}
    baseline = {"name": "line", "weights": 3, "test_accuracy": 0.125}
    fields = {"recipe": "r", "seed": 0, "edits": 1, "refused": 0, "stages": [stage], "baseline": baseline}
    result = Result.model_validate_json(json.dumps(fields))
    assert (result.goal, result.stages[0].validation, result.stages[0].test) == (
        "accuracy",
        {"accuracy": 0.5},
        {"accuracy": 0.25},
    )
    assert result.baseline.test == {"accuracy": 0.125}
    assert Result.model_validate_json(result.model_dump_json()) == result


def test_the_display_has_a_line_for_each_metric():
    values = {"phase": "grow", "accepted": True, "units": 9, "connections": 50, "flops": 100, "loss": 0.5}
    display, console = RunDisplay(), Console(width=100, record=True)
    for step in range(3):
        display.add(Measurement(step=step, edit="wake", scores={"r2": step / 4, "mae": 40.0 - step}, **values))
    console.print(display)
    text = console.export_text()
    assert "R²" in text
    assert "0.5000" in text
    assert "mean absolute error" in text
    assert "38 to 40" in text


# -- recipes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": {"kind": "regression", "goal": "rmse"}}, "of which less is better): write '-rmse'"),
        ({"task": {"kind": "regression", "goal": "accuracy"}}, "expected one of r2, mae, rmse, loss"),
        ({"task": {"kind": "regression", "delta": 2.0}}, "does nothing without loss 'huber'"),
        ({"task": {"kind": "guessing"}}, "task: "),
        ({"task": {"kind": "regression"}, "training": {"label_smoothing": 0.1}}, "without task kind 'classification'"),
        ({"task": {"kind": "regression"}, "baseline": "logistic_regression"}, "ridge with a regression"),
        ({"pruning": {"target_accuracy": 0.5, "policies": [{"kind": "magnitude_pruning"}]}}, "goal 'r2': use target"),
        (
            {"pruning": {"target": 0.5, "tolerance": 0.1, "policies": [{"kind": "magnitude_pruning"}]}},
            "without the goal before pruning as target",
        ),
    ],
)
def test_what_does_nothing_for_a_task_is_refused(changes, words, table):
    with pytest.raises(RecipeError) as caught:
        recipe(table, "regression", **changes)
    assert words in str(caught.value)


def test_targets_of_a_goal_are_in_its_own_numbers(table):
    policies = [{"kind": "magnitude_pruning"}]
    growth = {"size_limit": 99, "target": -5.0, "policies": [{"kind": "connection_growth"}]}
    asked = recipe(table, "two numbers", growth=growth, pruning={"target": -6.0, "policies": policies})
    assert (asked.growth_target, asked.pruning_target) == (-5.0, -6.0)
    assert parse_recipe(asked.text, "again.json") == asked
    assert recipe(table, "regression", growth={**growth, "target": None}).growth_target is None


def test_tolerance_is_points_of_what_is_at_most_one_and_else_a_share():
    assert ng.task("regression").aim.lowered(0.5, 0.1) == 0.4
    assert ng.task("regression", goal="-rmse").aim.lowered(-50.0, 0.1) == pytest.approx(-55.0)
