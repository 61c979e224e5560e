"""The verbs. Each imports what it needs when it runs, so that help and plain verbs never load torch."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from nestgraph.cli.editing import EDIT_EXAMPLE, edit_network
from nestgraph.cli.explaining import CALIBRATE_EXAMPLE, EXPLAIN_EXAMPLE, calibrate_machine, explain_network
from nestgraph.cli.merging import MERGE_EXAMPLE, merge_networks
from nestgraph.cli.models import EXPORT_EXAMPLE, IMPORT_EXAMPLE, export_model, import_model
from nestgraph.cli.options import (
    Device,
    Json,
    Live,
    Overwrite,
    Plugins,
    Snapshot,
    Tensorboard,
    Theme,
    Trackers,
    View,
    check_picture,
)
from nestgraph.cli.output import NO, SETTINGS, answer, facts, follows, say, suggest, table, tell_notes
from nestgraph.cli.reports import REPORT_EXAMPLE, chosen_trackers, observed, write_report
from nestgraph.cli.runs import RESUME_EXAMPLE, interrupted, resume_run, tell
from nestgraph.cli.sweeping import SWEEP_EXAMPLE, run_study
from nestgraph.cli.tables import DATA_EXAMPLE, PREDICT_EXAMPLE, predict_rows, show_data
from nestgraph.cli.verbs import Verb, Verbs

EXAMPLES = """\
  nestgraph synthesize digits --out runs/demo
  nestgraph summary runs/demo/final.json
  nestgraph evaluate runs/demo/final.json --data digits
  nestgraph diff runs/demo/grown.json runs/demo/final.json"""

app = typer.Typer(
    name="nestgraph",
    cls=Verbs,
    epilog=EXAMPLES,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Run the command line."""
    app()


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        answer(f"nestgraph {version('nestgraph')}")
        raise typer.Exit


