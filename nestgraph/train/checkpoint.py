"""Resumable points of a run: everything that the next step depends on, kept in RUN/state while the run lasts.

    begun.json           the recipe and the environment the run began with
    trained-seed.json    the network after the first training, for the result table
    step-N/              a point between steps: network.json, and progress.safetensors with the state of the optimizer
    training-N.safetensors   a point within the N-th training, since the last step; see `training_state`
    current.json         which steps count, the newest first

All is written whole or not at all, `current.json` last, and the step before stays until the newer one was read again.
"""

import shutil
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, JsonValue, NonNegativeInt, Strict, TypeAdapter

from nestgraph.errors import SnapshotError
from nestgraph.graph.network import Network
from nestgraph.lowering.states import OptimizerState, StateRecord
from nestgraph.snapshot import MAX_BYTES, UNLIMITED, load, read_bounded, read_record, save, write_atomically
from nestgraph.snapshot.disk import reported, sync_folder
from nestgraph.snapshot.document import Digest
from nestgraph.spec.record import ArrayRecord, Record
from nestgraph.train.recipe import Recipe
from nestgraph.train.run_folder import STATE
from nestgraph.train.state_files import read_state, write_state

SHARE = 0.02
"""Of a run's time: what keeping points may take."""

Phase = Literal["seed", "grow", "shift", "prune", "finish", "report"]
PHASES: tuple[Phase, ...] = ("seed", "grow", "shift", "prune", "finish", "report")


class Position(Record):
    """Where a run goes on.

    Attributes:
        phase: the phase; `report` when all is decided.
        number: of the next step in it.
        first: connections when the phase began.
        misses: refused steps in a row.
        target: the accuracy that pruning keeps.
        scales: of the step of each pruning policy; 0 for one that is done.
    """

    phase: Phase = "seed"
    number: NonNegativeInt = 0
    first: NonNegativeInt = 0
    misses: NonNegativeInt = 0
    target: float | None = None
    scales: Annotated[tuple[float, ...], Strict(False)] = ()


class Tally(Record):
    """What a run counts for its result.

    Attributes:
        trainings: all that were begun; the number of the next one, which names its random numbers.
        edits: kept, trainings apart.
        refused: steps that were taken back.
        diverged: trainings that broke down: a number that is not finite, or a loss beyond the limit.
        collapsed: trainings that ended no better than guessing.
        retried: trainings that were tried again at a lower learning rate.
    """

    trainings: NonNegativeInt = 0
    edits: NonNegativeInt = 0
    refused: NonNegativeInt = 0
    diverged: NonNegativeInt = 0
    collapsed: NonNegativeInt = 0
    retried: NonNegativeInt = 0


class Progress(ArrayRecord):
    """All of a point that is not an array.

    Attributes:
        position: where the run goes on.
        tally: its counts so far.
        loss: of the network on the validation split.
        accuracy: likewise.
        network: its digest.
        lengths: bytes of the files that grow with the run: what was written after the point is dropped.
        seconds: that the run took so far.
        optimizer: the part of its state that is not an array.
    """

    format: Literal["nestgraph.progress"] = "nestgraph.progress"
    version: Literal[1] = 1
    position: Position
    tally: Tally
    loss: float
    accuracy: float
    network: Digest
    lengths: dict[str, NonNegativeInt]
    seconds: Annotated[float, Field(ge=0)]
    optimizer: StateRecord


class Begun(Record):
    """What a run began with, to be compared with what it would go on with."""

    format: Literal["nestgraph.begun"] = "nestgraph.begun"
    version: Literal[1] = 1
    recipe: Recipe
    environment: dict[str, JsonValue]


class _Current(Record):
    steps: Annotated[tuple[NonNegativeInt, ...], Strict(False)]


_PROGRESS: TypeAdapter[Progress] = TypeAdapter(Progress)
_BEGUN: TypeAdapter[Begun] = TypeAdapter(Begun)
_CURRENT: TypeAdapter[_Current] = TypeAdapter(_Current)


@dataclass(frozen=True)
class Point:
    """A point between two steps: the network that stands, the state of its optimizer, and where the run goes on."""

    network: Network
    optimizer: OptimizerState
    progress: Progress


