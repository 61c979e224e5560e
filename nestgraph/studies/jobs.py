"""The runs of a sweep as jobs that any `map` does: here in turn, or in other processes and on other machines."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from nestgraph.errors import NestgraphError
from nestgraph.recipes.recipe import Recipe, parse_recipe
from nestgraph.runs.locks import patiently

PATIENCE = 60.0
"""Seconds that a job waits for another writer of its folder: one that was told to end ends at its next point."""


@dataclass(frozen=True)
class Job:
    """One run, in plain values that travel.

    Attributes:
        recipe: its text, in JSON.
        folder: of the run, on a disk that whoever asks for the job sees, too.
        seed: of the run.
        device: where to compute.
        plugins: files of Python with policies and tasks that the recipe names.
    """

    recipe: str
    folder: str
    seed: int
    device: str
    plugins: tuple[str, ...] = ()

    @classmethod
    def of(cls, recipe: Recipe, folder: Path, seed: int, device: str, plugins: Iterable[Path] = ()) -> "Job":
        """The job of a run."""
        return cls(recipe.text, str(folder.absolute()), seed, device, tuple(str(path.absolute()) for path in plugins))


@dataclass(frozen=True)
class Outcome:
    """What came of a job beside what is in its folder.

    Attributes:
        job: which one.
        problem: why it has no finished run, in words; empty where it has one.
    """

    job: Job
    problem: str = ""


Do = Callable[[Job], Outcome]
Engine = Callable[[Do, Iterable[Job]], Iterable[Outcome]]
"""What does jobs in any order, anywhere: `map` itself, `multiprocessing.Pool(4).map`, an executor's `map`, or one of
`nestgraph.studies.engines`."""


def do(job: Job) -> Outcome:
    """Do a job, or go on with it where it was interrupted; what comes of it is in its folder."""
    from nestgraph.loop.resuming import begin_or_resume  # here: it loads torch, which naming a job does without

    try:
        _load(job.plugins)
        recipe = parse_recipe(job.recipe, "recipe.json")
        patiently(lambda: begin_or_resume(recipe, Path(job.folder), job.seed, job.device, None), PATIENCE)
    except Exception as error:
        return Outcome(job, problem_of(error))
    return Outcome(job)


@dataclass(frozen=True)
class OnOneThread:
    """What does a job on one thread, for processes that have a core each."""

    do: Do

    def __call__(self, job: Job) -> Outcome:
        """Do a job."""
        from nestgraph.loop.trainer import cpu_threads  # here: it loads torch

        with cpu_threads(1):
            return self.do(job)


def problem_of(error: BaseException) -> str:
    """Why a run failed, in one line."""
    words = " ".join(str(error).split())
    return words if isinstance(error, NestgraphError) else f"{type(error).__name__}: {words}"


@cache
def _load(plugins: tuple[str, ...]) -> None:
    """Load files once in a process."""
    from nestgraph.recipes.plugins import load_plugins

    load_plugins([Path(file) for file in plugins])
