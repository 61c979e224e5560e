"""Sweeps: studies as data. One recipe, variations of it, and several seeds of each.

Each (variation, seed) is an ordinary run in FOLDER/VARIATION/seed-N, so a sweep that was interrupted goes on where it
was; sweep.json closes it.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from importlib import resources
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

from pydantic import Field, JsonValue, StringConstraints, TypeAdapter, ValidationError, model_validator

from nestgraph.errors import RecipeError, SnapshotError
from nestgraph.recipes.naming import check_names, names_projections
from nestgraph.recipes.recipe import RECIPE, Recipe, Slug, load_recipe, recipe_names
from nestgraph.runs.run import Run
from nestgraph.snapshot import check_own, options_json, problems_of, read_options, write_own
from nestgraph.snapshot.disk import PathLike
from nestgraph.spec.arguments import checked
from nestgraph.spec.limits import MAX_WHOLE
from nestgraph.spec.record import Record, Text
from nestgraph.studies.jobs import Engine as JobEngine
from nestgraph.studies.jobs import Job, do
from nestgraph.studies.sweep_table import SWEEP_MARK, Settings, SweepRow, SweepTable

if TYPE_CHECKING:
    from nestgraph.loop.engine import Watcher

_FOLDER = resources.files("nestgraph.studies").joinpath("sweeps")
OneSeed = Annotated[int, Field(ge=0, lt=MAX_WHOLE)]
Watch = Callable[[str], "AbstractContextManager[Watcher]"]
"""Gives what watches one run, by the run's title."""


class Variation(Record):
    """What is different in some runs of a sweep.

    Attributes:
        name: also the folder of its runs.
        set: new values by the dotted place of a recipe's field, such as `growth.policies.1.alpha`; in TOML such a key
            is quoted. A value replaces all that was there, be it a number, a list or a whole table.
    """

    name: Slug
    set: Settings = Field(default_factory=dict[str, JsonValue])


class Sweep(Record):
    """A study: the variations of a recipe that are compared, over the same seeds.

    Attributes:
        recipe: the name of the recipe that is varied, or its file, relative to the sweep's own.
        set: what all variations set; their own settings come later and win.
    """

    name: Slug
    description: Text = ""
    recipe: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    seeds: Annotated[tuple[OneSeed, ...], Field(min_length=1, max_length=100)] = (0, 1, 2)
    set: Settings = Field(default_factory=dict[str, JsonValue])
    variations: Annotated[tuple[Variation, ...], Field(min_length=1, max_length=256)]

    @model_validator(mode="after")
    def _check_distinct(self) -> Self:
        identities: list[object] = [*(each.name for each in self.variations), *self.seeds]
        twice = [identity for identity in identities if identities.count(identity) > 1]
        if twice:
            raise ValueError(f"expected variations and seeds that differ, got {twice[0]} twice")
        return self

    def recipes(self) -> dict[str, Recipe]:
        """The recipe of each variation, by its name.

        Raises:
            RecipeError: the recipe cannot be read, or a variation of it is not valid.
        """
        recipe, found = load_recipe(self.recipe), dict[str, Recipe]()
        for variation in self.variations:
            common = {place: value for place, value in self.set.items() if place not in variation.set}
            settings = {"set": {**common, **variation.set}}
            found[variation.name] = varied(recipe, variation.model_copy(update=settings))
        return found

    def with_seeds(self, number: int) -> "Sweep":
        """The sweep with so many seeds: the first of its own, then the numbers that follow the largest."""
        more = islice(count(max(self.seeds) + 1), number)
        return self.model_copy(update={"seeds": (*self.seeds, *more)[:number]})


_SWEEP: TypeAdapter[Sweep] = TypeAdapter(Sweep)


def varied(recipe: Recipe, variation: Variation) -> Recipe:
    """The recipe with a variation's settings, which are applied in their order and checked at the end.

    Raises:
        RecipeError: there is no such place in the recipe, or what comes of it is not a valid recipe.
    """
    document = recipe.model_dump(mode="json")
    try:
        for place, value in variation.set.items():
            _put(document, place, deepcopy(value))
        return RECIPE.validate_json(json.dumps(document))
    except ValidationError as error:
        raise RecipeError(f"variation {variation.name!r}: {problems_of(error, Recipe)}") from None
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"variation {variation.name!r}: {error}") from None


def _put(document: Any, place: str, value: JsonValue) -> None:
    """Replace what is at a dotted place of nested tables and lists.

    Raises:
        ValueError: a step before the last leads nowhere, or a list has no such index.
    """
    *way, last = place.split(".")
    for step in way:
        key = _key(document, step, place)
        if isinstance(key, str) and key not in document:
            raise ValueError(f"{place[:80]!r}: expected a field of the recipe, got none called {step[:40]!r}")
        document = document[key]
    document[_key(document, last, place)] = value


def _key(document: Any, step: str, place: str) -> int | str:
    """A step of a dotted place as the key of a table or the index of a list."""
    if isinstance(document, dict):
        return step
    if not isinstance(document, list):
        got = json.dumps(document)[:40]
        raise ValueError(f"{place[:80]!r}: expected a table or list before {step[:40]!r}, got {got}")
    indices = {str(number): number for number in range(len(cast(list[Any], document)))}
    if step not in indices:
        raise ValueError(f"{place[:80]!r}: expected an index below {len(indices)}, got {step[:40]!r}")
    return indices[step]


