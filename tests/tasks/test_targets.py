"""Targets that a task cannot learn are refused in one sentence with the remedy; others come in its own form."""

import numpy as np
import pytest
import torch

from nestgraph.errors import DataError, TrainingError
from nestgraph.spec.facts import Facts
from nestgraph.tasks.classes import Binary, Classification, MultiLabel
from nestgraph.tasks.numbers import Regression
from nestgraph.tasks.places import Places
from nestgraph.tasks.sums import added

FACTS = Facts(inputs=((4,),), classes=3, names=("a", "b", "c"))

REFUSED = {
    "text": (Regression(), np.array(["setosa", "b"]), "numbers, got 'setosa': text as targets is a classification"),
    "infinite": (Regression(), np.array([1.0, np.inf, np.nan]), "got inf in row 1 and 1 more: drop such rows"),
    "constant": (Regression(), np.ones(4), "targets that differ, got 1 of all samples: check which column"),
    "one class": (Classification(), np.array([2, 2, 2]), "at least two classes to train on, got 'c' only"),
    "text as classes": (Classification(), np.array(["a", "b"]), "numbers, got 'a': name classes by whole numbers"),
    "out of range": (Classification(), np.array([0, 3]), "expected classes from 0 to 2, got 3"),
    "negative": (Classification(), np.array([-1, 1]), "expected classes from 0 to 2, got -1"),
    "fractions": (Classification(), np.array([0.5, 1]), "classes as whole numbers, got 0.5: numbers are a regression"),
    "one-hot": (Classification(), np.eye(3), "expected one class a sample, (samples,), got targets of (3, 3)"),
    "three of two": (Binary(), np.array([0, 1, 2]), "expected classes from 0 to 1, got 2"),
    "numbers as labels": (MultiLabel(), np.array([[0, 2]]), "0 or 1 for each label, got 2: one class a sample is a"),
    "one kind of labels": (MultiLabel(), np.ones((4, 2)), "labels that some samples have and others have not"),
    "one class for places": (Places(), np.array([0, 1]), "place of a sample, (samples, ...), got targets of (2,): one"),
    "places of one class": (Places(), np.array([[1, 1], [-100, 1]]), "at least two classes to train on, got 'b' only"),
    "places out of range": (Places(), np.array([[0, 3]]), "expected classes from 0 to 2, got 3"),
    "places below 0": (Places(), np.array([[0, -1]]), "expected classes from 0 to 2, got -1"),
    "places of text": (Places(), np.array([["a", "b"]]), "numbers, got 'a': name classes by whole numbers"),
    "no place told": (Places(), np.full((2, 2), -100), "expected places to learn, got none that is told"),
    "weights": (Classification(class_weights=(1.0, 2.0)), np.array([0, 1, 2]), "expected 3 class_weights, one a class"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_learned_is_refused_with_the_remedy(name):
    task, targets, words = REFUSED[name]
    with pytest.raises(DataError) as caught:
        task.fitted(task.prepared(targets, FACTS), FACTS)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"task '{task.kind}': ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "outputs", "targets"),
    [
        (Regression(), (5, 1), torch.zeros(5)),
        (Regression(), (5, 2), torch.zeros(5, 1)),
        (Regression(loss="gaussian"), (5, 1), torch.zeros(5, 1)),
        (Classification(), (5, 3), torch.zeros(5)),
        (Classification(), (5, 3), torch.zeros(4, dtype=torch.long)),
        (Binary(), (5, 2), torch.zeros(5, dtype=torch.long)),
        (MultiLabel(), (5, 2), torch.zeros(5, 3)),
        (Places(), (5, 2), torch.zeros(5, dtype=torch.long)),
    ],
)
def test_shapes_that_would_broadcast_are_refused(task, outputs, targets):
    with pytest.raises(TrainingError, match=r"got outputs of \(5, \d\) and targets of .*: reshape the targets"):
        task.loss(torch.zeros(outputs), targets)


def test_a_class_beyond_the_outputs_is_refused_in_a_batch_too():
    with pytest.raises(TrainingError, match="expected classes from 0 to 2, as the network has outputs, got 7"):
        Classification().loss(torch.zeros(2, 3), torch.tensor([0, 7]))


def test_ranks_of_one_class_are_no_metric():
    task = Classification(metrics=("auroc",))
    with pytest.raises(DataError, match="got one class only: draw the splits with equal shares"):
        added([task.scores(torch.randn(4, 3), torch.tensor([1, 1, 1, 1]))])


def test_balanced_weights_make_classes_count_alike():
    task = Classification(class_weights="balanced").fitted(np.array([0, 0, 0, 1]), Facts(inputs=((4,),), classes=2))
    assert task.class_weights == (4 / 6, 2.0)
    with pytest.raises(TrainingError, match="expected class_weights as numbers, got 'balanced'"):
        Classification(class_weights="balanced").loss(torch.zeros(2, 3), torch.tensor([0, 1]))


def test_errors_are_told_in_the_unit_of_the_targets():
    facts = Facts(inputs=((4,),), width=1, scales=(10.0,))
    targets = Regression().prepared(np.array([0.0, 1.0, 3.0]), facts)
    task = Regression(metrics=("mae", "rmse"), goal="-mae").fitted(targets, facts)
    found = added([task.scores(torch.zeros(3, 1), torch.from_numpy(targets))])
    assert found["mae"] == pytest.approx(40 / 3)
    assert task.floor(targets) == pytest.approx(-10.0)  # the median is 1


def test_limits_are_multiples_of_what_the_answer_0_costs():
    assert Regression().limit(np.full((3, 1), 4.0)) == 16.0
    assert Classification().limit(np.array([0, 1])) == 1.0


def test_how_many_classes_places_have_may_be_said():
    targets = np.array([[0.0, 4.0], [-100.0, 1.0]], np.float32)
    with pytest.raises(DataError, match="expected to know how many classes there are, got targets that do not say"):
        Places().prepared(targets, Facts(inputs=((2,),), width=2))
    assert Places(classes=5).prepared(targets, Facts(inputs=((2,),), width=2)).tolist() == [[0, 4], [-100, 1]]


@pytest.mark.parametrize(
    ("task", "shape", "whether"),
    [
        (Places(), (4, 3), True),
        (Places(), (2, 2, 3), True),
        (Places(), (3, 4), False),
        (Places(axis=1), (3, 2, 2), True),
        (Places(axis=1), (2, 2, 3), False),
        (Places(), (5, 3), False),
        (Places(), (12,), False),
        (Classification(), (3,), True),
        (Classification(), (4, 3), False),
    ],
)
def test_outputs_fit_a_task_or_do_not(task, shape, whether):
    assert task.fit([shape], Facts(inputs=((4,),), classes=3, width=4)) is whether
