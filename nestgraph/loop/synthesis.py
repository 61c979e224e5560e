"""Runs from a recipe to a result: what they begin with, and what is told of them at the end."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from nestgraph.data.options import OwnOptions
from nestgraph.data.samples import Dataset
from nestgraph.errors import RecipeError
from nestgraph.graph.cost import cost
from nestgraph.graph.network import Network
from nestgraph.loop.baseline import baseline
from nestgraph.loop.checkpoint import Begun, Facts, Pace, RunState
from nestgraph.loop.engine import Engine, Watcher
from nestgraph.loop.environment import differences, environment, fingerprints
from nestgraph.loop.flops import active_flops
from nestgraph.loop.in_memory import InMemory, NoPoints
from nestgraph.loop.keeping import Book, Points
from nestgraph.loop.tracking import check_trackers, tracked
from nestgraph.loop.trainer import Trainer, cpu_threads
from nestgraph.parallel.agreement import REMEDY, agreed
from nestgraph.parallel.ranks import ALONE, Ranks, joined
from nestgraph.recipes.own_kinds import packages_of, refuse_unknown
from nestgraph.recipes.recipe import Recipe
from nestgraph.runs import interruption
from nestgraph.runs.interruption import Interrupted, signals_noted
from nestgraph.runs.locks import Lock
from nestgraph.runs.run import Faults, Result, Run, StageResult
from nestgraph.runs.run_files import RESULT
from nestgraph.runs.run_folder import RunFolder
from nestgraph.snapshot.disk import PathLike
from nestgraph.spec.arguments import checked
from nestgraph.spec.randomness import RunSeed
from nestgraph.tasks.task import Task


@checked(RecipeError)
def synthesize(
    recipe: Recipe,
    out: PathLike | None = None,
    seed: RunSeed = 0,
    device: str = "cpu",
    progress: Watcher | None = None,
    overwrite: bool = False,
    save_every: float | None = None,
    trackers: Sequence[Any] = (),
    task: Task | None = None,
    data: Dataset | None = None,
) -> Run:
    """Run a recipe: grow a small seed, shift its activations, prune it, and write everything to a run folder.

    A run that was interrupted, however it was, goes on with `resume` and gives the same bits. In the main thread,
    Ctrl-C, SIGTERM and SIGHUP end it at the next batch, which is kept.

    In a process that `torchrun` or the like started together with others, all of them do the run, each on its share of
    every batch; the first alone writes and tells. Learning rate and batch size are those of the whole.

    Args:
        recipe: all choices of the run.
        out: the run folder, new or empty; `runs/NAME-SEED` by default.
        seed: of the split, the seed network and every random number of the run.
        device: "cpu" or "cuda"; of several processes each takes its own.
        progress: called after every measurement.
        overwrite: replace the folder of an earlier run.
        save_every: seconds between the points that are kept to resume from; by default as many as bring the time that
            this takes below 1%.
        trackers: what else is told of every measurement: names of Accelerate's trackers ("tensorboard", "wandb",
            "mlflow", ...) or objects of its classes. One that fails is warned of, and the run goes on without it.
        task: in the place of the recipe's, such as one with a loss of your own. The recipe is run and written with it.
        data: what a recipe of `data = {kind = "custom"}` runs on, made by `split` or `dataset`.

    Raises:
        DataError: the dataset cannot be had, its targets are none of the task's, the seed network does not fit them, or
            the loss of a first batch is not finite.
        Interrupted: a signal ended the run, which can be resumed. It is a `KeyboardInterrupt`.
        ProcessError: processes that were started together do not hold the same, or lost each other.
        RecipeError: the snapshot that the recipe starts from holds another network than when the recipe was read, the
            code of a policy is not known, or a policy names a projection that there is none of.
        SnapshotError: the folder is in use or cannot be written, or the snapshot cannot be read.
        StructureError: the recipe's seed network cannot be made.
        TrainingError: the seed network does not train, or the device or the package of a tracker is missing.
    """
    refuse_unknown(recipe)
    check_trackers(trackers)
    ranks = joined()
    recipe = recipe.resolved(Path()).with_task(task)
    trainer = trainer_of(recipe, seed, device, data, ranks)
    place = Path(out or f"runs/{recipe.name}-{seed}")
    with cpu_threads(recipe.training.threads), tracked(trackers, place, recipe, seed, progress, ranks) as watcher:
        facts = facts_of(trainer, recipe)
        agree_on(ranks, {"recipe": recipe.document, **facts})
        folder = RunFolder(place, recipe, facts, overwrite, columns=trainer.columns)
        state = RunState(place, Pace(save_every))
        engine = Engine(recipe, trainer, *places(trainer, recipe, folder, state), watcher)
        trainer.try_out(engine.network)

        def begin() -> None:
            held.enter_context(Lock(place))
            folder.prepare()
            state.begin(Begun(recipe=recipe.document, environment=Facts.model_validate(facts)))

        with ExitStack() as held:
            ranks.led(begin)
            return complete(engine, recipe, trainer, folder)


def places(trainer: Trainer, recipe: Recipe, folder: RunFolder, state: RunState) -> tuple[Book, Points]:
    """Where an engine writes: a run folder and its state, or in all but the first of several processes nowhere."""
    if trainer.ranks.leads:
        return folder, state
    book = InMemory(recipe)
    return book, NoPoints(book)


def trainer_of(recipe: Recipe, seed: int, device: str, given: Dataset | None = None, ranks: Ranks = ALONE) -> Trainer:
    """A trainer with the data of a recipe, or with those that are given for it.

    Raises:
        DataError: they cannot be had, or the task cannot learn them.
        RecipeError: data are given to a recipe that names others.
    """
    data = recipe.data
    if given is not None and not isinstance(data, OwnOptions):
        remedy = 'write data = {kind = "custom"}'
        raise RecipeError(f"{recipe.name}: expected a recipe whose data are given, got one of {data.title!r}: {remedy}")
    dataset = recipe.load(seed) if given is None else given
    where = ranks.device(device)
    return Trainer(dataset, recipe.training, data.distortion, seed, where, data.augmentation, recipe.task, ranks)


def facts_of(trainer: Trainer, recipe: Recipe) -> dict[str, Any]:
    """What the exact numbers of a run depend on beside its recipe, packages of its policies and task among it."""
    data, ranks = fingerprints(trainer.dataset), trainer.ranks
    device = trainer.device.type if ranks.several else str(trainer.device)
    together = {"processes": ranks.count} if ranks.launched else {}
    return {
        "seed": trainer.seed,
        "device": device,
        **environment(),
        **packages_of(recipe),
        **together,
        "data": data,
    }


def agree_on(ranks: Ranks, facts: dict[str, Any]) -> None:
    """Compare what all processes begin with.

    Raises:
        ProcessError: they differ, in all processes alike; it names what and the process.
    """
    first, *others = ranks.gathered(facts)
    for number, other in enumerate(others, 1):
        if changes := list(differences(first, other)):
            expected = f"expected process {number} to begin as process 0"
            raise agreed(f"{expected}, got other facts: {'; '.join(changes[:5])}: {REMEDY}")


def complete(engine: Engine, recipe: Recipe, trainer: Trainer, folder: RunFolder) -> Run:
    """Run to the end what an engine has begun, and report it.

    Raises:
        Interrupted: a signal ended it at a point that is kept, or came when all was written.
        ProcessError: processes do not hold the same, or lost each other.
        TrainingError: the seed network does not train.
    """
    ranks = trainer.ranks

    def begin() -> None:
        opened.enter_context(folder)

    def finish() -> Result:
        folder.finish(result, engine.rows)
        return result

    try:
        with signals_noted(), ranks.together(), ExitStack() as opened:
            ranks.led(begin)
            stages = engine.run()
            result = _result(engine, recipe, trainer, stages)
            result = ranks.led(finish)
    except Interrupted as error:
        place = str(folder.folder)
        left = "the run is complete" if (folder.folder / RESULT).exists() else f"resume({place!r}) goes on"
        raise Interrupted(error.signal, f"{place}: interrupted; {left}") from None
    return Run(folder.folder, recipe, result)


def _result(engine: Engine, recipe: Recipe, trainer: Trainer, stages: Mapping[str, Network]) -> Result:
    """The result table. This is where the test split is read, once, after the last decision."""
    counts = engine.state.counts
    return Result(
        recipe=recipe.name,
        seed=trainer.seed,
        goal=recipe.task.goal,
        seconds=round(engine.seconds, 3),
        edits=counts.edits,
        refused=counts.refused,
        stages=tuple(_stage(name, network, recipe, trainer) for name, network in stages.items()),
        baseline=trainer.ranks.led(lambda: baseline(recipe.baseline, trainer) if recipe.baseline else None),
        faults=Faults(
            diverged=counts.diverged,
            collapsed=counts.collapsed,
            retried=counts.retried,
            files=trainer.dataset.left_out,
        ),
    )


def _stage(name: str, network: Network, recipe: Recipe, trainer: Trainer) -> StageResult:
    trainer.ranks.meet(0)
    interruption.end_if_wished()  # test splits may be large
    total = cost(network).total
    return StageResult(
        stage=name,
        units=total.units,
        connections=total.connections,
        parameters=total.parameters,
        flops=total.flops,
        active_flops=trainer.ranks.led(lambda: active_flops(network, trainer, "test")),
        validation=trainer.measure(network, "validation").told,
        test=trainer.measure(network, "test").told,
        digest=network.digest,
        spent=None if recipe.budget is None else recipe.budget.spent(network).amounts,
    )
