"""What people give by mistake, through every door that takes it: one sentence, with what helps."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nestgraph as ng
from nestgraph.integrations.schedules import Schedule
from nestgraph.policies import MagnitudePruning
from nestgraph.recipes.recipe import parse_recipe
from nestgraph.sklearn import NestClassifier, NestRegressor
from tests.cli.running import run

ROWS = 60
X = np.random.default_rng(0).random((ROWS, 3), np.float32)
NUMBERS, CLASSES = X[:, 0] * 2, np.arange(ROWS) % 2
WORDS = np.array(["cat", "dog"])[CLASSES]
NETWORK = ng.seeds.mlp((3, 4, 1))
EMPTY = DataLoader(TensorDataset(torch.zeros(0, 3), torch.zeros(0)), 4)


def recipe(task, **data):
    pruning = {"policies": [{"kind": "magnitude_pruning"}], "tolerance": 0.1}
    return {
        "name": "wrong",
        "data": data or {"kind": "custom"},
        "task": task if isinstance(task, dict) else {"kind": task},
        "seed_network": {"kind": "mlp"},
        "training": {"learning_rate": 0.01},
        "pruning": pruning,
    }


def command(folder, frame, task, target="t", **changes):
    """What `nestgraph synthesize` says of a recipe over a CSV file."""
    frame.to_csv(folder / "t.csv", index=False)
    document = recipe(task, kind="csv", path=str(folder / "t.csv"), target=target) | changes
    (folder / "r.json").write_text(json.dumps(document))
    done = run("synthesize", folder / "r.json", "--out", folder / "run")
    assert done.exit_code in (1, 2)
    assert not (folder / "run" / "final.json").exists()
    raise ng.NestgraphError(done.stderr.strip().splitlines()[-1])


def python(folder, data, kind="classification", task=None):
    """What `synthesize` says of data that are given."""
    return ng.synthesize(parse_recipe(json.dumps(recipe(kind)), "r.json"), folder / "run", data=data, task=task)


def table(t, a=X[:, 0]):
    return pd.DataFrame({"a": a, "b": X[:, 1], "t": t})


def gather(inputs, targets, loss=functional.mse_loss):
    return ng.gather(NETWORK, [(X, NUMBERS[:, None]), (inputs, targets)], loss, {"gradients"})


def holed(values):
    return np.where(np.arange(ROWS) == 7, np.inf, values)


def vector(outputs, targets):
    return (outputs - targets) ** 2


GONE = {"policies": [{"kind": "gone_with_its_package"}], "tolerance": 0.1}
CASES = {
    "labels as text where numbers are meant": {
        "command": (
            lambda at: command(at, table(WORDS), "regression"),
            "numbers to learn, got .* let a task of classes",
        ),
        "frame": (lambda _: ng.split(table(WORDS), target="t", wanted="numbers"), "got 'cat'.*a task of classes"),
        "arrays": (lambda _: ng.split((X, WORDS)), "targets that are numbers, got 'cat': number the classes from 0"),
        "estimator": (lambda _: NestRegressor().fit(X, WORDS), "numbers, got 'cat': NestClassifier tells"),
        "gather": (lambda _: gather(X, WORDS), "targets that are numbers, got 'cat': number the classes"),
    },
    "fractions and measures as classes": {
        "command": (lambda at: command(at, table(NUMBERS), "classification"), "got fractions such as .* regression"),
        "whole": (lambda _: ng.split(table(np.arange(ROWS) // 2), target="t", wanted="classes"), "30 .* in 60 rows"),
        "arrays": (lambda at: python(at, ng.split((X, NUMBERS))), "whole numbers, got .*: numbers are a regression"),
        "rounded": (lambda at: python(at, ng.split((X, np.round(NUMBERS)))), "as integers, got numbers of float32"),
    },
    "a target column that is not there": {
        "command": (lambda at: command(at, table(WORDS), "classification", "tt"), "got 'tt': is 't' meant?"),
        "frame": (lambda _: ng.split(table(WORDS), target="x"), "expected one of the columns 'a', 'b', 't', got 'x'"),
    },
    "one class only": {
        "command": (lambda at: command(at, table(1), "classification"), "two classes to train on, got '1' only: check"),
        "of two": (lambda at: command(at, table("cat"), "binary"), "two classes to train on, got 'cat' only: check"),
        "arrays": (lambda at: python(at, ng.split((X, CLASSES * 0))), "two classes to train on, got 0 only: check"),
        "estimator": (lambda _: NestClassifier().fit(X, CLASSES * 0), "samples of at least 2 classes, got 1 class"),
    },
    "all rows missing": {
        "command": (
            lambda at: command(at, table(None), "classification"),
            "rows with 't', got none of 60: name another",
        ),
        "inputs": (lambda _: ng.split(table(WORDS, None)[["a", "t"]], target="t"), "a column that says something, got"),
        "frame": (lambda _: ng.split(table(None), target="t"), "rows with 't', got none of 60: name another column"),
        "arrays": (lambda _: ng.split((X[:0], CLASSES[:0])), "at least one sample, .* got 0, 0: give as many of both"),
        "gaps": (
            lambda _: ng.split((X * np.nan, CLASSES)),
            "got NaN or infinity: leave such samples out, or fill them",
        ),
        "estimator": (lambda _: NestRegressor().fit(X * np.nan, NUMBERS), "Input X contains NaN"),
    },
    "infinite values": {
        "command": (lambda at: command(at, table(WORDS, holed(1)), "classification"), "got inf in row 8: put finite"),
        "target": (lambda at: command(at, table(holed(NUMBERS)), "regression"), "got inf in row 8: put finite numbers"),
        "arrays": (lambda _: ng.split((X, holed(NUMBERS))), "got NaN or infinity: leave such samples out"),
        "batches": (lambda _: ng.as_batches([(X, holed(1.0))]), "batch 1: .* got NaN or infinity: leave such samples"),
        "estimator": (lambda _: NestRegressor().fit(X, holed(NUMBERS)), "Input y contains infinity"),
        "gather": (
            lambda _: gather(X * np.inf, NUMBERS[:, None]),
            "finite gradients, got NaN or infinity in .*: look for",
        ),
    },
    "a metric with the wrong direction": {
        "command": (
            lambda at: command(at, table(NUMBERS), {"kind": "regression", "goal": "rmse"}),
            "got 'rmse' .* of which less is better.*: write '-rmse'",
        ),
        "task": (lambda _: ng.task("regression", goal="mae"), "of which less is better.*: write '-mae'"),
        "of classes": (lambda _: ng.task("classification", goal="-accuracy"), "more is better.*: write 'accuracy'"),
    },
    "a loss that returns a vector": {
        "gather": (
            lambda _: gather(X, NUMBERS[:, None], vector),
            "a loss that is one number, the mean of a batch, got",
        ),
        "task": (
            lambda at: python(at, ng.split((X, NUMBERS)), "regression", ng.task(loss=vector, goal="-loss")),
            "a loss that is one number, got one of shape .*: take its mean over the samples",
        ),
    },
    "targets (n,) against (n, 1)": {
        "gather": (
            lambda _: gather(X, NUMBERS),
            "the outputs' shape, got outputs of .* and targets of .*: reshape them",
        ),
        "own loss": (
            lambda _: gather(X, NUMBERS, lambda *both: vector(*both).mean()),
            "the outputs' shape, .*: reshape",
        ),
        "task": (lambda _: gather(X, NUMBERS, ng.task("regression")), "outputs of .* and targets of .*: reshape the"),
        "batches": (lambda _: ng.as_batches([(X, NUMBERS), (X, NUMBERS[:, None])]), "batch 2: .*: give all one shape"),
    },
    "a loader that gives nothing": {
        "batches": (lambda _: ng.as_batches(EMPTY), "expected batches, got none: does the loader or function give"),
        "validation": (lambda _: ng.dataset([(X, CLASSES)], EMPTY), "validation: expected batches, got none: does"),
        "gather": (
            lambda _: ng.gather(NETWORK, EMPTY, functional.mse_loss, {"gradients"}),
            "at least one batch, got none: a generator can be read only once",
        ),
    },
    "a one-shot iterator": {
        "batches": (lambda _: ng.as_batches(iter([(X, CLASSES)])), "got list_iterator, which is read once: give a"),
        "dataset": (lambda _: ng.dataset([(X, CLASSES)], (each for each in [])), "got generator, which is read once"),
        "schedule": (
            lambda _: Schedule({1: MagnitudePruning()}, functional.mse_loss, batches=iter([])),
            "can be read again, got list_iterator, which is read once: give a list or a DataLoader",
        ),
    },
    "shapes that change between batches": {
        "batches": (lambda _: ng.as_batches([(X, CLASSES), (X[:, :2], CLASSES)]), "batch 2: .*: give all one shape"),
        "gather": (
            lambda _: gather(X[:, :2], NUMBERS[:, None]),
            "a batch that network and loss can take, got .* resize",
        ),
    },
    "a policy whose package is gone": {
        "command": (
            lambda at: command(at, table(WORDS), "classification", pruning=GONE),
            r"pruning\.policies\[0\]: .* of one that is installed or of a class that is registered, got 'gone_with",
        ),
        "recipe": (
            lambda _: parse_recipe(json.dumps(recipe("binary") | {"pruning": GONE}), "r.json"),
            "one that is inst",
        ),
    },
    "an option that is not there": {
        "near": (lambda at: command(at, table(WORDS), "binary", seed_epoch=1), "unknown key: is 'seed_epochs' meant"),
        "far": (
            lambda at: command(at, table(WORDS), "binary", zzz=1),
            "zzz: unknown key .expected baseline, budget, data, .*",
        ),
        "in a task": (lambda at: command(at, table(WORDS), {"kind": "binary", "gaol": 1}), "is 'goal' meant"),
    },
    "a budget that no network keeps": {
        "estimator": (
            lambda _: NestClassifier(2, epochs=10**6).fit(X, CLASSES + NUMBERS.round().astype(int)),
            "raise co",
        ),
    },
}


@pytest.mark.parametrize(("mistake", "door"), [(mistake, door) for mistake in CASES for door in CASES[mistake]])
def test_a_mistake_is_told_in_one_sentence_with_its_remedy(mistake, door, tmp_path):
    make, words = CASES[mistake][door]
    with pytest.raises((ng.NestgraphError, ValueError)) as told:
        make(tmp_path)
    sentence = str(told.value).split("\n")[0]
    assert re.search(words, sentence), sentence
    assert sentence.isprintable()
    assert len(sentence) < 600
