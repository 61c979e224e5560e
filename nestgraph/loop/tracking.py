"""What trackers are told of a run: TensorBoard, Weights & Biases, MLflow and whatever else Accelerate has classes for.

A tracker decides nothing and ends nothing. What it writes holds times, so it is not the same when a run is done again,
and nothing reads it back. Its package is imported when the first row is there.
"""

import importlib.util
import secrets
import warnings
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from accelerate import PartialState
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from pydantic import StringConstraints, TypeAdapter

from nestgraph.errors import TrainingError
from nestgraph.loop.engine import Watcher
from nestgraph.parallel.ranks import ALONE, Ranks
from nestgraph.recipes.recipe import Recipe
from nestgraph.runs.run import Measurement
from nestgraph.runs.run_files import EVENT_SUFFIX, EVENTS, STATE, TRACKED
from nestgraph.snapshot import read_bounded, read_record, write_atomically
from nestgraph.snapshot.disk import shown
from nestgraph.spec.record import Record
from nestgraph.spec.wording import foreign, quoted

EXTRAS = ("tensorboard", "wandb", "mlflow")
"""Trackers whose package an extra of the same name brings."""

TEXTS = ("tensorboard", "wandb")
"""Trackers that take words beside numbers."""


Id = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class TrackedRuns(Record):
    """state/trackers.json: what W&B and MLflow call a run, so that it is the same one where it is resumed."""

    wandb: Id | None = None
    mlflow: Id | None = None


_TRACKED: TypeAdapter[TrackedRuns] = TypeAdapter(TrackedRuns)


def check_trackers(trackers: Sequence[Any]) -> None:
    """Check that trackers are known and that their packages are there, without an import of any.

    Raises:
        TrainingError: one is no tracker of Accelerate's, or its package is missing.
    """
    for tracker in trackers:
        if isinstance(tracker, GeneralTracker):
            continue
        if not isinstance(tracker, str) or tracker not in LOGGER_TYPE_TO_CLASS:
            raise TrainingError(
                f"trackers expected names among {', '.join(sorted(LOGGER_TYPE_TO_CLASS))}, or objects of "
                f"accelerate.tracking, got {quoted(tracker)}"
            )
        ours = LOGGER_TYPE_TO_CLASS[tracker].__module__ == GeneralTracker.__module__
        if ours and not _present(tracker):
            package = f"'nestgraph[{tracker}]'" if tracker in EXTRAS else tracker.replace("_", "-")
            raise TrainingError(
                f"the tracker {tracker} expected the package {tracker}, got none of that name: pip install {package}"
            )


def _present(package: str) -> bool:
    """Whether a package is installed; a folder of its name, such as W&B leaves where it ran offline, is none."""
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None


@contextmanager
def tracked(
    trackers: Sequence[Any],
    folder: Path,
    recipe: Recipe,
    seed: int,
    then: Watcher | None = None,
    ranks: Ranks = ALONE,
) -> Generator[Watcher | None]:
    """An observer of a run that tells its trackers, behind another one; they are finished when the run ends.

    Args:
        trackers: names of Accelerate's trackers, or objects of its classes, that `check_trackers` let pass.
        folder: of the run, which gives it its name.
        recipe: of the run; those that compare runs are given its choices.
        seed: of the run.
        then: another observer, which is told first.
        ranks: the processes of the run, of which the first alone tells anybody.
    """
    if not ranks.leads:
        yield None
        return
    told = [_Told(one, folder, recipe, seed) for one in trackers]

    def observe(row: Measurement, remaining: float | None) -> None:
        if then:
            then(row, remaining)
        for one in told:
            one.tell(row)

    try:
        yield observe if told else then
    finally:
        for one in told:
            one.finish()


