"""The verbs of tables and other data: what a file holds, and what a network says of its rows."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nestgraph.cli.options import Json, Overwrite, Snapshot
from nestgraph.cli.output import answer, facts, say, suggest, table

if TYPE_CHECKING:
    from nestgraph.data.tables.kinds import Found

DATA_EXAMPLE = "nestgraph data"
PREDICT_EXAMPLE = "nestgraph predict runs/demo/final.json rows.csv --out told.csv"
SHOWN = 4
"""Categories that a row names."""


def predict_rows(
    snapshot: Snapshot,
    rows: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV or Parquet file with the columns of training.")],
    columns: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="columns.json of the run; by default what lies beside the snapshot."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a CSV file instead.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Tell the targets of rows: classes in their words, numbers in their unit, and how likely each class is."""
    from nestgraph.errors import SnapshotError
    from nestgraph.runs.predicting import predict
    from nestgraph.snapshot import write_atomically
    from nestgraph.snapshot.disk import shown

    if out is not None and out.exists() and not overwrite:
        got = "expected a new file, got one that is there: choose another, or --overwrite"
        raise SnapshotError(f"{shown(out)}: {got}")
    told = predict(snapshot, rows, columns)
    records = [
        dict(zip(told, row, strict=True)) for row in zip(*(each.tolist() for each in told.values()), strict=True)
    ]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(told), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    if out is not None:
        write_atomically(out, text.getvalue().encode())
        facts({"out": str(out), "rows": len(records)}, str(out), as_json)
    elif as_json:
        facts(records, "", as_json=True)
    else:
        answer(text.getvalue().removesuffix("\n"))
    suggest("evaluate", snapshot, "--data", snapshot.with_name("recipe.json"))


def show_data(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH", help="A CSV or Parquet file, or a folder of images or IDX files: say how it is understood."
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Of a table: what is to be told; by default the last column.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the datasets, their splits and where they are, or show what a file holds.

    Nothing is fetched: that happens when a dataset is first used.
    """
    from dataclasses import asdict

    from nestgraph.cli.results import dataset_rows, folder_facts, folder_rows
    from nestgraph.data.datasets import datasets, load_image_folder
    from nestgraph.data.idx import IdxOptions, holds_idx

    if path is not None and not path.is_dir():
        _show_table(path, target, as_json)
        return
    if target is not None:
        raise typer.BadParameter("goes with the file of a table", param_hint="--target")
    if path is not None:
        images = IdxOptions(kind="idx", path=str(path)).load(0) if holds_idx(path) else load_image_folder(path)
        content = folder_facts(images)
        facts(content, table(folder_rows(content)), as_json)
        suggest("schema", "recipe")
        return
    entries = datasets()
    facts([asdict(entry) for entry in entries], table(dataset_rows(entries)), as_json)
    suggest("synthesize", "digits")


def _show_table(path: Path, target: str | None, as_json: bool) -> None:
    """What the columns of a table hold, and how a recipe names them."""
    from nestgraph.data.tables.kinds import found_in_all
    from nestgraph.data.tables.options import read_table

    held = read_table(path)
    found = found_in_all(held)
    chosen = target or found[-1].name
    held[chosen]
    told = next(each for each in found if each.name == chosen)
    task = _task(told)
    ignored = [each.name for each in found if each.kind in ("date", "text") and each.name != chosen]
    content = {
        "rows": len(held),
        "columns": [_facts(each) for each in found],
        "suggested": {"target": chosen, "task": task, "ignore": ignored},
    }
    rows = [("column", "kind", "gaps", "different", "values"), *map(_row, found)]
    facts(content, f"{len(held):,} rows\n{table(rows)}", as_json)
    if told.kind in ("date", "text", "empty", "constant"):
        say(f"{chosen!r} cannot be told: it is {told.kind}; name a target with --target")
        return
    kind = "parquet" if path.suffix.lower() in (".parquet", ".pq") else "csv"
    left = f", ignore = {ignored}" if ignored else ""
    say(f'data = {{ kind = "{kind}", path = "{path}", target = "{chosen}"{left} }}')
    say(f'task = {{ kind = "{task}" }}')
    suggest("schema", "recipe")


def _task(target: "Found") -> str:
    """The task that fits a column: words and few whole numbers are classes."""
    from nestgraph.data.tables.options import FEW

    whole = target.kind == "number" and target.whole and target.distinct <= FEW
    return "classification" if target.kind == "category" or whole else "regression"


def _facts(found: "Found") -> dict[str, Any]:
    content: dict[str, Any] = {"name": found.name, "kind": found.kind, "gaps": found.gaps, "distinct": found.distinct}
    if found.low is not None:
        content |= {"low": found.low, "high": found.high}
    return content | ({"values": dict(found.values)} if found.kind == "category" else {})


def _row(found: "Found") -> tuple[str, ...]:
    if found.low is not None and found.high is not None:
        values = f"{found.low:g} to {found.high:g}"
    elif found.kind in ("category", "constant"):
        more = ", ..." if len(found.values) > SHOWN else ""
        values = ", ".join(f"{word[:24]} {count:,}" for word, count in found.values[:SHOWN]) + more
    else:
        values = f"such as {found.example[:24]!r}" if found.example else ""
    return found.name, found.kind, f"{found.gaps:,}" if found.gaps else "", f"{found.distinct:,}", values
