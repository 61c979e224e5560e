"""The verbs. Each imports what it needs when it runs, so that help and plain verbs never load torch."""

from pathlib import Path
from typing import Annotated, Any

import typer

from nestgraph.cli.output import NO, SETTINGS, USAGE, errors_as_sentences, facts, fail, say, table

app = typer.Typer(
    name="nestgraph",
    help="Neural networks as graphs that grow and shrink to fit their data.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Json = Annotated[bool, typer.Option("--json", help="Print facts as JSON.")]
SnapshotPath = Annotated[Path, typer.Argument(metavar="SNAPSHOT", help="A network snapshot (.json).")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


def main() -> None:
    """Run the command line."""
    with errors_as_sentences():
        app()


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"nestgraph {version('nestgraph')}")
        raise typer.Exit


@app.callback()
def settings(
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No messages and no progress, only facts.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False,  # noqa: ARG001
) -> None:
    """Neural networks as graphs that grow and shrink to fit their data."""
    SETTINGS.quiet, SETTINGS.debug = quiet, debug


@app.command()
def synthesize(
    recipe: Annotated[str, typer.Argument(help="A recipe's name, or a .toml or .json file.")],
    out: Annotated[Path | None, typer.Option(help="The run folder; runs/NAME by default.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the run, or the first of several.")] = 0,
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many runs, one seed each.")] = 1,
    device: Device = "cpu",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run.")] = False,
    as_json: Json = False,
) -> None:
    """Grow and prune a network by a recipe.

    Example: nestgraph synthesize digits --seeds 3 --out runs/demo

    Recipes inside the package: digits, lenet-300-100. With several seeds each run gets a folder seed-N in OUT, and
    the table shows medians.
    """
    with errors_as_sentences():
        import nestgraph as ng
        from nestgraph.cli.progress import RunProgress
        from nestgraph.cli.results import result_rows

        plan = ng.load_recipe(recipe)
        base = out or Path("runs") / plan.name
        runs: list[ng.Run] = []
        for number in range(seed, seed + seeds):
            folder = base if seeds == 1 else base / f"seed-{number}"
            with RunProgress(f"{plan.name} seed {number}", SETTINGS.quiet) as progress:
                runs.append(ng.synthesize(plan, folder, number, device, progress, overwrite))
        results = [run.result for run in runs]
        content = [result.model_dump(mode="json") for result in results]
        facts(content, table(result_rows(results)), as_json)
        say(f"written to {base}; look at it: nestgraph draw {runs[0].folder / 'final.json'} final.svg")


@app.command()
def evaluate(
    snapshot: SnapshotPath,
    data: Annotated[str, typer.Option(help="A dataset: see `nestgraph data`.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    seed: Annotated[int, typer.Option(min=0, help="Seed of the split, as the run had it.")] = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Measure a network on a dataset.

    Example: nestgraph evaluate runs/demo/final.json --data digits
    """
    with errors_as_sentences():
        import nestgraph as ng
        from nestgraph.cli.results import evaluation

        if split not in ("train", "validation", "test"):
            raise typer.BadParameter(f"expected train, validation or test, got {split!r}", param_hint="--split")
        content = evaluation(ng.load(snapshot), data, split, seed, device)
        facts(content, table([("measure", "value"), *((name, _shown(value)) for name, value in content.items())]), as_json)
        say(f"next: nestgraph summary {snapshot}")


def _shown(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if isinstance(value, float) else str(value)


@app.command()
def summary(snapshot: SnapshotPath, as_json: Json = False) -> None:
    """Print a network's layers and what they cost.

    Example: nestgraph summary runs/demo/final.json
    """
    with errors_as_sentences():
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
        say(f"next: nestgraph draw {snapshot} network.svg")


@app.command()
def verify(snapshot: SnapshotPath, as_json: Json = False) -> None:
    """Check that a file is a valid network: no islands, no cycles, shapes agree, values finite. Exit 1 if not.

    Example: nestgraph verify runs/demo/final.json
    """
    import nestgraph as ng

    with errors_as_sentences():
        try:
            network = ng.load(snapshot)
        except ng.NestgraphError as error:
            facts({"valid": False, "problem": str(error)}, f"invalid: {error}", as_json)
            raise typer.Exit(NO) from None
        facts({"valid": True, "digest": network.digest}, f"valid: {network!r}", as_json)
        say(f"next: nestgraph summary {snapshot}")


@app.command()
def draw(
    snapshot: SnapshotPath,
    picture: Annotated[Path, typer.Argument(help="Where to: .svg, .png, .pdf or .dot.")],
    view: Annotated[str | None, typer.Option(help="layers or neurons; what fits by default.")] = None,
) -> None:
    """Draw a network's layers or neurons.

    Example: nestgraph draw runs/demo/final.json final.svg --view neurons
    """
    with errors_as_sentences():
        import nestgraph as ng

        if view not in (None, "layers", "neurons"):
            raise typer.BadParameter(f"expected layers or neurons, got {view!r}", param_hint="--view")
        ng.draw(ng.load(snapshot), picture, view=view)
        say(f"written to {picture}")


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(help="A network snapshot.")],
    new: Annotated[Path, typer.Argument(help="Another one.")],
    as_json: Json = False,
) -> None:
    """Show the edits that lead from one network to another. Exit 1 if they differ.

    Example: nestgraph diff runs/demo/seed.json runs/demo/final.json
    """
    with errors_as_sentences():
        import nestgraph as ng
        from nestgraph.cli.results import difference_rows

        before, after = ng.load(old), ng.load(new)
        edits = ng.diff(before, after)
        facts(edits.model_dump(mode="json"), table(difference_rows(before, after)), as_json)
        if edits.edits:
            raise typer.Exit(NO)


@app.command()
def data(as_json: Json = False) -> None:
    """List the datasets, their splits and where they are.

    Example: nestgraph data
    """
    with errors_as_sentences():
        from dataclasses import asdict

        from nestgraph.train.data import datasets

        entries = [asdict(entry) for entry in datasets()]
        heads = ("name", "train", "validation", "test", "classes", "available", "location")
        facts(entries, table([heads, *([str(entry[head]) for head in heads] for entry in entries)]), as_json)


@app.command()
def schema(
    name: Annotated[str | None, typer.Argument(help="network, edit, journal-entry or recipe.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write all schemas into this folder instead.")] = None,
) -> None:
    """Print the JSON Schema of a kind of file.

    Example: nestgraph schema network
    """
    with errors_as_sentences():
        from nestgraph.cli.results import recipe_record
        from nestgraph.snapshot import schemas, write_schemas

        known = schemas(recipe_record())
        if out is not None:
            write_schemas(out, recipe_record())
            say(f"{len(known)} schemas written to {out}")
        elif name is None or f"{name}.schema.json" not in known:
            names = ", ".join(file.removesuffix(".schema.json") for file in known)
            fail(f"schema expected one of {names}, got {name!r}", USAGE)
        else:
            facts(known[f"{name}.schema.json"], "", True)
