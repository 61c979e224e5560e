"""Lightning grows and prunes between epochs: optimizers go on, checkpoints bring their network, traps are refused."""

import warnings

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import nestgraph as ng
from nestgraph.errors import LoweringError, SnapshotError, TrainingError
from nestgraph.policies import ConnectionGrowth, MagnitudePruning, NeuronGrowth
from tests.integrations.missing import missing
from tests.integrations.recurrent import Recurrent

try:
    import lightning.pytorch as pl
except ImportError:
    missing("nestgraph in Lightning: pip install 'nestgraph[lightning]'")
from nestgraph.integrations.lightning import GrowAndPrune, HoldsBench, packed, unpacked

pytestmark = pytest.mark.slow
generator = torch.Generator().manual_seed(0)
X = torch.randn(96, 12, generator=generator)
Y = X[:, :3].argmax(1)
STEPS = {
    1: [ConnectionGrowth(fraction=0.2), NeuronGrowth(units=2, rule="gradmax")],
    3: MagnitudePruning(fraction=0.3),
    6: [MagnitudePruning(fraction=0.3)],
}


def start():
    seed = ng.seeds.mlp((12, 8, 3), density=0.4, seed=0)
    return ng.Workbench(seed, lambda module: torch.optim.AdamW(module.parameters(), lr=0.02))


class Classifier(HoldsBench, pl.LightningModule):
    """What a user writes."""

    def __init__(self, bench=None):
        super().__init__()
        self.hold(bench or start())

    def training_step(self, batch, _):
        return functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        optimizer = self.bench.optimizer
        return {"optimizer": optimizer, "lr_scheduler": torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.5)}


class Forgetful(Classifier):
    """One whose checkpoint does not bring its network."""

    def on_load_checkpoint(self, checkpoint):
        pass


def loader():
    return DataLoader(TensorDataset(X, Y), 32, shuffle=True, generator=torch.Generator().manual_seed(1))