class _Told:
    """A tracker of a run, left alone once it failed."""

    def __init__(self, given: Any, folder: Path, recipe: Recipe, seed: int) -> None:
        self._given, self._folder, self._recipe, self._seed = given, folder, recipe, seed
        self._name: str = given if isinstance(given, str) else given.name
        self._tracker: Any = None
        self._failed = False

    def tell(self, row: Measurement) -> None:
        """Tell it a row; the first one starts it."""
        if self._failed:
            return
        try:
            if self._tracker is None:
                self._start(row.step)
            if self._tracker:
                words = {"phase": row.phase} if self._name in TEXTS else {}
                self._tracker.log({**scalars(row), **words}, step=row.step)
        except Exception as error:  # whatever a tracker meets: a full disk, no network, a version of its own
            self._give_up(error)

    def finish(self) -> None:
        """Let it end what it has begun."""
        begun, self._tracker = self._tracker, None
        try:
            if begun and not self._failed:
                begun.finish()
        except Exception as error:  # as above
            self._give_up(error)

    def _start(self, step: int) -> None:
        """Start it on the first process of the run, and give it the choices of the run."""
        if not PartialState().is_main_process:  # which W&B's class wants to exist beforehand, too
            self._tracker = False
            return
        self._tracker = self._made(step) if isinstance(self._given, str) else self._given
        self._tracker.start()
        if self._given == "mlflow":
            self._note("mlflow", self._tracker.tracker.info.run_id)
        if self._name != "tensorboard":  # which would get a folder more for each run, named by the time
            self._tracker.store_init_configuration(choices(self._recipe, self._seed))

    def _made(self, step: int) -> GeneralTracker:
        kind: Any = LOGGER_TYPE_TO_CLASS[self._name]
        if self._name == "tensorboard":  # what an interrupted run wrote of this step and later ones, it does again
            return kind(EVENTS, logging_dir=self._folder, purge_step=step, filename_suffix=EVENT_SUFFIX)
        if self._name == "wandb":  # what a terminal shows of the run is not caught
            same = self._tracked().wandb or self._note("wandb", secrets.token_hex(8))
            options = {"name": self._folder.name, "settings": {"console": "off"}}
            return kind(self._recipe.name, id=same, resume="allow", **options)
        if self._name == "mlflow":
            return kind(self._recipe.name, run_name=self._folder.name, run_id=self._tracked().mlflow)
        return kind(self._recipe.name)

    def _tracked(self) -> TrackedRuns:
        path = self._folder / STATE / TRACKED
        return read_record(_TRACKED, read_bounded(path, 2**12), shown(path)) if path.exists() else TrackedRuns()

    def _note(self, name: Literal["wandb", "mlflow"], run: str) -> str:
        """Keep what a tracker calls this run."""
        noted = self._tracked().model_copy(update={name: run})
        write_atomically(self._folder / STATE / TRACKED, noted.model_dump_json(exclude_none=True).encode())
        return run

    def _give_up(self, error: Exception) -> None:
        self._failed = True
        if self._tracker:
            with suppress(Exception):  # MLflow's runs stay open else, and the next one cannot begin
                self._tracker.finish()
        reason = foreign(error) or type(error).__name__
        warnings.warn(f"the tracker {self._name} failed ({reason}): the run goes on without it", stacklevel=4)


def scalars(row: Measurement) -> dict[str, float]:
    """The numbers of a row by their tags; whether the step was kept is 1 or 0."""
    sizes = {"connections": row.connections, "units": row.units, "parameters": row.parameters, "flops": row.flops}
    return {
        **{f"size/{name}": count for name, count in sizes.items() if count is not None},
        **{f"validation/{name}": value for name, value in row.scores.items()},
        "validation/loss": row.loss,
        "accepted": float(row.accepted),
    }


def choices(recipe: Recipe, seed: int) -> dict[str, str | int | float | bool]:
    """All choices of a run, by their dotted place in its recipe, as trackers compare them."""
    return {"seed": seed, **dict(_flat("", recipe.document))}


def _flat(place: str, value: Any) -> Generator[tuple[str, str | int | float | bool]]:
    if isinstance(value, dict):
        for name, inner in cast("dict[str, Any]", value).items():
            yield from _flat(f"{place}.{name}" if place else name, inner)
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in cast("list[Any]", value)):
        for number, inner in enumerate(cast("list[Any]", value)):
            yield from _flat(f"{place}.{number}", inner)
    elif value is not None:
        yield place, value if isinstance(value, str | int | float | bool) else str(cast(object, value))
