"""Steps of training: rates, precision, accumulated batches, averages, early ends, time and memory."""

import math
import os
import signal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.data.minibatch import Minibatch
from nestgraph.edits import remove_units
from nestgraph.errors import NestgraphError, TrainingError
from nestgraph.loop import engine, memory, training
from nestgraph.loop.resuming import resume
from nestgraph.loop.stepping import MOST_LEFT_OUT, Steps, optimizers
from nestgraph.loop.synthesis import synthesize
from nestgraph.loop.trainer import Trainer
from nestgraph.lowering import slots
from nestgraph.recipes.recipe import RECIPE, TrainingOptions
from nestgraph.recipes.schedules import rate_share
from nestgraph.runs.interruption import Interrupted
from nestgraph.tasks.classes import Classification
from tests.laws import quick
from tests.loop.tasks import dense_network, toy, toy_trainer
from tests.loop.test_resuming import contents
from tests.loop.test_synthesis import varied

SHORT = varied(seed_epochs=2, growth={"max_edits": 1}, pruning={"max_edits": 1}, finish_epochs=1)
KINDS = {
    "muon": {"optimizer": "muon", "learning_rate": 0.01, "momentum": 0.9},
    "adafactor": {"optimizer": "adafactor", "learning_rate": 0.02},
    "rmsprop": {"optimizer": "rmsprop", "learning_rate": 0.005},
    "half": {"precision": "float16", "accumulate": 3, "schedule": "one_cycle"},
    "bfloat": {"precision": "bfloat16", "ema": 0.9, "schedule": "steps", "warm_up": 0.2},
    "early": {"early_stop": 1, "ema": 0.99, "accumulate": 2, "schedule": "constant"},
    "int8": {"early_stop": 9, "ema": 0.5},
}
progress = st.floats(0, 1)


def options(kind, **more):
    base = {"optimizer": "adam", "learning_rate": 0.01} if "optimizer" not in KINDS[kind] else {}
    return {"batch_size": 160, **base, **KINDS[kind], **more}


# -- rates -------------------------------------------------------------------------------------------------


@given(progress, st.floats(0, 1))
def test_a_cosine_is_what_it_always_was(done, least):
    expected = least + (1 - least) * (1 + math.cos(math.pi * done)) / 2
    assert rate_share(TrainingOptions(final_rate=least), done) == expected


@quick(50)
@given(progress, st.sampled_from(["cosine", "constant", "steps", "one_cycle"]), st.sampled_from([0.0, 0.1, 0.5]))
def test_a_rate_is_a_share_and_a_function_of_how_much_is_done(done, schedule, warm_up):
    chosen = TrainingOptions(schedule=schedule, **({} if schedule == "one_cycle" else {"warm_up": warm_up}))
    share = rate_share(chosen, done)
    assert 0 < share <= 1
    assert share == rate_share(RECIPE.validate_json(SHORT.model_copy(update={"training": chosen}).text).training, done)


def test_the_ends_of_schedules():
    steps = TrainingOptions(schedule="steps", steps=(0.25, 0.5), step_rate=0.5)
    assert [rate_share(steps, done) for done in (0, 0.24, 0.25, 0.5, 1)] == [1, 1, 0.5, 0.25, 0.25]
    cycle = TrainingOptions(schedule="one_cycle", final_rate=0.001)
    assert [rate_share(cycle, done) for done in (0, 0.3, 1)] == pytest.approx([0.04, 1, 0.001])
    warm = TrainingOptions(schedule="constant", warm_up=0.5)
    assert [rate_share(warm, done) for done in (0, 0.25, 0.5, 1)] == pytest.approx([0.01, 0.505, 1, 1])


def test_younger_options_are_left_out_at_their_defaults():
    assert "schedule" not in SHORT.text
    with pytest.raises(NestgraphError, match="final_rate"):
        TrainingOptions(schedule="constant", final_rate=0.5)


