"""The verb that runs a study, here or on an engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from nestgraph.cli.options import Device, Json, Plugins
from nestgraph.cli.output import INTERRUPTED, NO, complain, facts, suggest, table
from nestgraph.errors import RecipeError

if TYPE_CHECKING:
    from nestgraph.studies.engines import Options

SWEEP_EXAMPLE = "nestgraph sweep seed-width --seeds 3 --jobs 2 --out runs/seed-width"


def run_study(
    study: Annotated[str, typer.Argument(metavar="SWEEP", help="A sweep's name, or a .toml or .json file.")],
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Where to; runs/NAME by default.")] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=100, metavar="N", help="How many seeds; those of the sweep by default.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, metavar="N", help="How many runs at a time, on one thread each.")] = 1,
    engine: Annotated[
        Literal["processes", "submitit", "dask"] | None, typer.Option(help="What does the runs: processes by default.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--engine-option", metavar="KEY=VALUE", help="Of the engine's package, as slurm_partition=gpu."),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Do only every Nth run, from the Ith on."),
    ] = None,
    retries: Annotated[int, typer.Option(min=0, metavar="N", help="How often a run that failed is tried again.")] = 1,
    device: Device = "cpu",
    plugin: Plugins = None,
    as_json: Json = False,
) -> None:
    """Run the variations of a recipe and compare them.

    Sweeps inside the package: areas, birth, grow-and-prune, policies, recalibration, seed-width, shift. Each run gets a
    folder VARIATION/seed-N in OUT. Those that are finished are not run again, so the same command goes on with a sweep
    that was interrupted. The table shows medians over the seeds. A run that fails is tried again; the command then
    says which are missing, and ends with 1.
    """
    from nestgraph.cli.overview import SweepOverview
    from nestgraph.cli.progress import RunProgress
    from nestgraph.cli.results import sweep_rows
    from nestgraph.loop.own_process import prepare_process
    from nestgraph.recipes.plugins import load_plugins
    from nestgraph.studies.engines import engine_of
    from nestgraph.studies.running import NOT_YET, run_sweep
    from nestgraph.studies.sweep import load_sweep

    load_plugins(plugin)
    plan = load_sweep(study)
    plan = plan if seeds is None else plan.with_seeds(seeds)
    folder = out or Path("runs") / plan.name
    elsewhere = engine_of(engine or "processes", jobs, _options(option or [])) if engine or jobs > 1 else None
    if option and not engine:
        raise RecipeError(f"--engine-option: expected --engine beside it, got {option[0]!r} alone")
    watch = None if elsewhere else RunProgress
    if not elsewhere:
        prepare_process()
    try:
        content = run_sweep(
            plan,
            folder,
            watch,
            device,
            elsewhere,
            overview=SweepOverview,
            retries=retries,
            shard=_shard(shard),
            plugins=plugin or (),
        )
    except KeyboardInterrupt as error:
        complain(f"interrupted: runs in {folder} are kept, and the same command goes on from there")
        raise typer.Exit(getattr(error, "exit_code", INTERRUPTED)) from None
    facts(content.model_dump(mode="json"), table(sweep_rows(content)), as_json)
    for each in content.missing:
        complain(f"missing: {each.variation} seed {each.seed}: {each.why}")
    if [each for each in content.missing if not (shard and each.why == NOT_YET)]:
        raise typer.Exit(NO)
    first = content.rows[0]
    suggest("summary", folder / first.variation / f"seed-{first.seeds[0].seed}" / "final.json")


def _shard(words: str | None) -> tuple[int, int] | None:
    """The share that `I/N` names.

    Raises:
        RecipeError: it names none.
    """
    if words is None:
        return None
    place, _, count = words.partition("/")
    if not (place.isdecimal() and count.isdecimal() and 1 <= int(place) <= int(count)):
        raise RecipeError(f"--shard: expected a share such as 1/4, the first of four, got {words[:80]!r}")
    return int(place), int(count)


def _options(words: Sequence[str]) -> "Options":
    """The options that `KEY=VALUE` name; whole numbers and others as numbers.

    Raises:
        RecipeError: one is not of that form.
    """
    found: dict[str, str | int | float] = {}
    for each in words:
        key, equals, value = each.partition("=")
        if not (equals and key.isidentifier()):
            raise RecipeError(f"--engine-option: expected an option such as slurm_partition=gpu, got {each[:80]!r}")
        found[key] = _number(value)
    return found


def _number(value: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
