"""Several processes of a test: started as `torchrun` starts them, or by it; each leaves what it found for the test."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 240


def environment(**more):
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | more


def torchrun(count, *words, **more):
    """`torchrun` of so many processes of a module and its arguments; itself a process, in a group of its own."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count), "-m"]
    return _started([sys.executable, *launcher, *map(str, words)], environment(**more))


def together(count, *words, **more):
    """So many processes of a module and its arguments that know of each other, without the cost of `torchrun`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    known = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)} | more
    command = [sys.executable, "-m", *map(str, words)]
    return [
        _started(command, environment(RANK=str(number), LOCAL_RANK=str(number), **known)) for number in range(count)
    ]


def _started(command, known):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=ROOT, env=known, start_new_session=True, **pipes)


def ended(*processes, seconds=SECONDS):
    """Of each its exit code, what it printed, and what it complained of; nothing of them is left running."""
    try:
        told = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    return [(process.returncode, *each) for process, each in zip(processes, told, strict=True)]


def found(case, folder, count=2, **more):
    """What each process of a case of `tests/parallel/cases.py` found, in their order."""
    everyone = ended(*together(count, "tests.parallel.cases", case, folder, **more))
    assert not any(code for code, *_ in everyone), "\n".join(err for *_, err in everyone)
    return [json.loads((Path(folder) / f"{number}.json").read_text()) for number in range(count)]


def killed(process):
    """End a process that stands still, or was ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
