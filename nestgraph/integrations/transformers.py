"""The Trainer of Hugging Face: a callback that grows and prunes between epochs, and benches from its checkpoints."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from nestgraph.data.minibatch import Loss
from nestgraph.errors import LoweringError, SnapshotError, StructureError, TrainingError
from nestgraph.graph.body import Body
from nestgraph.integrations.owners import check_owner, with_bodies_of
from nestgraph.integrations.schedules import PoliciesByEpoch, Schedule
from nestgraph.lowering import Workbench
from nestgraph.lowering.workbench import OptimizerMaker
from nestgraph.snapshot import UNLIMITED, load, save
from nestgraph.spec.arguments import AtLeastOne, checked
from nestgraph.spec.randomness import Seed

try:
    from transformers import TrainerCallback, TrainerState, TrainingArguments
    from transformers.trainer_callback import ExportableState
except ImportError as error:
    raise TrainingError(
        f"nestgraph.integrations.transformers expected the package transformers, got: {error}: "
        "pip install 'nestgraph[transformers]'"
    ) from None

NETWORK = "nestgraph.json"
"""The file of the network in a checkpoint."""


@checked(LoweringError, of=(SnapshotError, StructureError))
def restored(
    checkpoint: str | os.PathLike[str],
    make: OptimizerMaker,
    device: str | torch.device = "cpu",
    bodies: Mapping[str, Body] | None = None,
) -> Workbench:
    """A bench with the network of a checkpoint, before the Trainer that goes on from there is made.

    Args:
        checkpoint: the folder, such as `output/checkpoint-500`.
        make: see `Workbench`.
        device: where to train.
        bodies: what opaque layers compute, such as the `bodies` of the network that training began with; the Trainer
            loads their weights with the others.

    Raises:
        LoweringError: the folder has no network, a layer has no body, or see `Workbench`.
    """
    return Workbench(with_bodies_of(load(Path(checkpoint) / NETWORK, UNLIMITED), bodies or {}), make, device)


class GrowAndPrune(TrainerCallback, ExportableState):
    """Lets policies edit a bench when given epochs are over, before checkpoints are written, which get its network.

    The Trainer is made with `optimizers=(bench.optimizer, None)`, over a model that `hand_over` gave the bench's
    module. The optimizer and its schedule go on. To go on from a checkpoint, start with `restored`.
    """

    @checked(TrainingError)
    def __init__(
        self,
        bench: Workbench,
        steps: PoliciesByEpoch,
        loss: Loss,
        batch: Callable[[Any], Any],
        name: str = "net",
        batches: Iterable[Any] | None = None,
        most: AtLeastOne | None = None,
        seed: Seed = 0,
    ) -> None:
        """Nothing is edited yet.

        Args:
            bench: the workbench.
            steps: policies by how many epochs are over: `{2: MagnitudePruning(fraction=0.3)}` prunes after the second.
            loss: the mean loss of a batch for outputs and targets, as `gather` takes it.
            batch: makes (inputs, targets[, weights]) of what the collator gives, such as
                `lambda batch: (batch["x"], batch["labels"])`.
            name: of the model's attribute that holds the bench's module, dotted where a module inside has it.
            batches: what evidence is measured on, read again for each policy; those that are trained on by default.
            most: how many batches to read; all by default.
            seed: from which those of each edit come.

        Raises:
            TrainingError: an argument does not fit, or an epoch's number is less than 1.
        """
        self._bench, self._name = bench, name
        self._schedule = Schedule(steps, loss, batch, batches, most, seed)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, *_: Any, **given: Any) -> None:
        """Check what is trained, and take up what a checkpoint has done.

        Raises:
            TrainingError: the model holds another module than the bench's, the Trainer steps another optimizer, or it
                runs on several devices, which would go on with the parameters from before an edit.
        """
        if args.world_size > 1 or args.n_gpu > 1:
            raise TrainingError(
                f"GrowAndPrune expected a Trainer on one device, got {args.world_size} processes of {args.n_gpu} "
                "devices, which would go on with the parameters from before an edit: show it one device, by "
                "CUDA_VISIBLE_DEVICES=0 python ..."
            )
        check_owner(given["model"], self._name, self._bench, [given["optimizer"]])
        kept: Any = state.stateful_callbacks if state.global_step else None
        known = kept.get(type(self).__name__) if kept else None
        self._schedule.begin(int(state.epoch or 0), known["attributes"]["done"] if known else None)

    def on_epoch_begin(self, *loop: Any, **given: Any) -> None:
        """Make up for what a checkpoint from the last step of an epoch was too early for."""
        self._edit(*loop, **given)

    def on_epoch_end(self, *loop: Any, **given: Any) -> None:
        """Make the edits that are due, before a checkpoint is written."""
        self._edit(*loop, **given)

    def on_save(self, args: TrainingArguments, state: TrainerState, *_: Any, **__: Any) -> None:
        """Put the network into a checkpoint, beside the weights."""
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            save(self._bench.network, folder / NETWORK, limits=UNLIMITED)

    def state(self) -> dict[str, Any]:
        """What the Trainer writes of this callback: the epochs whose edits were made."""
        return {"args": {}, "attributes": {"done": sorted(self._schedule.done)}}

    def _edit(
        self, _: Any, state: TrainerState, __: Any, model: torch.nn.Module, train_dataloader: Any, **___: Any
    ) -> None:
        loader = getattr(train_dataloader, "base_dataloader", train_dataloader)  # Accelerate's counts its readings
        self._schedule.edit(round(state.epoch or 0), model, self._name, self._bench, loader)
