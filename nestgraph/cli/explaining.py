"""The verb that says in which form a network would be computed, and why."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from nestgraph.cli.options import Json, Overwrite, Snapshot
from nestgraph.cli.output import facts, suggest, table

if TYPE_CHECKING:
    from nestgraph.lowering.explaining import Computed

EXPLAIN_EXAMPLE = "nestgraph explain runs/demo/final.json --batch 256"
CALIBRATE_EXAMPLE = "nestgraph calibrate"


def explain_network(
    snapshot: Snapshot,
    batch: Annotated[int, typer.Option(metavar="N", min=1, help="How many samples at a time.")] = 1,
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="How many threads compute; as many as torch has by default.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say in which form each projection is computed, in inference and in training.

    Where few connections live, the compact module multiplies by a sparse matrix if that is expected to be quicker for
    so many samples; what it takes was measured by `nestgraph calibrate`, or is built in. What trains holds a vector
    over them if a step is then expected to take at most 0.8 of the time on one thread, however many samples it has.
    """
    from dataclasses import asdict

    import nestgraph as ng

    network = ng.load(snapshot)
    rows, trained = ng.explain(network, batch, threads=threads), ng.explain(network, training=True)
    content = {"batch": batch} | {
        name: [{**asdict(row), "reason": row.reason} for row in found]
        for name, found in (("projections", rows), ("training", trained))
    }
    told = [(rows, "dense", "computed"), (trained, "masked", "trained")]
    facts(content, "\n\n".join(f"{table(_shown(*each))}{_costs(each[0])}" for each in told), as_json)
    suggest("summary", snapshot)


def calibrate_machine(
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.1, max=600, help="About how long to measure.")
    ] = 12.0,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Measure what computing costs on this machine.

    For one thread and for as many as torch has. `nestgraph explain` and compact modules choose by it from then on; it
    is kept in costs.json beside downloaded data, or where $NESTGRAPH_COSTS says. Times are nanoseconds.
    """
    import nestgraph as ng
    from nestgraph.snapshot.places import costs_file

    found = ng.calibrate(seconds, overwrite=overwrite)
    costs = [each.costs.model_dump() for each in found.measured]
    shown = [("step", *(f"{each.threads} thread{'s' * (each.threads > 1)}" for each in found.measured))]
    shown += [(name, *(f"{each[name]:,.3g}" for each in costs)) for name in costs[0]]
    content = {"file": str(costs_file()), **found.model_dump(mode="json")}
    facts(content, f"{costs_file()}\n{table(shown)}", as_json)
    suggest("explain", "NET.json")


def _costs(rows: Sequence["Computed"]) -> str:
    words = next((row.costs for row in rows if row.costs), "")
    return words and f"\ncosts {words}"


def _shown(rows: Sequence["Computed"], other: str, verb: str) -> list[tuple[str, ...]]:
    """The rows of a table, below its heads."""
    shown = [("projection", "connections", other, "sparse", verb, "because")]
    for row in rows:
        dense, sparse = ("" if each is None else f"{each:,.1f} us" for each in (row.dense, row.sparse))
        shown.append((row.projection, f"{row.connections:,} of {row.possible:,}", dense, sparse, row.form, row.reason))
    return shown
