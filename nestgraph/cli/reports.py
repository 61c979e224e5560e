"""The verb that writes a run's report, and what is written for people while a run goes on."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
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
def observed(progress: "Observer", folder: Path, live: bool) -> "Generator[Observer]":
    """The observer of a run: `progress`, and behind it one that keeps a report up to date.

    To be entered before a live display, which what is said here would break into.
    """
    with ExitStack() as stack:
        observer = progress
        if live:
            from nestgraph.reporting import LiveReport

            observer = report = LiveReport(folder, then=observer)
            stack.callback(report.finish)
            say(f"report: {report.path}")
        yield observer


def chosen_trackers(names: Sequence[str] | None, tensorboard: bool) -> tuple[str, ...]:
    """The trackers of a run, each once; `--tensorboard` is how one of them was asked for in 0.1.

    Raises:
        TrainingError: one is not known, or its package is missing.
    """
    from nestgraph.loop.tracking import check_trackers

    asked = [*(names or ()), "tensorboard"] if tensorboard else names or ()
    chosen = tuple(dict.fromkeys(asked))
    check_trackers(chosen)
    if tensorboard:
        say("--tensorboard is --tracker tensorboard now")
    return chosen
