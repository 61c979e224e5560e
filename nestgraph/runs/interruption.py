"""Ctrl-C, SIGTERM and SIGHUP as a wish, which a run grants at its next resumable point."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

NUMBERS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
_noted: list[int] = []
"""The signal that came, if one did: signals are of the whole process, and so is this."""
_agreed: list[int] | None = None
"""Among several processes of a run: the signal that all of them know of; None where one is alone."""


class Interrupted(KeyboardInterrupt):
    """A run that a signal ended at a point from which it can be resumed.

    Attributes:
        signal: its number.
        exit_code: what a shell reports of programs that it ends: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP,
            which a terminal sends when it is closed.
    """

    def __init__(self, number: int, message: str = "interrupted") -> None:
        super().__init__(message)
        self.signal = number
        self.exit_code = 128 + number


def wished() -> bool:
    """Whether a signal asked the run to end."""
    return bool(_noted if _agreed is None else _agreed)


def end_if_wished() -> None:
    """End here if a signal asked for it: what is not saved yet will be done again.

    Raises:
        Interrupted: it did.
    """
    if heard := _noted if _agreed is None else _agreed:
        raise Interrupted(heard[0])


def noted() -> int | None:
    """The signal that came to this process, if one did, whether or not it counts yet."""
    return _noted[0] if _noted else None


def agree(number: int) -> None:
    """All processes of a run know of a signal: from here on it counts."""
    if _agreed is not None:
        _agreed.append(number)


@contextmanager
def agreeing() -> Generator[None]:
    """Inside, signals count when all processes of a run know of them, so that all end at one place."""
    global _agreed
    _agreed = []
    try:
        yield
    finally:
        _agreed = None


@contextmanager
def signals_noted() -> Generator[None]:
    """Note the first SIGINT, SIGTERM or SIGHUP inside, for the run to end soon; a second does what it always did.

    A wish that no point granted is granted at the end: the run is done, but the process was to end, not to go on with
    another run. Signals that someone else handles or ignores stay as they are, and so do all outside the main thread;
    runs in other threads, and runs within runs, see the wish and leave it to whoever noted it.

    Raises:
        Interrupted: a signal came after the last point.
    """
    usual: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    if hasattr(signal, "SIGHUP"):  # not on Windows
        usual[signal.SIGHUP] = signal.SIG_DFL
    ours = [number for number, handler in usual.items() if signal.getsignal(number) is handler]
    ours = ours if threading.current_thread() is threading.main_thread() and not _noted else []

    def leave() -> None:
        for number in ours:
            signal.signal(number, usual[number])

    def note(number: int, _frame: FrameType | None) -> None:
        _noted.append(number)
        leave()

    for number in ours:
        signal.signal(number, note)
    try:
        yield
    finally:
        leave()
        late = _noted[:1]
        if ours:
            _noted.clear()
    if late:
        raise Interrupted(late[0])