class Pace:
    """When to keep a point: so seldom that it takes a small share of the run's time."""

    def __init__(self, seconds: float | None = None) -> None:
        """The clock starts now.

        Args:
            seconds: between points; by default as many as bring the time that they take below `SHARE`.
        """
        self._least, self._cost, self._last = seconds, 0.0, time.perf_counter()

    @property
    def due(self) -> bool:
        """Whether it is time to keep a point."""
        wait = self._cost / SHARE if self._least is None else self._least
        return time.perf_counter() - self._last >= wait

    def __enter__(self) -> None:
        self._last = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        began, self._last = self._last, time.perf_counter()
        self._cost = self._last - began


class RunState:
    """The folder of a run's points."""

    def __init__(self, folder: Path, pace: Pace) -> None:
        """Nothing is written yet.

        Args:
            folder: of the run.
            pace: of points between steps and within trainings.
        """
        self.folder, self.pace = folder / STATE, pace

    # -- the whole run -------------------------------------------------------------------------------

    def begin(self, begun: Begun) -> None:
        """Write down what the run begins with; from here on it can be resumed."""
        with reported(self.folder, "written"):
            self.folder.mkdir(exist_ok=True)
            sync_folder(self.folder.parent)
        self._write("begun.json", begun)

    def begun(self) -> Begun:
        """What the run began with.

        Raises:
            SnapshotError: the folder has no unfinished run, or one that is damaged.
        """
        path = self.folder / "begun.json"
        if not path.exists():
            raise SnapshotError(
                f"{self.folder.parent}: expected an unfinished run with {STATE}/begun.json, got none: nothing had "
                "begun, or another version wrote it; synthesize with overwrite starts anew"
            )
        return read_record(_BEGUN, read_bounded(path, MAX_BYTES), str(path))

    # -- points between steps ------------------------------------------------------------------------

    def keep(self, point: Point) -> None:
        """Keep a point: its files, then the pointer to them, then what is older than the one before goes.

        Raises:
            SnapshotError: it cannot be written, or does not read as it was written; earlier points stay.
        """
        steps = self._steps()
        number = max((*steps, *self._present()), default=-1) + 1
        place = self._place(number)
        with reported(place, "written"):
            place.mkdir()
        save(point.network, place / "network.json")
        write_state(place / "progress.safetensors", point.progress, point.optimizer.arrays)
        self._write("current.json", _Current(steps=(number, *steps[:1])))
        read_state(place / "progress.safetensors", _PROGRESS)
        for old in self._present() - {number, *steps[:1]}:
            shutil.rmtree(self._place(old), ignore_errors=True)
        for file in self.folder.glob("training-*.safetensors"):
            file.unlink(missing_ok=True)

    def latest(self) -> Point | None:
        """The newest point that is whole; None where there is none yet.

        Raises:
            SnapshotError: there are points, but none is whole.
        """
        problem: SnapshotError | None = None
        for number in self._steps():
            try:
                return self._read(self._place(number))
            except SnapshotError as error:
                warnings.warn(f"{error}: resuming from the point before it", stacklevel=2)
                problem = error
        if problem:
            raise problem
        return None

    def _read(self, place: Path) -> Point:
        progress, arrays = read_state(place / "progress.safetensors", _PROGRESS)
        network = load(place / "network.json", UNLIMITED)
        if network.digest != progress.network:
            raise SnapshotError(f"{place}: expected a network with digest {progress.network}, got {network.digest}")
        return Point(network, OptimizerState(progress.optimizer, arrays), progress)

    def _steps(self) -> tuple[int, ...]:
        path = self.folder / "current.json"
        if not path.exists():
            return ()
        return read_record(_CURRENT, read_bounded(path, MAX_BYTES), str(path)).steps

    def _present(self) -> set[int]:
        """The numbers of all steps whose folders are there, whole or not."""
        names = (path.name.removeprefix("step-") for path in self.folder.glob("step-*"))
        return {int(name) for name in names if name.isdecimal()}

    def _place(self, number: int) -> Path:
        return self.folder / f"step-{number}"

    # -- others --------------------------------------------------------------------------------------

    def training(self, number: int) -> Path:
        """The file of the point within a training."""
        return self.folder / f"training-{number}.safetensors"

    def keep_seed(self, network: Network) -> None:
        """Keep the network after the first training."""
        save(network, self.folder / "trained-seed.json")

    def seed(self) -> Network:
        """The network after the first training.

        Raises:
            SnapshotError: it cannot be read.
        """
        return load(self.folder / "trained-seed.json", UNLIMITED)

    def _write(self, name: str, record: Record) -> None:
        write_atomically(self.folder / name, record.model_dump_json(indent=2).encode() + b"\n")
