"""The verb that writes a run's report, and reports that are written while a run goes on."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestgraph.cli.output import answer, say, suggest

if TYPE_CHECKING:
    from nestgraph.reporting.live_report import Observer

REPORT_EXAMPLE = "nestgraph report runs/demo --out demo.html"


def write_report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, finished or not.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Where to; report.html in the run's folder by default.")
    ] = None,
) -> None:
    """Write a run's report: one HTML file that works offline.

    It replays the run from its journal: timeline, layers, neurons and maps, differences between any two moments,
    curves, weights, what is read of the input, and why each unit came and went.
    """
    from nestgraph.reporting import report

    answer(str(report(run, out)))
    suggest("summary", run / ("final.json" if (run / "final.json").exists() else "seed.json"))


@contextmanager
def observed(progress: "Observer", folder: Path, live: bool) -> "Generator[Observer]":
    """The observer of a run: `progress`, and with `live` one that keeps the report up to date as well."""
    if not live:
        yield progress
        return
    from nestgraph.reporting import LiveReport

    observer = LiveReport(folder, then=progress)
    say(f"report: {observer.path}")
    try:
        yield observer
    finally:
        observer.finish()