# -- runs --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind in ("adafactor", "rmsprop"))) for kind in KINDS]
)
def test_a_run_that_ends_within_trainings_goes_on_to_the_same_bytes(tmp_path, monkeypatch, kind):
    recipe = varied(SHORT, training=options(kind), finish_int8=kind == "int8")
    calls, deadly, end = [0], set[int](), Steps.end

    def counted(self):
        calls[0] += 1
        if calls[0] in deadly:
            os.kill(os.getpid(), signal.SIGINT)
        return end(self)

    monkeypatch.setattr(Steps, "end", counted)
    whole = synthesize(recipe, tmp_path / "whole", seed=3)
    count, calls[0] = calls[0], 0
    deadly |= {2, count // 2, count - 2}
    place = tmp_path / "run"
    with pytest.raises(Interrupted):
        synthesize(recipe, place, seed=3, save_every=0)
    for _ in range(2):
        with pytest.raises(Interrupted):
            resume(place, save_every=0)
    resume(place)
    assert calls[0] == count or "early_stop" in KINDS[kind], "a signal while it measures costs an epoch"
    assert contents(place) == contents(whole.folder)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_pruned_weights_stay_dead_and_the_loss_falls(kind):
    trainer = toy_trainer(**{**options(kind), "batch_size": 20})
    network = dense_network(batch_norm=True)
    bench = trainer.bench(network)
    trainer.fit(bench, 8, "seed", 0)
    bench.apply(remove_units(bench.edited, "fc1", [1]))
    trainer.fit(bench, 8, "grow", 1)
    for slot in slots(bench.edited):
        if slot.is_weight:
            mask = torch.tensor(bench.edited.connection_columns(slot.owner).mask)
            assert slot.tensor(bench.module).dtype == torch.float32
            assert not bench.edited.connection_columns(slot.owner).weight[~mask.numpy()].any()
    assert trainer.measure(bench.edited, "train").loss < trainer.measure(network, "train").loss


def test_muon_needs_a_matrix():
    trainer = toy_trainer(optimizer="muon", learning_rate=0.01)
    kinds = [type(one).__name__ for one in trainer.bench(dense_network()).optimizers]
    assert kinds == ["Muon", "AdamW"]
    with pytest.raises(TrainingError, match="expected weights of two axes"):
        optimizers(trainer.options, torch.nn.Conv2d(1, 2, 3))


# -- accumulation ------------------------------------------------------------------------------------------


def gradients(trainer, batches, weights):
    """Of one step over batches of samples."""
    bench = trainer.bench(dense_network(density=1.0))
    steps = Steps(bench, trainer.options, trainer.device)
    steps.begin(1.0, 0.0)
    inputs, labels = (torch.from_numpy(part) for part in (trainer.dataset.train.inputs, trainer.dataset.train.targets))
    given = [Minibatch((inputs[batch].flatten(1),), (labels[batch], weights[batch])) for batch in batches]
    training.step(bench.module, steps, given, trainer.task)
    return [parameter.grad.clone() for parameter in bench.module.parameters()]


@quick(10)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.sampled_from([0.0, 1.0]))
def test_accumulated_batches_are_the_whole_batch_weights_included(sizes, least):
    trainer, places = toy_trainer(), torch.arange(sum(sizes)) % 60
    weights = least + torch.arange(60) % 3 * 0.5
    whole, parts = (gradients(trainer, batches, weights) for batches in ([places], places.split(sizes)))
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(other, one, rtol=0, atol=3e-7 * max(1.0, float(one.abs().max())))


def test_a_step_has_as_many_batches_as_are_said_and_the_last_what_is_left(monkeypatch):
    trainer = toy_trainer(accumulate=2, batch_size=12)  # five batches
    seen, end, begin = [], Steps.end, Steps.begin
    monkeypatch.setattr(Steps, "begin", lambda self, *given: (seen.append(given[1]), begin(self, *given)))
    monkeypatch.setattr(Steps, "end", lambda self: (seen.append(len(self._parts)), end(self))[1])
    trainer.fit(trainer.bench(dense_network()), 1, "seed", 0)
    assert seen == [0.0, 2, 0.4, 2, 0.8, 1]


# -- precision ---------------------------------------------------------------------------------------------


def overflowing(trainer, times):
    """Steps whose first ones have gradients that overflow."""
    bench = trainer.bench(dense_network())
    steps = Steps(bench, trainer.options, trainer.device)
    weight = next(bench.module.parameters())
    values, scales = [], []
    for number in range(times + 1):
        steps.begin(1.0, 0.0)
        steps.add(lambda number=number: (weight * (math.inf if number < times else 1.0)).sum(), 1.0)
        before = weight.detach().clone()
        values.append((float(steps.end()), torch.equal(weight, before)))
        scales.append(steps.state.scale)
    return values, scales


def test_a_step_that_overflows_is_left_out_and_the_scale_is_halved():
    values, scales = overflowing(toy_trainer(precision="float16"), 3)
    assert [kept for _, kept in values] == [True, True, True, False]
    assert [value for value, _ in values[:3]] == [0.0, 0.0, 0.0]
    assert scales[:3] == [32768.0, 16384.0, 8192.0]


