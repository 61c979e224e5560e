"""The Trainer of Hugging Face grows and prunes; resumed from a checkpoint, it gives the bits of the undisturbed run."""

import json
import os

import pytest
import torch
from torch import nn
from torch.nn import functional

import nestgraph as ng
from nestgraph.errors import LoweringError, TrainingError
from nestgraph.lowering.states import OptimizerState
from nestgraph.policies import ConnectionGrowth, MagnitudePruning, NeuronGrowth, UnitPruning
from tests.integrations.missing import missing
from tests.integrations.recurrent import Recurrent

os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
try:
    from transformers import Trainer, TrainingArguments
except ImportError:
    missing("nestgraph in the Trainer of transformers: pip install 'nestgraph[transformers]'")
from nestgraph.integrations.owners import hand_over
from nestgraph.integrations.transformers import GrowAndPrune, restored

pytestmark = pytest.mark.slow
generator = torch.Generator().manual_seed(0)
X = torch.randn(96, 12, generator=generator)
ROWS = [{"x": x, "labels": y} for x, y in zip(X, X[:, :3].argmax(1), strict=True)]
STEPS = {
    1: [ConnectionGrowth(fraction=0.2), NeuronGrowth(units=2, rule="gradmax")],
    2: UnitPruning(threshold=1.5, fraction=0.3),
    4: MagnitudePruning(fraction=0.3),
}
EPOCHS, EACH = 6, 3
"""Epochs, and steps of each."""


class Model(nn.Module):
    """What a user wraps around a network for the Trainer; the head of dropout draws from torch's generator."""

    def __init__(self, bench):
        super().__init__()
        self.head = nn.Dropout(0.1)
        hand_over(self, "net", bench)

    def forward(self, x, labels=None):
        logits = self.head(self.net(x))
        return {"loss": functional.cross_entropy(logits, labels), "logits": logits}


def make(module):
    return torch.optim.AdamW(module.parameters(), lr=0.02)


def start():
    return ng.Workbench(ng.seeds.mlp((12, 8, 3), density=0.5, seed=0), make)


