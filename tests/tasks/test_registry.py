"""Tasks by name: registered, installed, in a plugin, inside several; read without their code, gone on with by it."""

import json
import os
import signal
import sys
from typing import ClassVar, Literal

import pytest

import nestgraph as ng
from nestgraph.errors import NestgraphError, RecipeError, RecordError, TrainingError
from nestgraph.recipes.own_kinds import packages_of
from nestgraph.recipes.recipe import Recipe, parse_recipe, recorded_recipe
from nestgraph.runs.run import Run
from nestgraph.snapshot import schemas
from nestgraph.studies.results import results_page
from nestgraph.studies.sections import read_sections
from nestgraph.tasks.numbers import Regression
from nestgraph.tasks.registry import TASKS, UnknownTask
from nestgraph.tasks.task import Task
from tests.cli.running import run as verb
from tests.tasks.test_runs import recipe, table

__all__ = ["table"]  # a fixture

MODULE = """
from typing import ClassVar, Literal
from nestgraph.tasks.numbers import Regression
from nestgraph.tasks.sums import Mean

class Cautious(Regression):
    kind: Literal["cautious"] = "cautious"
    known: ClassVar = ("r2", "mae", "rmse", "worst")
    factor: float = 3.0
    metrics: tuple[str, ...] = ("worst",)
    goal: str = "-worst"

    def _elements(self, outputs, targets):
        error = targets - outputs
        return self.factor * error.relu() + (-error).relu()

    def score(self, name, outputs, targets, weights):
        if name != "worst":
            return super().score(name, outputs, targets, weights)
        return Mean(float((outputs - targets).abs().max()) * len(targets), len(targets))

    def floor(self, targets, weights=None):
        return -float("inf") if self.goal == "-worst" else super().floor(targets, weights)
"""
OWN = {"kind": "cautious", "factor": 2.0}

