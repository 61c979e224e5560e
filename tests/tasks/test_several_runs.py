"""Runs of networks with several inputs and outputs: trained whole, gated by one output, gone on with, shown, told."""

import csv
import json
import os
import signal

import numpy as np
import pytest
import torch

import nestgraph as ng
from nestgraph.cli.results import evaluation, evaluation_rows, result_rows
from nestgraph.data.minibatch import Minibatch
from nestgraph.errors import DataError, NestgraphError, RecipeError, RecordError
from nestgraph.loop.means import mass
from nestgraph.loop.trainer import Trainer
from nestgraph.recipes.recipe import TrainingOptions, parse_recipe
from nestgraph.runs.run import Run
from nestgraph.studies.results import results_page
from nestgraph.studies.sections import read_sections
from nestgraph.tasks.several import Several

COUNT = 90
RNG = np.random.default_rng(0)
LEFT, RIGHT = RNG.standard_normal((COUNT, 4)).astype("f"), RNG.standard_normal((COUNT, 3)).astype("f")
KIND = (LEFT[:, 0] + RIGHT[:, 0] > 0.4).astype(int)
SIZE = 30 + 5 * LEFT[:, 1] - 5 * RIGHT[:, 1]
WEIGHTS = RNG.random(COUNT).astype("f")
TASKS = {"kind": {"kind": "classification", "class_weights": "balanced"}, "size": {"kind": "regression"}}
TASK = {"kind": "several", "tasks": TASKS, "shares": {"size": 0.001}, "goal": "size.r2"}
METRICS = ["size.r2", "kind.accuracy", "kind.loss", "size.mae", "size.loss"]

pytestmark = pytest.mark.usefixtures("plain")


def recipe(**changes):
    content = {
        "name": "two",
        "data": {"kind": "custom"},
        "task": TASK,
        "seed_network": {"kind": "mlp", "neurons": [8], "density": 0.6, "batch_norm": False},
        "training": {"threads": 1, "optimizer": "adam", "learning_rate": 0.02, "batch_size": 16, "accumulate": 2},
        "seed_epochs": 2,
        "growth": {"size_limit": 200, "max_edits": 1, "policies": [{"kind": "connection_growth"}]},
        "shift": {"epochs": 0},
        "pruning": {
            "max_edits": 1,
            "tolerance": 0.5,
            "recovery_epochs": 0,
            "policies": [{"kind": "magnitude_pruning"}],
        },
    }
    return parse_recipe(json.dumps({**content, **changes}), "two.json")


def named(weighted=True):
    return ng.split(({"a": LEFT, "b": RIGHT}, {"kind": KIND, "size": SIZE}, *([WEIGHTS] if weighted else [])))


def in_order():
    return ng.split(((LEFT, RIGHT), (KIND, SIZE), WEIGHTS))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patched:
        for picture in ("draw_stage", "draw_run"):
            patched.setattr(f"nestgraph.runs.run_folder.{picture}", lambda *_: None)
        return ng.synthesize(recipe(), tmp_path_factory.mktemp("run") / "whole", data=named())


def contents(folder):
    names = [path for path in folder.iterdir() if path.is_file() and path.name != "timing.jsonl"]
    return {path.name: path.read_bytes() for path in names}


# -- runs --------------------------------------------------------------------------------------------------


def test_a_run_has_the_metrics_of_all_outputs_and_gates_on_one(whole):
    assert Run.read(whole.folder).recipe == recipe()
    assert {row.phase for row in whole.metrics} >= {"seed", "grow", "prune"}
    for row in whole.metrics:
        assert list(row.scores) == METRICS
        assert row.loss == pytest.approx(row.scores["kind.loss"] + 0.001 * row.scores["size.loss"])
    assert list(whole.result.stages[-1].test) == [*METRICS, "loss"]
    assert whole.result.goal == "size.r2"
    network = whole.network
    assert [port.layer for port in network.inputs] == ["input1", "input2"]
    assert [port.layer for port in network.outputs] == ["kind", "size"]


