"""Measuring what steps of a projection take on this machine, so that `compact` chooses by it."""

import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nestgraph.errors import LoweringError
from nestgraph.lowering.sparse import sparse_product
from nestgraph.snapshot.costs import Calibration, Costs, ThreadCosts
from nestgraph.snapshot.disk import PathLike, reported
from nestgraph.snapshot.ownership import write_own
from nestgraph.snapshot.places import costs_file
from nestgraph.spec.arguments import checked

MARK = b'"nestgraph.costs"'
STEPS = 8
"""How many things are measured for a number of threads."""
MANY = 256
"""Samples at a time of what is measured for its arithmetic."""
LONGEST = 600.0
"""Seconds that measuring may take."""
CALLS = 3
"""How many calls there are between two looks at the clock."""
WAITING = 8.0
"""How many times longer than one thread several may take for a step."""
LEAST = 1e-6
"""Nanoseconds of a step that was too quick to tell."""


@checked(LoweringError)
def calibrate(seconds: float = 12.0, path: PathLike | None = None, overwrite: bool = False) -> Calibration:
    """Measure what `compact` and `explain` choose by, for one thread and for as many as torch has now, and keep it.

    From then on they use it on this machine for these numbers of threads. It is kept in `costs.json` beside downloaded
    data, or where `$NESTGRAPH_COSTS` says; what was measured before is replaced. Times are the least of many, by the
    wall clock. Where other jobs keep several threads waiting, that is told in a warning, and only one is kept.

    Args:
        seconds: about how long to measure.
        path: of the file that keeps it; where it is looked for unless given.
        overwrite: replace another file that is there.

    Returns:
        What was measured.

    Raises:
        LoweringError: `seconds` is no time.
        SnapshotError: it cannot be written, or another file is there.
        DataError: it belongs into a home that there is not.
    """
    if not 0 < seconds <= LONGEST:
        raise LoweringError(f"calibrate expected seconds above 0 and up to {LONGEST:g}, got {seconds}")
    file, counts = Path(path or costs_file()), sorted({1, torch.get_num_threads()})
    share = seconds / STEPS / len(counts)
    found = {each: _measured(each, share) for each in counts}
    if waiting := [each for each in counts[1:] if _waits(found[each], found[1])]:
        kept = "costs of several threads stay built in: calibrate again when nothing runs beside"
        warnings.warn(f"calibrate expected idle processors, got {waiting[0]} threads that wait; {kept}", stacklevel=3)
    measured = tuple(ThreadCosts(threads=n, costs=costs) for n, costs in found.items() if n not in waiting)
    calibration = Calibration(torch=torch.__version__[:64], measured=measured)
    with reported(file.parent, "made"):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_own(file, (calibration.model_dump_json(indent=2) + "\n").encode(), MARK, overwrite)
    return calibration


def _waits(several: Costs, one: Costs) -> bool:
    """Whether a step takes several threads so much longer than one that they must have waited for other jobs."""
    steps = ("call", "sweep", "product", "linear", "kernel", "sparse", "move")
    return any(getattr(several, step) > WAITING * getattr(one, step) for step in steps)


@contextmanager
def _computing(threads: int) -> Generator[np.random.Generator]:
    """So many threads meanwhile, without records of gradients; torch's generators stay as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            yield np.random.default_rng(0)
    finally:
        torch.set_num_threads(before)


def _measured(threads: int, share: float) -> Costs:
    with _computing(threads) as rng:
        steps = _Steps(rng, share)
        call, sweep, (product, _) = steps.linear(1, 8, 8), steps.kernel(1, 8, 3, 6), steps.product(8, 8, 8, 1)
        given = steps.product(2304, 784, 20_000, 1), steps.product(300, 784, 5000, MANY)
        one, many = ((took - product) / entries for took, entries in given)
        sparse = (many - one) / (MANY - 1)
        found = {
            "call": call,
            "sweep": sweep,
            "product": product,
            "linear": (steps.linear(MANY, 300, 784) - call) / (MANY * 300 * 784),
            "kernel": (steps.kernel(64, 16, 5, 12) - sweep) / (64 * 16 * 16 * 5 * 5 * 8 * 8),
            "entry": one - sparse,
            "sparse": sparse,
            "move": steps.move(MANY, 784) / (MANY * 784),
        }
    return Costs().model_copy(update={name: max(LEAST, float(f"{value:.3g}")) for name, value in found.items()})


class _Steps:
    """Nanoseconds of steps of given sizes, with random numbers in them."""

    def __init__(self, rng: np.random.Generator, seconds: float) -> None:
        self._rng, self._seconds = rng, seconds

    def linear(self, batch: int, rows: int, columns: int) -> float:
        values, module = self._random(batch, columns), nn.Linear(columns, rows)
        return self._least(lambda: module(values))

    def kernel(self, batch: int, maps: int, kernel: int, size: int) -> float:
        values = self._random(batch, maps, size, size).contiguous(memory_format=torch.channels_last)
        module = nn.Conv2d(maps, maps, kernel)
        return self._least(lambda: module(values))

    def product(self, rows: int, columns: int, entries: int, batch: int) -> tuple[float, int]:
        """A product with about so many entries, as it is emitted, and how many they are."""
        at = np.unique(self._rng.integers(0, rows * columns, entries))
        ends = torch.from_numpy(np.searchsorted(at, np.arange(rows + 1) * columns))
        parts = ends, torch.from_numpy(at % columns), self._random(len(at))
        values, bias = self._random(columns, batch).movedim(-1, 0), self._random(rows, 1)
        return self._least(lambda: sparse_product(*parts, values.movedim(0, -1), bias).movedim(-1, 0)), len(at)

    def move(self, batch: int, columns: int) -> float:
        values = self._random(batch, columns)
        return self._least(lambda: values.movedim(0, -1).contiguous())

    def _random(self, *shape: int) -> Tensor:
        return torch.from_numpy(self._rng.standard_normal(shape, np.float32))

    def _least(self, call: Callable[[], object]) -> float:
        """The least time of a call: that of a few in a row, between which no other job came."""
        call()
        least, until = np.inf, time.perf_counter() + self._seconds
        while time.perf_counter() < until:
            began = time.perf_counter()
            for _ in range(CALLS):
                call()
            least = min(least, (time.perf_counter() - began) / CALLS)
        return 1e9 * float(least)
