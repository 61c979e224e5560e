"""The runs of a sweep as jobs that any `map` does: here in turn, or in other processes and on other machines."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from nestgraph.recipes.recipe import Recipe, parse_recipe


@dataclass(frozen=True)
class Job:
    """One run, in plain values that travel.

    Attributes:
        recipe: its text, in JSON.
        folder: of the run, on a disk that whoever asks for the job sees, too.
        seed: of the run.
        device: where to compute.
    """

    recipe: str
    folder: str
    seed: int
    device: str

    @classmethod
    def of(cls, recipe: Recipe, folder: Path, seed: int, device: str) -> "Job":
        """The job of a run."""
        return cls(recipe.text, str(folder.absolute()), seed, device)


Do = Callable[[Job], None]
Engine = Callable[[Do, Iterable[Job]], Iterable[None]]
"""What does jobs in any order, anywhere: `map` itself, `multiprocessing.Pool(4).map`, an executor's `map`, or one line
around joblib, Dask, Ray or submitit."""


def do(job: Job) -> None:
    """Do a job, or go on with it where it was interrupted; what comes of it is in its folder.

    Raises:
        DataError, Interrupted, RecipeError, SnapshotError, StructureError, TrainingError: see `synthesize`, `resume`.
    """
    from nestgraph.loop.resuming import begin_or_resume  # here: it loads torch, which naming a job does without

    begin_or_resume(parse_recipe(job.recipe, "recipe.json"), Path(job.folder), job.seed, job.device, None)
