"""The laws of tasks: parts add up to the whole, weights count as copies, and metrics are scikit-learn's."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from nestgraph.spec.metrics import LOSS
from nestgraph.tasks.sums import added
from tests.laws import quick
from tests.tasks.kinds import FACTS, TASKS, expected, samples


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
def test_metrics_are_those_of_scikit_learn(name, weighted):
    task, outputs, targets, weights = samples(name)
    given_weights = weights if weighted else None
    found = added([task.scores(outputs, targets, given_weights)])
    assert list(found) == [*task.told, LOSS]
    for metric in task.told:
        told = expected(task, metric, outputs, targets, weights.numpy() if weighted else None)
        assert found[metric] == pytest.approx(told, abs=1e-9), metric


@quick(50)
@given(st.sampled_from(list(TASKS)), st.lists(st.integers(1, 39), max_size=4, unique=True), st.booleans())
def test_the_scores_of_parts_add_up_to_those_of_the_whole(name, cuts, weighted):
    task, outputs, targets, weights = samples(name)
    bounds = [0, *sorted(cuts), 40]
    parts = [slice(a, b) for a, b in itertools.pairwise(bounds)]
    whole = added([task.scores(outputs, targets, weights if weighted else None)])
    lots = [task.scores(outputs[p], targets[p], weights[p] if weighted else None) for p in parts]
    assert added(lots) == pytest.approx(whole, rel=1e-5)
    losses = [float(task.loss(outputs[p], targets[p], weights[p] if weighted else None)) for p in parts]
    masses = [task.weight(targets[p], weights[p] if weighted else None) for p in parts]
    entire = float(task.loss(outputs, targets, weights if weighted else None))
    assert np.average(losses, weights=masses) == pytest.approx(entire, rel=1e-4)


@pytest.mark.parametrize("name", TASKS)
def test_a_sample_of_weight_two_is_the_sample_twice(name):
    task, outputs, targets, weights = samples(name)
    copies = torch.arange(len(outputs)).repeat_interleave(weights)
    outputs.requires_grad_()
    weighted, copied = task.loss(outputs, targets, weights), task.loss(outputs[copies], targets[copies])
    assert weighted.item() == pytest.approx(copied.item(), rel=1e-5)
    (one,), (other,) = torch.autograd.grad(weighted, outputs), torch.autograd.grad(copied, outputs)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)
    told, twice = (
        added([task.scores(*of)]) for of in ((outputs, targets, weights), (outputs[copies], targets[copies]))
    )
    assert told == pytest.approx(twice, rel=1e-5)
    if not task.reads_inputs:
        floors = task.floor(targets.numpy(), weights.numpy()), task.floor(targets[copies].numpy())
        assert floors[0] == pytest.approx(floors[1], rel=1e-6)


def answers(task, targets):
    """Constant answers among which the best one is: classes, grids of numbers, or minima that scipy finds."""
    width = task.outputs(FACTS)
    if task.aim.name in (LOSS, "perplexity") or task.kind == "regression":

        def goal(answer):
            constant = task.constant(torch.tensor(answer, dtype=torch.float32), targets)
            return -task.aim.value(added([task.scores(constant, targets)]))

        start = np.full(width, float(targets.double().mean()))
        if getattr(task, "loss_name", "") == "gaussian":
            start[width // 2 :] = 0.5
        yield optimize.minimize(
            goal, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-7, "maxiter": 4000}
        ).x
    else:
        for corner in np.ndindex(*([2] * width)):
            yield np.asarray(corner) * 2.0 - 1 + np.arange(width) * 1e-3


@pytest.mark.parametrize("loss", [False, True], ids=["goal", "loss as goal"])
@pytest.mark.parametrize("name", [name for name in TASKS if not TASKS[name].reads_inputs])
def test_the_floor_is_the_goal_of_the_best_constant_answer(name, loss):
    task, _, targets, _ = samples(name)
    task = type(task)(**{**dict(task), "goal": "-loss"}) if loss else task
    if loss and task.kind == "classification":
        task = task.model_copy(update={"label_smoothing": 0.0})
    goals = []
    for answer in answers(task, targets):
        constant = task.constant(torch.tensor(answer, dtype=torch.float32), targets)
        goals.append(task.aim.value(added([task.scores(constant, targets)])))
    assert max(goals) == pytest.approx(task.floor(targets.numpy()), abs=2e-3)
    assert max(goals) <= task.floor(targets.numpy()) + 1e-5