def fit(module, epochs, callbacks=(), checkpoint=None, data=None, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Lightning says of few workers and few batches
        trainer = pl.Trainer(
            **{"accelerator": "cpu", "devices": 1, "gradient_clip_val": 1.0, **options},
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=any(isinstance(one, pl.callbacks.ModelCheckpoint) for one in callbacks),
            max_epochs=epochs,
            callbacks=list(callbacks),
        )
        trainer.fit(module, data or loader(), ckpt_path=checkpoint)
    return trainer


def edits(**options):
    return GrowAndPrune(STEPS, functional.cross_entropy, **options)


class Watch(pl.Callback):
    """What the bench is after each epoch, as a checkpoint finds it."""

    def __init__(self):
        self.digests, self.rates, self.moments = {}, [], {}

    def on_save_checkpoint(self, trainer, pl_module, _):
        epoch = trainer.current_epoch
        self.digests[epoch] = pl_module.bench.network.digest
        self.moments[epoch] = state_of(pl_module.bench)

    def on_train_epoch_end(self, _, pl_module):
        self.rates.append(pl_module.bench.optimizer.param_groups[0]["lr"])


def state_of(bench):
    state = bench.optimizer.state
    return [state[p]["exp_avg"].clone() for p in bench.module.parameters() if "exp_avg" in state[p]]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Eight epochs with one growth and two prunings, and a checkpoint after each."""
    folder = tmp_path_factory.mktemp("lightning")
    module, watch = Classifier(), Watch()
    kept = pl.callbacks.ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    first = module.bench.optimizer
    trainer = fit(module, 8, [edits(), watch, kept])
    assert module.bench.optimizer is first is trainer.optimizers[0]
    return folder, module, watch


def test_edits_are_made_and_training_goes_on(trained):
    _, module, watch = trained
    kinds = [edit.words for edit in module.bench.history if type(edit).__name__ == "Batch"]
    assert len(kinds) == 4  # a growth of two policies, two prunings
    assert module.net is module.bench.module
    assert sorted(set(watch.rates)) == [0.005, 0.01, 0.02]
    assert watch.rates == sorted(watch.rates, reverse=True)
    assert len(set(watch.digests.values())) == 8


def test_every_checkpoint_gives_its_network_back(trained):
    """After each epoch, edited or not: the digest after a reload is that before it, and masks, values, modes agree."""
    folder, _, watch = trained
    for epoch, digest in watch.digests.items():
        module = Classifier.load_from_checkpoint(folder / f"epoch={epoch}.ckpt", map_location="cpu")
        assert module.bench.network.digest == digest
        assert module.net is module.bench.module
        assert ng.network_of(module.net).digest == digest


@pytest.mark.parametrize("epoch", [0, 2, 5])
def test_training_resumes_with_the_optimizer_and_makes_each_edit_once(trained, epoch):
    folder, whole, watch = trained
    module = Classifier()
    bench, optimizer = module.bench, module.bench.optimizer

    class Begin(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            assert trainer.optimizers == [optimizer]
            assert pl_module.bench is bench
            assert bench.network.digest == watch.digests[epoch]
            moments = state_of(bench)
            assert all(torch.equal(one, two) for one, two in zip(moments, watch.moments[epoch], strict=True))

    fit(module, 8, [edits(), Begin()], checkpoint=folder / f"epoch={epoch}.ckpt")
    assert bench.optimizer is optimizer
    done = [edit for edit in bench.history if type(edit).__name__ == "Batch"]
    assert len(done) == sum(len(np.atleast_1d(policies)) for after, policies in STEPS.items() if after > epoch + 1)
    assert optimizer.param_groups[0]["lr"] == whole.bench.optimizer.param_groups[0]["lr"]


def recurrent():
    torch.manual_seed(0)
    network = ng.import_module(Recurrent(), X)
    return ng.Workbench(network, lambda module: torch.optim.AdamW(module.parameters(), lr=0.02))


class Opaque(Classifier):
    """One over a network with an LSTM inside, which no kind of layer covers."""

    def __init__(self):
        super().__init__(recurrent())


class Outputs(pl.Callback):
    """What a module answers as a checkpoint finds it."""

    def __init__(self):
        self.told = {}

    def on_save_checkpoint(self, trainer, pl_module, _):
        self.told[trainer.current_epoch] = answers(pl_module)


def answers(module):
    with torch.no_grad():
        return module.net(X)


def test_opaque_layers_are_pruned_around_saved_reloaded_and_gone_on_with(tmp_path):
    steps = {1: MagnitudePruning(fraction=0.4), 2: ConnectionGrowth(fraction=0.3), 3: MagnitudePruning(fraction=0.2)}
    kept, outputs = pl.callbacks.ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1), Outputs()
    whole = Opaque()
    fit(whole, 4, [GrowAndPrune(steps, functional.cross_entropy), outputs, kept])
    assert [type(edit).__name__ for edit in whole.bench.history].count("Batch") == 3
    for epoch, told in outputs.told.items():
        module = Opaque.load_from_checkpoint(tmp_path / f"epoch={epoch}.ckpt", map_location="cpu")
        assert torch.equal(answers(module), told)
        again = Opaque()
        fit(again, 4, [GrowAndPrune(steps, functional.cross_entropy)], tmp_path / f"epoch={epoch}.ckpt")
        done = [type(edit).__name__ for edit in again.bench.history].count("Batch")
        assert done == sum(after > epoch + 1 for after in steps)
        assert again.bench.network.connection_count == whole.bench.network.connection_count
        assert again.bench.network.bodies.keys() == whole.bench.network.bodies.keys() != set()


def test_a_checkpoint_from_before_the_end_of_an_epoch_loses_no_edit(tmp_path):
    """One that validation wrote holds the network before the edit, which is made up for."""
    kept = pl.callbacks.ModelCheckpoint(
        tmp_path, filename="{epoch}", save_top_k=-1, save_on_train_epoch_end=False, every_n_train_steps=3
    )
    fit(Classifier(), 1, [edits(), kept])
    module = Classifier()
    fit(module, 2, [edits(), Watch()], checkpoint=next(tmp_path.glob("*.ckpt")))
    assert len([edit for edit in module.bench.history if type(edit).__name__ == "Batch"]) == 2


def test_a_plain_reload_into_other_masks_is_refused(trained):
    """The first silent trap: masks change no shape."""
    folder, _, _ = trained
    pruned = Classifier(ng.Workbench(start().network, lambda m: torch.optim.SGD(m.parameters(), lr=0.1)))
    fit(pruned, 1, [GrowAndPrune({1: MagnitudePruning(fraction=0.2)}, functional.cross_entropy)])
    state = pruned.state_dict()
    with pytest.raises(LoweringError, match="load_state_dict: expected the state of a module with"):
        Classifier().load_state_dict(state)
    with pytest.raises(LoweringError, match="load_state_dict: expected the state of a module with"):
        Forgetful.load_from_checkpoint(folder / "epoch=7.ckpt")
    with pytest.raises(LoweringError, match="load_state_dict"):
        fit(Forgetful(), 8, checkpoint=folder / "epoch=7.ckpt")


def test_what_wraps_the_module_is_refused():
    """The second silent trap: DistributedDataParallel keeps the parameters from before an edit."""
    with pytest.raises(TrainingError, match="expected a Trainer on one device, got DDPStrategy"):
        fit(Classifier(), 1, [edits()], strategy="ddp")


class OwnOptimizer(Classifier):
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters())


class Twice(Classifier):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def configure_optimizers(self):
        return [self.bench.optimizer, torch.optim.SGD(self.parameters(), lr=0.1)]


class Moved(Classifier):
    def __init__(self):
        super().__init__()
        self.net = start().module


class Plain(pl.LightningModule):
    training_step, configure_optimizers = Classifier.training_step, OwnOptimizer.configure_optimizers

    def __init__(self):
        super().__init__()
        self.net = start().module


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (OwnOptimizer, "expected the loop to step the bench's own AdamW, got Adam of its own: give it bench.optimizer"),
        (Twice, "expected SGD without parameters of the bench's module, got some"),
        (Moved, r"expected the bench's module as 'net' in Moved, got another: call hand_over\(owner, 'net', bench\)"),
        (Plain, r"expected a module whose checkpoints hold its network, got Plain: class Plain\(HoldsBench"),
    ],
)
def test_loops_that_an_edit_would_not_reach_are_refused(kind, sentence):
    with pytest.raises(TrainingError, match=sentence):
        fit(kind(), 1, [edits()], gradient_clip_val=None)


def test_true_half_precision_is_refused():
    with pytest.raises(TrainingError, match=r"expected a module of float32, got torch.bfloat16: values that an edit"):
        fit(Classifier(), 1, [edits()], precision="bf16-true")


def test_mixed_precision_trains_in_float32():
    module = Classifier()
    fit(module, 1, [edits()], precision="bf16-mixed")
    assert {p.dtype for p in module.net.parameters()} == {torch.float32}
    assert len(module.bench.history) > 1


def test_the_loops_own_order_stays_as_it_is():
    """Evidence is read in an order of its own: what the loop draws is the same with steps that change nothing."""
    seen = {}
    for name, callbacks in (("without", []), ("with", [GrowAndPrune({1: Nothing()}, functional.cross_entropy)])):
        pl.seed_everything(3, verbose=False)
        module = Classifier()
        fit(module, 2, callbacks, data=DataLoader(TensorDataset(X, Y), 32, shuffle=True))
        seen[name] = module.bench.network.digest
    assert seen["with"] == seen["without"]


class Nothing(MagnitudePruning):
    """A policy that looks at gradients and finds nothing to do."""

    needs = ConnectionGrowth.needs

    def propose(self, *_, **__):
        return ng.edits.Batch(edits=())


def test_a_large_network_travels_in_a_sidecar(monkeypatch):
    network = start().network
    small = packed(network)
    assert list(small) == ["network.json"]
    monkeypatch.setattr("nestgraph.integrations.lightning.ABOVE", 0)
    files = packed(network)
    assert len(files) == 2
    assert unpacked(files) == unpacked(small) == network
    strange = {**small, "../outside.safetensors": small["network.json"]}
    assert unpacked(strange) == network
    with pytest.raises(SnapshotError, match="the checkpoint expected a network, got none"):
        unpacked(None)
