"""Lightning: a callback that grows and prunes between epochs, and modules whose checkpoints hold their network."""

import re
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from nestgraph.data.minibatch import Loss
from nestgraph.errors import SnapshotError, TrainingError
from nestgraph.graph import Network
from nestgraph.integrations.owners import check_owner, hand_over, with_bodies_of
from nestgraph.integrations.schedules import PoliciesByEpoch, Schedule
from nestgraph.lowering import Workbench
from nestgraph.snapshot import SIDECAR_ABOVE, UNLIMITED, load, save
from nestgraph.spec.arguments import AtLeastOne, checked
from nestgraph.spec.randomness import Seed
from nestgraph.spec.wording import quoted

try:
    from lightning.pytorch import Callback, LightningModule, Trainer
    from lightning.pytorch.strategies import SingleDeviceStrategy
except ImportError as error:
    raise TrainingError(
        f"nestgraph.integrations.lightning expected the package lightning, got: {error}: "
        "pip install 'nestgraph[lightning]'"
    ) from None

ENTRY = "nestgraph"
"""What a checkpoint calls the files of the network."""

FILE = re.compile(r"network\.json|[0-9a-f]{64}\.safetensors")

ABOVE = SIDECAR_ABOVE
"""Connections beyond which arrays travel beside the document, as bytes."""


class HoldsBench:
    """A mixin for a LightningModule, in front of it: `class Mine(HoldsBench, LightningModule)`.

    A checkpoint then holds the network, and whoever loads it (`load_from_checkpoint`, `fit(ckpt_path=...)`) gets it
    before the weights come. Without, weights of a pruned network would meet the module of the whole one, which is
    refused.

    Attributes:
        bench: the workbench. `configure_optimizers` gives its optimizer, alone or with schedulers.
        bench_name: of the attribute that holds its module.
    """

    bench: Workbench
    bench_name: str

    def hold(self, bench: Workbench, name: str = "net") -> None:
        """Take a bench, and its module as an attribute; to be called in `__init__`.

        Raises:
            TrainingError: the attribute is something else already.
        """
        assert isinstance(self, nn.Module), "a mixin of a LightningModule"
        self.bench, self.bench_name = bench, name
        hand_over(self, name, bench)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the network into a checkpoint."""
        super().on_save_checkpoint(checkpoint)  # type: ignore[misc]
        checkpoint[ENTRY] = packed(self.bench.network)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Bring the bench to a checkpoint's network, before the weights are loaded, those of opaque layers among them.

        Raises:
            SnapshotError: the checkpoint has no network, or a damaged one.
        """
        super().on_load_checkpoint(checkpoint)  # type: ignore[misc]
        assert isinstance(self, nn.Module), "a mixin of a LightningModule"
        self.bench.load(with_bodies_of(unpacked(checkpoint.get(ENTRY)), self.bench.network.bodies))
        hand_over(self, self.bench_name, self.bench)


class GrowAndPrune(Callback):
    """Lets policies edit the bench of a module when given epochs are over, before checkpoints are written.

    The module is a `HoldsBench`. Optimizers and schedulers go on, as the bench's optimizer stays the same object.
    """

    @checked(TrainingError)
    def __init__(
        self,
        steps: PoliciesByEpoch,
        loss: Loss,
        batch: Callable[[Any], Any] | None = None,
        batches: Iterable[Any] | None = None,
        most: AtLeastOne | None = None,
        seed: Seed = 0,
    ) -> None:
        """Nothing is edited yet.

        Args:
            steps: policies by how many epochs are over: `{2: MagnitudePruning(fraction=0.3)}` prunes after the second.
            loss: the mean loss of a batch for outputs and targets, as `gather` takes it.
            batch: makes (inputs, targets[, weights]) of what the loader gives, if that is something else.
            batches: what evidence is measured on, read again for each policy; those that are trained on by default.
            most: how many batches to read; all by default.
            seed: from which those of each edit come.

        Raises:
            TrainingError: an argument does not fit, or an epoch's number is less than 1.
        """
        self._schedule = Schedule(steps, loss, batch, batches, most, seed)
        self._loaded: list[int] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check what is trained, and take up what a checkpoint has done.

        Raises:
            TrainingError: the module holds no bench, the loop steps another optimizer than the bench's, or it runs on
                several devices or wraps the module, which would go on with the parameters from before an edit.
        """
        held = _held(pl_module)
        if not isinstance(trainer.strategy, SingleDeviceStrategy):
            raise TrainingError(
                f"GrowAndPrune expected a Trainer on one device, got {type(trainer.strategy).__name__} on "
                f"{trainer.world_size}, which would go on with the parameters from before an edit: "
                "Trainer(devices=1, strategy='auto')"
            )
        check_owner(pl_module, held.bench_name, held.bench, trainer.optimizers)
        self._schedule.begin(trainer.current_epoch, self._loaded)
        self._loaded = None

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make up for what a checkpoint from within an epoch's end was too early for."""
        self._edit(trainer, pl_module, trainer.current_epoch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the edits that are due. Lightning calls callbacks that write checkpoints after all others."""
        self._edit(trainer, pl_module, trainer.current_epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds: the epochs whose edits were made."""
        return {"done": sorted(self._schedule.done)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what a checkpoint holds when training starts."""
        self._loaded = [int(number) for number in state_dict["done"]]

    def _edit(self, trainer: Trainer, module: LightningModule, epochs: int) -> None:
        held, loader = _held(module), trainer.train_dataloader
        assert loader is not None, "it is trained"
        self._schedule.edit(epochs, module, held.bench_name, held.bench, loader)


def _held(module: LightningModule) -> HoldsBench:
    if not isinstance(module, HoldsBench):
        raise TrainingError(
            f"GrowAndPrune expected a module whose checkpoints hold its network, got {quoted(module)}: class "
            f"{type(module).__name__}(HoldsBench, LightningModule), and self.hold(bench) in its __init__"
        )
    return module


def packed(network: Network) -> dict[str, torch.Tensor]:
    """The files of a network by name, as tensors of bytes, which checkpoints hold without pickle."""
    with tempfile.TemporaryDirectory() as folder:
        save(network, Path(folder) / "network.json", ABOVE, UNLIMITED)
        return {
            path.name: torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
            for path in sorted(Path(folder).iterdir())
        }


def unpacked(files: Any) -> Network:
    """The network that `packed` gave the files of; values are of the saved one, verified as any snapshot's.

    Raises:
        SnapshotError: there are none, or they hold no network.
    """
    if not isinstance(files, dict) or "network.json" not in files:
        raise SnapshotError(
            "the checkpoint expected a network, got none: was it saved by a module without HoldsBench, or with its own "
            "on_save_checkpoint that does not call super()?"
        )
    with tempfile.TemporaryDirectory() as folder:
        for name, content in cast("dict[str, torch.Tensor]", files).items():
            if FILE.fullmatch(name):
                (Path(folder) / name).write_bytes(content.cpu().numpy().tobytes())
        return load(Path(folder) / "network.json", UNLIMITED)
