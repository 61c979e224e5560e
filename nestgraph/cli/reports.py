"""The verb that writes a run's report, and what is written for people while a run goes on."""

from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nestgraph.cli.options import Overwrite
from nestgraph.cli.output import answer, say, suggest

if TYPE_CHECKING:
    from nestgraph.reporting.live_report import Observer

REPORT_EXAMPLE = "nestgraph report runs/demo --out demo.html"


def write_report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run, finished or not.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Where to; report.html in the run's folder by default.")
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a run's report: one HTML file that works offline.

    It replays the run from its journal: timeline, layers, neurons and maps, differences between any two moments,
    curves, weights, what is read of the input, and why each unit came and went.
    """
    from nestgraph.reporting import report

    answer(str(report(run, out, overwrite=overwrite)))
    suggest("summary", run / ("final.json" if (run / "final.json").exists() else "seed.json"))


@contextmanager
def observed(progress: "Observer", folder: Path, live: bool, tensorboard: bool) -> "Generator[Observer]":
    """The observer of a run: `progress`, and behind it those that keep a report and event files up to date.

    To be entered before a live display, which what is said here would break into.

    Raises:
        TrainingError: the package tensorboard is wanted and missing.
    """
    with ExitStack() as stack:
        observer = progress
        if tensorboard:
            from nestgraph.integrations.event_files import EventFiles

            observer = events = stack.enter_context(closing(EventFiles(folder, then=observer)))
            say(f"event files: {events.path}")
        if live:
            from nestgraph.reporting import LiveReport

            observer = report = LiveReport(folder, then=observer)
            stack.callback(report.finish)
            say(f"report: {report.path}")
        yield observer
