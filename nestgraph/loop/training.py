"""Training a bench on batches that can be read again: it can be left between two steps, and goes on to the bit.

What is trained on and by which loss is the caller's; a trainer's recipe is one such caller.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import torch
from torch import nn

from nestgraph.data.batches import Batches
from nestgraph.data.minibatch import Loss, Minibatch
from nestgraph.errors import TrainingError
from nestgraph.loop.means import mass, mean_loss
from nestgraph.loop.stepping import Steps
from nestgraph.loop.training_state import Place, RandomState, Training, TrainingSaves, random_state, set_random
from nestgraph.lowering.workbench import Workbench
from nestgraph.parallel.ranks import ALONE, Ranks
from nestgraph.runs import interruption
from nestgraph.spec.randomness import derived_seed
from nestgraph.tasks.task import Task


@dataclass(frozen=True)
class Course:
    """What a training goes by.

    Attributes:
        batches: to train on.
        loss: a task, or what gives the mean loss of a batch for outputs, targets and any weights.
        limit: a training whose epoch ends with a larger loss broke down.
        accumulate: batches of a step.
        read: what module and loss are given of a batch.
        validated: gives the loss of a module on other samples after each epoch, for an early stop.
        ranks: the processes that train together, each on its share of every batch.
    """

    batches: Batches
    loss: Loss | Task
    limit: float = math.inf
    accumulate: int = 1
    read: Callable[[Minibatch], Minibatch] = field(default=lambda batch: batch)
    validated: Callable[[nn.Module], float] | None = None
    ranks: Ranks = ALONE


def train(
    bench: Workbench, course: Course, training: Training, steps: Steps, seed: int, saves: TrainingSaves | None = None
) -> None:
    """Train the module of a bench, from the beginning or from the last point that was kept; nothing is taken in.

    Args:
        bench: what is trained.
        course: what it goes by.
        training: which training it is: how many epochs, at which share of all rates.
        steps: of this training, at its beginning.
        seed: of torch's global generators, which are left where the training ends, and of each epoch's order.
        saves: where points are kept, and where it goes on if some are.

    Raises:
        Interrupted: a signal asked for the end; what is kept goes on from here.
        ProcessError: another process ended.
        TrainingError: the loss that ended an epoch is not finite or beyond the limit, or there are no batches.
    """
    bench.module.train()
    module = course.ranks.wrapped(bench.module, not bench.edited.bodies)
    torch.manual_seed(seed)
    place = saves.restore(bench, training, steps) if saves else Place()
    while place.epoch < training.epochs and not steps.over:
        loss = _epoch(bench, module, course, training, steps, derived_seed(seed, "epoch", place.epoch), place, saves)
        place = Place(place.epoch + 1)
        if not (math.isfinite(loss) and loss <= course.limit):
            raise diverged(f"{training.words}, epoch {place.epoch}", f"a loss of {loss}")
        if course.validated:
            with steps.held():
                steps.measured(course.validated(steps.module))
            bench.module.train()
        _reached(bench, training, steps, place, saves)
    steps.finish()


def step(
    module: nn.Module, steps: Steps, batches: Sequence[Minibatch], loss: Loss | Task, ranks: Ranks = ALONE
) -> torch.Tensor:
    """Do a step that has begun, along the gradient of the mean loss of its batches.

    Args:
        module: what is called: that of a bench, or `Ranks.wrapped`.
        steps: of the training.
        batches: of the step, or this process's share of each.
        loss: see `Course`.
        ranks: the processes that do the step, whose gradients are averaged: so each counts its own by what the loss of
            its samples counts among all.

    Returns:
        The mean loss; its mean over the processes is that of all samples.
    """
    masses = [mass(batch, loss) for batch in batches] if len(batches) > 1 or ranks.several else [1.0]
    whole = ranks.meet(sum(masses)) or 1.0
    for place, (batch, counted) in enumerate(zip(batches, masses, strict=True), 1):
        with ranks.apart(module) if place < len(batches) else nullcontext():
            steps.add(partial(_mean_loss, module, batch, mean_loss(loss)), counted / whole * ranks.count)
    return steps.end()


def _mean_loss(module: nn.Module, batch: Minibatch, loss: Loss) -> torch.Tensor:
    return loss(module(*batch.inputs), *batch.told)


def diverged(training: str, got: str) -> TrainingError:
    """What is said of a training that broke down."""
    return TrainingError(f"training ({training}) expected finite numbers, got {got}: lower training.learning_rate")


def _epoch(
    bench: Workbench,
    module: nn.Module,
    course: Course,
    training: Training,
    steps: Steps,
    seed: int,
    place: Place,
    saves: TrainingSaves | None,
) -> float:
    """One pass, or the rest of one; the loss of its last step."""
    ranks = course.ranks
    order = random_state(bench.device)  # what the order of batches may be drawn from
    epoch = course.batches.epoch(seed, ranks.share)
    if place.batch:
        set_random(place.random, bench.device)
    loss, done, batches = None, place.batch, epoch.rest(place.batch)
    while group := list(islice(batches, course.accumulate)):
        steps.begin(training.rate, (place.epoch + done / epoch.count) / training.epochs)
        if ranks.launched:
            torch.manual_seed(ranks.own_seed(derived_seed(seed, "step", done)))
        loss = step(module, steps, [course.read(batch) for batch in group], course.loss, ranks)
        done += len(group)
        if done % course.batches.together == 0 and done < epoch.count:  # between groups, which are varied together
            _reached(bench, training, steps, Place(place.epoch, done), saves, order)
    if loss is None:
        raise TrainingError(f"training ({training.words}) expected batches to train on, got none in an epoch")
    return ranks.mean(loss.item())


def _reached(
    bench: Workbench,
    training: Training,
    steps: Steps,
    place: Place,
    saves: TrainingSaves | None,
    order: RandomState | None = None,
) -> None:
    if saves:
        saves.reached(bench, training, place, order, steps)
    interruption.end_if_wished()
