"""Policies of one's own in recipes: run, read back without their code, gone on with by their class, overwritten."""

import json
import shutil
import warnings
from typing import ClassVar, Literal

import pytest

from nestgraph.edits import Batch
from nestgraph.errors import RecipeError, SnapshotError
from nestgraph.loop.resuming import begin_or_resume, resume
from nestgraph.loop.synthesis import synthesize
from nestgraph.policies import MagnitudePruning, Policy
from nestgraph.policies.registry import UnknownPolicy
from nestgraph.recipes.recipe import parse_recipe, recorded_recipe
from nestgraph.reporting import report
from nestgraph.runs import run_folder
from nestgraph.runs.interruption import Interrupted
from nestgraph.runs.run import Run
from nestgraph.studies.results_files import write_results
from nestgraph.studies.sections import read_sections
from tests.loop.test_resuming import contents, everything, interrupt_in
from tests.runs.test_run_folders import SHORT


class Idle(Policy):
    """Finds nothing to do."""

    kind: Literal["idle"] = "idle"
    needs: ClassVar = frozenset()
    patience: float = 1e-6
    places: tuple[str, ...] = ("a", "b")

    def propose(self, *_, **__):
        return Batch(edits=(), title="nothing")


class Halving(MagnitudePruning):
    """Another name for what there is."""

    kind: Literal["halving"] = "halving"


def with_own():
    """A recipe with a policy of one's own in each section, in pruning beside one of the package."""
    growth = SHORT.growth.model_copy(update={"policies": (Idle(places=("c",)),)})
    pruning = SHORT.pruning.model_copy(update={"policies": (*SHORT.pruning.policies, Halving(fraction=0.1))})
    return SHORT.model_copy(update={"growth": growth, "pruning": pruning})


OWN = with_own()


@pytest.fixture(scope="module", autouse=True)
def plain():
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error")
        for picture in ("draw_stage", "draw_run"):
            patch.setattr(run_folder, picture, lambda *_: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return synthesize(OWN, tmp_path_factory.mktemp("own") / "run", seed=3)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(Interrupted):
        synthesize(OWN, folder, seed=3, progress=interrupt_in("prune"))
    return folder


def test_a_policy_without_its_code_is_a_record_of_its_fields(whole):
    run = Run.read(str(whole.folder))
    (policy,) = run.recipe.growth.policies
    assert isinstance(policy, UnknownPolicy)
    assert policy.model_dump() == {"kind": "idle", "patience": 1e-6, "places": ["c"]}
    assert run.recipe.pruning.policies[0] == OWN.pruning.policies[0]
    assert run.recipe.document == OWN.document
    assert Run.read(whole.folder, [Idle, Halving]).recipe == OWN
    with pytest.raises(RecipeError, match="policies=\\[TheClass\\]"):
        policy.propose(run.network, None, None)


def test_every_reader_of_a_recipe_takes_it(tmp_path, whole):
    folder = shutil.copytree(whole.folder, tmp_path / "run")
    assert resume(folder).recipe.document == OWN.document
    assert report(folder, tmp_path / "report.html").exists()
    write_results(read_sections([folder]), tmp_path / "docs")
    written = (tmp_path / "docs" / "results" / "tiny-recipe.json").read_text()
    assert recorded_recipe(written, "x.json").document == OWN.document
    again = synthesize(OWN, folder, seed=3, overwrite=True)
    assert contents(again.folder) == contents(whole.folder)


def test_a_run_goes_on_only_with_the_code_of_its_policies(tmp_path, whole, stopped):
    folder = shutil.copytree(stopped, tmp_path / "run")
    before = everything(folder)
    for policies, place in (((), r"growth\.policies\[0\]"), ((Idle,), r"pruning\.policies\[2\]")):
        with pytest.raises(RecipeError, match=place + ".*policies=\\[TheClass\\]"):
            resume(folder, policies=policies)
        assert everything(folder) == before
    resume(folder, policies=[Idle, Halving])
    assert contents(folder) == contents(whole.folder)
    shutil.rmtree(folder)
    shutil.copytree(stopped, folder)
    begin_or_resume(OWN, folder, 3, "cpu", None)
    assert contents(folder) == contents(whole.folder)


def test_what_does_not_fit_the_class_is_refused(tmp_path, stopped):
    class Other(Idle):
        places: int = 1

    for classes, words in (([Other], "places"), ([Policy], "classes of policies"), ([3], "classes of policies")):
        with pytest.raises(SnapshotError, match=words):
            resume(shutil.copytree(stopped, tmp_path / "run", dirs_exist_ok=True), policies=[*classes, Halving])


def test_recipes_that_people_write_name_policies_that_there_are(tmp_path):
    with pytest.raises(RecipeError, match="'idle'"):
        parse_recipe(json.dumps(OWN.document), "mine.json")
    with pytest.raises(RecipeError, match="expected a policy whose code is known"):
        synthesize(recorded_recipe(json.dumps(OWN.document), "mine.json"), tmp_path / "run")