def test_whoever_shows_a_run_shows_its_outputs(whole, tmp_path):
    goal, final = whole.result.aim, whole.result.stages[-1]
    shown = goal.metric.shown(final.test["size.r2"])
    text = ng.report(whole.folder, tmp_path / "report.html").read_text()
    assert f'<span class="value">{shown}</span>' in text
    assert "size R²" in text
    assert result_rows([whole.result])[-1][-1] == shown
    assert f"| {shown} |" in results_page(read_sections([whole.folder]))
    found = Trainer(named(), TrainingOptions(), task=recipe().task).measure(whole.network, "test")
    assert found.told == final.test


def test_an_interrupted_run_goes_on_to_the_same_bytes(whole, tmp_path):
    def stop(row, _):
        if row.phase == "grow":
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(ng.Interrupted):
        ng.synthesize(recipe(), tmp_path / "parts", data=named(), progress=stop)
    with pytest.raises(NestgraphError, match="the data changed"):
        ng.resume(tmp_path / "parts", data=named(weighted=False))
    ng.resume(tmp_path / "parts", data=named())
    assert contents(tmp_path / "parts") == contents(whole.folder)


def test_order_does_where_there_are_no_names(whole, tmp_path):
    run = ng.synthesize(recipe(), tmp_path / "run", data=in_order())
    assert run.network == whole.network
    assert [row.scores for row in run.metrics] == [row.scores for row in whole.metrics]


def test_batches_of_a_loader_have_several_targets(tmp_path):
    class Both(torch.utils.data.Dataset):
        def __len__(self):
            return COUNT

        def __getitem__(self, place):
            return (LEFT[place], RIGHT[place]), {"kind": int(KIND[place]), "size": SIZE[place : place + 1]}

    data = ng.dataset(Both(), Both(), size=30)
    assert {name: (each.classes, each.width) for name, each in data.facts.parts.items()} == {
        "kind": (2, 1),
        "size": (0, 1),
    }
    run = ng.synthesize(recipe(growth=None), tmp_path / "run", data=data)
    assert list(run.metrics[-1].scores) == METRICS
    again = ng.synthesize(recipe(growth=None), tmp_path / "again", data=ng.dataset(Both(), Both(), size=30))
    assert again.network == run.network


def test_a_network_of_ones_own_has_outputs_in_the_order_of_the_tasks(tmp_path):
    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.left, self.right = torch.nn.Linear(4, 6), torch.nn.Linear(3, 6)
            self.kind, self.size = torch.nn.Linear(6, 2), torch.nn.Linear(6, 1)

        def forward(self, a, b):
            common = torch.relu(self.left(a) + self.right(b))
            return self.kind(common), self.size(common)

    torch.manual_seed(0)
    network = ng.import_module(Two(), (torch.randn(3, 4), torch.randn(3, 3)))
    ng.save(network, tmp_path / "net.json")
    own = recipe(seed_network={"kind": "snapshot", "path": str(tmp_path / "net.json")})
    run = ng.synthesize(own, tmp_path / "run", data=named())
    assert run.network.connection_count < network.connection_count
    swapped = {**TASK, "tasks": dict(reversed(TASKS.items()))}
    one = np.ones((COUNT, 1), "f") * SIZE[:, None]
    with pytest.raises(DataError, match="2 outputs of 1 and 2 output neurons"):
        ng.synthesize(recipe(task=swapped, seed_network=own.seed_network.model_dump()), data=named())
    joint = ng.seeds.joint_mlp((4, 3), (5,), {"size": 1, "other": 1})
    tasks = {name: ng.task("regression") for name in ("other", "size")}
    data = ng.split(((LEFT, RIGHT), {"size": one, "other": -one}))
    with pytest.raises(DataError, match="tasks in the network's order, size, other, got other, size"):
        Trainer(data, TrainingOptions(), task=Several(tasks=tasks)).bench(joint)


# -- laws --------------------------------------------------------------------------------------------------


