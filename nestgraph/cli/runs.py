"""What the verbs that run recipes share: how a run ends, well or by a signal, and the verb that goes on with one."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nestgraph.cli.options import Json, Live, Plugins, Tensorboard, Trackers
from nestgraph.cli.output import INTERRUPTED, NO, complain, facts, say, suggest, table
from nestgraph.cli.reports import chosen_trackers, observed

if TYPE_CHECKING:
    from nestgraph.runs.run import Faults, Run

RESUME_EXAMPLE = "nestgraph resume runs/demo"


def resume_run(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that was interrupted.")],
    device: Annotated[Literal["cpu", "cuda"] | None, typer.Option(help="By default where it began.")] = None,
    allow_changes: Annotated[
        bool, typer.Option("--allow-changes", help="Go on with other threads, libraries, machine or device.")
    ] = False,
    plugin: Plugins = None,
    live: Live = False,
    tracker: Trackers = None,
    tensorboard: Tensorboard = False,
    as_json: Json = False,
) -> None:
    """Go on with an interrupted run.

    It ends with the same bits as if it had not been interrupted, so a changed recipe or dataset is refused, and so is,
    without --allow-changes, whatever changes the last digits of numbers.
    """
    try:
        from nestgraph.cli.progress import RunProgress
        from nestgraph.loop.own_process import prepare_process
        from nestgraph.loop.resuming import resume
        from nestgraph.recipes.plugins import load_plugins

        load_plugins(plugin)
        prepare_process()
        progress, trackers = RunProgress(run.name), chosen_trackers(tracker, tensorboard)
        with observed(progress, run, live) as observer, progress:
            done = resume(run, device, observer, allow_changes, trackers=trackers)
    except KeyboardInterrupt as error:
        raise interrupted(error, run, plugin) from None
    tell([done], as_json)


def interrupted(error: KeyboardInterrupt, folder: Path | None, plugins: Sequence[Path] | None = None) -> typer.Exit:
    """Say what is left of a run that a signal ended, and how to go on; the exit."""
    if folder and (folder / "state" / "begun.json").exists():
        words = [str(folder), *(word for path in plugins or () for word in ("--plugin", str(path)))]
        complain(f"interrupted: go on with: nestgraph resume {shlex.join(words)}")
    elif folder and (folder / "result.json").exists():
        complain(f"interrupted: the run in {folder} is complete")
    else:
        complain("interrupted: nothing was written")
    return typer.Exit(getattr(error, "exit_code", INTERRUPTED))


def tell(runs: "Sequence[Run]", as_json: bool) -> None:
    """The results of runs of one recipe; the exit code is 1 where its target is missed."""
    from nestgraph.cli.results import result_rows
    from nestgraph.recipes.recipe import usual_task

    results, recipe = [run.result for run in runs], runs[0].recipe
    facts([result.model_dump(mode="json") for result in results], table(result_rows(results)), as_json)
    for run in runs:
        if found := _words(run.result.faults):
            say(f"{run.folder}: {found}")
    named = recipe.data.named and usual_task(recipe.task)
    data = recipe.data.title if named else str(runs[-1].folder / "recipe.json")
    suggest("evaluate", runs[-1].folder / "final.json", "--data", data, "--seed", str(results[-1].seed))
    for run, result in zip(runs, results, strict=True):
        if recipe.budget and (beyond := recipe.budget.missed(result.stages[-1].spent or {})):
            complain(f"{run.folder}: budget missed: {beyond}")
            raise typer.Exit(NO)
    aim, target = recipe.task.aim, None if recipe.budget else recipe.pruning_target
    worst = min(aim.value(result.stages[-1].validation) for result in results)
    if target is not None and worst < target:
        expected, got = aim.shown(target), aim.shown(worst)
        complain(f"target missed (expected a validation {aim.metric.words} of {expected}, got {got})")
        raise typer.Exit(NO)


def _words(faults: "Faults") -> str:
    """What went wrong, in words; nothing where nothing did."""
    counts = {
        "trainings broke down": faults.diverged,
        "trainings ended no better than a constant answer": faults.collapsed,
        "files were left out": faults.files,
    }
    found = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    return f"{found} (see faults.jsonl)" if faults.diverged or faults.collapsed else found
