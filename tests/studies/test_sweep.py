"""Sweeps: settings reach the recipe, what is wrong is one sentence, and an interrupted sweep goes on where it was."""

import json
import re
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.cli.results import recipe_record
from nestgraph.errors import RecipeError, SnapshotError
from nestgraph.policies import ConnectionGrowth, NeuronGrowth, RandomPruning
from nestgraph.recipes.recipe import load_recipe, recipe_names
from nestgraph.runs.run import Run
from nestgraph.snapshot import write_schemas
from nestgraph.studies.running import run_sweep
from nestgraph.studies.sweep import Sweep, Variation, load_sweep, sweep_names, varied
from nestgraph.studies.sweep_table import RunFigures, SweepTable
from tests.cli.running import run
from tests.studies.conftest import TEXT

SCHEMAS = Path(__file__).parents[2] / "schemas"
BASE = load_recipe("lenet-300-100")


def with_settings(**settings):
    """The base recipe varied: `growth__policies__1__alpha` stands for the place `growth.policies.1.alpha`."""
    places = {place.replace("__", "."): value for place, value in settings.items()}
    return varied(BASE, Variation(name="some", set=places))


# -- settings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sweep_names())
def test_packaged_sweeps_load_and_say_what_they_are(name):
    sweep = load_sweep(name)
    assert (sweep.name, sweep.seeds) == (name, (0, 1, 2))
    assert sweep.recipe in recipe_names()
    assert sweep.description.endswith(".")
    recipes = sweep.recipes()
    assert len(set(recipes.values())) == len(sweep.variations) > 1
    for recipe in recipes.values():
        grows = recipe.growth.max_edits > 0
        assert not grows or recipe.seed_network.build(0).connection_count < recipe.growth.size_limit
        assert recipe.finish_epochs <= 5


def test_the_package_has_the_studies_of_the_paper():
    assert set(sweep_names()) == {
        "seed-width",
        "grow-and-prune",
        "shift",
        "birth",
        "policies",
        "areas",
        "recalibration",
    }


def test_no_settings_are_the_recipe_itself():
    assert with_settings() == BASE


@given(alpha=st.floats(0.01, 100), epochs=st.integers(1, 1000), name=st.sampled_from(["digits", "mnist"]))
def test_settings_change_their_fields_and_no_others(alpha, epochs, name):
    recipe = with_settings(growth__policies__1__alpha=alpha, pruning__epochs=epochs, data__name=name)
    assert (recipe.growth.policies[1].alpha, recipe.pruning.epochs, recipe.data.name) == (alpha, epochs, name)
    back = {
        "growth.policies.1.alpha": BASE.growth.policies[1].alpha,
        "pruning.epochs": BASE.pruning.epochs,
        "data.name": BASE.data.name,
    }
    assert varied(recipe, Variation(name="back", set=back)) == BASE


def test_whole_tables_and_lists_are_replaced_and_later_settings_reach_into_them():
    policies = [{"kind": "neuron_growth", "alpha": 0.1}, {"kind": "connection_growth"}]
    variation = Variation(name="some", set={"growth.policies": policies, "growth.policies.1.fraction": 0.25})
    before = variation.model_dump_json()
    assert varied(BASE, variation).growth.policies == (NeuronGrowth(alpha=0.1), ConnectionGrowth(fraction=0.25))
    assert variation.model_dump_json() == before
    mlp = with_settings(seed_network={"kind": "mlp", "widths": [784, 5, 10]}, data__distortion=None)
    assert mlp.seed_network.density == type(mlp.seed_network).model_fields["density"].default
    assert mlp.data.distortion is None


def test_a_variations_own_settings_win(study):
    recipes = load_sweep(study).recipes()
    assert {name: recipe.growth.max_edits for name, recipe in recipes.items()} == {"plain": 1, "random": 1}
    assert {name: recipe.pruning.max_edits for name, recipe in recipes.items()} == {"plain": 1, "random": 2}
    assert recipes["random"].pruning.policies == (RandomPruning(fraction=0.2),)


def test_seeds_are_the_sweeps_own_and_then_the_next_numbers(study):
    sweep = load_sweep(study)
    assert [sweep.with_seeds(number).seeds for number in (1, 2, 4)] == [(4,), (4, 2), (4, 2, 5, 6)]


# -- what is wrong ---------------------------------------------------------------------------------------

WRONG_SETTINGS = {
    "an unknown field": ({"growth.depth": 1}, "growth.depth: unknown key"),
    "an unknown section": ({"grow.epochs": 1}, "'grow.epochs': expected a field of the recipe, got none called 'grow'"),
    "an index too large": ({"growth.policies.2.alpha": 1.0}, "expected an index below 2, got '2'"),
    "a negative index": ({"growth.policies.-1.alpha": 1.0}, "expected an index below 2, got '-1'"),
    "a name for an index": ({"growth.policies.first": {}}, "expected an index below 2, got 'first'"),
    "into a number": ({"seed_epochs.more": 1}, "expected a table or list before 'more', got 3"),
    "an empty place": ({"": 1}, "unknown key"),
    "a value out of range": ({"growth.policies.1.alpha": -1.0}, "growth.policies[1].neuron_growth.alpha: "),
    "a value of the wrong type": ({"pruning.epochs": "two"}, "pruning.epochs: "),
    "too little of a table": ({"seed_network": {"width": 0.2}}, "seed_network.kind: missing"),
}