pytestmark = pytest.mark.usefixtures("plain")


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    monkeypatch.setattr(TASKS, "registered", {})
    monkeypatch.setattr(TASKS, "packages", {})
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("own_", "nestgraph_plugin_")):
            del sys.modules[name]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install packages, as pip leaves them."""

    def install(name, entry="cautious", version="1.2"):
        folder = tmp_path / name
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (folder / f"own_{name}.py").write_text(MODULE)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[nestgraph.tasks]\n{entry} = own_{name}:Cautious\n")
        monkeypatch.syspath_prepend(folder)

    return install


def cautious():
    scope = {"__name__": "own_here"}
    exec(MODULE, scope)
    return scope["Cautious"]


def contents(folder):
    names = [path for path in folder.iterdir() if path.is_file() and path.name != "timing.jsonl"]
    return {path.name: path.read_bytes() for path in names}


def test_a_registered_task_is_used_by_its_kind_alone_and_inside_several(table):
    with pytest.raises(RecipeError, match=r"task: expected a kind of task of this package .*got 'cautious'"):
        recipe(table, "regression", task=OWN)
    own = cautious()
    assert ng.register(own) is own
    asked = recipe(table, "regression", task=OWN)
    assert (type(asked.task), asked.task.factor, asked.task.goal) == (own, 2.0, "-worst")
    assert parse_recipe(asked.text, "again.json") == asked
    assert ng.task("cautious", factor=2.0) == asked.task
    several = {"kind": "several", "tasks": {"y": OWN, "even": {"kind": "binary"}}, "goal": "-y.worst"}
    both = recipe(table, "regression", task=several)
    assert type(both.task.tasks["y"]) is own
    assert parse_recipe(both.text, "again.json") == both
    with pytest.raises(RecipeError, match=r"task\.colour"):
        recipe(table, "regression", task={**OWN, "colour": 1})
    with pytest.raises(RecordError, match="its class has a loss and metrics of its own"):
        ng.task("cautious", loss=lambda o, t: (o - t).mean())


def test_a_run_by_an_installed_task_is_resumed_evaluated_and_tabulated(table, tmp_path, installed, monkeypatch):
    installed("prudence")
    asked = recipe(table, "regression", task=OWN)
    assert packages_of(asked) == {"tasks": {"cautious": {"name": "prudence", "version": "1.2"}}}
    whole = ng.synthesize(asked, tmp_path / "whole")
    assert list(whole.metrics[0].scores) == ["worst"]
    environment = json.loads((whole.folder / "environment.json").read_text())
    assert environment["tasks"] == {"cautious": {"name": "prudence", "version": "1.2"}}

    def stop(row, _):
        if row.phase == "seed":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(ng.Interrupted):
        ng.synthesize(asked, tmp_path / "parts", progress=stop)
    with monkeypatch.context() as gone:
        gone.setattr(TASKS, "find", lambda _: None)
        with pytest.raises(
            RecipeError, match=r"task: expected a task whose code is known.*install prudence 1\.2"
        ) as told:
            ng.resume(tmp_path / "parts")
        assert "\n" not in str(told.value)
        read = Run.read(whole.folder)
        assert isinstance(read.recipe.task, UnknownTask)
        assert read.recipe.document == asked.document
        assert "| " in results_page(read_sections([whole.folder]))
        assert ng.report(whole.folder, tmp_path / "report.html").exists()
    ng.resume(tmp_path / "parts")
    assert contents(tmp_path / "parts") == contents(whole.folder)
    found = verb("evaluate", str(whole.folder / "final.json"), "--data", str(whole.folder / "recipe.json"), "--json")
    assert json.loads(found.stdout)["worst"] == whole.result.stages[-1].test["worst"]
    shown = schemas({"recipe": Recipe})["recipe"]["properties"]["task"]
    assert any(each.get("title") == "Cautious" for each in shown["oneOf"])


def test_a_task_of_a_script_is_given_again(table, tmp_path):
    own = cautious()(factor=2.0)

    def stop(row, _):
        if row.phase == "seed":
            os.kill(os.getpid(), signal.SIGTERM)

    asked = recipe(table, "regression", task={"kind": "regression"})
    whole = ng.synthesize(asked, tmp_path / "whole", task=own)
    with pytest.raises(ng.Interrupted):
        ng.synthesize(asked, tmp_path / "parts", task=own, progress=stop)
    with pytest.raises(RecipeError, match="give its class, as in resume"):
        ng.resume(tmp_path / "parts")
    with pytest.raises(TrainingError, match="got another 'factor': give task= as it was"):
        ng.resume(tmp_path / "parts", task=cautious()(factor=5.0))
    assert ng.resume(tmp_path / "parts", task=own).network == whole.network


def test_a_plugin_brings_a_task(table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = recipe(table, "regression").document
    (tmp_path / "mine.json").write_text(json.dumps({**asked, "task": OWN}))
    (tmp_path / "mine.py").write_text(MODULE)
    assert "got 'cautious'" in verb("synthesize", "mine.json", "--out", "run").stderr
    done = verb("synthesize", "mine.json", "--out", "run", "--plugin", "mine.py")
    assert done.exit_code == 0, done.stderr
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["task"]["kind"] == "cautious"


def test_names_of_this_package_win_and_one_name_in_two_packages_names_both(table, installed):
    installed("prudence", entry="regression")
    assert type(recipe(table, "regression").task) is Regression
    installed("one")
    installed("two", version="3")
    with pytest.raises(RecipeError, match=r"one package that offers .*'cautious', got one 1\.2 and two 3"):
        recipe(table, "regression", task=OWN)
    assert {"own_one", "own_two", "own_prudence"}.isdisjoint(sys.modules)


@pytest.mark.parametrize("kind", ["os:system", "../x", "own_prudence", "own_prudence:Cautious", "", "Cautious"])
def test_nothing_is_looked_up_by_a_place_that_data_name(kind, table, installed):
    installed("prudence")
    with pytest.raises(RecipeError, match="expected a kind of task"):
        recipe(table, "regression", task={"kind": kind})
    assert "own_prudence" not in sys.modules


def test_unknown_tasks_are_kept_word_for_word(table):
    said = {"kind": "gone", "alpha": [1, {"b": 0.1}], "goal": "-worst"}
    both = {"kind": "several", "tasks": {"y": said, "even": {"kind": "binary"}}, "goal": "-loss"}
    for task, part in ((said, lambda found: found), (both, lambda found: found["tasks"]["y"])):
        document = {**recipe(table, "regression").document, "task": task}
        read = recorded_recipe(json.dumps(document), "recipe.json")
        assert part(read.document["task"]) == said
        assert recorded_recipe(read.text, "recipe.json") == read
        with pytest.raises(NestgraphError, match="a task whose code is known, got one of kind 'gone'"):
            ng.synthesize(read)


def test_classes_that_are_no_tasks():
    class BuiltIn(Regression):
        kind: Literal["regression"] = "regression"

    class Idle(Task):
        known: ClassVar = ()
        kind: Literal["idle"] = "idle"

    for given, words in ((BuiltIn, "built in"), (Idle, "a method each, floor, outputs, prepared, score")):
        with pytest.raises(RecipeError, match=words):
            ng.register(given)
