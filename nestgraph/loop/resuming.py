"""Going on with a run that was interrupted, where it stood and as it would have gone."""

import json
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nestgraph.data.samples import Dataset
from nestgraph.errors import RecipeError, SnapshotError
from nestgraph.loop.checkpoint import Begun, Pace, Point, RunState
from nestgraph.loop.decide import fold
from nestgraph.loop.decisions import State
from nestgraph.loop.engine import Engine, Watcher
from nestgraph.loop.environment import differences
from nestgraph.loop.synthesis import agree_on, complete, facts_of, places, synthesize, trainer_of
from nestgraph.loop.tracking import check_trackers, tracked
from nestgraph.loop.trainer import cpu_threads
from nestgraph.parallel.ranks import joined
from nestgraph.policies import Policy
from nestgraph.recipes.own_kinds import classes_of, refuse_unknown
from nestgraph.recipes.recipe import Recipe, recorded_recipe
from nestgraph.runs.locks import Lock
from nestgraph.runs.records import Records
from nestgraph.runs.run import Run
from nestgraph.runs.run_files import JOURNAL, RESULT, check_plain_files, check_present, drop_state, resumable
from nestgraph.runs.run_folder import Kept, RunFolder
from nestgraph.snapshot.disk import PathLike, shown
from nestgraph.snapshot.outcomes import Outcome
from nestgraph.spec.arguments import checked
from nestgraph.tasks.task import Task

FIXED = ("seed", "data")
"""Facts of a run without which it would be another one; the others change its last digits."""


@checked(SnapshotError)
def resume(
    run: PathLike,
    device: str | None = None,
    progress: Watcher | None = None,
    allow_changes: bool = False,
    save_every: float | None = None,
    policies: Iterable[type[Policy]] = (),
    trackers: Sequence[Any] = (),
    task: Task | None = None,
    data: Dataset | None = None,
) -> Run:
    """Go on with a run that was interrupted, to the same bits as if it had not been.

    Args:
        run: its folder. A finished run is read and returned.
        device: where to compute; by default where it began.
        progress: called after every measurement.
        allow_changes: go on although the versions of libraries, the number of threads, the machine or the device are
            not those that the run began with. Its numbers may then differ in their last digits, and thus in all.
        save_every: see `synthesize`.
        policies: classes of the recipe's policies that are not of this package.
        trackers: see `synthesize`; they are told of what comes from now on.
        task: that of the run again, where it has a loss or metrics of your own.
        data: those that the run began with, where Python gave them.

    Raises:
        DataError: the dataset cannot be had.
        Interrupted: see `synthesize`.
        ProcessError: see `synthesize`.
        RecipeError: the code of a policy is not known.
        SnapshotError: there is no such run, another process writes it, it is damaged, or its recipe, its data or,
            without `allow_changes`, its environment changed; the message names the difference.
        TrainingError: the device, the package of a tracker or the code of the task is missing.
    """
    place, ranks = Path(run), joined()
    check_trackers(trackers)
    state = RunState(place, Pace(save_every))
    with ExitStack() as held:
        begun = ranks.led(lambda: _opened(place, state, held))
        if begun is None:
            return ranks.led(lambda: _finished(place, policies))
        recipe = recorded_recipe(ranks.led(lambda: _same_recipe(place, begun, policies)), "recipe.json", policies)
        recipe = recipe.with_code(task)
        refuse_unknown(recipe, begun.environment.model_extra)
        seed, where = begun.environment.seed, device or begun.environment.device
        trainer = trainer_of(recipe, seed, where, data, ranks)
        with cpu_threads(recipe.training.threads), tracked(trackers, place, recipe, seed, progress, ranks) as watcher:
            facts = facts_of(trainer, recipe)
            agree_on(ranks, facts)
            _check_facts(place, begun, facts, allow_changes)
            point = ranks.led(state.latest)
            before = begun.environment.model_dump(mode="json")
            facts = before | ({"resumed_with": facts} if facts != before else {})
            kept = point.progress.kept if point else Kept()
            folder = RunFolder(place, recipe, facts, kept=kept, columns=trainer.columns)
            decided = ranks.led(lambda: _checked(recipe, trainer.floor, folder, point))
            engine = Engine(recipe, trainer, *places(trainer, recipe, folder, state), watcher, point, decided)
            return complete(engine, recipe, trainer, folder)


