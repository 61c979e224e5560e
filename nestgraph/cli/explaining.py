"""The verb that says in which form a network would be computed, and why."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nestgraph.cli.options import Json, Snapshot
from nestgraph.cli.output import facts, suggest, table

if TYPE_CHECKING:
    from nestgraph.lowering.explaining import Computed

EXPLAIN_EXAMPLE = "nestgraph explain runs/demo/final.json --batch 256"


def explain_network(
    snapshot: Snapshot,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="How many samples at a time.")] = 1,
    as_json: Json = False,
) -> None:
    """Say in which form each projection is computed, in inference and in training.

    Where few connections live, the compact module multiplies by a sparse matrix if that is expected to be quicker for
    so many samples, on one thread of a processor. What trains holds a vector over them if a step is then expected to
    take at most 0.8 of the time, however many samples it has.
    """
    from dataclasses import asdict

    import nestgraph as ng

    network = ng.load(snapshot)
    rows, trained = ng.explain(network, batch), ng.explain(network, training=True)
    content = {"batch": batch} | {
        name: [{**asdict(row), "reason": row.reason} for row in found]
        for name, found in (("projections", rows), ("training", trained))
    }
    tables = [_shown(rows, "dense", "computed"), _shown(trained, "masked", "trained")]
    facts(content, "\n\n".join(map(table, tables)), as_json)
    suggest("summary", snapshot)


def _shown(rows: Sequence["Computed"], other: str, verb: str) -> list[tuple[str, ...]]:
    """The rows of a table, below its heads."""
    shown = [("projection", "connections", other, "sparse", verb, "because")]
    for row in rows:
        dense, sparse = ("" if each is None else f"{each:,.1f} us" for each in (row.dense, row.sparse))
        shown.append((row.projection, f"{row.connections:,} of {row.possible:,}", dense, sparse, row.form, row.reason))
    return shown