def test_batches_that_are_added_up_are_the_whole_with_weights_of_classes_and_samples():
    """What accumulation, evidence and the loss of a split are made of: mean losses, each times its mass."""
    trainer = Trainer(named(), TrainingOptions(batch_size=16), task=recipe().task)
    network = ng.seeds.joint_mlp((4, 3), (5,), {"kind": 2, "size": 1}, batch_norm=False)
    module = ng.lower(network)

    def found(most):
        batches = [Minibatch(inputs, tuple(told)) for inputs, *told in trainer.samples(network, "train", most)]
        losses = [trainer.task.loss(module(*batch.inputs), *batch.told) for batch in batches]
        masses = [mass(batch, trainer.task) for batch in batches]
        total = sum(each * counted for each, counted in zip(losses, masses, strict=True)) / sum(masses)
        return [total, *torch.autograd.grad(total, [p for p in module.parameters() if p.requires_grad])]

    whole, parts = found(COUNT), found(7)
    assert whole[0].item() == pytest.approx(trainer.measure(network, "train").loss, rel=1e-6)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    gathered = [
        ng.gather(network, list(trainer.samples(network, "train", most)), trainer.task, ["gradients"])
        for most in (COUNT, 7)
    ]
    for name, gradient in gathered[0].gradients.items():
        np.testing.assert_allclose(gathered[1].gradients[name], gradient, rtol=1e-3, atol=1e-5)


def test_weights_of_classes_only_shift_between_them():
    trainer = Trainer(named(weighted=False), TrainingOptions(), task=recipe().task)
    told = trainer.dataset.train.targets["kind"]
    assert np.asarray(trainer.task.tasks["kind"].class_weights)[told].mean() == pytest.approx(1)
    assert trainer.loss_limit == pytest.approx(1000 * (1 + 0.001 * (trainer.dataset.train.targets["size"] ** 2).mean()))
    assert trainer.floor == 0.0


# -- tables ------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.csv"
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["a", "b", "colour", "sort", "how long", "wet", "hot"])
        for a, b in LEFT[:, :2].tolist():
            row = ["red" if a > 0 else "blue", "big" if a + b > 0 else "small", 100 + 10 * b, int(b > 0), int(a > 0)]
            rows.writerow([a, b, *row])
    return path


def of_table(table, target, tasks, **more):
    data = {"kind": "csv", "path": str(table), "target": target, **more}
    return recipe(data=data, task={"kind": "several", "tasks": tasks, "goal": "-loss"}, growth=None)


def test_columns_of_several_kinds_are_told(table, tmp_path):
    """Raw rows to targets in their words and units, by the columns of each output."""
    tasks = {
        "sort": {"kind": "classification"},
        "length": {"kind": "regression", "metrics": ["rmse"]},
        "labels": {"kind": "multi_label"},
    }
    asked = of_table(table, {"labels": ["wet", "hot"], "sort": "sort", "length": "how long"}, tasks)
    run = ng.synthesize(asked, tmp_path / "run")
    final = run.result.stages[-1].test
    data = asked.load(0)
    assert data.facts.parts["sort"].names == ("big", "small")
    assert data.facts.parts["labels"].names == ("wet", "hot")
    raw = run.folder / "rows.csv"
    raw.write_text("a,b,colour\n1.0,2.0,red\n-1.0,-0.5,blue\n")
    told = ng.predict(run.folder / "final.json", raw)
    assert list(told) == ["sort", "sort = big", "sort = small", "how long", "wet", "hot"]
    assert set(told["sort"]) <= {"big", "small"}
    outputs = ng.lower(run.network).eval()(torch.from_numpy(data.preparation.inputs(table_of(raw))))
    target = data.preparation.target.parts["length"]
    expected = outputs[1][:, 0].detach().numpy() * target.deviations[0] + target.means[0]
    np.testing.assert_allclose(told["how long"], expected, rtol=1e-5)
    trained = Trainer(data, TrainingOptions(), task=asked.task)
    assert trained.task.tasks["length"].scales == target.deviations
    found = evaluation(run.network, "it", asked, "test", 0, "cpu")
    assert {name: found[name] for name in final} == final
    assert any(row[0] == "length root mean squared error" for row in evaluation_rows(found))


def table_of(path):
    from nestgraph.data.tables.options import read_table

    return read_table(path)


