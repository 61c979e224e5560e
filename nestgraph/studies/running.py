"""The runs of a sweep, done here in turn or by an engine, and the table of what came of them.

Each (variation, seed) is an ordinary run in FOLDER/VARIATION/seed-N, so a sweep that was interrupted goes on where it
was, and several processes or machines can do shares of one; sweep.json says what there is so far.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nestgraph.errors import NestgraphError, RecipeError, SnapshotError, TrainingError
from nestgraph.recipes.naming import check_names, names_projections
from nestgraph.recipes.recipe import Recipe, load_recipe
from nestgraph.runs.locks import Lock, patiently
from nestgraph.runs.run import Run
from nestgraph.runs.run_files import RESULT
from nestgraph.snapshot import check_own, write_own
from nestgraph.snapshot.disk import PathLike
from nestgraph.spec.arguments import checked
from nestgraph.studies.jobs import PATIENCE, Engine, Job, Outcome, do, problem_of
from nestgraph.studies.sweep import Sweep
from nestgraph.studies.sweep_table import SWEEP_MARK, MissingRun, SweepRow, SweepTable

if TYPE_CHECKING:
    from nestgraph.loop.engine import Watcher

Unit = tuple[str, int]
"""A run of a sweep: the name of its variation, and its seed."""
Watch = Callable[[str], "AbstractContextManager[Watcher]"]
"""Gives what watches one run, by the run's title."""
Overview = Callable[[Mapping[str, Path]], AbstractContextManager[Callable[[Outcome], None]]]
"""Gives what watches all runs, by their titles and folders; it is called with what came of each."""
Shard = tuple[int, int]
"""Which of how many shares of the runs, from 1 up."""
NOT_YET = "not run yet"
"""Why a run is missing that nobody has tried."""


@checked(RecipeError)
def run_sweep(
    sweep: Sweep,
    folder: PathLike,
    watch: Watch | None = None,
    device: str = "cpu",
    engine: Engine | None = None,
    *,
    overview: Overview | None = None,
    retries: int = 1,
    shard: Shard | None = None,
    plugins: Iterable[Path] = (),
) -> SweepTable:
    """Run what is not finished of a sweep, and write sweep.json.

    A run that fails, or whose process is killed, is tried again where it stood; one that fails each time is named in
    the table, with why, and the others go on.

    Args:
        sweep: the study.
        folder: of its runs. Finished runs of an equal recipe count; unfinished ones are resumed.
        watch: called with the title of each run that is not finished yet; what it returns is entered around the run,
            and what that gives is called after each measurement. Only where no engine does the runs.
        device: "cpu" or "cuda".
        engine: what does the runs instead of this process in turn: one of `nestgraph.studies.engines`, or any `map`
            over picklable jobs, such as `multiprocessing.get_context("spawn").Pool(4).map` or an executor's. Runs are
            the same bytes wherever they are done, if with as many threads.
        overview: called with the folders of all runs that an engine is to do, by their titles.
        retries: how often a run that failed is tried again.
        shard: which share of the runs to do, `(1, 4)` for the first of four, so that anything can start all four:
            each takes every fourth run. The table is of all that are finished by whomever.
        plugins: files of Python with policies and tasks that the recipe names, for the processes of an engine.

    Raises:
        RecipeError: a recipe is not valid, both `watch` and `engine` are given, a policy names a projection that there
            is none of, or there is no such shard.
        SnapshotError: the folder has a finished run of another recipe or seed, or cannot be written.
        TrainingError: no run is finished; the message says why the first one is not.
    """
    if watch and engine:
        raise RecipeError("run_sweep expected a watch or an engine, got both: an engine's runs go on elsewhere")
    if shard and not 1 <= shard[0] <= shard[1]:
        raise RecipeError(f"run_sweep expected a shard such as (1, 4), from 1 up, got {shard}")
    study = _Study(sweep, Path(folder), _checked_recipes(sweep))
    check_own(study.folder / "sweep.json", SWEEP_MARK)
    finished, problems = study.finished(), dict[Unit, str]()
    own = study.units[shard[0] - 1 :: shard[1]] if shard else study.units
    for _ in range(1 + retries):
        jobs = {unit: study.job(unit, device, plugins) for unit in own if unit not in finished}
        if not jobs:
            break
        outcomes = _elsewhere(study, jobs, engine, overview) if engine else _here(study, jobs, watch)
        for unit, outcome in outcomes:
            problems[unit] = outcome.problem
        finished = study.finished()
        problems |= {unit: problems.get(unit) or "ended without a result" for unit in jobs if unit not in finished}
    return patiently(lambda: study.write(problems), PATIENCE)


