"""Training between edits: a plain PyTorch loop on tensors that stay on the device."""

import math
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from nestgraph.data.augmentation import ImageAugmentation
from nestgraph.data.batches import Batches, SampledBatches
from nestgraph.data.distortion import AffineDistortion
from nestgraph.data.image_views import image_views
from nestgraph.data.loaded import OwnBatches, OwnSamples
from nestgraph.data.minibatch import Minibatch, present
from nestgraph.data.samples import Dataset, Samples, StreamedSamples
from nestgraph.data.samples import Split as SplitSamples
from nestgraph.data.share import WHOLE, Share
from nestgraph.data.tables.preparation import Preparation
from nestgraph.edits import Applied, SetValues
from nestgraph.errors import DataError, LoweringError, TrainingError
from nestgraph.graph.extents import fits, sample_shape, shape_words
from nestgraph.graph.network import Network
from nestgraph.loop.evidence import gather
from nestgraph.loop.memory import check_memory
from nestgraph.loop.stepping import OF_MATRICES, Steps, optimizers
from nestgraph.loop.training import Course, diverged, train
from nestgraph.loop.training_state import Training, TrainingSaves
from nestgraph.lowering import lower
from nestgraph.lowering.workbench import Workbench
from nestgraph.parallel.ranks import ALONE, Ranks
from nestgraph.policies import Evidence, EvidenceKind
from nestgraph.recipes.recipe import CLASSES, TrainingOptions
from nestgraph.runs import interruption
from nestgraph.spec.arguments import AtLeastOne, Count, checked
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.metrics import LOSS
from nestgraph.spec.parts import are_several, words_of
from nestgraph.spec.randomness import Seed, derived_seed
from nestgraph.spec.wording import quoted
from nestgraph.tasks.classes import Classification
from nestgraph.tasks.custom import Custom
from nestgraph.tasks.numbers import Regression
from nestgraph.tasks.several import Several
from nestgraph.tasks.sums import Sum, added
from nestgraph.tasks.task import Task

Batch = tuple[Any, ...]
"""Inputs (a tensor, or a tuple of those of several inputs), targets and, if samples have some, weights."""