def test_columns_without_names_are_outputs_of_their_own(table):
    tasks = {"wet": {"kind": "binary"}, "sort": {"kind": "classification"}}
    data = of_table(table, ["sort", "wet"], tasks, ignore=["how long", "hot"]).load(0)
    assert list(data.train.targets) == ["wet", "sort"]
    assert sorted(np.unique(data.train.targets["wet"]).tolist()) == [0, 1]
    frame_like = ng.split(read := table_of(table), target={"x": "sort", "y": "how long"}, seed=0)
    assert {name: part.classes for name, part in frame_like.facts.parts.items()} == {"x": 2, "y": 0}
    with pytest.raises(DataError, match="expected columns of numbers for one output, got those of several"):
        ng.split(read, target={"x": "sort"}, wanted="numbers")


# -- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (["sort", "wet"], r"columns for the outputs of the task \(sort, size\), got some for sort, wet: name them"),
        ({"sort": "sort", "size": "gone"}, "gone"),
        ({"sort": "sort", "size": "colour"}, "column 'colour': expected numbers to learn, got '"),
        ("sort", "got some for sort"),
    ],
)
def test_columns_that_are_not_those_of_the_tasks(target, words, table):
    tasks = {"sort": {"kind": "classification"}, "size": {"kind": "regression"}}
    with pytest.raises(DataError, match=words) as caught:
        of_table(table, target, tasks).load(0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ({"kind": KIND, "weight": SIZE}, "expected targets kind, size, got kind, weight"),
        ((KIND,), "expected 2 targets, by name or in their order, got 1"),
        (KIND, "expected 2 targets, by name or in their order, got"),
        ({"kind": SIZE, "size": SIZE}, "output 'kind': task 'classification': expected"),
        ({"kind": KIND * 0, "size": SIZE}, "output 'kind': .*at least two classes"),
        ({"kind": KIND, "size": SIZE * np.nan}, "finite"),
    ],
)
def test_targets_that_are_not_those_of_the_tasks(targets, words, tmp_path):
    with pytest.raises(DataError, match=words) as caught:
        ng.synthesize(recipe(), tmp_path / "run", data=ng.split(((LEFT, RIGHT), targets)))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_splits_of_other_targets_are_refused():
    train, other = ((LEFT, RIGHT), {"kind": KIND, "size": SIZE}), ((LEFT, RIGHT), {"kind": KIND})
    with pytest.raises(DataError, match="validation: expected targets as in train, kind, size, got kind"):
        ng.dataset(train, other)
    with pytest.raises(DataError, match="names beside one target"):
        ng.dataset(train, train, names=("a", "b"))
    with pytest.raises(DataError, match="one target, as a task 'regression' learns, got several"):
        ng.synthesize(recipe(task={"kind": "regression"}), data=named())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"task": {**TASK, "shares": {"age": 1.0}}}, "shares: expected outputs among kind, size, got 'age'"),
        ({"task": {**TASK, "goal": "size.rmse"}}, "write '-size.rmse'"),
        ({"task": {**TASK, "goal": "age.r2"}}, "goal: expected one of kind.accuracy"),
        ({"task": {**TASK, "tasks": {"a": {"kind": "several", "tasks": TASKS}}}}, "task.*'several'"),
        ({"baseline": "ridge"}, "a task with one output beside it"),
    ],
)
def test_recipes_that_name_no_task_of_several_outputs(changes, words):
    with pytest.raises(RecipeError, match=words):
        recipe(**changes)


@pytest.mark.parametrize("seed", [{"kind": "cnn"}, {"kind": "mlp", "widths": [7, 5, 3]}])
def test_seeds_of_one_output_are_refused(seed, tmp_path):
    with pytest.raises(RecipeError, match=r"expected one input and one output, got data with 2 and a task with 2: use"):
        ng.synthesize(recipe(seed_network=seed), tmp_path / "run", data=named())


def test_directions_of_metrics_of_ones_own_are_ones_own():
    own = ng.task(metrics={"worst": lambda o, t: (o - t).abs().max()}, goal="-worst")
    assert Several(tasks={"a": own}, goal="-a.worst").aim.sign == -1
    with pytest.raises(RecordError, match="goal: expected one of"):
        Several(tasks={"a": own}, goal="-a.best")
