"""Folders of runs that other versions did, with options that this one refuses: read as they are, and not run."""

import json
import shutil

import pytest

from nestgraph.errors import RecipeError, SnapshotError
from nestgraph.loop.resuming import resume
from nestgraph.loop.synthesis import synthesize
from nestgraph.policies.registry import UnknownPolicy
from nestgraph.recipes.recipe import PastRecipe, load_recipe, parse_recipe, recorded_recipe
from nestgraph.reporting import report
from nestgraph.runs import run_folder
from nestgraph.runs.interruption import Interrupted
from nestgraph.runs.run import Run
from nestgraph.studies.results_files import write_results
from nestgraph.studies.sections import read_sections
from tests.loop.test_resuming import everything, interrupt_in
from tests.runs.test_run_folders import SHORT


def placed(document, path, value):
    *owners, name = path
    for owner in owners:
        document = document[owner]
    document[name] = value


PAST = {
    "an option that does nothing there": (("training",), {"optimizer": "adam", "momentum": 0.5, "threads": 1}),
    "an option that there was": (("training", "warm_up"), 3),
    "a section that there was": (("quantisation",), {"bits": 8}),
    "a value that there was": (("training", "optimizer"), "lion"),
    "a value out of today's range": (("training", "loss_limit"), -1.0),
    "an option of a policy": (("growth", "policies", 0, "temperature"), 0.5),
    "an option of a policy that does nothing": (("growth", "policies", 0, "rate"), 0.5),
    "a value of a policy": (("pruning", "policies", 1, "fraction"), 7.0),
    "an option of a list": (("seed_network", "taps"), [1, 2]),
}


def past(*names):
    document = json.loads(SHORT.text)
    for name in names:
        placed(document, *PAST[name])
    return document


@pytest.fixture(scope="module", autouse=True)
def plain():
    with pytest.MonkeyPatch.context() as patch:
        for picture in ("draw_stage", "draw_run"):
            patch.setattr(run_folder, picture, lambda *_: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return synthesize(SHORT, tmp_path_factory.mktemp("past") / "run", seed=3).folder


@pytest.mark.parametrize("names", [*([name] for name in PAST), list(PAST)[1:]], ids=[*PAST, "all of them"])
def test_what_is_refused_is_kept_word_for_word_and_not_run(tmp_path, names):
    document = past(*names)
    recipe = recorded_recipe(json.dumps(document), "recipe.json")
    assert isinstance(recipe, PastRecipe)
    assert recipe.document == document == json.loads(recipe.text)
    assert recipe.left_aside
    assert recorded_recipe(recipe.text, "recipe.json") == recipe
    assert recipe.data == SHORT.data
    with pytest.raises(RecipeError, match="refused now"):
        synthesize(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(RecipeError):
        parse_recipe(json.dumps(document), "mine.json")


def test_a_policy_with_options_of_another_version_is_a_record_of_them():
    recipe = recorded_recipe(json.dumps(past("an option of a policy")), "recipe.json")
    (policy, *rest) = recipe.growth.policies
    assert isinstance(policy, UnknownPolicy)
    assert policy.model_dump()["temperature"] == 0.5
    assert tuple(rest) == SHORT.growth.policies[1:]


def test_every_reader_takes_a_finished_run_of_another_version(whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "run")
    document = past(*list(PAST)[1:])
    (folder / "recipe.json").write_text(json.dumps(document))
    (folder / "manifest.json").unlink()  # an old run had none
    assert Run.read(folder).recipe.document == document
    assert "quantisation" in report(folder, tmp_path / "report.html").read_text()
    write_results(read_sections([folder]), tmp_path / "docs")
    assert json.loads((tmp_path / "docs" / "results" / f"{SHORT.name}-recipe.json").read_text()) == document
    assert load_recipe(folder / "recipe.json", recorded=True).data == SHORT.data
    assert resume(folder).recipe.document == document
    synthesize(SHORT, folder, seed=3, overwrite=True)


def test_an_unfinished_one_is_refused_and_left_as_it_was(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        synthesize(SHORT, folder, seed=3, progress=interrupt_in("grow"))
    document = past("an option that there was")
    begun = json.loads((folder / "state" / "begun.json").read_text())
    (folder / "state" / "begun.json").write_text(json.dumps(begun | {"recipe": document}))
    (folder / "recipe.json").write_text(json.dumps(document))
    before = everything(folder)
    with pytest.raises(RecipeError, match=r"training\.warm_up.*refused|refused now.*training\.warm_up"):
        resume(folder)
    assert everything(folder) == before


@pytest.mark.parametrize("spoil", [{"data": None}, {"name": None}, {"data": {"name": "digits", "colour": 3}}])
def test_what_readers_need_is_not_left_aside(tmp_path, spoil):
    document = {name: value for name, value in (past() | spoil).items() if value is not None}
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps(document))
    with pytest.raises(RecipeError, match=r"data|name"):
        load_recipe(path, recorded=True)


def test_a_policy_that_cannot_be_a_record_either_is_told_once(whole):
    document = json.loads((whole / "recipe.json").read_text())
    document["pruning"]["policies"] = [2**31 - 1] * 6
    with pytest.raises(RecipeError, match=r"policies\[0\]: expected an object, got 2147483647") as told:
        recorded_recipe(json.dumps(document), "recipe.json")
    assert str(told.value).count("policies[0]") == 1


def test_what_is_no_recipe_is_none(tmp_path, whole):
    folder = shutil.copytree(whole, tmp_path / "run")
    for text in ("{}", "[]", "3", '{"name": 3}', '{"growth": {"policies": 3}}', '{"growth": {"policies": [3]}}'):
        (folder / "recipe.json").write_text(text)
        with pytest.raises(SnapshotError):
            Run.read(folder)