def sweep_names() -> tuple[str, ...]:
    """The names of the sweeps inside the package."""
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir()))


@checked(RecipeError)
def load_sweep(name_or_path: PathLike) -> Sweep:
    """A sweep of the package by name, or one from a TOML or JSON file. All its recipes are valid.

    Raises:
        RecipeError: there is none, or it or the recipe of a variation is not valid; the message names the field.
    """
    file = f"{name_or_path}.toml"
    if name_or_path in sweep_names():
        return _parsed(_FOLDER.joinpath(file).read_text("utf-8"), Path(file))
    path = Path(name_or_path)
    if path.suffix not in (".toml", ".json"):
        known = ", ".join(sweep_names())
        raise RecipeError(f"expected a sweep's name ({known}) or a .toml or .json file, got {str(name_or_path)!r}")
    try:
        text = read_options(path)
    except (SnapshotError, ValueError) as error:
        raise RecipeError(str(error)) from None
    return _parsed(text, path)


def _parsed(text: str, path: Path) -> Sweep:
    """The sweep in a text; `path` is its file, whose suffix tells TOML from JSON and whose folder has the recipe."""
    try:
        sweep = _SWEEP.validate_json(options_json(text, path))
        if sweep.recipe not in recipe_names():
            sweep = sweep.model_copy(update={"recipe": str(path.parent / sweep.recipe)})
        sweep.recipes()
    except ValidationError as error:
        raise RecipeError(f"{path}: {problems_of(error, Sweep)}") from None
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None
    except ValueError as error:
        raise RecipeError(f"{path}: {error}") from None
    return sweep


@checked(RecipeError)
def run_sweep(
    sweep: Sweep, folder: PathLike, watch: Watch | None = None, device: str = "cpu", engine: JobEngine | None = None
) -> SweepTable:
    """Run what is not finished of a sweep, and write sweep.json.

    Args:
        sweep: the study.
        folder: of its runs. Finished runs of an equal recipe count; unfinished ones are resumed.
        watch: called with the title of each run that is not finished yet; what it returns is entered around the run,
            and what that gives is called after each measurement.
        device: "cpu" or "cuda".
        engine: what does the runs instead of this process in turn: any `map` over picklable jobs, such as
            `multiprocessing.get_context("spawn").Pool(4).map` or an executor's. Runs are the same bytes wherever they
            are done. Nobody watches them then.

    Raises:
        RecipeError: a recipe is not valid, or both `watch` and `engine` are given, or a policy names a projection that
            there is none of.
        SnapshotError: the folder has a finished run of another recipe or seed, or an unfinished one that began in
            another environment, or cannot be written.
        DataError, StructureError, TrainingError: a run failed; see `synthesize`.
    """
    from nestgraph.loop.resuming import begin_or_resume  # here: it loads torch, which reading a sweep does without

    if watch and engine:
        raise RecipeError("run_sweep expected a watch or an engine, got both: an engine's runs go on elsewhere")
    folder, recipes = Path(folder), sweep.recipes()
    check_own(folder / "sweep.json", SWEEP_MARK)
    goals = list(dict.fromkeys(recipe.task.goal for recipe in recipes.values()))
    if len(goals) > 1:
        got = " and ".join(goals)
        raise RecipeError(f"sweep {sweep.name!r}: expected variations of one goal, to compare them, got {got}")
    for recipe in filter(names_projections, recipes.values()):  # before any run, not when its turn comes
        data = recipe.load(sweep.seeds[0])
        check_names(recipe, recipe.seed_network.build(0, data, recipe.task.widths(data.facts)))
    places = {(name, seed): folder / name / f"seed-{seed}" for name in recipes for seed in sweep.seeds}
    runs = {(name, seed): _finished(place, recipes[name], seed) for (name, seed), place in places.items()}
    if engine:
        jobs = [Job.of(recipes[key[0]], places[key], key[1], device) for key, run in runs.items() if run is None]
        for _ in engine(do, jobs):
            pass
        runs = {key: _finished(place, recipes[key[0]], key[1]) for key, place in places.items()}
    for number, ((name, seed), run) in enumerate(runs.items(), 1):
        if run is None:
            with watch(f"{name} seed {seed} ({number} of {len(runs)})") if watch else nullcontext() as progress:
                done = begin_or_resume(recipes[name], places[name, seed], seed, device, progress)
            runs[name, seed] = done
    table = _table(sweep, {key: run for key, run in runs.items() if run})
    write_own(folder / "sweep.json", table.model_dump_json(indent=2).encode() + b"\n", SWEEP_MARK)
    return table


def _finished(folder: Path, recipe: Recipe, seed: int) -> Run | None:
    """The finished run in a folder; None where there is none."""
    if not (folder / "result.json").exists():
        return None
    run = Run.read(folder)
    if run.recipe != recipe or run.result.seed != seed:
        raise SnapshotError(
            f"{folder}: expected a run of this variation and seed, got a finished run of another: "
            "delete it or choose another folder"
        )
    return run


def _table(sweep: Sweep, runs: Mapping[tuple[str, int], Run]) -> SweepTable:
    rows = (
        SweepRow.of(each.name, each.set, [runs[each.name, seed] for seed in sweep.seeds]) for each in sweep.variations
    )
    recipe = load_recipe(sweep.recipe).name
    return SweepTable(
        sweep=sweep.name,
        description=sweep.description,
        recipe=recipe,
        goal=next(iter(runs.values())).result.goal,
        set=sweep.set,
        rows=tuple(rows),
    )
