"""Training between edits: a plain PyTorch loop on tensors that stay on the device."""

import math
from collections.abc import Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Literal, cast

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from nestgraph.data.augmentation import ImageAugmentation, image_augmentation, middle
from nestgraph.data.distortion import AffineDistortion, affine_distortion
from nestgraph.data.minibatch import present
from nestgraph.data.samples import Dataset, Samples, StreamedSamples
from nestgraph.data.sources import Source, source
from nestgraph.edits import Applied, SetValues
from nestgraph.errors import DataError, LoweringError, TrainingError
from nestgraph.graph.extents import fits, sample_shape, shape_words
from nestgraph.graph.network import Network
from nestgraph.loop.evidence import gather
from nestgraph.loop.memory import check_memory
from nestgraph.loop.stepping import Steps, optimizers
from nestgraph.loop.training_state import Place, RandomState, Training, TrainingSaves, random_state, set_random
from nestgraph.lowering import lower
from nestgraph.lowering.workbench import Workbench
from nestgraph.policies import Evidence, EvidenceKind
from nestgraph.recipes.recipe import CLASSES, TrainingOptions
from nestgraph.runs import interruption
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.metrics import LOSS
from nestgraph.spec.randomness import derived_seed
from nestgraph.tasks.classes import Classification
from nestgraph.tasks.sums import added
from nestgraph.tasks.task import Task

Batch = tuple[torch.Tensor, ...]
"""Inputs, targets and, if samples have some, weights."""
Split = Literal["train", "validation", "test"]
TRIAL_BATCHES = 8
MEASURING_BATCH = 4096
LIMITING = 4096
"""Training samples at most that say which losses are beyond the limit."""
MEASURING_VALUES = 2**22
"""Inputs of a measuring batch at most: large images are measured in smaller batches."""


@dataclass(frozen=True)
class Score:
    """The loss of a network on a split, the task's metrics by name, and the goal: larger is better."""

    loss: float
    scores: dict[str, float]
    goal: float

    @property
    def told(self) -> dict[str, float]:
        """The metrics and the loss, by name."""
        return {**self.scores, LOSS: self.loss}


