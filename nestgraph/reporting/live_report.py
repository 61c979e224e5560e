"""The report of a run that goes on: written again as it goes, so seldom that it costs the run little."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from nestgraph.errors import NestgraphError, SnapshotError
from nestgraph.reporting.page import MARK, REPORT, report
from nestgraph.runs.run import Measurement
from nestgraph.snapshot import check_own
from nestgraph.spec.arguments import checked

LEAST = 3.0
"""Seconds between two reports at least."""

SHARE = 0.02
"""Of the run's time: what reports may take."""

Observer = Callable[[Measurement, float | None], None]


class LiveReport:
    """An observer for `synthesize(progress=...)` that keeps the report of the run up to date.

    Attributes:
        path: of the report.
        written: how many times it was.
    """

    @checked(SnapshotError)
    def __init__(
        self, folder: str | os.PathLike[str], path: str | os.PathLike[str] | None = None, then: Observer | None = None
    ) -> None:
        """Nothing is written yet.

        Args:
            folder: of the run.
            path: the file to write; `report.html` in the run folder by default.
            then: another observer, which is told first.

        Raises:
            SnapshotError: another file is in the report's place.
        """
        self._folder, self.path = Path(folder), Path(folder) / REPORT if path is None else Path(path)
        self._then, self._due, self.written = then, 0.0, 0
        check_own(self.path, MARK)

    def __call__(self, row: Measurement, remaining: float | None = None) -> None:
        """Take in that the run went on. A report that cannot be written does not end the run."""
        if self._then:
            self._then(row, remaining)
        began = time.monotonic()
        if began < self._due:
            return
        with suppress(NestgraphError):
            report(self._folder, self.path, reload=LEAST)
            self.written += 1
        now = time.monotonic()
        self._due = now + max(LEAST, (now - began) / SHARE)

    def finish(self) -> None:
        """Write the report once more, as one that does not look for a newer one; if there is one."""
        if self.written:
            report(self._folder, self.path)