@pytest.mark.parametrize("case", WRONG_SETTINGS)
def test_a_wrong_setting_is_one_sentence_that_names_the_field(case):
    settings, sentence = WRONG_SETTINGS[case]
    with pytest.raises(RecipeError) as caught:
        varied(BASE, Variation(name="some", set=settings))
    assert str(caught.value).startswith("variation 'some': ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG = {
    "an unknown key": ("seeds =", "seed =", "seed: unknown key"),
    "no seeds": ("[4, 2]", "[]", "seeds: "),
    "a seed twice": ("[4, 2]", "[4, 4]", "got 4 twice"),
    "a variation twice": ('"random"\n', '"plain"\n', "got plain twice"),
    "a name that is a path": ('"plain"', '"../plain"', "variations[0].name: "),
    "a setting that is wrong": ("fraction = 0.2", "fraction = 2.0", "variation 'random': pruning.policies[0]"),
    "not a number": ("fraction = 0.2", "fraction = nan", "variation 'random': pruning.policies[0]"),
    "a recipe that is not there": ("tiny.toml", "other.toml", "other.toml: cannot be read"),
    "a recipe that is none": ("tiny.toml", "study.toml", "study.toml: "),
    "broken TOML": ("[4, 2]", "[4, 2", "expected TOML"),
    "a date": ("[4, 2]", "2020-02-02", "seeds: "),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_one_sentence_that_names_the_field(case, study):
    old, new, sentence = WRONG[case]
    assert TEXT.count(old) == 1
    study.write_text(TEXT.replace(old, new))
    with pytest.raises(RecipeError) as caught:
        load_sweep(study)
    assert str(caught.value).startswith(f"{study}: ")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["nothing", "", "nowhere/study.toml", "a\0.json"])
def test_a_sweep_that_is_not_there_is_one_sentence(name):
    with pytest.raises(RecipeError, match=r"seed-width|cannot be read|without NUL"):
        load_sweep(name)


@pytest.mark.parametrize("name", ["sweep.schema.json", "sweep-table.schema.json"])
def test_the_schemas_on_the_disk_are_fresh(name, tmp_path):
    write_schemas(tmp_path, recipe_record())
    assert (SCHEMAS / name).read_bytes() == (tmp_path / name).read_bytes(), "run: nestgraph schema --out schemas"


# -- running ---------------------------------------------------------------------------------------------


class Watched:
    """The titles of runs that begin; Ctrl-C in the run whose number is `stop`."""

    def __init__(self, stop=None):
        self.titles, self.stop = [], stop

    @contextmanager
    def __call__(self, title):
        self.titles.append(title)
        yield self._measured

    def _measured(self, *_):
        if len(self.titles) == self.stop:
            raise KeyboardInterrupt


def test_an_interrupted_sweep_goes_on_and_its_table_is_of_its_runs(study, tmp_path):
    sweep, out = load_sweep(study), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, out, Watched(stop=3))
    assert not (out / "sweep.json").exists()
    first = (out / "plain" / "seed-4" / "environment.json").stat().st_mtime_ns

    rest = Watched()
    table = run_sweep(sweep, out, rest)
    assert rest.titles == ["random seed 4 (3 of 4)", "random seed 2 (4 of 4)"]
    assert (out / "plain" / "seed-4" / "environment.json").stat().st_mtime_ns == first
    assert SweepTable.model_validate_json((out / "sweep.json").read_text()) == table
    assert [(row.variation, [each.seed for each in row.seeds]) for row in table.rows] == [
        ("plain", [4, 2]),
        ("random", [4, 2]),
    ]
    for row in table.rows:
        for each in row.seeds:
            of = Run.read(out / row.variation / f"seed-{each.seed}")
            assert of.recipe == sweep.recipes()[row.variation]
            assert (of.stage("grown").connection_count, of.network.connection_count) == (
                each.grown_connections,
                each.connections,
            )
            assert each.test == of.result.stages[-1].test["accuracy"]
            assert 0 <= each.growth_seconds <= each.seconds
        for name in RunFigures.model_fields:
            assert getattr(row.medians, name) == median(getattr(each, name) for each in row.seeds)

    again = Watched(stop=1)
    assert run_sweep(sweep, out, again) == table
    assert again.titles == []
    _check_that_another_recipes_run_is_kept(sweep, out)
    _check_the_command_line(study, out, table)


def _check_that_another_recipes_run_is_kept(sweep, out):
    other = Sweep.model_validate({**sweep.model_dump(), "set": {"seed_epochs": 2}})
    before = (out / "plain" / "seed-4" / "result.json").read_bytes()
    with pytest.raises(SnapshotError, match="plain/seed-4: expected a run of this variation"):
        run_sweep(other, out)
    assert (out / "plain" / "seed-4" / "result.json").read_bytes() == before


def _check_the_command_line(study, out, table):
    words = ("--quiet", "sweep", study, "--out", out)
    facts = run(*words, "--json")
    assert (facts.exit_code, facts.stderr) == (0, "")
    assert json.loads(facts.stdout) == table.model_dump(mode="json")
    text = run(*words, "--seeds", 1).stdout.splitlines()
    heading = ["study", "grown", "final", "FLOPs", "active FLOPs", "validation", "test", "edits", "growth s", "total s"]
    assert re.split(r" {2,}", text[0]) == heading
    one = table.rows[1].seeds[0]
    shown = [f"{one.grown_connections:,.0f}", f"{one.connections:,.0f}", f"{one.flops:,.0f}"]
    assert text[-1].split()[:4] == ["random", *shown]


def test_a_wrong_sweep_is_wrong_usage():
    result = run("--quiet", "sweep", "nothing")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("expected a sweep's name (areas, ")


def test_the_help_names_the_sweeps_of_the_package():
    assert f"Sweeps inside the package: {', '.join(sweep_names())}." in " ".join(run("sweep", "--help").stdout.split())
