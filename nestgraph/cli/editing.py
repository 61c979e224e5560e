"""The verb that edits a network, or tells what an edit would do."""

from pathlib import Path
from typing import Annotated

import typer

from nestgraph.cli.options import Json, Overwrite, Snapshot
from nestgraph.cli.output import NO, facts, suggest

EDIT_EXAMPLE = "nestgraph edit net.json edit.json --out new.json"


def edit_network(
    snapshot: Snapshot,
    edits: Annotated[
        Path, typer.Argument(metavar="EDITS", help="An edit (.json), or a journal of steps to do again (.jsonl).")
    ],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The snapshot to write.")] = None,
    preview: Annotated[
        bool, typer.Option("--preview", help="Write nothing: tell what would change, or why the edit cannot be.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Apply an edit to a network.

    EDITS is one edit, or a batch of many, such as `nestgraph diff OLD NEW --json` prints; `nestgraph schema edit`
    describes it. Each step of a journal must give the network that it gave before. What does not fit the network is
    refused as a whole: the exit code is 1, and nothing is written.

    FLOPs are 2 for each multiply-accumulate.
    """
    if preview and out is not None:
        raise typer.BadParameter("expected none with --preview, got one", param_hint="--out")
    if preview:
        _tell(snapshot, edits, as_json)
    elif out is not None:
        _write(snapshot, edits, out, overwrite, as_json)
    else:
        raise typer.BadParameter("expected a file to write, or --preview, got neither", param_hint="--out")


def _tell(snapshot: Path, edits: Path, as_json: bool) -> None:
    """What the edits would do; the exit code is 1 where they cannot be."""
    import nestgraph as ng
    from nestgraph.cli.edit_files import kept_partners, preview_of, preview_words, read_edits

    network, given = ng.load(snapshot), read_edits(edits)
    preview, kept = preview_of(network, given), kept_partners(network, given)
    facts({**preview.facts, "coupled_but_kept": kept}, preview_words(preview, kept), as_json)
    if not preview.legal:
        suggest("summary", snapshot)
        raise typer.Exit(NO)
    suggest("edit", snapshot, edits, "--out", "FILE")


def _write(snapshot: Path, edits: Path, out: Path, overwrite: bool, as_json: bool) -> None:
    """Apply the edits and save the network; the answer is what changed."""
    import nestgraph as ng
    from nestgraph.cli.edit_files import change_facts, change_table, edited, read_edits

    network = ng.load(snapshot)
    after = edited(network, read_edits(edits), edits)
    ng.save(after, out, overwrite=overwrite)
    change = change_facts(network, after)
    content = {"snapshot": str(out), "digest": after.digest, **change}
    facts(content, f"{out}: {after!r}\n{change_table(change)}", as_json)
    suggest("diff", snapshot, out)
