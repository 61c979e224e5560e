"""The verb that says in which form a network would be computed, and why."""

from typing import Annotated

import typer

from nestgraph.cli.options import Json, Snapshot
from nestgraph.cli.output import facts, suggest, table

EXPLAIN_EXAMPLE = "nestgraph explain runs/demo/final.json --batch 256"


def explain_network(
    snapshot: Snapshot,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="How many samples at a time.")] = 1,
    as_json: Json = False,
) -> None:
    """Say in which form each projection is computed in inference.

    Where few connections live, the compact module multiplies by a sparse matrix if that is expected to be quicker for
    so many samples, on one thread of a processor.
    """
    from dataclasses import asdict

    import nestgraph as ng

    rows = ng.explain(ng.load(snapshot), batch)
    content = {"batch": batch, "projections": [{**asdict(row), "reason": row.reason} for row in rows]}
    shown = [("projection", "connections", "dense", "sparse", "computed", "because")]
    for row in rows:
        dense, sparse = ("" if each is None else f"{each:,.1f} us" for each in (row.dense, row.sparse))
        shown.append((row.projection, f"{row.connections:,} of {row.possible:,}", dense, sparse, row.form, row.reason))
    facts(content, table(shown), as_json)
    suggest("summary", snapshot)