def trainer(bench, folder, callbacks=None, optimizers=None, model=None, **options):
    torch.manual_seed(0)
    arguments = {"save_strategy": "epoch", "num_train_epochs": EPOCHS, **options}
    arguments |= {"per_device_train_batch_size": 32, "report_to": [], "disable_tqdm": True, "use_cpu": True, "seed": 0}
    edits = GrowAndPrune(bench, STEPS, functional.cross_entropy, lambda batch: (batch["x"], batch["labels"]))
    return Trainer(
        model or Model(bench),
        TrainingArguments(str(folder), **arguments),
        train_dataset=ROWS,
        eval_dataset=ROWS,
        optimizers=optimizers or (bench.optimizer, None),
        callbacks=[edits] if callbacks is None else callbacks,
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A run from beginning to end, with a checkpoint after each epoch, and after each step of another one."""
    folder, bench = tmp_path_factory.mktemp("trainer"), start()
    optimizer = bench.optimizer
    whole = trainer(bench, folder)
    whole.train()
    assert bench.optimizer is optimizer
    assert whole.model.net is bench.module
    return folder, bench, whole


def test_edits_are_made_and_the_schedule_goes_on(undisturbed):
    folder, bench, whole = undisturbed
    assert len([edit for edit in bench.history if type(edit).__name__ == "Batch"]) == 4
    assert bench.optimizer.param_groups[0]["lr"] == 0  # the Trainer's own schedule, over all steps
    assert whole.state.global_step == EPOCHS * EACH
    sizes = [ng.load(folder / f"checkpoint-{n * EACH}/nestgraph.json").connection_count for n in range(1, EPOCHS + 1)]
    assert sizes[0] > start().network.connection_count
    assert sizes[0] > sizes[1] == sizes[2] > sizes[3] == sizes[4]


def same(one, other):
    pairs = zip(one.module.state_dict().items(), other.module.state_dict().items(), strict=True)
    assert all(name == other_name and torch.equal(a, b) for (name, a), (other_name, b) in pairs)
    assert one.network.digest == other.network.digest
    assert state_of(one).same(state_of(other))


def state_of(bench):
    return OptimizerState.of(bench.optimizer, bench.network, bench.module)


@pytest.mark.parametrize("epoch", [1, 2, 3, 4, 5])
def test_a_resumed_run_gives_the_bits_of_the_undisturbed_one(undisturbed, tmp_path, epoch):
    """Before and after each edit: weights, statistics, moments, and the network's digest."""
    folder, whole, _ = undisturbed
    checkpoint = folder / f"checkpoint-{epoch * EACH}"
    bench = restored(checkpoint, make)
    trainer(bench, tmp_path).train(resume_from_checkpoint=str(checkpoint))
    same(bench, whole)


def recurrent():
    """A network with an LSTM inside, which no kind of layer covers."""
    torch.manual_seed(0)
    return ng.Workbench(ng.import_module(Recurrent(), X), make)


def recurrent_trainer(bench, folder):
    steps = {1: MagnitudePruning(fraction=0.4), 2: ConnectionGrowth(fraction=0.3), 3: MagnitudePruning(fraction=0.2)}
    edits = GrowAndPrune(bench, steps, functional.cross_entropy, lambda batch: (batch["x"], batch["labels"]))
    return trainer(bench, folder, [edits], num_train_epochs=4)


def test_so_does_a_run_over_opaque_layers(tmp_path):
    whole = recurrent()
    recurrent_trainer(whole, tmp_path / "all").train()
    assert [type(edit).__name__ for edit in whole.history].count("Batch") == 3
    assert whole.network.bodies
    for epoch in (1, 2, 3):
        checkpoint = tmp_path / f"all/checkpoint-{epoch * EACH}"
        bench = restored(checkpoint, make, bodies=recurrent().network.bodies)
        recurrent_trainer(bench, tmp_path / "rest").train(resume_from_checkpoint=str(checkpoint))
        same(bench, whole)
    with pytest.raises(LoweringError, match="with_bodies"):
        restored(checkpoint, make)


def test_checkpoints_from_within_and_the_last_step_of_an_epoch_do_so_too(undisturbed, tmp_path):
    """The last step's is written before the edit that is due then, which is made up for."""
    _, whole, _ = undisturbed
    steps = {"save_strategy": "steps", "save_steps": 1}
    again = start()
    trainer(again, tmp_path / "all", **steps).train()
    same(again, whole)
    for step in (1, EACH, EACH + 1, EACH * 2):
        checkpoint = tmp_path / f"all/checkpoint-{step}"
        bench = restored(checkpoint, make)
        trainer(bench, tmp_path / "rest", **steps).train(resume_from_checkpoint=str(checkpoint))
        same(bench, whole)


def test_a_checkpoint_without_its_network_is_refused(undisturbed, tmp_path):
    """The silent trap: masks change no shape; other ones would be loaded, and the next edit bring the pruned back."""
    folder, _, _ = undisturbed
    checkpoint = str(folder / f"checkpoint-{2 * EACH}")
    with pytest.raises(LoweringError, match="load_state_dict: expected the state of a module with"):
        trainer(start(), tmp_path).train(resume_from_checkpoint=checkpoint)
    with pytest.raises(LoweringError, match=r"restored: .*nestgraph\.json"):
        restored(tmp_path, make)


def test_the_best_model_of_other_masks_is_refused(tmp_path):
    best = {"eval_strategy": "epoch", "load_best_model_at_end": True, "metric_for_best_model": "loss"}
    bench = start()
    prune = GrowAndPrune(
        bench,
        {2: MagnitudePruning(fraction=0.5)},
        functional.cross_entropy,
        lambda batch: (batch["x"], batch["labels"]),
    )
    run = trainer(bench, tmp_path, [prune], num_train_epochs=2, **best)
    run.evaluate = lambda *_, **__: {"eval_loss": run.state.epoch}  # the first is the best
    with pytest.raises(LoweringError, match="load_state_dict: expected the state of a module with"):
        run.train()


def test_loops_that_an_edit_would_not_reach_are_refused(tmp_path, monkeypatch):
    bench = start()
    other = torch.optim.AdamW(bench.module.parameters())
    with pytest.raises(TrainingError, match="expected the loop to step the bench's own AdamW, got AdamW of its own"):
        trainer(bench, tmp_path, optimizers=(other, None)).train()
    with pytest.raises(TrainingError, match="expected the bench's module as 'net' in Model, got another"):
        trainer(bench, tmp_path, model=Model(start())).train()
    monkeypatch.setattr(TrainingArguments, "n_gpu", 2)
    with pytest.raises(TrainingError, match="expected a Trainer on one device, got 1 processes of 2 devices"):
        GrowAndPrune(bench, STEPS, functional.cross_entropy, len).on_train_begin(
            TrainingArguments(str(tmp_path), use_cpu=True), None, None
        )


def test_the_state_of_the_callback_is_in_the_checkpoint(undisturbed):
    folder, _, _ = undisturbed
    state = json.loads((folder / f"checkpoint-{3 * EACH}/trainer_state.json").read_text())
    assert state["stateful_callbacks"]["GrowAndPrune"]["attributes"] == {"done": [1, 2]}