@contextmanager
def cpu_threads(count: int | None) -> Generator[None]:
    """Compute with `count` CPU threads inside; None leaves torch's setting."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Trainer:
    """Trains networks on one dataset. Keeps no state of a run: every random number is derived from `seed`."""

    @checked(TrainingError)
    def __init__(
        self,
        dataset: Dataset,
        options: TrainingOptions,
        distortion: AffineDistortion | None = None,
        seed: int = 0,
        device: str = "cpu",
        augmentation: ImageAugmentation | None = None,
        task: Task = CLASSES,
    ) -> None:
        """Bring the data to the device, unless it is streamed from files.

        Args:
            dataset: what to train on.
            options: how.
            distortion: of the training images.
            seed: of every random number.
            device: where to compute.
            augmentation: of the training images, after `distortion`.
            task: what the outputs mean.

        Raises:
            DataError: the targets are none that the task takes.
            TrainingError: there is no such device on this machine.
        """
        self.device = present(device)
        self.dataset, self.options, self.seed = dataset, options, seed
        image, self._values = dataset.facts.image, dataset.facts.values
        self._size = image[1:] if image else None
        self._distort = None if distortion is None else affine_distortion(distortion)
        self._augment = None if augmentation is None else image_augmentation(augmentation, self._size or (1, 1))
        splits = cast("dict[str, Samples | StreamedSamples]", dataset.splits)
        self._sources = {name: source(samples, self.device) for name, samples in splits.items()}
        self.task = self._fitted(task)

    def _fitted(self, task: Task) -> Task:
        """The task with what it takes from the targets of the training split; those of all splits as it wants them."""
        facts, smoothing = self.dataset.facts, self.options.label_smoothing
        if smoothing:
            if not isinstance(task, Classification):
                raise DataError(f"training.label_smoothing goes with a classification, got a task {task.kind!r}")
            task = task.model_copy(update={"label_smoothing": smoothing})
        if task.reads_inputs:
            return task
        told = {name: task.prepared(part.targets, facts) for name, part in self.dataset.splits.items()}
        for name, targets in told.items():
            self._sources[name].targets = torch.from_numpy(targets).to(self.device)
        return task.fitted(told["train"], facts)

    @checked(TrainingError)
    def bench(self, network: Network) -> Workbench:
        """A workbench of `network` with the recipe's optimizer.

        Raises:
            DataError: the network does not fit the dataset.
            TrainingError: a step would need more memory than there is, or the optimizer has nothing to train.
        """
        self._check(network)
        check_memory(network, self.options, len(self.dataset.train), self.device)
        return Workbench(network, partial(optimizers, self.options), self.device)

    def _check(self, network: Network) -> None:
        """Whether the network has inputs of the dataset's shapes, and the outputs that the task asks for."""
        name, facts = self.dataset.name, self.dataset.facts
        reads, count = [sample_shape(network, port) for port in network.inputs], self.task.outputs(facts)
        fit = [
            fits(shape, read) or read == (math.prod(shape),) for shape, read in zip(facts.inputs, reads, strict=False)
        ]
        if len(reads) != len(facts.inputs) or not all(fit):
            kind, got = "images" if facts.image else "samples", ", ".join(map(shape_words, reads))
            wanted = " and ".join(map(str, facts.inputs))
            raise DataError(f"dataset {name!r}: expected a network that reads {kind} of {wanted}, got one of {got}")
        given = [sample_shape(network, port) for port in network.outputs]
        if not (given == [(count,)] or (self.task.reads_inputs and given == [*facts.inputs])):
            raise DataError(f"dataset {name!r}: expected a network with {count} output neurons, got {network!r}")

    @checked(TrainingError)
    def fit(
        self,
        bench: Workbench,
        epochs: int,
        purpose: str,
        index: int,
        rate: float = 1.0,
        saves: TrainingSaves | None = None,
    ) -> Applied:
        """Train a bench, and take in what that changed: an edit of its history, also where it is nothing.

        Args:
            bench: with a network that fits the dataset.
            epochs: passes over the training split.
            purpose: what the training is for; with `index` it names the random numbers used.
            index: a number that tells trainings of one purpose apart.
            rate: share of the recipe's learning rate.
            saves: where points of this training are kept, and where it goes on if some are.

        Raises:
            Interrupted: a signal asked for the end; what is kept goes on from here.
            TrainingError: the loss or a weight became infinite or not a number, or the loss is beyond the limit; `drop`
                of the bench goes back.
        """
        training = Training(purpose=purpose, index=index, epochs=epochs, rate=rate)
        bench.module.train()
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(self.seed, "fit", purpose, index))
            steps = Steps(bench, self.options, self.device)
            place = saves.restore(bench, training, steps) if saves else Place()
            while place.epoch < epochs and not steps.over:
                loss = self._epoch(bench, training, place, saves, steps)
                place = Place(place.epoch + 1)
                if not (math.isfinite(loss) and loss <= self.loss_limit):
                    raise _diverged(f"{purpose} {index}, epoch {place.epoch}", f"a loss of {loss}")
                if self.options.early_stop:
                    steps.measured(self.measure(bench.edited, "validation", steps.module).loss)
                    bench.module.train()
                self._reached(bench, training, place, saves, steps)
            steps.finish()
            if count := self.options.recalibration_batches:
                update_bn(self.batches(bench.edited, count, f"recalibrate {purpose}", index), bench.module)
        try:
            return bench.take_in() or bench.apply(SetValues())
        except LoweringError as error:
            raise _diverged(f"{purpose} {index}, last step", str(error)) from error

    def _epoch(
        self, bench: Workbench, training: Training, place: Place, saves: TrainingSaves | None, steps: Steps
    ) -> float:
        """One pass over the training split, or the rest of one; the loss of its last step."""
        train, order = self._sources["train"], random_state(self.device)
        batches = self._split(torch.randperm(len(train.targets)))
        if place.batch:
            set_random(place.random, self.device)
        loss, together = torch.zeros(()), self.options.accumulate
        for number, (batch, images) in enumerate(self._varied(train, batches[place.batch :]), place.batch):
            first, done = number - number % together, number + 1
            if number == first:
                steps.begin(training.rate, (place.epoch + number / len(batches)) / training.epochs)
            whole = sum(len(each) for each in batches[first : first + together])
            self._step(bench, steps, len(batch) / whole, *self._told(bench.edited, "train", batch, images))
            if done < len(batches) and done % together:
                continue
            loss = steps.end()
            if done % train.together == 0 and done < len(batches):  # between groups: their images vary together
                self._reached(bench, training, Place(place.epoch, done), saves, steps, order)
        return loss.item()

    def _reached(
        self,
        bench: Workbench,
        training: Training,
        place: Place,
        saves: TrainingSaves | None,
        steps: Steps,
        order: RandomState | None = None,
    ) -> None:
        if saves:
            saves.reached(bench, training, place, order, steps)
        interruption.end_if_wished()

    def _varied(self, train: Source, batches: tuple[torch.Tensor, ...]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Each batch's places in the training split and its images, distorted and augmented if the recipe says so."""
        groups = [batches[first : first + train.together] for first in range(0, len(batches), train.together)]
        for group, images in zip(groups, train.images([torch.cat(group) for group in groups]), strict=True):
            for vary in (self._distort, self._augment):
                images = images if vary is None else vary(images)
            yield from zip(group, torch.split(self._seen(images), [len(batch) for batch in group]), strict=True)

    def _seen(self, images: torch.Tensor) -> torch.Tensor:
        """What a network sees of images: their middle, normalised if the dataset says so."""
        images = middle(images, self._size) if self._size else images
        if (known := self.dataset.normalisation) is None:
            return images
        mean, deviation = (images.new_tensor(each).reshape(-1, 1, 1) for each in (known.mean, known.deviation))
        return (images - mean) / deviation

    def _split(self, order: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Batches of up to `batch_size` samples and of one size, so that none is too small for batch normalisation."""
        return order.to(self.device).tensor_split(-(-len(order) // self.options.batch_size))

    def _step(self, bench: Workbench, steps: Steps, share: float, inputs: torch.Tensor, *told: torch.Tensor) -> None:
        """Add a batch, which has a share of a step's samples, to the step."""
        steps.add(lambda: self.task.loss(bench.module(inputs), *told), share)

    @torch.no_grad()
    def try_out(self, network: Network) -> None:
        """Whether a network's loss on a first batch of the training split is a finite number.

        Raises:
            DataError: it is not.
            TrainingError: the loss cannot take the batch.
        """
        inputs, *told = next(self.samples(network, "train", self.options.batch_size))
        loss = float(self.task.loss(lower(network, device=self.device).eval()(inputs), *told))
        if not math.isfinite(loss):
            remedy = "scale the inputs and targets, or look for values that its formula does not take"
            raise DataError(f"task {self.task.kind!r}: expected a finite loss at the first batch, got {loss}: {remedy}")

    @cached_property
    def loss_limit(self) -> float:
        """The loss beyond which a training is one that broke down."""
        if self.task.reads_inputs:
            _, images = next(self._in_order("train", LIMITING))
            return self.options.loss_limit * self.task.limit(np.asarray(images.cpu()))
        return self.options.loss_limit * self.task.limit(np.asarray(self._sources["train"].targets[:LIMITING].cpu()))

    @checked(TrainingError)
    def batches(self, network: Network, count: int | None, purpose: str, index: int) -> Iterator[Batch]:
        """`count` undistorted batches of the training split in random order; all of it for None."""
        train = self._sources["train"]
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "batches", purpose, index))
        chosen = self._split(torch.randperm(len(train.targets), generator=generator))[:count]
        for batch, images in zip(chosen, train.images(chosen), strict=True):
            interruption.end_if_wished()
            yield self._told(network, "train", batch, self._seen(images))

    def evidence(self, network: Network, needs: Collection[EvidenceKind], count: int | None, index: int) -> Evidence:
        """Evidence on `count` undistorted batches of the training split; all of it for None, a few for trials.

        Args:
            network: the network; it does not change.
            needs: the kinds to measure.
            count: of batches.
            index: tells the drawing of batches apart from others of the run.

        Raises:
            TrainingError: see `gather`.
        """

        def over(purpose: str, kinds: Collection[EvidenceKind], number: int | None) -> Evidence:
            drawn, seed = self.batches(network, number, purpose, index), derived_seed(self.seed, purpose, index)
            most = number or len(self.dataset.train)
            return gather(network, drawn, self.task, kinds, seed=seed, device=self.device, trial=most)

        found = over("evidence", [kind for kind in needs if kind != "trial"], count)
        return replace(found, loss=over("trial", ["trial"], count or TRIAL_BATCHES).loss) if "trial" in needs else found

    @checked(TrainingError)
    def samples(self, network: Network, split: Split, most: int | None = None) -> Iterator[Batch]:
        """A split in its order, in batches of up to `most` samples, and of fewer where images are large.

        Raises:
            TrainingError: `most` is less than 1.
        """
        if most is not None and most < 1:
            raise TrainingError(f"samples expected batches of at least 1 sample, got {most}")
        return (self._told(network, split, batch, images) for batch, images in self._in_order(split, most))

    def _told(self, network: Network, split: Split, batch: torch.Tensor, images: torch.Tensor) -> Batch:
        """What the network reads of samples at places of a split, their targets, and any weights of theirs."""
        inputs, samples = _shaped(network, images), self.dataset.splits[split]
        targets = inputs if self.task.reads_inputs else self._sources[split].targets[batch]
        if samples.weights is None:
            return inputs, targets
        return inputs, targets, torch.from_numpy(samples.weights).to(self.device)[batch]

    def _in_order(self, split: Split, most: int | None = None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The places and images of batches in the order of a split."""
        chosen = self._sources[split]
        size = min(most or MEASURING_BATCH, max(1, MEASURING_VALUES // self._values))
        batches = torch.split(torch.arange(len(chosen.targets), device=self.device), size)
        for batch, images in zip(batches, chosen.images(batches), strict=True):
            interruption.end_if_wished()
            yield batch, self._seen(images)

    @torch.no_grad()
    @checked(TrainingError)
    def measure(self, network: Network, split: Split, module: nn.Module | None = None) -> Score:
        """Loss and metrics of a network on a split, by its lowered module.

        Raises:
            DataError: the network does not fit the dataset, or a metric is not defined on the split.
        """
        self._check(network)
        module = lower(network, device=self.device) if module is None else module
        module.eval()
        lots = (self.task.scores(module(inputs), *told) for inputs, *told in self.samples(network, split))
        scores = added(lots)
        goal = self.task.aim.value(scores)
        return Score(scores.pop(LOSS), scores, goal)

    @cached_property
    def floor(self) -> float:
        """The goal of the best constant answer on the validation split."""
        if self.task.reads_inputs:
            return 0.0 if self.task.goal == "r2" else self.task.floor(self.arrays("validation")[0])
        targets = np.asarray(self._sources["validation"].targets.cpu())
        return self.task.floor(targets, self.dataset.validation.weights)

    @checked(TrainingError)
    def arrays(self, split: Split) -> tuple[AnyArray, AnyArray]:
        """The flattened samples and the targets of a split, for baselines."""
        inputs = torch.cat([images.flatten(1) for _, images in self._in_order(split)])
        return np.asarray(inputs.cpu()), np.asarray(self._sources[split].targets.cpu())


def _diverged(training: str, got: str) -> TrainingError:
    return TrainingError(f"training ({training}) expected finite numbers, got {got}: lower training.learning_rate")


def _shaped(network: Network, images: torch.Tensor) -> torch.Tensor:
    """Images as the network's input layer takes them, (batch, features) or (batch, channels, height, width)."""
    return images.flatten(1) if len(sample_shape(network, network.inputs[0])) == 1 else images
