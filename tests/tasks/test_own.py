"""Tasks with a loss and metrics of one's own: they gate runs, are refused in sentences, are wanted again to resume."""

import numpy as np
import pytest
import torch
from torch.nn import functional

import nestgraph as ng
from nestgraph.errors import RecordError, TrainingError
from nestgraph.spec.facts import Facts
from nestgraph.tasks.custom import Custom
from nestgraph.tasks.sums import added
from tests.tasks.kinds import samples


def pinball(outputs, targets):
    return torch.maximum(0.9 * (targets - outputs), 0.1 * (outputs - targets)).mean()


def covered(outputs, targets):
    return float((outputs >= targets).double().mean())


OWN = ng.task(loss=pinball, metrics={"covered": covered, "r2": None}, goal="covered", name="quantile")


def test_a_metric_of_ones_own_is_of_all_samples_at_once():
    _, outputs, targets, _ = samples("regression")
    lots = [OWN.scores(outputs[at], targets[at]) for at in (slice(0, 7), slice(7, 40))]
    found = added(lots)
    assert list(found) == ["covered", "r2", "loss"]
    assert found["covered"] == covered(outputs, targets)
    assert found["loss"] == pytest.approx(float(pinball(outputs, targets)), rel=1e-6)
    assert float(OWN.loss(outputs, targets)) == float(pinball(outputs, targets))


def test_the_floor_is_the_best_of_some_constant_answers():
    targets = np.arange(11, dtype=np.float32)[:, None] ** 2
    loss = ng.task(loss=lambda o, t: functional.l1_loss(o, t), goal="-loss")
    assert loss.floor(targets) == pytest.approx(-np.abs(targets - np.median(targets)).mean())
    assert OWN.floor(targets) == pytest.approx(max((targets <= c).mean() for c in (targets.mean(), 25)))


def test_a_record_of_it_has_no_code_and_takes_that_of_the_same_source_alone():
    record = Custom.model_validate_json(OWN.model_dump_json())
    assert record == OWN
    outputs = torch.zeros(3, 1)
    with pytest.raises(TrainingError, match="expected the metric 'covered' again"):
        record.scores(outputs, outputs)
    assert record.with_code_of(OWN) is OWN
    for other in (None, ng.task(loss=functional.l1_loss), ng.task("regression")):
        with pytest.raises(TrainingError, match="expected its loss and metrics again"):
            record.with_code_of(other)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"kind": "guess"}, "kind: expected one of classification, "),
        ({"loss": 3}, "loss: expected the name of a loss or a callable, got 3"),
        ({"loss": "mist"}, "loss: expected 'mse', 'huber', 'quantile' or 'gaussian', got 'mist'"),
        ({"metrics": {"r2": 3}}, "metrics.r2: expected a callable"),
        ({"metrics": "r2"}, "metrics: expected names such as accuracy"),
        ({"metrics": ["accuracy"]}, "metrics.0: expected 'r2', 'mae' or 'rmse', got 'accuracy'"),
        ({"goal": "rmse"}, "got 'rmse' ('rmse', of which less is better): write '-rmse'"),
        ({"goal": "-r2"}, "write 'r2'"),
        ({"loss": pinball, "goal": "loss"}, "write '-loss'"),
        ({"goal": "accuracy"}, "goal: expected one of r2, mae, rmse, loss, got 'accuracy'"),
    ],
)
def test_what_is_no_task_is_refused_with_the_remedy(arguments, words):
    with pytest.raises(RecordError) as caught:
        ng.task(**arguments)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("loss", "targets", "words"),
    [
        (
            lambda o, t: (o - t) ** 2,
            (5, 1),
            "expected a loss that is one number, got one of shape (5, 1): take its mean",
        ),
        (lambda *_: 3.0, (5, 1), "expected a loss that is one number, got 3.0"),
        (functional.mse_loss, (5,), "got outputs of (5, 1) and targets of (5,): reshape them"),
        (lambda outputs: outputs, (5, 1), "expected a loss that takes outputs and targets, got outputs of (5, 1)"),
    ],
)
def test_a_loss_that_is_none_is_refused_with_the_remedy(loss, targets, words):
    with pytest.raises(TrainingError) as caught:
        ng.task(loss=loss).loss(torch.zeros(5, 1), torch.zeros(targets))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_metric_that_fails_or_gives_no_number_is_refused():
    for metric in (lambda o, t: o + t, lambda *_: 1 / 0):
        task = ng.task(metrics={"mine": metric}, goal="mine")
        with pytest.raises(TrainingError, match="expected a metric 'mine' that gives one number"):
            added([task.scores(torch.zeros(5, 2), torch.zeros(5, 2))])


def test_outputs_are_those_of_the_kind():
    assert OWN.outputs(Facts(inputs=((4,),), width=3)) == 3
    assert ng.task("binary", loss=pinball).outputs(Facts(inputs=((4,),), classes=2)) == 1
