"""Runs that start from a network in a file: pruning alone, growth on top, and a file that changed meanwhile."""

import json

import pytest

from nestgraph.errors import RecipeError, SnapshotError
from nestgraph.loop.synthesis import synthesize
from nestgraph.recipes.recipe import SeedOptions, load_recipe, parse_recipe
from nestgraph.runs.run import Run
from nestgraph.seeds import lenet_5, mlp
from nestgraph.snapshot import save

pytestmark = pytest.mark.usefixtures("plain")
PRUNE = """
name = "prune-only"
seed_epochs = 2
data = { name = "digits" }
seed_network = { kind = "snapshot", path = "models/net.json" }
training = { batch_size = 256, threads = 1 }
shift = { epochs = 0 }

[pruning]
tolerance = 0.5
max_edits = 3
activity_batches = 2
policies = [{ kind = "magnitude_pruning", fraction = 0.3 }]
"""
GROW = f"""{PRUNE}
[growth]
size_limit = 1500
max_edits = 3
patience = 3
evidence_batches = 2
policies = [{{ kind = "neuron_growth", units = 2 }}]
"""


@pytest.fixture
def model(tmp_path):
    """A dense perceptron in models/net.json, as an import would leave it."""
    network = mlp((64, 16, 10), 1.0, 0, "relu", batch_norm=False)
    (tmp_path / "models").mkdir()
    save(network, tmp_path / "models" / "net.json")
    return network


def loaded(folder, text, name="recipe.toml"):
    (folder / name).write_text(text)
    return load_recipe(folder / name)


def test_without_growth_a_model_is_pruned(model, tmp_path):
    recipe = loaded(tmp_path, PRUNE)
    assert recipe.growth is None
    run = synthesize(recipe, tmp_path / "run")
    assert run.stage("seed") == model
    assert {row.phase for row in run.metrics} == {"seed", "prune"}
    assert set(run.network.units("fc1")) <= set(model.units("fc1"))
    assert run.stage("grown").connection_count == model.connection_count > run.network.connection_count
    assert run.editor().network == run.network
    assert Run.read(run.folder).recipe == recipe


def test_growth_goes_on_from_a_model(model, tmp_path):
    run = synthesize(loaded(tmp_path, GROW), tmp_path / "run")
    assert run.stage("seed") == model
    assert run.stage("grown").connection_count > model.connection_count
    assert set(model.units("fc1")) < set(run.stage("grown").units("fc1"))


def test_the_path_is_relative_to_the_recipe_and_kept_in_full(model, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    recipe = loaded(tmp_path, PRUNE)
    assert recipe.seed_network.path == str(tmp_path / "models" / "net.json")
    assert recipe.seed_network.digest == model.digest
    assert recipe.seed_network.build(3) == model
    assert loaded(elsewhere, recipe.model_dump_json(), "again.json") == recipe


def test_a_recipe_made_in_python_is_known_by_its_digest_too(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = synthesize(parse_recipe(PRUNE, "recipe.toml"), "run")
    written = json.loads((tmp_path / "run" / "recipe.json").read_text())["seed_network"]
    assert written["digest"] == model.digest
    assert written["path"] == str(tmp_path / "models" / "net.json")
    assert run.recipe == loaded(tmp_path, PRUNE)


def test_another_network_in_the_file_is_noticed(model, tmp_path):
    recipe = loaded(tmp_path, PRUNE)
    save(mlp((64, 16, 10), 1.0, 1, "relu", batch_norm=False), tmp_path / "models" / "net.json")
    message = rf"net\.json: expected the network {model.digest[:8]} that the recipe began with, got "
    with pytest.raises(RecipeError, match=message):
        synthesize(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "models" / "net.json").unlink()
    old = loaded(tmp_path, recipe.model_dump_json(), "recipe.json")
    assert old == recipe  # as `evaluate` reads a run's recipe for its data
    with pytest.raises(SnapshotError, match=r"net\.json: cannot be read"):
        old.seed_network.build(0)


def test_a_model_that_is_not_there_names_the_field(tmp_path):
    with pytest.raises(RecipeError, match=r"recipe\.toml: seed_network\.path: .*net\.json: cannot be read"):
        loaded(tmp_path, PRUNE)


def test_a_convolutional_model_is_a_seed_as_well(tmp_path):
    network = lenet_5(0.1, 0.5, 0)
    save(network, tmp_path / "lenet.json")
    assert SeedOptions(kind="snapshot", path=str(tmp_path / "lenet.json")).build(0) == network


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ('kind = "snapshot"', r"path: missing \(goes with kind 'snapshot', where it must be"),
        ('kind = "lenet_5", path = "net.json"', "path: does nothing without kind 'snapshot'"),
        (f'kind = "lenet_5", digest = "{"0" * 64}"', "digest: does nothing without kind 'snapshot'"),
        ('kind = "snapshot", path = "net.json", density = 0.5', "density: does nothing without a seed that is made"),
        ('kind = "snapshot", path = "net.json", widths = [64, 10]', "widths: does nothing without kind"),
        ('kind = "snapshot", path = "net.json", digest = "abc"', "digest"),
        ('kind = "snapshot", path = ""', "path"),
    ],
)
def test_fields_that_do_not_go_together(fields, message):
    text = PRUNE.replace('kind = "snapshot", path = "models/net.json"', fields)
    with pytest.raises(RecipeError, match=rf"recipe\.toml: seed_network.*{message}"):
        parse_recipe(text, "recipe.toml")
