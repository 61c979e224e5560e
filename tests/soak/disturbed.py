"""Runs that are killed: a child process works on a synthesis until something ends it.

The children are forked from a process that has run a synthesis, so one costs milliseconds; that takes one thread and no
GPU, since threads do not survive a fork. A child tells where it is through memory that it shares with its parent, which
outlives it.
"""

import json
import mmap
import os
import signal
import struct
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from nestgraph.data.options import DataOptions
from nestgraph.data.samples import Dataset
from nestgraph.loop import engine, trainer, training, training_state
from nestgraph.loop.checkpoint import Pace, RunState
from nestgraph.loop.decisions import PHASES
from nestgraph.loop.resuming import resume
from nestgraph.loop.synthesis import synthesize
from nestgraph.recipes.recipe import parse_recipe
from nestgraph.runs import run_files, run_folder
from nestgraph.runs.run_files import resumable
from nestgraph.runs.run_folder import RunFolder
from tests.soak.variants import SEED, VARIANTS


@dataclass(frozen=True)
class Setting:
    """What the runs of a process are of: a recipe, and the data that go with it where Python gives them."""

    recipe: str
    data: Dataset | None


KEPT_APART = {run_files.TIMING}
"""What the clock says is no part of a run's identity."""


@dataclass(frozen=True)
class Moment:
    """Where a run was: its phase, whether a save was under way, and how many events had passed."""

    phase: str
    saving: bool
    event: int


class Whereabouts:
    """Told by the child at each event, read by the parent; the child may send itself a signal at one."""

    def __init__(self) -> None:
        self._shared = mmap.mmap(-1, 16)
        self._phase, self._saving, self._count = 0, 0, 0
        self.deadly, self.signal = -1, signal.SIGKILL
        self.seen: list[Moment] = []
        self.process = os.getpid()

    def moment(self) -> Moment:
        """The last that was told."""
        phase, saving, count = struct.unpack_from("3i", self._shared)
        return Moment(PHASES[phase], bool(saving), count)

    def event(self) -> None:
        """Something happens next: a training step, or a call that writes; what workers of a loader do is no event."""
        if os.getpid() != self.process:
            return
        self._count += 1
        self._tell()
        self.seen.append(self.moment())
        if self._count == self.deadly:
            send = os.kill if self.signal == signal.SIGKILL else os.killpg  # as a terminal does
            send(self.process, self.signal)

    def enter(self, phase: str) -> None:
        """A phase begins."""
        self._phase = PHASES.index(phase)
        self._tell()

    def saving(self, change: int) -> None:
        """A save begins or ends."""
        self._saving += change
        self._tell()

    def _tell(self) -> None:
        struct.pack_into("3i", self._shared, 0, self._phase, self._saving, self._count)


def watch(where: Whereabouts) -> None:
    """Let a process tell where it is. For a child: what it is run by is changed for good."""
    where.process = os.getpid()
    for owner, name in (
        (training, "step"),
        (os, "fsync"),
        (os, "replace"),
        (os, "unlink"),
        (trainer, "gather"),
    ):
        setattr(owner, name, _eventful(getattr(owner, name), where))
    saves = ((RunState, "keep"), (RunState, "begin"), (training_state.TrainingSaves, "_write"))
    for owner, name in (*saves, (RunFolder, "keep"), (RunFolder, "_write")):
        setattr(owner, name, _saving(getattr(owner, name), where))
    decide = engine.decide

    def told(*arguments):
        state, actions = decide(*arguments)
        where.enter(state.phase)
        return state, actions

    engine.decide = told


def _eventful(function: Callable, where: Whereabouts) -> Callable:
    def told(*arguments, **options):
        where.event()
        return function(*arguments, **options)

    return told


def _saving(function: Callable, where: Whereabouts) -> Callable:
    def told(*arguments, **options):
        where.saving(1)
        try:
            return function(*arguments, **options)
        finally:
            where.saving(-1)

    return told


def prepare(name: str, folder: Path) -> Setting:
    """What all children share: the data, and no pictures, which take longer than the run."""
    variant = VARIANTS[name]
    variant.ready(folder)
    digits = DataOptions(name="digits").load(SEED)
    DataOptions.load = lambda *_: digits
    for picture in ("draw_stage", "draw_run"):
        setattr(run_folder, picture, lambda *_: None)
    # The default lock of these progress bars, which torch.fx makes and never shows, is shared by all children: one
    # that is killed while it holds it would stop the others for good.
    tqdm.set_lock(threading.RLock())
    return Setting(variant.recipe(folder), variant.given())


def begin(folder: Path, setting: Setting) -> None:
    """Begin the run."""
    recipe = parse_recipe(setting.recipe, "short.toml")
    synthesize(recipe, folder, SEED, overwrite=True, save_every=0, data=setting.data)


def work(folder: Path, setting: Setting) -> None:
    """Begin the run, or go on with it, and keep a point whenever there is one."""
    if resumable(folder) or (folder / "result.json").exists():
        resume(folder, save_every=0, data=setting.data)
    else:
        begin(folder, setting)


@contextmanager
def child(job: Callable[[], int | None], log: Path, patience: int = 0):
    """A child at its job, with its messages in a file; gives its process id.

    It is ended by SIGALRM where it takes longer than so many seconds (0: it may take forever).
    """
    process = os.fork()
    if process:
        yield process
        return
    code = 99
    signal.alarm(patience)
    try:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(out, 1)
        os.dup2(out, 2)
        code = job() or 0
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ending(process: int) -> int:
    """The exit code of a child, negative for the signal that killed it."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def artefacts(folder: Path) -> dict[str, bytes]:
    """Every file of a run but what the clock says."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if path.name not in KEPT_APART}


def at_every_chance() -> None:
    """Keep a point whenever there is one, as `work` does, whatever the clock says. For a child."""
    Pace.due = property(lambda _: True)


def undisturbed(folder: Path, setting: Setting) -> tuple[dict[str, bytes], list[Moment], float]:
    """The files of a run that nothing disturbs, the moments that it passes, and the seconds that it takes."""
    noted = folder.with_suffix(".moments")

    def job() -> None:
        where = Whereabouts()
        watch(where)
        began = time.monotonic()
        work(folder, setting)
        passed = time.monotonic() - began
        noted.write_text(json.dumps([passed, [[m.phase, m.saving, m.event] for m in where.seen]]))

    with child(job, folder.with_suffix(".log")) as process:
        assert ending(process) == 0, folder.with_suffix(".log").read_text()
    passed, moments = json.loads(noted.read_text())
    return artefacts(folder), [Moment(*moment) for moment in moments], passed
