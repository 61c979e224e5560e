"""Training between edits: a plain PyTorch loop on tensors that stay on the device."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch.fx import GraphModule
from torch.nn import functional
from torch.optim import Optimizer

from nestgraph.edits.connections import SetValues
from nestgraph.errors import DataError, TrainingError
from nestgraph.graph.network import Network
from nestgraph.lowering import carry_optimizer, lower, trained_values
from nestgraph.spec.arrays import AnyArray
from nestgraph.train.data import Dataset, Samples
from nestgraph.train.distortion import AffineDistortion, affine_distortion
from nestgraph.train.randomness import derived_seed
from nestgraph.train.recipe import TrainingOptions

Split = Literal["train", "validation", "test"]
MEASURING_BATCH = 4096


@dataclass(frozen=True)
class Model:
    """A network in training: its lowered module and the optimizer of its parameters."""

    network: Network
    module: GraphModule
    optimizer: Optimizer


@dataclass(frozen=True)
class Score:
    """Mean cross entropy and accuracy (a share of 1) of a network on a split."""

    loss: float
    accuracy: float


class Trainer:
    """Trains networks on one dataset. Keeps no state of a run: every random number is derived from `seed`."""

    def __init__(
        self,
        dataset: Dataset,
        options: TrainingOptions,
        distortion: AffineDistortion | None = None,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise TrainingError("the trainer expected a CUDA device, got none on this machine: use device='cpu'")
        self.accelerator = Accelerator(cpu=device == "cpu")
        self.device = self.accelerator.device
        self.options = options
        self.seed = seed
        self._distort = None if distortion is None else affine_distortion(distortion)
        splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
        self._tensors = {name: self._on_device(samples) for name, samples in splits.items()}

    def _on_device(self, samples: Samples) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.from_numpy(samples.inputs).to(self.device), torch.from_numpy(samples.labels).to(self.device)

    def begin(self, network: Network) -> Model:
        """A model of `network` with a new optimizer."""
        module = lower(network, device=str(self.device))
        options, parameters = self.options, list(module.parameters())
        rate, decay = options.learning_rate, options.weight_decay
        if options.optimizer == "sgd":
            nesterov = options.momentum > 0
            optimizer: Optimizer = torch.optim.SGD(
                parameters, rate, options.momentum, weight_decay=decay, nesterov=nesterov
            )
        else:
            kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[options.optimizer]
            optimizer = kind(parameters, rate, weight_decay=decay)
        return Model(network, module, optimizer)

    def follow(self, model: Model, network: Network) -> Model:
        """A model of the edited `network` whose optimizer state comes from `model`, which stays as it is."""
        module = lower(network, device=str(self.device))
        optimizer = carry_optimizer(model.optimizer, (model.network, model.module), (network, module))
        return Model(network, module, optimizer)

    def fit(self, model: Model, epochs: int, purpose: str, index: int) -> SetValues:
        """Train a model in place and return what training changed, as an edit of its network.

        Args:
            model: the model; its module's parameters change.
            epochs: passes over the training split.
            purpose: what the training is for; with `index` it names the random numbers used.
            index: a number that tells trainings of one purpose apart.

        Raises:
            TrainingError: the loss became infinite or not a number.
        """
        model.module.train()
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(self.seed, "fit", purpose, index))
            for epoch in range(epochs):
                loss = self._epoch(model, lambda done, first=epoch: (first + done) / epochs)
                if not math.isfinite(loss):
                    raise TrainingError(
                        f"training ({purpose} {index}, epoch {epoch + 1}) expected a finite loss, got {loss}: "
                        "lower training.learning_rate"
                    )
        return trained_values(model.network, model.module)

    def _epoch(self, model: Model, progress: Callable[[float], float]) -> float:
        """One pass over the training split; the loss of its last batch. `progress` maps the pass's share done."""
        inputs, labels = self._tensors["train"]
        batches = torch.randperm(len(inputs)).to(self.device).split(self.options.batch_size)
        loss = torch.zeros(())
        for number, batch in enumerate(batches):
            self._set_rate(model.optimizer, progress(number / len(batches)))
            loss = self._step(model, self._shaped(model.network, inputs[batch], distorted=True), labels[batch])
        return loss.item()

    def _step(self, model: Model, inputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        model.optimizer.zero_grad(set_to_none=True)
        with self.accelerator.autocast():
            loss = self.loss(model.module(inputs), labels)
        self.accelerator.backward(loss)
        model.optimizer.step()
        return loss.detach()

    def loss(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The training loss: mean cross entropy with the recipe's label smoothing."""
        return functional.cross_entropy(outputs, labels, label_smoothing=self.options.label_smoothing)

    def _set_rate(self, optimizer: Optimizer, progress: float) -> None:
        least = self.options.final_rate
        factor = least + (1 - least) * (1 + math.cos(math.pi * progress)) / 2
        for group in optimizer.param_groups:
            group["lr"] = self.options.learning_rate * factor

    def _shaped(self, network: Network, images: torch.Tensor, distorted: bool = False) -> torch.Tensor:
        """Images in the shape of the network's input layer, (batch, features) or (batch, channels, height, width)."""
        if distorted and self._distort is not None:
            images = self._distort(images)
        layer = network.layer(network.input_names[0])
        shaped = images.flatten(1) if layer.size is None else images
        expected = (layer.features, *(layer.size or ()))
        if shaped.shape[1:] != expected:
            raise DataError(f"input layer {layer.name!r} expected samples of {expected}, got {tuple(shaped.shape[1:])}")
        return shaped

    def batches(self, network: Network, count: int | None, purpose: str, index: int) -> list[tuple[torch.Tensor, ...]]:
        """`count` undistorted batches of the training split in random order; all of it for None."""
        inputs, labels = self._tensors["train"]
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "batches", purpose, index))
        chosen = torch.randperm(len(inputs), generator=generator).to(self.device).split(self.options.batch_size)
        return [(self._shaped(network, inputs[batch]), labels[batch]) for batch in chosen[:count]]

    @torch.no_grad()
    def measure(self, network: Network, split: Split, module: GraphModule | None = None) -> Score:
        """Mean loss and accuracy of a network on a split, by its lowered module."""
        module = lower(network, device=str(self.device)) if module is None else module
        module.eval()
        inputs, labels = self._tensors[split]
        total, hits = 0.0, 0
        for images, wanted in zip(inputs.split(MEASURING_BATCH), labels.split(MEASURING_BATCH), strict=True):
            outputs = module(self._shaped(network, images))
            total += float(functional.cross_entropy(outputs, wanted, reduction="sum"))
            hits += int((outputs.argmax(1) == wanted).sum())
        return Score(total / len(labels), hits / len(labels))

    def arrays(self, split: Split) -> tuple[AnyArray, AnyArray]:
        """The flattened samples and the labels of a split, for baselines."""
        inputs, labels = self._tensors[split]
        return np.asarray(inputs.flatten(1).cpu()), np.asarray(labels.cpu())
