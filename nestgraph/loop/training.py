"""Training a bench on batches that can be read again: it can be left between two of them, and goes on to the bit.

What is trained on, by which loss and at which rates is the caller's; a trainer's recipe is one such caller.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from nestgraph.data.batches import Epoch
from nestgraph.data.minibatch import Loss, Minibatch
from nestgraph.errors import TrainingError
from nestgraph.loop.training_state import Place, RandomState, Training, TrainingSaves, random_state, set_random
from nestgraph.lowering.workbench import Workbench
from nestgraph.runs import interruption
from nestgraph.spec.randomness import derived_seed

Schedule = Callable[[float], float]
"""The share of its learning rate that a group has when a share of the training is done."""


class Passes(Protocol):
    """What a training asks of `Batches`: passes over them."""

    together: int

    def epoch(self, seed: int) -> Epoch:
        """See `Batches`."""
        ...


@dataclass(frozen=True)
class Course:
    """What a training goes by.

    Attributes:
        batches: to train on.
        loss: their mean, of outputs, targets and any weights.
        schedule: of the learning rates that groups have when they are trained first (`initial_lr`).
        limit: a training whose epoch ends with a larger loss broke down.
    """

    batches: Passes
    loss: Loss
    schedule: Schedule
    limit: float = math.inf


def half_cosine(final: float) -> Schedule:
    """A schedule that falls from 1 to `final` along half a cosine."""
    return lambda done: final + (1 - final) * (1 + math.cos(math.pi * done)) / 2


def train(bench: Workbench, course: Course, training: Training, seed: int, saves: TrainingSaves | None = None) -> None:
    """Train the module of a bench, from the beginning or from the last point that was kept; nothing is taken in.

    Args:
        bench: what is trained.
        course: what it goes by.
        training: which training it is: how many epochs, at which share of all rates.
        seed: of torch's global generators, which are left where the training ends, and of each epoch's order.
        saves: where points are kept, and where it goes on if some are.

    Raises:
        Interrupted: a signal asked for the end; what is kept goes on from here.
        TrainingError: the loss that ended an epoch is not finite or beyond the limit, or there are no batches.
    """
    for group in (group for optimizer in bench.optimizers for group in optimizer.param_groups):
        group.setdefault("initial_lr", group["lr"])
    bench.module.train()
    torch.manual_seed(seed)
    place = saves.restore(bench, training) if saves else Place()
    while place.epoch < training.epochs:
        loss = _epoch(bench, course, training, derived_seed(seed, "epoch", place.epoch), place, saves)
        place = Place(place.epoch + 1)
        if not (math.isfinite(loss) and loss <= course.limit):
            raise diverged(f"{training.words}, epoch {place.epoch}", f"a loss of {loss}")
        _reached(bench, training, place, saves)


def step(bench: Workbench, batch: Minibatch, loss: Loss) -> torch.Tensor:
    """One step of all optimizers along the gradient of a batch's loss, which is returned.

    Raises:
        TrainingError: module or loss cannot take the batch.
    """
    for optimizer in bench.optimizers:
        optimizer.zero_grad(set_to_none=True)
    found = batch.loss(bench.module, loss)
    found.backward()
    for optimizer in bench.optimizers:
        optimizer.step()
    return found.detach()


def diverged(training: str, got: str) -> TrainingError:
    """What is said of a training that broke down."""
    return TrainingError(f"training ({training}) expected finite numbers, got {got}: lower training.learning_rate")


def _epoch(
    bench: Workbench, course: Course, training: Training, seed: int, place: Place, saves: TrainingSaves | None
) -> float:
    """One pass, or the rest of one; the loss of its last batch."""
    order = random_state(bench.device)  # what the order of batches may be drawn from
    epoch = course.batches.epoch(seed)
    if place.batch:
        set_random(place.random, bench.device)
    loss, done = None, place.batch
    for batch in epoch.rest(place.batch):
        _set_rates(bench, course.schedule((place.epoch + done / epoch.count) / training.epochs), training.rate)
        loss = step(bench, batch, course.loss)
        done += 1
        if done % course.batches.together == 0 and done < epoch.count:  # between groups, which are varied together
            _reached(bench, training, Place(place.epoch, done), saves, order)
    if loss is None:
        raise TrainingError(f"training ({training.words}) expected batches to train on, got none in an epoch")
    return loss.item()


def _set_rates(bench: Workbench, share: float, rate: float) -> None:
    for group in (group for optimizer in bench.optimizers for group in optimizer.param_groups):
        group["lr"] = group["initial_lr"] * share * rate


def _reached(
    bench: Workbench, training: Training, place: Place, saves: TrainingSaves | None, order: RandomState | None = None
) -> None:
    if saves:
        saves.reached(bench, training, place, order)
    interruption.end_if_wished()
