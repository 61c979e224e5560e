"""Recipes: those of the package load, TOML and JSON agree, and what is wrong is one sentence that names the field."""

import json
import tomllib
from pathlib import Path

import pytest

from nestgraph.cli.results import recipe_record
from nestgraph.errors import RecipeError, RecordError
from nestgraph.graph import violations
from nestgraph.policies import ConnectionGrowth, MagnitudePruning, NeuronGrowth
from nestgraph.recipes.recipe import Recipe, load_recipe, parse_recipe, recipe_names
from nestgraph.snapshot import write_schemas

SCHEMA = Path(__file__).parents[2] / "schemas" / "recipe.schema.json"
TEXT = """
name = "small"
seed_epochs = 3

[data]
name = "digits"

[seed_network]
kind = "mlp"
widths = [64, 12, 10]

[training]
learning_rate = 0.02

[growth]
size_limit = 500
policies = [{ kind = "connection_growth", fraction = 0.1 }, { kind = "neuron_growth", rule = "rank_one" }]

[pruning]
policies = [{ kind = "magnitude_pruning" }]
"""


@pytest.mark.parametrize("name", recipe_names())
def test_packaged_recipes_load_and_say_what_they_are(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description.endswith(".")
    network = recipe.seed_network.build(0, recipe.load(0) if recipe.data.title == "digits" else None)
    assert violations(network.replace()) == ()
    limit = recipe.growth.size_limit
    assert network.connection_count < limit if limit else recipe.budget.spent(network).share < recipe.budget.overshoot
    assert parse_recipe(recipe.model_dump_json(), "x.json") == recipe


def test_the_package_has_recipes():
    assert {"digits", "lenet-300-100"} <= set(recipe_names())


def test_toml_and_json_agree(tmp_path):
    recipe = parse_recipe(TEXT, "x.toml")
    assert recipe.growth.policies == (ConnectionGrowth(fraction=0.1), NeuronGrowth(rule="rank_one"))
    assert recipe.pruning.policies == (MagnitudePruning(),)
    (tmp_path / "small.toml").write_text(TEXT)
    (tmp_path / "small.json").write_text(recipe.model_dump_json())
    assert load_recipe(tmp_path / "small.toml") == load_recipe(str(tmp_path / "small.json")) == recipe


def test_a_seed_network_is_of_the_kind_and_size_asked_for():
    recipe = parse_recipe(TEXT, "x.toml")
    assert recipe.seed_network.build(3).connection_count == round(0.1 * 64 * 12) + 12
    lenet = recipe.seed_network.model_copy(update={"kind": "lenet_5", "widths": None, "width": 0.1})
    assert [len(lenet.build(0).units(name)) for name in ("conv1", "conv2", "fc1", "output")] == [2, 5, 50, 10]


WRONG = {
    "wrong type": ("seed_epochs = 3", 'seed_epochs = "three"', "seed_epochs", "'three'"),
    "a fraction of an epoch": ("seed_epochs = 3", "seed_epochs = 2.5", "seed_epochs", "2.5"),
    "true for a number": ("seed_epochs = 3", "seed_epochs = true", "seed_epochs", "True"),
    "not a number": ("learning_rate = 0.02", "learning_rate = nan", "training.learning_rate", "nan"),
    "infinity": ("learning_rate = 0.02", "learning_rate = inf", "training.learning_rate", "inf"),
    "a date": ("learning_rate = 0.02", "learning_rate = 2020-02-02", "training.learning_rate", "2020-02-02"),
    "out of range": ("learning_rate = 0.02", "learning_rate = -1.0", "training.learning_rate", "-1.0"),
    "a batch too small to normalise": ("learning_rate = 0.02", "batch_size = 2", "training.batch_size", "2"),
    "unknown field": ("learning_rate = 0.02", "learningrate = 0.02", "training.learningrate", "unknown key"),
    "unknown policy": ('"magnitude_pruning"', '"magic"', "pruning.policies[0]", "'magic'"),
    "wrong option of a policy": (
        "fraction = 0.1",
        "fraction = 2.0",
        "growth.policies[0].connection_growth.fraction",
        "2.0",
    ),
    "policy of the wrong side": ('"connection_growth"', '"unit_pruning"', "growth.policies[0]", "'unit_pruning'"),
    "no policies": ('[{ kind = "magnitude_pruning" }]', "[]", "pruning.policies", "at least 1 item"),
    "missing field": ("size_limit = 500", "", "growth.size_limit", "missing"),
    "missing section": ('[data]\nname = "digits"', "", "data", "missing"),
    "unknown dataset": ('"digits"', '"imagenet"', "data.name", "'imagenet'"),
    "widths of a lenet": ('"mlp"', '"lenet_5"', "seed_network.widths", "does nothing without kind"),
    "a perceptron of widths and of neurons": (
        "widths = [64, 12, 10]",
        "widths = [64, 12, 10]\nneurons = [12]",
        "seed_network.neurons",
        "does nothing without inputs and outputs that are the data's",
    ),
    "no units": ("[64, 12, 10]", "[64, 0, 10]", "seed_network.widths[1]", "0"),
    "a name that is a path": ('"small"', '"../small"', "name", "'../small'"),
}
DATED = ("a date", ".json")  # JSON has none


@pytest.mark.parametrize(
    ("case", "suffix"), [(case, suffix) for case in WRONG for suffix in (".toml", ".json") if (case, suffix) != DATED]
)
def test_what_is_wrong_is_one_sentence_that_names_the_field(case, suffix, tmp_path):
    old, new, field, got = WRONG[case]
    assert TEXT.count(old) == 1
    text = TEXT.replace(old, new)
    if suffix == ".json":
        text = json.dumps(tomllib.loads(text))
    path = tmp_path / f"recipe{suffix}"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {field}: ")
    assert got in message
    assert "\n" not in message


BROKEN = {
    "an open bracket": ("[data", ".toml"),
    "too deep for TOML": ("a = " + "[" * 100_000, ".toml"),
    "a NUL": ("a = 1\0", ".toml"),
    "half an object": ('{"name": ', ".json"),
    "a list": ("[]", ".json"),
    "too deep for JSON": ("[" * 100_000, ".json"),
    "nothing": ("", ".json"),
    "not text": (b"\xff\xfe", ".toml"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_one_sentence(case, tmp_path):
    content, suffix = BROKEN[case]
    path = tmp_path / f"recipe{suffix}"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("name", ["mnist", "digits.yaml", "", "nowhere/recipe.toml", "a\0.json", "."])
def test_a_recipe_that_is_not_there_is_one_sentence(name):
    with pytest.raises(RecipeError) as caught:
        load_recipe(name)
    assert any(words in str(caught.value) for words in ("digits", "cannot be read", "without NUL"))


def test_a_folder_is_no_recipe(tmp_path):
    (tmp_path / "x.toml").mkdir()
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipe(tmp_path / "x.toml")


def test_recipes_are_values():
    recipe = load_recipe("digits")
    assert hash(recipe) == hash(load_recipe("digits"))
    with pytest.raises(RecordError):
        recipe.seed_epochs = 5
    with pytest.raises(RecordError):
        Recipe.model_validate({**recipe.model_dump(), "seed_epochs": 0})


def test_the_schema_on_the_disk_is_fresh(tmp_path):
    write_schemas(tmp_path, recipe_record())
    assert SCHEMA.read_bytes() == (tmp_path / SCHEMA.name).read_bytes(), "run: nestgraph schema --out schemas"