def _opened(place: Path, state: RunState, held: ExitStack) -> Begun | None:
    """What an unfinished run began with, whose folder is held from here on; None of a finished one.

    Raises:
        SnapshotError: there is no such run, or another process writes it.
    """
    check_present(place)
    held.enter_context(Lock(place))
    check_plain_files(place)
    return None if (place / RESULT).exists() else state.begun()


def _finished(place: Path, policies: Iterable[type[Policy]]) -> Run:
    """A finished run, as it is read."""
    Records.read(place)
    finished = Run.read(place, policies)
    drop_state(place)
    return finished


def begin_or_resume(recipe: Recipe, place: Path, seed: int, device: str, progress: Watcher | None) -> Run:
    """Go on with an unfinished run of this recipe and seed, or begin one in the place of what an earlier run left.

    Raises:
        DataError, Interrupted, SnapshotError, StructureError, TrainingError: see `synthesize` and `resume`.
    """
    if resumable(place):
        begun = RunState(place, Pace()).begun()
        if begun.recipe == recipe.document and begun.environment.seed == seed:
            return resume(place, device, progress, policies=classes_of(recipe), task=recipe.task)
    return synthesize(recipe, place, seed, device, progress, overwrite=True)


def _checked(recipe: Recipe, floor: float, folder: RunFolder, point: Point | None) -> State | None:
    """The state of a run at a point, if there is one: the fold over what came of its actions, as the journal has it.

    Raises:
        SnapshotError: what the folder held there is not there, or the journal is not of this run or does not lead to
            the point.
    """
    folder.check()
    if point is None:
        return None
    digests, outcomes = list[str](), list[Outcome]()
    for entry in folder.entries():
        digests[:] = [entry.digest]
        outcomes += [entry.outcome] if entry.outcome else []
    where = shown(folder.folder / JOURNAL)
    try:
        state = fold(recipe, floor, outcomes)
    except TypeError as error:
        raise SnapshotError(f"{where}: {error}: it is the journal of another run; bring it back") from None
    if state.awaits != "step" or digests != [point.network.digest]:
        expected = f"expected what led to the network {point.network.digest:.12} at the end of a step"
        got = f"network {(*digests, '(none)')[0]:.12} and a run that awaits {state.awaits!r}"
        raise SnapshotError(f"{where}: {expected}, where the run was last kept, got {got}: bring it back")
    return state


def _same_recipe(place: Path, begun: Begun, policies: Iterable[type[Policy]]) -> str:
    """The recipe that the run began with, which is that of its folder, as JSON.

    Raises:
        SnapshotError: it is not.
    """
    path = place / "recipe.json"
    try:
        text = path.read_text("utf-8") if path.exists() else json.dumps(begun.recipe)
        found = recorded_recipe(text, "recipe.json", policies)
    except (OSError, ValueError, RecipeError) as error:
        raise SnapshotError(f"{shown(path)}: expected the recipe that the run began with, got: {error}") from None
    changes = list(differences(begun.recipe, found.document))
    if changes:
        raise SnapshotError(
            f"{shown(path)}: the recipe changed since the run began: {_listed(changes)}: restore it, or synthesize a "
            "run of its own"
        )
    return text


def _check_facts(place: Path, begun: Begun, facts: dict[str, object], allow_changes: bool) -> None:
    """Whether the run would go on as it began.

    Raises:
        SnapshotError: it would not.
    """
    before = begun.environment.model_dump(mode="json")
    fixed = list(differences({name: before.get(name) for name in FIXED}, {name: facts[name] for name in FIXED}))
    if fixed:
        raise SnapshotError(
            f"{shown(place)}: the data changed since the run began: {_listed(fixed)}: restore it, or synthesize a run "
            "of its own"
        )
    changes = list(differences(before, facts))
    if changes and not allow_changes:
        raise SnapshotError(
            f"{shown(place)}: the run began in another environment: {_listed(changes)}: its numbers could come out "
            "differently; go on there, or allow changes"
        )


def _listed(changes: list[str]) -> str:
    more = f" and {len(changes) - 5} more" if len(changes) > 5 else ""
    return "; ".join(changes[:5]) + more