@dataclass(frozen=True)
class _Study:
    """A sweep, where its runs are, and the recipe of each variation."""

    sweep: Sweep
    folder: Path
    recipes: Mapping[str, Recipe]

    @property
    def units(self) -> list[Unit]:
        return [(name, seed) for name in self.recipes for seed in self.sweep.seeds]

    def place(self, unit: Unit) -> Path:
        """The folder of a run."""
        return self.folder / unit[0] / f"seed-{unit[1]}"

    def title(self, unit: Unit) -> str:
        """A run in words."""
        return f"{unit[0]} seed {unit[1]} ({self.units.index(unit) + 1} of {len(self.units)})"

    def job(self, unit: Unit, device: str, plugins: Iterable[Path]) -> Job:
        """The job of a run."""
        return Job.of(self.recipes[unit[0]], self.place(unit), unit[1], device, plugins)

    def finished(self) -> dict[Unit, Run]:
        """The finished runs.

        Raises:
            SnapshotError: one is of another recipe or seed.
        """
        return {unit: self._read(unit) for unit in self.units if (self.place(unit) / RESULT).exists()}

    def _read(self, unit: Unit) -> Run:
        run = Run.read(self.place(unit))
        if run.recipe != self.recipes[unit[0]] or run.result.seed != unit[1]:
            raise SnapshotError(
                f"{self.place(unit)}: expected a run of this variation and seed, got a finished run of another: "
                "delete it or choose another folder"
            )
        return run

    def write(self, problems: Mapping[Unit, str]) -> SweepTable:
        """Write the table of what is finished by now, by whomever.

        Raises:
            HeldError: another process is about to do so.
            TrainingError: nothing is.
        """
        with Lock(self.folder):
            finished, sweep = self.finished(), self.sweep
            missing = {unit: problems.get(unit, NOT_YET) for unit in self.units if unit not in finished}
            if not finished:
                unit, why = next(iter(missing.items()))
                got = f"none; {self.title(unit)}: {why}"
                raise TrainingError(f"sweep {sweep.name!r} expected one run at least that is finished, got {got}")
            of = {name: [run for unit, run in finished.items() if unit[0] == name] for name in self.recipes}
            table = SweepTable(
                sweep=sweep.name,
                description=sweep.description,
                recipe=load_recipe(sweep.recipe).name,
                goal=next(iter(finished.values())).result.goal,
                set=sweep.set,
                rows=tuple(SweepRow.of(v.name, v.set, of[v.name]) for v in sweep.variations if of[v.name]),
                missing=tuple(MissingRun(variation=v, seed=seed, why=why) for (v, seed), why in missing.items()),
            )
            write_own(self.folder / "sweep.json", table.model_dump_json(indent=2).encode() + b"\n", SWEEP_MARK)
        return table


Outcomes = Iterator[tuple[Unit, Outcome]]


def _elsewhere(study: _Study, jobs: Mapping[Unit, Job], engine: Engine, overview: Overview | None) -> Outcomes:
    """What comes of jobs that an engine does."""
    units = {job.folder: unit for unit, job in jobs.items()}
    places = {study.title(unit): Path(job.folder) for unit, job in jobs.items()}
    with overview(places) if overview else nullcontext() as told:
        for outcome in engine(do, list(jobs.values())):
            if told:
                told(outcome)
            yield units[outcome.job.folder], outcome


def _here(study: _Study, jobs: Mapping[Unit, Job], watch: Watch | None) -> Outcomes:
    """What comes of jobs that are done here, in turn."""
    from nestgraph.loop.resuming import begin_or_resume  # here: it loads torch, which reading a sweep does without

    for unit, job in jobs.items():
        with watch(study.title(unit)) if watch else nullcontext() as progress:
            try:
                begin_or_resume(study.recipes[unit[0]], study.place(unit), unit[1], job.device, progress)
            except NestgraphError as error:
                yield unit, Outcome(job, problem_of(error))
            else:
                yield unit, Outcome(job)


def _checked_recipes(sweep: Sweep) -> Mapping[str, Recipe]:
    """The recipes of the variations, which can be compared and find what they name.

    Raises:
        RecipeError: they do not.
    """
    recipes = sweep.recipes()
    goals = list(dict.fromkeys(recipe.task.goal for recipe in recipes.values()))
    if len(goals) > 1:
        got = " and ".join(goals)
        raise RecipeError(f"sweep {sweep.name!r}: expected variations of one goal, to compare them, got {got}")
    for recipe in filter(names_projections, recipes.values()):  # before any run, not when its turn comes
        data = recipe.load(sweep.seeds[0])
        check_names(recipe, recipe.seed_network.build(0, data, recipe.task.widths(data.facts)))
    return recipes
