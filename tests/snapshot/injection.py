"""Runs an action in a process whose n-th system call of a kind is made to fail, or to kill it, by strace."""

import gc
import mmap
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import pytest

CALLS = ("openat", "write", "fsync", "rename", "close")
TRACED = ",".join((*CALLS, "renameat", "renameat2"))


@dataclass(frozen=True)
class Outcome:
    """How a process ended: its status, negative for a signal; what it raised; its calls, as strace shows them."""

    status: int
    message: str
    log: tuple[str, ...]

    def count(self, call):
        """How often it made a call."""
        return sum(re.match(rf"{call}(at2?)?\(", line) is not None for line in self.log)

    @property
    def injected(self):
        """The calls that were made to fail."""
        return [line for line in self.log if "INJECTED" in line]


def traced(action, injection=None, calls=()):
    """The outcome of an action in a child, under strace with an `-e inject=` expression; `calls` are seen as well."""
    begin, go = os.pipe()
    waiting, told = os.pipe()
    note = mmap.mmap(-1, 4096)
    child = os.fork()
    if child == 0:
        _act(action, begin, told, note)
    os.read(waiting, 1)  # from here on it waits: what a fork runs and collects is behind it, and is not traced
    inject = ["-e", f"inject={injection}"] if injection else []
    with tempfile.NamedTemporaryFile("r") as log:  # a pipe that nobody empties would stop the process
        options = [
            "-y",
            "-s",
            "8",
            "-e",
            f"trace={','.join((TRACED, *calls))}",
            "-e",
            "signal=none",
            *inject,
            "-o",
            log.name,
        ]
        tracer = subprocess.Popen(["strace", *options, "-p", str(child)], stderr=subprocess.PIPE, text=True)
        first = tracer.stderr.readline()
        os.write(go, b"x")
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        rest = tracer.communicate()[1]
        lines = tuple(log.read().splitlines())
    for end in (begin, go, waiting, told):
        os.close(end)
    if "attached" not in first:
        raise OSError(first + rest)
    return Outcome(status, note[:].rstrip(b"\0").decode(), lines)


def _act(action, begin, told, note):
    status = 99
    try:
        gc.disable()  # nothing is closed by chance
        os.write(told, b"x")
        os.read(begin, 1)
        action()
        status = 0
    except SystemExit as ending:
        status = ending.code or 0
    except BaseException as error:
        text = f"{type(error).__name__}: {error}".encode()[:4000]
        note[: len(text)] = text
        status = 3
    finally:
        os._exit(status)


def _works():
    try:
        return traced(lambda: None).status == 0
    except OSError as problem:
        print(f"strace cannot be used: {problem}", file=sys.stderr)
        return False


needs_strace = pytest.mark.skipif(
    not _works(), reason="NOT TESTED: no save is killed or failed, as strace is missing or may not trace here"
)
