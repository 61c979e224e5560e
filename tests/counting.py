"""Work as a number that neither a clock nor a busy neighbour moves: the calls that a task makes."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Calls:
    """How many functions, Python's and C's, were called."""

    def __init__(self) -> None:
        self.count = 0

    def note(self, _frame: object, event: str, _argument: object) -> None:
        """What `sys.setprofile` calls."""
        self.count += event in ("call", "c_call")


@contextmanager
def counted() -> Generator[Calls]:
    """Counts the calls of this thread inside."""
    calls, before = Calls(), sys.getprofile()
    sys.setprofile(calls.note)
    try:
        yield calls
    finally:
        sys.setprofile(before)


def calls_of(task: Callable[[], object]) -> int:
    """The calls of a task, whether it gives something or raises."""
    with counted() as calls:
        try:
            task()
        except Exception:
            return calls.count
    return calls.count
