"""When policies edit a bench inside a loop of somebody else, and what their evidence is measured on."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler

from nestgraph.data.minibatch import Loss
from nestgraph.errors import TrainingError
from nestgraph.integrations.owners import hand_over
from nestgraph.loop.evidence import gather
from nestgraph.lowering import Workbench
from nestgraph.policies import Policy
from nestgraph.spec.arguments import AtLeastOne, checked
from nestgraph.spec.randomness import Seed, derived_seed

PoliciesByEpoch = Mapping[int, Policy | Sequence[Policy]]
"""Which policies propose an edit, by the number of epochs that are over then: 1 is after the first."""


class Schedule:
    """Edits of a bench after given epochs of a loop. Torch's generators and the loop's own loader stay as they are.

    Attributes:
        done: the numbers of epochs whose edits were made.
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
            steps: policies by how many epochs are over; several of one epoch in turn, each on evidence of its own.
            loss: the mean loss of a batch for outputs and targets, as `gather` takes it.
            batch: makes (inputs, targets[, weights]) of what the loader gives, if that is something else.
            batches: what evidence is measured on, read again for each policy; those that the loop trains on by default.
            most: how many batches to read; all by default.
            seed: of the loop, from which those of each edit come.

        Raises:
            TrainingError: an argument does not fit, or an epoch's number is less than 1.
        """
        self.steps = {number: _several(policies) for number, policies in steps.items()}
        if wrong := [number for number in self.steps if number < 1]:
            raise TrainingError(f"expected steps after 1 epoch or more, got one after {wrong[0]}: 1 is the first epoch")
        if isinstance(batches, Iterator):
            got = f"{type(cast(object, batches)).__name__}, which is read once"
            raise TrainingError(f"expected batches that can be read again, got {got}: give a list or a DataLoader")
        self._loss, self._batch, self._batches, self._most, self._seed = loss, batch, batches, most, seed
        self.done = set[int]()

    def begin(self, epochs: int, done: Iterable[int] | None) -> None:
        """Take up what a checkpoint says was done; without, all that is due by now is past."""
        self.done = {number for number in self.steps if number <= epochs} if done is None else set(done)

    def edit(self, epochs: int, owner: nn.Module, name: str, bench: Workbench, loader: Iterable[Any]) -> bool:
        """Make the edits that are due when so many epochs are over, and hand the new module over; whether any was.

        Raises:
            EditError: a policy would cut an output off.
            LoweringError: a trained value is not finite; see `Workbench.apply`.
            TrainingError: see `gather`.
        """
        due = sorted(number for number in self.steps if number <= epochs and number not in self.done)
        for number in due:
            for place, policy in enumerate(self.steps[number]):
                network, seed = bench.network, derived_seed(self._seed, "foreign edit", number, place)
                with torch.random.fork_rng():  # an order that the seed alone decides, and the loop's own goes on
                    torch.manual_seed(seed)
                    batches = self._read(loader, seed)
                    evidence = gather(network, batches, self._loss, policy.needs, seed=seed, device=bench.device)
                    edit = policy.propose(network, evidence, np.random.default_rng(seed))
                if edit.edits:
                    bench.apply(edit)
            self.done.add(number)
        if due:
            hand_over(owner, name, bench)
        return bool(due)

    def _read(self, loader: Iterable[Any], seed: int) -> Iterator[Any]:
        """The batches that evidence is measured on."""
        given = islice(apart(loader, seed) if self._batches is None else self._batches, self._most)
        return given if self._batch is None else map(self._batch, given)


def apart(loader: Iterable[Any], seed: int) -> Iterable[Any]:
    """A loader of the same samples, whose order depends on a seed alone, however far the loop has read.

    Samplers and generators of the loop stay as they are. A loader whose sampler chooses in a way of its own, or that
    is none of torch's, is read itself.
    """
    if not isinstance(loader, DataLoader):
        return loader
    given = cast("DataLoader[Any]", loader)
    grouped = cast(Any, given.batch_sampler)
    if type(grouped) is not BatchSampler or not isinstance(given.sampler, RandomSampler | SequentialSampler):
        return given
    return DataLoader(
        given.dataset,
        grouped.batch_size,
        shuffle=True,
        num_workers=given.num_workers,
        collate_fn=given.collate_fn,
        drop_last=given.drop_last,
        worker_init_fn=given.worker_init_fn,
        generator=torch.Generator().manual_seed(seed),
    )


def _several(policies: Policy | Sequence[Policy]) -> tuple[Policy, ...]:
    return (policies,) if isinstance(policies, Policy) else tuple(policies)
