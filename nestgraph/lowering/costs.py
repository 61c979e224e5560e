"""What steps of a projection take in inference: built in, or measured on this machine and read from a file."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from nestgraph.errors import DataError, SnapshotError
from nestgraph.snapshot.costs import Costs, read_calibration
from nestgraph.snapshot.places import costs_file

BUILT_IN: Mapping[int, Costs] = {
    1: Costs(),
    2: Costs(sweep=26_000.0, product=24_000.0, linear=0.0108, kernel=0.0067, entry=0.75, sparse=0.037),
}
"""By threads; measured as docs/performance.md says. More threads than are listed count as the most that are."""


@dataclass(frozen=True)
class KnownCosts:
    """Costs, and where they come from.

    Attributes:
        costs: of steps.
        words: for people.
    """

    costs: Costs
    words: str


def known_costs(threads: int) -> KnownCosts:
    """What steps take on so many threads: measured here if they were, else built in.

    A file that cannot be read is told in a warning.
    """
    try:
        calibration = read_calibration(costs_file())
    except DataError:  # there is no home, so nothing was measured
        calibration = None
    except SnapshotError as error:
        warnings.warn(f"{error}: remove it, or let `nestgraph calibrate` write it; costs are built in", stacklevel=2)
        calibration = None
    for each in calibration.measured if calibration else ():
        if each.threads == threads:
            return KnownCosts(each.costs, f"measured on this machine for {_threads(threads)}")
    listed = max(each for each in BUILT_IN if each <= max(1, threads))
    return KnownCosts(BUILT_IN[listed], f"built in for {_threads(listed)}")


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
