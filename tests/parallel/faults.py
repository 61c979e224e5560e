"""What one process has and the others have not, and what is said of it."""

from functools import partial

import numpy as np
import pytest
import torch

import nestgraph as ng
from nestgraph.edits import SetMask
from nestgraph.errors import TrainingError
from nestgraph.loop.stepping import Steps
from nestgraph.lowering.workbench import Workbench
from nestgraph.parallel.agreement import agree
from nestgraph.seeds import mlp
from tests.parallel.runs_together import digits_as_images, recipe_of


def bench_of(ranks):
    """A bench that was trained, edited and brought back, alike in all processes."""
    made = Workbench(mlp((8, 6, 5, 3), 1.0, 0), lambda module: torch.optim.Adam(module.parameters(), 0.1))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made.module(torch.rand(16, 8)).square().mean().backward()
    made.optimizer.step()
    made.take_in()
    agree(ranks, made, "a training")
    made.apply(turned_off(3))
    agree(ranks, made, "an edit")
    made.undo()
    agree(ranks, made, "undo")
    return made


def turned_off(count):
    """An edit of the first connections."""
    entries, off = np.arange(count), np.zeros(count, bool)
    return SetMask(projection="input_to_fc1", entries=entries, active=off, weights=off.astype(np.float32))


def a_buffer(ranks, alone, _):
    made = bench_of(ranks)
    if alone:
        next(each for name, each in made.module.named_buffers() if name.endswith("running_mean"))[2] += 1
        made.take_in()
    agree(ranks, made, "training grow 3")


def a_plan(ranks, alone, _):
    made = bench_of(ranks)
    made.apply(turned_off(1 + alone))
    agree(ranks, made, "prune 2 connections")


def a_moment(ranks, alone, _):
    made = bench_of(ranks)
    if alone:
        next(iter(made.optimizer.state.values()))["exp_avg"][0] += 1
    agree(ranks, made, "training grow 4")


def a_dataset(_, alone, folder):
    images, labels = digits_as_images()
    images[5, 0, 14, 14] += alone
    ng.synthesize(recipe_of("images"), folder / "other", 0, data=ng.split((images[:300], labels[:300]), seed=0))


def a_recipe(_, alone, folder):
    ng.synthesize(recipe_of("digits", learning_rate=0.01 + 0.01 * alone), folder / "other", 0)


def a_training(_, alone, folder):
    whole = Steps.finish

    def parted(steps):
        whole(steps)
        with torch.no_grad():
            next(steps.module.parameters()).add_(alone)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "finish", parted)
        ng.synthesize(recipe_of("digits"), folder / "parted", 0)


def a_folder(ranks, _, folder):
    if ranks.leads:
        (folder / "taken").mkdir()
        (folder / "taken" / "thesis.txt").touch()
    ng.synthesize(recipe_of("digits"), folder / "taken", 0)


def a_batch(_, __, folder):
    ng.synthesize(recipe_of("digits", batch_size=1), folder / "small", 0)


def raised(error, ranks, *_):
    def broken():
        raise error

    ranks.led(broken)


FAULTS = {
    each.__name__: each for each in (a_buffer, a_plan, a_moment, a_dataset, a_recipe, a_training, a_folder, a_batch)
} | {
    "an_error": partial(raised, TrainingError("a policy: expected one thing, got another")),
    "a_bug": partial(raised, ZeroDivisionError("division by zero")),
}


def faults(ranks, folder):
    """What is said of each."""
    said = {}
    for name, fault in FAULTS.items():
        try:
            fault(ranks, ranks.share.number == 1, folder)
        except Exception as error:
            said[name] = f"{type(error).__name__}: {error}"
    return said
