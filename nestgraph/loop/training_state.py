"""A point within a training: the values, the bench's state and the random generators between two batches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import NonNegativeInt, TypeAdapter

from nestgraph.errors import SnapshotError
from nestgraph.loop.checkpoint import Pace
from nestgraph.loop.stepping import Steps, StepState
from nestgraph.lowering.bench_state import BenchRecord, BenchState
from nestgraph.lowering.workbench import Workbench
from nestgraph.parallel.ranks import ALONE, Ranks
from nestgraph.runs import interruption
from nestgraph.runs.locks import check_held
from nestgraph.runs.state_files import read_state, write_state
from nestgraph.snapshot.document import Digest
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.record import ArrayRecord, Name, Record

RandomState = Mapping[str, AnyArray]
"""The states of torch's global generators, by device."""


class Training(Record):
    """Which training of a run this is.

    Attributes:
        purpose: what it is for; with `index` it names the random numbers.
        index: tells trainings of one purpose apart.
        epochs: passes over the training split.
        rate: share of the recipe's learning rate.
    """

    purpose: Name
    index: NonNegativeInt
    epochs: NonNegativeInt
    rate: float = 1.0

    @property
    def words(self) -> str:
        """What it is called in messages."""
        return f"{self.purpose} {self.index}"


@dataclass(frozen=True)
class Place:
    """How far a training got: the epoch and the batch in it that come next, and the generators between batches."""

    epoch: int = 0
    batch: int = 0
    random: RandomState = field(default_factory=dict[str, AnyArray])


class TrainingProgress(ArrayRecord):
    """All of a point within a training that is not an array; `network` is the digest of where it started."""

    format: Literal["nestgraph.training"] = "nestgraph.training"
    version: Literal[2] = 2
    training: Training
    network: Digest
    epoch: NonNegativeInt
    batch: NonNegativeInt
    bench: BenchRecord
    steps: StepState = StepState()


_KIND: TypeAdapter[TrainingProgress] = TypeAdapter(TrainingProgress)


class TrainingSaves:
    """Keeps the points of one training, and brings a bench to the last one."""

    def __init__(self, path: Path | None, pace: Pace, device: torch.device, ranks: Ranks = ALONE) -> None:
        """Nothing is read yet.

        Args:
            path: the file of the training; None in all but the first of several processes.
            pace: how often to write it.
            device: where it computes.
            ranks: the processes that train, of which the first reads and writes for all.
        """
        self._path, self._pace, self._device, self._ranks = path, pace, device, ranks

    def restore(self, bench: Workbench, training: Training, steps: Steps | None = None) -> Place:
        """Bring the bench, its steps and the random generators to where the training was.

        That is its beginning if nothing is kept of it.

        For a place within an epoch the generators are as they were when it began, to draw its order again; their state
        at the place itself is in the answer.
        """
        kept = self._ranks.led(self._read)
        if kept is None:
            return Place()
        progress, arrays = kept
        if progress.training != training or progress.network != bench.edited.digest:
            return Place()  # the run went another way than the one that kept this
        values = {name: torch.tensor(array) for name, array in _part(arrays, "module").items()}
        bench.module.load_state_dict(values)
        state = BenchState.read(progress.bench, _part(arrays, "bench"))
        state.restore(bench.optimizers, bench.edited, bench.module)
        if steps is not None:
            steps.restore(progress.steps, _part(arrays, "average"))
        set_random(_part(arrays, "order"), self._device)
        return Place(progress.epoch, progress.batch, _part(arrays, "random"))

    def _read(self) -> tuple[TrainingProgress, dict[str, AnyArray]] | None:
        try:
            return read_state(self._path, _KIND) if self._path else None
        except SnapshotError:
            return None

    def reached(
        self,
        bench: Workbench,
        training: Training,
        place: Place,
        order: RandomState | None = None,
        steps: Steps | None = None,
    ) -> None:
        """Keep a point if it is time, or if the run is to end here.

        Args:
            bench: in training.
            training: which.
            place: how far it got; the present state of the generators is kept with it.
            order: the generators when the epoch began; None between epochs.
            steps: of the training, between two; None where they keep nothing.

        Raises:
            Interrupted: a signal asked for the end.
            SnapshotError: the point cannot be written.
        """
        if self._path and (self._pace.due or interruption.wished()):
            with self._pace:
                self._write(self._path, bench, training, place, order, steps)
        interruption.end_if_wished()

    def _write(
        self,
        path: Path,
        bench: Workbench,
        training: Training,
        place: Place,
        order: RandomState | None,
        steps: Steps | None,
    ) -> None:
        now = random_state(self._device)
        state = bench.state()
        values = {name: tensor.detach().cpu().numpy() for name, tensor in bench.module.state_dict().items()}
        average = steps.arrays if steps else {}
        parts = {"module": values, "bench": state.arrays, "average": average, "order": order or now, "random": now}
        progress = TrainingProgress(
            training=training,
            network=bench.edited.digest,
            epoch=place.epoch,
            batch=place.batch,
            bench=state.record,
            steps=steps.state if steps else StepState(),
        )
        arrays = {f"{part}/{name}": array for part, named in parts.items() for name, array in named.items()}
        check_held(path.parent.parent)
        write_state(path, progress, arrays)


def random_state(device: torch.device) -> RandomState:
    """The present states of torch's global generators."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return {name: np.asarray(state) for name, state in states.items()}


def set_random(states: RandomState, device: torch.device) -> None:
    """Bring torch's global generators to states that `random_state` told."""
    torch.set_rng_state(torch.tensor(states["cpu"]))
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(torch.tensor(states["cuda"]), device)


def _part(arrays: Mapping[str, AnyArray], part: str) -> dict[str, AnyArray]:
    prefix = f"{part}/"
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