Split = Literal["train", "validation", "test"]
TRIAL_BATCHES = 8
LIMITING = 4096
"""Training samples at most that say which losses are beyond the limit."""


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
        seed: Seed = 0,
        device: str = "cpu",
        augmentation: ImageAugmentation | None = None,
        task: Task = CLASSES,
        ranks: Ranks = ALONE,
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
            ranks: the processes that train together, all with the same data.

        Raises:
            DataError: the targets are none that the task takes.
            TrainingError: there is no such device on this machine.
        """
        self.device = present(device)
        self.dataset, self.options, self.seed, self.ranks = dataset, options, seed, ranks
        self._views = image_views(dataset, distortion, augmentation)
        self.task = self._fitted(task)
        self._batches = {name: self._read(samples) for name, samples in dataset.splits.items()}

    def _fitted(self, task: Task) -> Task:
        """The task with what it takes from the targets of the training split; those of all splits as it wants them."""
        facts, smoothing = self.dataset.facts, self.options.label_smoothing
        if smoothing:
            if not isinstance(task, Classification):
                raise DataError(f"training.label_smoothing goes with a classification, got a task {task.kind!r}")
            task = task.model_copy(update={"label_smoothing": smoothing})
        if task.reads_inputs:
            return task
        told = self.dataset.train.targets
        if are_several(told) and not task.names:
            expected, got = f"one target, as a task {task.kind!r} learns", f"several ({words_of(told)})"
            raise DataError(f"dataset {self.dataset.name!r}: expected {expected}, got {got}: use a task 'several'")
        return task.fitted(task.prepared(told, facts), facts)

    def _read(self, samples: SplitSamples) -> Batches:
        """The batches of a split, with targets as the task takes them."""
        facts = self.dataset.facts
        prepare = None if self.task.reads_inputs else partial(self.task.prepared, facts=facts)
        if isinstance(samples, OwnSamples):
            return OwnBatches(samples, self.device, prepare)
        if not isinstance(samples, Samples | StreamedSamples):
            raise DataError(f"expected samples in memory, in files or of a loader, got {quoted(samples)}")
        size, views = self.options.batch_size, self._views
        seeded = self.ranks.launched
        return SampledBatches(samples, size, self.device, prepare, views.vary, views.see, seeded)

    @checked(TrainingError)
    def bench(self, network: Network) -> Workbench:
        """A workbench of `network` with the recipe's optimizer.

        Raises:
            DataError: the network does not fit the dataset.
            TrainingError: a step would need more memory than there is, or the optimizer has nothing to train.
        """
        self._check(network)
        check_memory(network, self.options, len(self.dataset.train), self.device)
        whole = self.options.optimizer in OF_MATRICES
        return Workbench(network, partial(optimizers, self.options), self.device, "masked" if whole else "auto")

    @property
    def outputs(self) -> dict[str, int]:
        """How many units the task asks for, by the name of the output."""
        return self.task.widths(self.dataset.facts)

    @property
    def columns(self) -> Preparation | None:
        """What was done to the rows of a table, and what the outputs that the task asks for say of them."""
        prepared, task = self.dataset.preparation, self.task
        for name, each in (task.tasks if isinstance(task, Several) else {"": task}).items():
            like = each.like if isinstance(each, Custom) else each
            if prepared is not None and isinstance(like, Regression):
                prepared = prepared.of_regression(like.told_quantiles, like.loss_name == "gaussian", name)
        return prepared

    def _check(self, network: Network) -> None:
        """Whether the network has inputs of the dataset's shapes, and the outputs that the task asks for."""
        name, facts = self.dataset.name, self.dataset.facts
        reads = [sample_shape(network, port) for port in network.inputs]
        fit = [
            fits(shape, read) or read == (math.prod(shape),) for shape, read in zip(facts.inputs, reads, strict=False)
        ]
        if len(reads) != len(facts.inputs) or not all(fit):
            kind, got = "images" if facts.image else "samples", ", ".join(map(shape_words, reads))
            wanted = " and ".join(map(str, facts.inputs))
            raise DataError(f"dataset {name!r}: expected a network that reads {kind} of {wanted}, got one of {got}")
        given = [sample_shape(network, port) for port in network.outputs]
        if not self.task.fit([tuple(extent or 0 for extent in shape) for shape in given], facts):
            raise DataError(f"dataset {name!r}: expected a network with {self.task.asked(facts)}, got {network!r}")
        layers, names = [port.layer for port in network.outputs], list(self.task.names)
        if sorted(layers) == sorted(names) and layers != names:
            expected, got = ", ".join(layers), ", ".join(names)
            raise DataError(f"task {self.task.kind!r}: expected tasks in the network's order, {expected}, got {got}")

    @checked(TrainingError)
    def fit(
        self,
        bench: Workbench,
        epochs: int,
        purpose: str,
        index: int,
        rate: float = 1.0,
        saves: TrainingSaves | None = None,
        int8: bool = False,
    ) -> Applied:
        """Train a bench, and take in what that changed: an edit of its history, also where it is nothing.

        Args:
            bench: with a network that fits the dataset.
            epochs: passes over the training split.
            purpose: what the training is for; with `index` it names the random numbers used.
            index: a number that tells trainings of one purpose apart.
            rate: share of the recipe's learning rate.
            saves: where points of this training are kept, and where it goes on if some are.
            int8: whether it computes with weights as a C file of int8 holds them, and ends with these.

        Raises:
            DataError: the network does not fit the dataset.
            Interrupted: a signal asked for the end; what is kept goes on from here.
            TrainingError: the loss or a weight became infinite or not a number, or the loss is beyond the limit; `drop`
                of the bench goes back.
        """
        self._check(bench.edited)
        training = Training(purpose=purpose, index=index, epochs=epochs, rate=rate)
        steps, seed = Steps(bench, self.options, self.device, int8), derived_seed(self.seed, "fit", purpose, index)
        with torch.random.fork_rng():
            train(bench, self._course(bench.edited), training, steps, seed, saves)
            if count := self.options.recalibration_batches:
                drawn = self.batches(bench.edited, count, f"recalibrate {purpose}", index, self.ranks.share)
                update_bn(drawn, _Spread(bench.module))
        try:
            return bench.take_in() or bench.apply(SetValues())
        except LoweringError as error:
            raise diverged(f"{training.words}, last step", str(error)) from error

    def _course(self, network: Network) -> Course:
        """What a training of a network goes by."""
        flat = _flat(network)

        def read(batch: Minibatch) -> Minibatch:
            return self._as_read(flat, batch)

        def validated(module: nn.Module) -> float:
            return self.measure(network, "validation", module).loss

        stopping, together = self.options.early_stop is not None, self.options.accumulate
        last = validated if stopping else None
        return Course(self._batches["train"], self.task, self.loss_limit, together, read, last, self.ranks)

    @torch.no_grad()
    def try_out(self, network: Network) -> None:
        """Whether a network's loss on a first batch of the training split is a finite number.

        Raises:
            DataError: it is not.
            TrainingError: the loss cannot take the batch.
        """
        inputs, *told = next(self.samples(network, "train", self.options.batch_size))
        loss = float(self.task.loss(computed(lower(network, device=self.device).eval(), inputs), *told))
        if not math.isfinite(loss):
            remedy = "scale the inputs and targets, or look for values that its formula does not take"
            raise DataError(f"task {self.task.kind!r}: expected a finite loss at the first batch, got {loss}: {remedy}")

    @cached_property
    def loss_limit(self) -> float:
        """The loss beyond which a training is one that broke down."""
        train = self._batches["train"]
        read = self.task.reads_inputs
        told: Any = np.asarray(next(train.ordered(LIMITING)).inputs[0].cpu()) if read else train.told(LIMITING)
        return self.options.loss_limit * self.task.limit(told)

    @checked(TrainingError)
    def batches(
        self, network: Network, count: Count | None, purpose: str, index: int, share: Share = WHOLE
    ) -> Iterator[Batch]:
        """`count` undistorted batches of the training split in random order; all of it for None; a share of each.

        Raises:
            DataError: the network does not fit the dataset.
        """
        self._check(network)
        for batch in self._batches["train"].drawn(derived_seed(self.seed, "batches", purpose, index), count, share):
            interruption.end_if_wished()
            yield self._told(network, batch)

    def evidence(self, network: Network, needs: Collection[EvidenceKind], count: int | None, index: int) -> Evidence:
        """Evidence on `count` undistorted batches of the training split; all of it for None, a few for trials.

        Trials are the first process's own, so that none waits for others while a policy is asked.

        Args:
            network: the network; it does not change.
            needs: the kinds to measure.
            count: of batches.
            index: tells the drawing of batches apart from others of the run.

        Raises:
            TrainingError: see `gather`.
        """

        def over(purpose: str, kinds: Collection[EvidenceKind], number: int | None, ranks: Ranks) -> Evidence:
            drawn = self.batches(network, number, purpose, index, ranks.share)
            seed, most = derived_seed(self.seed, purpose, index), number or len(self.dataset.train)
            return gather(network, drawn, self.task, kinds, seed=seed, device=self.device, trial=most, ranks=ranks)

        found = over("evidence", [kind for kind in needs if kind != "trial"], count, self.ranks)
        if "trial" not in needs or not self.ranks.leads:
            return found
        tried = over("trial", ["trial"], count or TRIAL_BATCHES, ALONE)
        return replace(found, loss=tried.loss, slopes=tried.slopes)

    @checked(TrainingError)
    def samples(self, network: Network, split: Split, most: AtLeastOne | None = None) -> Iterator[Batch]:
        """A split in its order, in batches of up to `most` samples, and of fewer where images are large.

        Raises:
            DataError: the network does not fit the dataset.
            TrainingError: `most` is less than 1.
        """
        self._check(network)
        return (self._told(network, batch) for batch in self._in_order(split, most))

    def _told(self, network: Network, batch: Minibatch) -> Batch:
        """What the network reads of samples, their targets, and any weights of theirs."""
        read = self._as_read(_flat(network), batch)
        first, *others = read.inputs
        return (read.inputs if others else first), *read.told

    def _as_read(self, flat: Sequence[bool], batch: Minibatch) -> Minibatch:
        """Samples as a network reads them that takes some of its inputs flat, and what its loss is told of them."""
        inputs = tuple(torch.flatten(part, 1) if one else part for part, one in zip(batch.inputs, flat, strict=True))
        return Minibatch(inputs, (inputs[0], *batch.told[1:]) if self.task.reads_inputs else batch.told)

    def _scores(self, module: nn.Module, batch: Minibatch) -> Mapping[str, Sum]:
        return self.task.scores(module(*batch.inputs), *batch.told)

    def _in_order(self, split: Split, most: int | None = None, share: Share = WHOLE) -> Iterator[Minibatch]:
        for batch in self._batches[split].ordered(most, share):
            interruption.end_if_wished()
            yield batch

    @torch.no_grad()
    @checked(TrainingError)
    def measure(self, network: Network, split: Split, module: nn.Module | None = None) -> Score:
        """Loss and metrics of a network on a split, by its lowered module, each process measuring its share.

        Raises:
            DataError: the network does not fit the dataset, or a metric is not defined on the split.
        """
        self._check(network)
        module = lower(network, device=self.device) if module is None else module
        module.eval()
        flat, batches = _flat(network), self._in_order(split, share=self.ranks.share)
        lots = [self._scores(module, self._as_read(flat, batch)) for batch in batches]
        everyone = self.ranks.gathered(lots)
        scores = self.ranks.led(lambda: added(chain.from_iterable(everyone)))
        goal = self.task.aim.value(scores)
        return Score(scores.pop(LOSS), scores, goal)

    @cached_property
    def floor(self) -> float:
        """The goal of the best constant answer on the validation split."""
        if self.task.reads_inputs:
            return 0.0 if self.task.goal == "r2" else self.task.floor(self.arrays("validation")[0])
        return self.task.floor(self._batches["validation"].told(), self.dataset.validation.weights)

    @checked(TrainingError)
    def arrays(self, split: Split) -> tuple[AnyArray, Any]:
        """The flattened samples of the first input and the targets of a split, for baselines."""
        inputs = torch.cat([batch.inputs[0].flatten(1) for batch in self._in_order(split)])
        return np.asarray(inputs.cpu()), self._batches[split].told()


def _flat(network: Network) -> list[bool]:
    """Which inputs a network reads as features, not as maps."""
    return [len(sample_shape(network, port)) == 1 for port in network.inputs]


class _Spread(nn.Module):
    """A module that takes the inputs of a `Batch` together."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, inputs: Any) -> Any:
        """What the module gives."""
        return computed(self.module, inputs)


def computed(module: Callable[..., Any], inputs: Any) -> Any:
    """What a module gives for the inputs of a `Batch`."""
    return module(*inputs) if isinstance(inputs, tuple) else module(inputs)