@app.callback()
def settings(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No messages and no progress, only facts.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Neural networks as graphs that grow and shrink to fit their data.

    Facts go to stdout, messages to stderr. The exit code is 0 when done, 1 when the answer is no (an invalid snapshot,
    networks that differ, a run that failed), 2 for wrong usage, 130 after Ctrl-C, 143 after SIGTERM,
    129 after SIGHUP.
    """
    SETTINGS.quiet, SETTINGS.debug = quiet or follows() > 0, debug
    tell_notes()


@app.command(cls=Verb, epilog="nestgraph synthesize digits --seeds 3 --out runs/demo")
def synthesize(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name, or a .toml or .json file.")],
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="The run folder; runs/NAME by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the run, or the first of several.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="How many runs, one seed each.")] = 1,
    device: Device = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run.")] = False,
    time: Annotated[
        float | None, typer.Option(min=1e-6, metavar="SECONDS", help="No step begins after so long; each run's own.")
    ] = None,
    plugin: Plugins = None,
    live: Live = False,
    tracker: Trackers = None,
    tensorboard: Tensorboard = False,
    as_json: Json = False,
) -> None:
    """Grow and prune a network by a recipe.

    Recipes inside the package: digits, digits-300, digits-chip, digits-macs, lenet-300-100, lenet-300-100-compact,
    lenet-5, lenet-5-compact, mnist-2kb. With several seeds each run gets a folder seed-N in OUT, and the table shows
    the medians and the final network of each seed.
    """
    folder = out
    try:
        import nestgraph as ng
        from nestgraph.cli.progress import RunProgress
        from nestgraph.loop import synthesis
        from nestgraph.loop.own_process import prepare_process
        from nestgraph.recipes.plugins import load_plugins

        load_plugins(plugin)
        plan, trackers = ng.load_recipe(recipe), chosen_trackers(tracker, tensorboard)
        plan = plan if time is None else plan.within(time)
        base = out or Path("runs") / plan.name
        prepare_process()
        runs: list[ng.Run] = []
        for number in range(seed, seed + seeds):
            folder = base if seeds == 1 else base / f"seed-{number}"
            progress = RunProgress(f"{plan.name} seed {number}")
            with observed(progress, folder, live) as observer, progress:
                runs.append(synthesis.synthesize(plan, folder, number, device, observer, overwrite, trackers=trackers))
    except KeyboardInterrupt as error:
        raise interrupted(error, folder, plugin) from None
    tell(runs, as_json)


app.command("resume", cls=Verb, epilog=RESUME_EXAMPLE)(resume_run)
app.command("report", cls=Verb, epilog=REPORT_EXAMPLE)(write_report)


app.command("sweep", cls=Verb, epilog=SWEEP_EXAMPLE)(run_study)


@app.command(cls=Verb, epilog="nestgraph results runs/lenet-5 runs/areas --docs docs")
def results(
    folders: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Folders of runs, of seeds, of sweeps.")],
    docs: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to put results.md.")] = Path("docs"),
    committed: Annotated[
        list[str] | None, typer.Option(metavar="RECIPE=N", help="The seed to show the network of, by recipe.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write the page of results of finished runs.

    Beside results.md, in a folder results, go the network of one seed of each recipe, its pictures, and the tables of
    sweeps. Unless told, the seed is that of the best validation accuracy: the test split has no say.
    """
    from nestgraph.cli.results import chosen_seeds, section_rows
    from nestgraph.studies.results_files import write_results
    from nestgraph.studies.sections import Section, read_sections

    sections = read_sections(folders, chosen_seeds(committed or []))
    page = write_results(sections, docs, overwrite)
    recipes = [section for section in sections if isinstance(section, Section)]
    content = {"page": str(page), "committed": {section.name: section.chosen.result.seed for section in recipes}}
    facts(content, "\n".join((str(page), *([table(section_rows(recipes))] if recipes else ()))), as_json)
    for section in recipes[:1]:
        place, seed = docs / "results" / f"{section.name}.json", str(section.chosen.result.seed)
        suggest("evaluate", place, "--data", section.chosen.recipe.data.title, "--seed", seed)


@app.command(cls=Verb, epilog="nestgraph evaluate runs/demo/final.json --data digits")
def evaluate(
    snapshot: Snapshot,
    data: Annotated[
        str, typer.Option(metavar="NAME", help="A dataset (see `nestgraph data`), or a recipe file: its data is used.")
    ],
    split: Annotated[Literal["train", "validation", "test"], typer.Option(help="Which of its samples.")] = "test",
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the split, as the run had it.")] = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Measure a network on a dataset.

    With a recipe, by the metrics of its task. The error is in percent, and in JSON a share of 1. FLOPs are 2 for each
    multiply-accumulate: all of them, and those whose source is not 0, the mean over the samples.
    """
    import nestgraph as ng
    from nestgraph.cli.results import check_form, evaluation, evaluation_rows
    from nestgraph.data.datasets import datasets

    network, known = ng.load(snapshot), {entry.name: entry for entry in datasets()}
    if data in known:
        check_form(network, str(snapshot), known[data])
        content = evaluation(network, data, None, split, seed, device)
    elif Path(data).suffix in (".toml", ".json"):
        content = evaluation(network, data, ng.load_recipe(data, recorded=True), split, seed, device)
    else:
        expected = f"{', '.join(known)} or a recipe file"
        raise typer.BadParameter(f"expected one of {expected}, got {data!r}", param_hint="--data")
    facts(content, table(evaluation_rows(content)), as_json)
    suggest("draw", snapshot, snapshot.with_suffix(".svg"))


@app.command(cls=Verb, epilog="nestgraph summary runs/demo/final.json")
def summary(snapshot: Snapshot, as_json: Json = False) -> None:
    """Print a network's layers and what they cost."""
    from dataclasses import asdict

    import nestgraph as ng

    network = ng.load(snapshot)
    counts = ng.cost(network)
    content = {
        "digest": network.digest,
        "flops_are": "2 per multiply-accumulate, static",
        "layers": {name: asdict(entry) for name, entry in counts.by_layer.items()},
        "projections": {name: asdict(entry) for name, entry in counts.by_projection.items()},
        "total": asdict(counts.total),
    }
    facts(content, network.summary(), as_json)
    suggest("draw", snapshot, snapshot.with_suffix(".svg"))


@app.command(cls=Verb, epilog="nestgraph verify runs/demo/final.json")
def verify(snapshot: Snapshot, as_json: Json = False) -> None:
    """Check that a file is a valid network.

    The laws: no islands, no cycles, shapes agree, values are finite. The exit code is 1 for a file that cannot be read
    or breaks one; then the answer names each unit, layer or projection.
    """
    import nestgraph as ng
    from nestgraph.cli.results import broken_laws

    try:
        network = ng.load(snapshot)
    except ng.NestgraphError as error:
        facts({"valid": False, "problem": str(error), "violations": broken_laws(error)}, str(error), as_json)
        suggest("schema", "network")
        raise typer.Exit(NO) from None
    facts({"valid": True, "digest": network.digest}, f"{snapshot}: valid {network!r}", as_json)
    suggest("summary", snapshot)


@app.command(cls=Verb, epilog="nestgraph draw runs/demo/final.json final.svg --view neurons")
def draw(
    snapshot: Snapshot,
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="Where to: .svg, .png, .pdf or .dot.")],
    view: View = None,
    theme: Theme = "light",
    among: Annotated[
        list[Path] | None,
        typer.Option(metavar="SNAPSHOT", help="A version of the network whose units keep their places; repeatable."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw a network.

    By its layers, its neurons, the matrix of each projection's connections, what it reads of the input image, or the
    areas of its convolutions.
    """
    check_picture(picture, "PICTURE")
    import nestgraph as ng

    versions = [ng.load(version) for version in among or []]
    ng.draw(ng.load(snapshot), picture, view, theme=theme, among=versions, overwrite=overwrite)
    answer(str(picture))
    suggest("evaluate", snapshot, "--data", "NAME")


@app.command(cls=Verb, epilog="nestgraph diff runs/demo/grown.json runs/demo/final.json")
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A network snapshot.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="Another one.")],
    picture: Annotated[
        Path | None, typer.Option("--draw", metavar="PICTURE", help="Draw it, too: .svg, .png, .pdf or .dot.")
    ] = None,
    view: View = None,
    theme: Theme = "light",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Show what changed from one network to another.

    Units are matched by id. In JSON the answer is the batch of edits that leads from OLD to NEW, which `nestgraph edit`
    applies. The exit code is 1 if they differ.
    """
    if picture is not None:
        check_picture(picture, "--draw")
    import nestgraph as ng
    from nestgraph.cli.differences import difference_rows, edit_words

    before, after = ng.load(old), ng.load(new)
    change, edits = ng.difference(before, after), ng.diff(before, after)
    if as_json:
        answer(edits.model_copy(update={"base": before.digest}).model_dump_json())
    elif change:
        answer(f"{table(difference_rows(change))}\nedits: {edit_words(edits)}")
    else:
        answer(f"equal: {before!r}")
    if picture is not None:
        from nestgraph.render import draw_difference

        say(f"drawn: {draw_difference(before, after, picture, view, theme=theme, overwrite=overwrite)}")
    suggest("draw", new, new.with_suffix(".svg"))
    if change:
        raise typer.Exit(NO)


app.command("predict", cls=Verb, epilog=PREDICT_EXAMPLE)(predict_rows)
app.command("edit", cls=Verb, epilog=EDIT_EXAMPLE)(edit_network)
app.command("merge", cls=Verb, epilog=MERGE_EXAMPLE)(merge_networks)


app.command("data", cls=Verb, epilog=DATA_EXAMPLE)(show_data)


@app.command(cls=Verb, epilog="nestgraph schema network")
def schema(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="The kind of file; all are listed without it.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write all schemas into this folder instead.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Print the JSON Schema of a kind of file."""
    from nestgraph.cli.results import recipe_record
    from nestgraph.snapshot import schemas, write_schemas

    known = {file.removesuffix(".schema.json"): content for file, content in schemas(recipe_record()).items()}
    if name is not None and name not in known:
        raise typer.BadParameter(f"expected one of {', '.join(known)}, got {name!r}", param_hint="NAME")
    if out is not None and name is not None:
        raise typer.BadParameter("expected none with --out, which writes all, got one", param_hint="NAME")
    if out is not None:
        paths = [str(path) for path in write_schemas(out, recipe_record(), overwrite)]
        facts(paths, "\n".join(paths), as_json)
    elif name is None:
        facts(list(known), "\n".join(known), as_json)
    else:
        facts(known[name], "", as_json=True)
    suggest("verify", "SNAPSHOT")


app.command("import", cls=Verb, epilog=IMPORT_EXAMPLE)(import_model)
app.command("export", cls=Verb, epilog=EXPORT_EXAMPLE)(export_model)
app.command("explain", cls=Verb, epilog=EXPLAIN_EXAMPLE)(explain_network)
app.command("calibrate", cls=Verb, epilog=CALIBRATE_EXAMPLE)(calibrate_machine)
