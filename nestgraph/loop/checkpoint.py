"""Resumable points of a run: everything that the next step depends on, kept in RUN/state while the run lasts.

    begun.json           the recipe and the environment the run began with
    trained-seed.json    the network after the first training, for the result table
    step-N/              a point between steps: network.json, and progress.safetensors with the state of the bench
    training-N.safetensors   a point within the N-th training, since the last step; see `training_state`
    current.json         which steps count, the newest first

All is written whole or not at all, `current.json` last, and the step before stays until the newer one was read again.
"""

import os
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import ConfigDict, Field, JsonValue, NonNegativeInt, Strict, StringConstraints, TypeAdapter

from nestgraph.errors import SnapshotError
from nestgraph.graph.network import Network
from nestgraph.lowering.bench_state import BenchRecord, BenchState
from nestgraph.runs.locks import check_held
from nestgraph.runs.run_files import BEGUN, STATE, STEP, TRAINING, remove_step
from nestgraph.runs.run_folder import Kept
from nestgraph.runs.state_files import read_state, write_state
from nestgraph.snapshot import MAX_BYTES, UNLIMITED, load, read_bounded, read_record, save, write_atomically
from nestgraph.snapshot.disk import check_folder, reported, shown, sync_folder
from nestgraph.snapshot.document import Digest
from nestgraph.spec.record import ArrayRecord, Record

SHARE = 0.01
"""Of a run's time: what keeping points may take."""

TRAINED_SEED = f"{STATE}/trained-seed.json"


class Progress(ArrayRecord):
    """All of a point that is not an array.

    Attributes:
        network: digest of the one that stands.
        kept: what the run's folder held: what was written after the point is dropped, what was before is checked.
            The state of the run is the fold of `decide` over the outcomes in the journal up to there.
        seconds: that the run took so far.
        bench: the part of its state that is not an array.
    """

    format: Literal["nestgraph.progress"] = "nestgraph.progress"
    version: Literal[5] = 5
    network: Digest
    kept: Kept
    seconds: Annotated[float, Field(ge=0)]
    bench: BenchRecord


class Facts(Record):
    """What the exact numbers of a run depend on beside its recipe: these two, and whatever else was noted of it."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, JsonValue]  # pyright: ignore[reportIncompatibleVariableOverride]

    seed: NonNegativeInt
    device: Annotated[str, StringConstraints(pattern=r"^(cpu|cuda(:[0-9]{1,3})?)$")]

    @property
    def known_as(self) -> str:
        """The nestgraph that noted them, with its version where that was noted."""
        libraries = (self.__pydantic_extra__ or {}).get("libraries")
        version = cast("dict[str, Any]", libraries).get("nestgraph") if isinstance(libraries, dict) else None
        return f"nestgraph {version}"[:40] if isinstance(version, str) else "nestgraph"


class Begun(Record):
    """What a run began with, to be compared with what it would go on with; the recipe as JSON.

    `version` is that of all points in the folder, and of what journal they go on with.
    """

    format: Literal["nestgraph.begun"] = "nestgraph.begun"
    version: Literal[1, 2, 3] = 3
    recipe: dict[str, JsonValue]
    environment: Facts


class _Current(Record):
    steps: Annotated[tuple[NonNegativeInt, ...], Strict(False)]


_PROGRESS: TypeAdapter[Progress] = TypeAdapter(Progress)
_BEGUN: TypeAdapter[Begun] = TypeAdapter(Begun)
_CURRENT: TypeAdapter[_Current] = TypeAdapter(_Current)


@dataclass(frozen=True)
class Point:
    """A point between two steps: the network that stands, the state of its bench, and where the run goes on."""

    network: Network
    bench: BenchState
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
        self._write(BEGUN, begun)

    def begun(self) -> Begun:
        """What the run began with.

        Raises:
            SnapshotError: the folder has no unfinished run, or one that is damaged or that an earlier version began.
        """
        path = self.folder / BEGUN
        if not path.exists():
            raise SnapshotError(
                f"{shown(self.folder.parent)}: expected an unfinished run with {STATE}/{BEGUN}, got none: nothing had "
                "begun, or another version wrote it; synthesize with --overwrite (overwrite=True) starts anew"
            )
        begun = read_record(_BEGUN, read_bounded(path, MAX_BYTES), shown(path))
        if begun.version != Begun.model_fields["version"].default:
            raise SnapshotError(
                f"{shown(self.folder.parent)}: expected an unfinished run whose points this version reads, got "
                f"points of format {begun.version}, kept by an earlier one ({begun.environment.known_as}): it goes on "
                "there; synthesize with --overwrite (overwrite=True) starts anew"
            )
        return begun

    # -- points between steps ------------------------------------------------------------------------

    def keep(self, point: Point) -> None:
        """Keep a point: its files, then the pointer to them, then what is older than the one before goes.

        Raises:
            SnapshotError: it cannot be written, or does not read as it was written; earlier points stay.
        """
        check_held(self.folder.parent)
        steps = self._steps()
        number = max(steps, default=-1) + 1
        place = self._place(number)
        with reported(place, "written"):
            remove_step(place)  # a kill may have left its beginning; counting on from it would look like a lost pointer
            place.mkdir(exist_ok=True)
        save(point.network, place / "network.json", overwrite=True)
        write_state(place / "progress.safetensors", point.progress, point.bench.arrays)
        self._write("current.json", _Current(steps=(number, *steps[:1])))
        read_state(place / "progress.safetensors", _PROGRESS)
        with suppress(OSError, SnapshotError):  # what is left over does no harm
            for old in self._present() - {number, *steps[:1]}:
                remove_step(self._place(old))
            for name in filter(TRAINING.fullmatch, os.listdir(self.folder)):
                (self.folder / name).unlink(missing_ok=True)

    def latest(self) -> Point | None:
        """The newest point that is whole; None where there is none yet.

        Raises:
            SnapshotError: there are points, but none is whole.
        """
        problem: SnapshotError | None = None
        steps = self._steps()
        if not steps and max(self._present(), default=0):
            raise SnapshotError(
                f"{shown(self.folder)}: expected current.json, which names the points, got none: bring it back"
            )
        for number in steps:
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
        return Point(network, BenchState.read(progress.bench, arrays), progress)

    def _steps(self) -> tuple[int, ...]:
        path = self.folder / "current.json"
        if not os.path.lexists(path):
            return ()
        return read_record(_CURRENT, read_bounded(path, MAX_BYTES), shown(path)).steps

    def _present(self) -> set[int]:
        """The numbers of all steps whose folders are there, whole or not."""
        names = os.listdir(self.folder) if check_folder(self.folder) else []
        return {int(name.removeprefix("step-")) for name in names if STEP.fullmatch(name)}

    def _place(self, number: int) -> Path:
        return self.folder / f"step-{number}"

    # -- others --------------------------------------------------------------------------------------

    def training(self, number: int) -> Path:
        """The file of the point within a training."""
        return self.folder / f"training-{number}.safetensors"

    def keep_seed(self, network: Network) -> None:
        """Keep the network after the first training, in `TRAINED_SEED`."""
        check_held(self.folder.parent)
        save(network, self.folder.parent / TRAINED_SEED, overwrite=True)

    def seed(self) -> Network:
        """The network after the first training.

        Raises:
            SnapshotError: it cannot be read.
        """
        return load(self.folder.parent / TRAINED_SEED, UNLIMITED)

    def _write(self, name: str, record: Record) -> None:
        write_atomically(self.folder / name, record.model_dump_json(indent=2).encode() + b"\n")
