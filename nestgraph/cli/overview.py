"""Progress of a sweep that an engine does, on stderr: all its runs in one display, read from their folders."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from nestgraph.cli.output import SETTINGS, plain, say
from nestgraph.errors import SnapshotError
from nestgraph.runs.run import read_metrics
from nestgraph.spec.metrics import shown

if TYPE_CHECKING:
    from nestgraph.runs.run import Measurement
    from nestgraph.studies.jobs import Outcome

LINES = 16
"""How many runs that are under way are shown, the last ones to begin first to be left out."""


class SweepOverview:
    """Shows where the runs of a sweep are, from their folders: whoever does them, wherever.

    A context manager that is called with what came of each run.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders, self._done, self._failed = folders, set[str](), dict[str, str]()
        console = Console(stderr=True)
        capable = sys.stderr.isatty() and not console.is_dumb_terminal and not console.no_color
        self._live = Live(get_renderable=self._drawn, console=console, refresh_per_second=1, transient=True)
        self._shown = capable and not SETTINGS.quiet

    def __enter__(self) -> "SweepOverview":
        if self._shown:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._shown:
            self._live.stop()

    def __call__(self, outcome: "Outcome") -> None:
        """Take in that a run is finished, or why it is not."""
        title = next(title for title, folder in self._folders.items() if str(folder) == outcome.job.folder)
        self._done.add(title)
        if outcome.problem:
            self._failed[title] = outcome.problem
            say(f"{plain(title)}  {outcome.problem}")
        elif not self._shown:
            row = _last(Path(outcome.job.folder))
            say(f"{plain(title)}  done{'' if row is None else f': {_words(row)}'}")

    def _drawn(self) -> Table:
        """How many are done, and the state of those that are under way."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        count = len(self._folders)
        left = f"{len(self._done)} of {count} done" + (f", {len(self._failed)} failed" if self._failed else "")
        grid.add_row(left, ProgressBar(total=count, completed=len(self._done), width=40))
        open_ones = ((title, _last(folder)) for title, folder in self._folders.items() if title not in self._done)
        running = [(title, row) for title, row in open_ones if row is not None]
        for title, row in running[:LINES]:
            grid.add_row(plain(title), f"{row.phase:<6} {plain(_words(row))}")
        if len(running) > LINES:
            grid.add_row(f"and {len(running) - LINES} more", "")
        return grid


def _words(row: "Measurement") -> str:
    return f"{row.connections:,} connections  validation {shown(row.scores)}"


def _last(folder: Path) -> "Measurement | None":
    """The last measurement of a run; None where there is none yet, or the folder is being written."""
    try:
        rows = read_metrics(folder) if (folder / "metrics.jsonl").exists() else []
    except SnapshotError:
        return None
    return rows[-1] if rows else None
