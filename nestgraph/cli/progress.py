"""Progress of a run on stderr: a live display on a terminal, a few plain lines elsewhere."""

import sys
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

from nestgraph.cli.live_display import RunDisplay
from nestgraph.cli.output import SETTINGS, plain, say
from nestgraph.spec.metrics import shown

if TYPE_CHECKING:
    from nestgraph.runs.run import Measurement


class RunProgress:
    """Shows the phase, size, metrics and the time left of a run. Use as a context manager and call it with rows."""

    def __init__(self, title: str) -> None:
        self._title = plain(title)
        console = Console(stderr=True)
        # FORCE_COLOR makes rich take a pipe for a terminal; here that would bring carriage returns into log files.
        capable = sys.stderr.isatty() and not console.is_dumb_terminal and not console.no_color
        self._phase, self._steps, self._printed_at = "", 0, 0.0
        self._said = set[str]()
        words = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True))
        spinner = SpinnerColumn("line" if console.options.ascii_only else "dots")
        self._head = Progress(spinner, TimeElapsedColumn(), words, console=console, expand=True)
        self._task = self._head.add_task(f"{self._title}  starting", total=None)
        self._display, whole = RunDisplay(), None
        if capable and not SETTINGS.quiet:
            whole = Live(Group(self._head, self._display), console=console, transient=True)
        self._live = whole

    def __enter__(self) -> "RunProgress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, row: "Measurement", remaining: float | None) -> None:
        """Take in a measurement, and the policies that found nothing before it, each with its reason once."""
        self._steps = self._steps + 1 if row.phase == self._phase else 0
        self._phase = row.phase
        for words in dict.fromkeys(f"{self._title}  {each.words}" for each in row.idle):
            if not self._live and words not in self._said:
                say(words)
                self._said.add(words)
        if self._live:
            self._head.update(self._task, description=f"{self._title}  {headline(row, remaining)}")
            self._display.add(row)
        elif self._worth_a_line(row.seconds):
            say(f"{self._title}  {describe(row, remaining)}")
            self._printed_at = row.seconds

    def _worth_a_line(self, seconds: float) -> bool:
        """The first rows of a phase, then ever fewer: at doublings, and at least every half minute."""
        return self._steps & (self._steps - 1) == 0 or seconds - self._printed_at > 30


def headline(row: "Measurement", remaining: float | None) -> str:
    """What of a row the curves and edits below do not show."""
    return f"{row.phase}{time_left(row, remaining)}  {row.units:,} units{budgeted(row)}  loss {row.loss:.4f}"


def describe(row: "Measurement", remaining: float | None) -> str:
    """One row in words."""
    kept = "" if row.accepted else "  refused"
    return (
        f"{row.phase:<6} {row.connections:>7,} connections  {row.units:>4} units  "
        f"validation {shown(row.scores):>6}{budgeted(row)}  loss {row.loss:.4f}{time_left(row, remaining)}  "
        f"{row.edit}{kept}"
    )


def budgeted(row: "Measurement") -> str:
    """What the network takes of its budget, in words; nothing without one."""
    return "".join(f"  {name} {amount:,}" for name, amount in (row.spent or {}).items() if name != "connections")


def time_left(row: "Measurement", remaining: float | None) -> str:
    """The time that the phase probably still takes, in words; nothing where that is unknown."""
    return "" if remaining is None or row.phase == "finish" else f"  ~{duration(remaining)} left in phase"


def duration(seconds: float) -> str:
    """Seconds as `12 s` or `3 min`."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
