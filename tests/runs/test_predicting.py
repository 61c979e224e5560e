"""Runs over tables: columns.json goes with the networks, and raw rows are told by what lies beside a network."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

import nestgraph as ng
from nestgraph.data.tables.frames import table_of
from nestgraph.errors import DataError, SnapshotError
from nestgraph.graph.reference import predict as reference
from nestgraph.recipes.recipe import parse_recipe
from nestgraph.runs.columns import read_columns, save_columns
from nestgraph.runs.predicting import predict
from nestgraph.runs.run_files import COLUMNS, check_manifest
from tests.cli.running import run as verb

pytestmark = pytest.mark.usefixtures("plain")

RECIPE = """
name = "table"
[data]
kind = "csv"
path = "{path}"
target = "species"
[seed_network]
kind = "mlp"
neurons = [4]
density = 0.8
batch_norm = false
[training]
batch_size = 16
threads = 1
[pruning]
policies = [{{ kind = "magnitude_pruning", fraction = 0.3 }}]
max_edits = 1
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A file of rows in two classes, of which a column of numbers and one of cities tell."""
    rng = np.random.default_rng(1)
    rows = 90
    age, city = rng.normal(40, 10, rows).round(1), rng.choice(["Rome", "Oslo"], rows)
    species = np.where(age + 8 * (city == "Rome") > 43, "cat", "dog")
    age[::9] = np.nan
    path = tmp_path_factory.mktemp("table") / "rows.csv"
    pd.DataFrame({"age": age, "city": city, "species": species}).to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    recipe = parse_recipe(RECIPE.format(path=table), "r.toml")
    return ng.synthesize(recipe, tmp_path_factory.mktemp("run") / "run", seed=2)


def test_a_run_keeps_what_it_did_to_the_rows(run):
    check_manifest(run.folder)
    assert COLUMNS in json.loads((run.folder / "manifest.json").read_text())["files"]
    preparation = read_columns(run.folder)
    assert preparation.features == ("age", "age is missing", "city = Oslo", "city = Rome")


def test_raw_rows_are_told_as_the_network_tells_their_numbers(run, table):
    told = predict(run.folder / "final.json", table)
    rows = pd.read_csv(table)
    outputs = reference(run.stage("final"), read_columns(run.folder).inputs(table_of(rows)).astype(float))
    assert told["species"].tolist() == np.array(["cat", "dog"])[outputs.argmax(1)].tolist()
    shares = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    assert told["species = dog"] == pytest.approx(shares[:, 1])
    again = predict(run.stage("final"), rows.drop(columns="species").assign(more=1), read_columns(run.folder))
    assert all(np.array_equal(again[name], told[name]) for name in told)


def test_the_report_of_a_run_without_growth_says_none(run, tmp_path):
    first, last = (run.stage(stage).connection_count for stage in ("seed", "final"))
    text = ng.report(run.folder, tmp_path / "report.html").read_text()
    assert f"A seed of {first} connections was pruned to {last}, " in text


def test_a_network_that_is_not_there_is_said_first(run, table):
    with pytest.raises(SnapshotError, match=r"none\.json: cannot be read"):
        predict(run.folder / "none.json", table)
    with pytest.raises(SnapshotError, match=r"run: cannot be read .*name a file"):
        predict(run.folder, table)


def test_columns_go_with_a_network_that_is_moved(run, table, tmp_path):
    shutil.copy(run.folder / "final.json", tmp_path / "net.json")
    with pytest.raises(DataError, match=r"expected net.columns.json or columns.json beside it"):
        predict(tmp_path / "net.json", table)
    save_columns(read_columns(run.folder), tmp_path / "net.columns.json")
    assert predict(tmp_path / "net.json", table)["species"].tolist()


def test_what_training_did_not_see_is_told(run):
    rows = pd.DataFrame({"age": [30.0], "city": ["Bonn"]})
    with pytest.warns(UserWarning, match="column 'city' has 'Bonn', unseen in training"):
        predict(run.folder / "final.json", rows)


TASKS = {
    "quantiles": ('target = "age"', '{ kind = "regression", loss = "quantile" }', ["age", "age at 0.1", "age at 0.9"]),
    "a spread": ('target = "age"', '{ kind = "regression", loss = "gaussian" }', ["age", "age deviation"]),
    "rows": ("", '{ kind = "reconstruction" }', ["age", "city", "species"]),
}


@pytest.mark.parametrize("case", TASKS)
def test_what_a_task_asks_of_outputs_goes_with_the_networks(case, table, tmp_path):
    target, task, names = TASKS[case]
    recipe = RECIPE.format(path=table).replace('target = "species"', target).replace("[data]", f"task = {task}\n[data]")
    run = ng.synthesize(parse_recipe(recipe, "r.toml"), tmp_path / "run")
    told = predict(run.folder / "final.json", table)
    assert list(told) == names
    assert {len(values) for values in told.values()} == {90}


def test_an_export_on_the_command_line_takes_raw_rows_where_columns_lie_beside(run, tmp_path):
    final = run.folder / "final.json"
    raw = verb("export", final, tmp_path / "net.py", "--json")
    assert json.loads(raw.stdout)["columns"] == ["age", "city"]
    assert "def predict(network, rows):" in (tmp_path / "net.py").read_text()
    plain = verb("export", final, tmp_path / "plain.py", "--prepared", "--json")
    weights = verb("export", final, tmp_path / "weights.safetensors", "--json")
    assert [json.loads(each.stdout)["columns"] for each in (plain, weights)] == [[], []]
    assert "def predict" not in (tmp_path / "plain.py").read_text()
    assert verb("export", final, tmp_path / "x.py", "--prepared", "--columns", final).exit_code == 2


REFUSED = {
    "a column that is missing": ({"age": [1.0]}, "expected one of the columns 'age', got 'city'"),
    "words for numbers": ({"age": ["old"], "city": ["Rome"]}, "column 'age': expected numbers, got 'old'"),
    "too large": ({"age": [1e300], "city": ["Rome"]}, "as large as those that trained"),
    "infinite": ({"age": [np.inf], "city": ["Rome"]}, "column 'age': expected finite numbers, got inf in row 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_rows_that_do_not_fit_are_refused(run, case):
    rows, sentence = REFUSED[case]
    with pytest.raises(DataError, match=sentence):
        predict(run.folder / "final.json", pd.DataFrame(rows))


def test_what_is_no_table_is_refused(run, table, tmp_path):
    with pytest.raises(DataError, match="expected a file of a table, or a frame, got 3"):
        predict(run.folder / "final.json", 3)
    with pytest.raises(DataError, match="predict expected columns"):
        predict(run.stage("final"), table)
    with pytest.raises(DataError, match="expected a network that reads 4 numbers a row, got one of 3"):
        predict(ng.seeds.mlp((3, 2), 1.0, 0), table, run.folder)
    (tmp_path / "columns.json").write_text('{"format": "nestgraph.columns", "version": 2, "columns": []}')
    with pytest.raises(SnapshotError, match="version"):
        predict(run.stage("final"), table, tmp_path / "columns.json")


def test_a_run_over_a_table_again_gives_the_same_bytes(run, tmp_path):
    again = ng.synthesize(run.recipe, tmp_path / "again", seed=2)
    names = ("columns.json", "final.json", "metrics.jsonl", "journal.jsonl")
    assert all((again.folder / name).read_bytes() == (run.folder / name).read_bytes() for name in names)
