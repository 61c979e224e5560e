"""Processes that write one folder, and folders that are seen through several mounts."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

HOLD = """
import sys, warnings
from pathlib import Path
from nestgraph.errors import SnapshotError
from nestgraph.runs import lock_file, locks
from nestgraph.snapshot import disk

locks.BEAT = 0.05
{before}
try:
    with locks.Lock(Path(sys.argv[1])) as lock:
        print("mine", flush=True)
        sys.stdin.read()
        lock.check()
    print("left", flush=True)
except SnapshotError as error:
    print(type(error).__name__, error, flush=True)
"""
"""Takes the lock of a folder, says so or why not, and leaves it when its input ends."""

ELSEWHERE = """
lock_file.MACHINE, lock_file.host = "0badcafe", lambda: "elsewhere"
"""
BLIND = """
locks.try_lock = lambda descriptor: {said!r}
"""
"""What a file system says that keeps locks to each machine ("ours"), or has none ("none")."""

UNSHARE = ["unshare", "-rm", "--propagation", "private", "bash", "-ec"]


@contextmanager
def holder(folder, before=""):
    """A process that was asked to take the lock of a folder, after some lines of its own; with what it said."""
    command = [sys.executable, "-c", HOLD.format(before=before), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        process.said = process.stdout.readline().strip()
        try:
            yield process
        finally:
            process.kill()


def mounted(script, timeout=55):
    """What a shell says that may mount what it likes and is the only one to see it."""
    return subprocess.run([*UNSHARE, script], capture_output=True, text=True, timeout=timeout, check=False)


def _works(script):
    try:
        return mounted(script, 20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


needs_mounts = pytest.mark.skipif(
    not _works("mkdir -p /tmp/.nestgraph-mounts && mount -t tmpfs none /tmp/.nestgraph-mounts"),
    reason="NOT TESTED: no folder is seen through two mounts, unmounted or full, as tests may mount nothing here",
)
BINDFS = """
place=$(mktemp -d); mkdir $place/server $place/one $place/two
bindfs $place/server $place/one; bindfs $place/server $place/two
trap 'umount -l $place/one $place/two; rm -r $place' EXIT
"""
needs_bindfs = pytest.mark.skipif(
    not _works(BINDFS),
    reason="NOT TESTED: no two mounts keep their locks to themselves, as bindfs is missing or may not mount here",
)