def test_steps_that_overflow_for_ever_are_a_fault():
    values, _ = overflowing(toy_trainer(precision="float16"), MOST_LEFT_OUT)
    assert math.isnan(values[-2][0])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_networks_compute_in_half_precision_while_they_train_only(precision, monkeypatch):
    kinds, loss = [], Classification.loss

    def watched(self, outputs, *told):
        kinds.append(outputs.dtype)
        return loss(self, outputs, *told)

    monkeypatch.setattr(Classification, "loss", watched)
    trainer = toy_trainer(precision=precision)
    bench = trainer.bench(dense_network())
    trainer.fit(bench, 1, "seed", 0)
    assert set(kinds) == {getattr(torch, precision)}
    kinds.clear()
    trainer.evidence(bench.edited, {"gradients", "trial"}, 1, 0).loss(bench.edited)
    assert set(kinds) == {torch.float32}


# -- averages ----------------------------------------------------------------------------------------------


def test_a_training_ends_with_the_moving_average_of_its_steps():
    trainer = toy_trainer(ema=0.5, batch_size=30, optimizer="adam")
    bench = trainer.bench(dense_network())
    seen, end = [], Steps.end

    def watched(self):
        loss = end(self)
        seen.append([parameter.detach().clone() for parameter in bench.module.parameters()])
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Steps, "end", watched)
        trainer.fit(bench, 3, "seed", 0)
    averages = seen[0]
    for number, values in enumerate(seen[1:], 1):
        kept = min(0.5, (1 + number) / (10 + number))
        averages = [kept * old + (1 - kept) * new for old, new in zip(averages, values, strict=True)]
    for parameter, expected in zip(bench.module.parameters(), averages, strict=True):
        torch.testing.assert_close(parameter.detach(), expected, rtol=0, atol=1e-6)
    assert trainer.measure(bench.edited, "train").loss == trainer.measure(bench.edited, "train", bench.module).loss


# -- limits ------------------------------------------------------------------------------------------------


def test_training_ends_when_the_validation_loss_no_longer_falls(monkeypatch):
    trainer, losses = toy_trainer(early_stop=2), iter([1.0, 0.9, 0.95, 0.9, 0.1])
    monkeypatch.setattr(Trainer, "measure", lambda *_: type("Told", (), {"loss": next(losses)}))
    epochs, reached = [], training._reached
    monkeypatch.setattr(training, "_reached", lambda *given: (epochs.append(given[3].epoch), reached(*given)))
    trainer.fit(trainer.bench(dense_network()), 9, "seed", 0)
    assert max(epochs) == 4
    assert next(losses) == 0.1


@pytest.mark.usefixtures("plain")
def test_a_run_ends_when_its_time_is_over(tmp_path, monkeypatch):
    recipe = SHORT.within(50.0)
    assert recipe.training.seconds == 50.0
    monkeypatch.setattr(engine.Engine, "seconds", property(lambda self: 60.0 * (len(self.rows) > 1)))
    run = synthesize(recipe, tmp_path / "run", seed=3)
    assert [row.phase for row in run.metrics] == ["seed", "grow"]
    assert [stage.stage for stage in run.result.stages] == ["seed", "grown", "final"]
    assert run.network == run.stage("final")


def test_what_cannot_fit_is_refused_before_it_is_used(monkeypatch):
    trainer, network = toy_trainer(toy(), optimizer="adam", batch_size=50), dense_network(batch_norm=True)
    module = trainer.bench(network).module
    numbers = sum(parameter.numel() for parameter in module.parameters())
    needed = memory.step_memory(network, trainer.options, 60)
    assert needed >= 4 * 4 * numbers + 2 * 4 * 50 * (36 + 6 + 5 + 3)
    assert memory.step_memory(network, trainer.options, 30) < needed
    monkeypatch.setattr(memory, "available", lambda _: needed)
    trainer.bench(network)
    monkeypatch.setattr(memory, "available", lambda _: needed - 1)
    with pytest.raises(TrainingError, match=r"at least 0\.0 GB for a step of 50 samples, .*lower training\.batch_size"):
        trainer.bench(network)


def test_available_memory_is_that_of_the_system_or_less(tmp_path):
    there = memory.available(torch.device("cpu"))
    assert there is None or 0 < there < 2**50
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("300\n")
    assert memory._of_group(tmp_path) == 700
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._of_group(tmp_path) is None
