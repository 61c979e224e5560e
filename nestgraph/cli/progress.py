"""Progress of a run on stderr: a live line on a terminal, a few plain lines elsewhere."""

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

from nestgraph.cli.output import SETTINGS, say

if TYPE_CHECKING:
    from nestgraph.train.runs import Measurement


class RunProgress:
    """Shows the phase, size, accuracy and the time left of a run. Use as a context manager and call it with rows."""

    def __init__(self, title: str) -> None:
        self._title = title
        console = Console(stderr=True)
        # FORCE_COLOR makes rich take a pipe for a terminal; here that would bring carriage returns into log files.
        self._live = sys.stderr.isatty() and not console.is_dumb_terminal and not SETTINGS.quiet
        self._phase, self._steps, self._printed_at = "", 0, 0.0
        words = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True))
        columns = (SpinnerColumn(), TimeElapsedColumn(), words)
        self._bar = Progress(*columns, console=console, transient=True, expand=True, disable=not self._live)
        self._task = self._bar.add_task(f"{title}  starting", total=None)

    def __enter__(self) -> "RunProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, row: "Measurement", remaining: float | None) -> None:
        """Take in a measurement."""
        line = f"{self._title}  {describe(row, remaining)}"
        self._steps = self._steps + 1 if row.phase == self._phase else 0
        self._phase = row.phase
        if self._live:
            self._bar.update(self._task, description=line)
        elif self._worth_a_line(row.seconds):
            say(line)
            self._printed_at = row.seconds

    def _worth_a_line(self, seconds: float) -> bool:
        """The first rows of a phase, then ever fewer: at doublings, and at least every half minute."""
        return self._steps & (self._steps - 1) == 0 or seconds - self._printed_at > 30


def describe(row: "Measurement", remaining: float | None) -> str:
    """One row in words."""
    kept = "" if row.accepted else "  refused"
    left = "" if remaining is None or row.phase == "finish" else f"  ~{duration(remaining)} left in phase"
    return (
        f"{row.phase:<6} {row.connections:>7,} connections  {row.units:>4} units  "
        f"validation {row.accuracy:6.2%}  loss {row.loss:.4f}{left}  {row.edit}{kept}"
    )


def duration(seconds: float) -> str:
    """Seconds as `12 s` or `3 min`."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
