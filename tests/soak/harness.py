"""Kills runs at seeded instants, resumes them, and compares every file with those of a run that nothing disturbed.

After every fourth kill a file that it left is cut, removed, or exchanged for a link, before the run may go on.

    python -m tests.soak.harness --kills 1000 --seed 1

Half of the kills come at an event (a training step or a call that writes), which the seed chooses among those of one
phase; the other half from outside, after a time that the seed chooses. A negative control breaks what the kills test,
so that it must fail: its kills come at events inside saves. The reports are JSON on stdout.
"""

import argparse
import json
import os
import random
import shutil
import signal
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

from nestgraph.cli.app import app
from nestgraph.data.tables.options import TableOptions
from nestgraph.errors import SnapshotError
from nestgraph.loop import checkpoint, resuming, training, training_state
from nestgraph.loop.decisions import PHASES, State
from nestgraph.loop.resuming import resume
from nestgraph.loop.stepping import Steps
from nestgraph.loop.training_state import Place
from nestgraph.lowering.bench_state import BenchState
from nestgraph.lowering.states import OptimizerState
from nestgraph.policies.registry import POLICIES
from nestgraph.runs import run_folder, state_files
from nestgraph.runs.interruption import Interrupted
from nestgraph.runs.run_files import LOCK, MANIFEST, RESULT
from nestgraph.snapshot import disk, files, sidecar
from tests.soak.disturbed import (
    Setting,
    Whereabouts,
    artefacts,
    at_every_chance,
    begin,
    child,
    ending,
    prepare,
    undisturbed,
    watch,
    work,
)
from tests.soak.variants import SEED, VARIANTS

WRITERS = (disk, files, sidecar, checkpoint, run_folder, state_files)
CONTROL = 50
"""Kills by which a control must have failed; most fail at the first few."""

FIRST = 4
"""The event from which on signals are noted; the three before it write down what the run begins with."""

HANGING = 600
"""Seconds after which a run, which takes less than one on an idle machine, is taken for hung: a failure."""


def naive_write(path, data):
    """What `write_atomically` is not: the old content is gone before the new is there."""
    whole = data if isinstance(data, bytes) else b"".join(map(bytes, data))
    with open(path, "wb", buffering=0) as file:
        file.write(whole[: len(whole) // 2])
        os.fsync(file.fileno())
        file.write(whole[len(whole) // 2 :])


def forget_random():
    """Resume without the random state."""
    for module in (training_state, training):
        module.set_random = lambda *_: None


def forget_optimizer():
    """Resume without the state of the optimizer."""
    read = BenchState.read

    def forgetful(record, arrays):
        optimizers = tuple(OptimizerState(one.record, {}) for one in read(record, arrays).optimizers)
        return BenchState(optimizers, frozenset(record.frozen))

    BenchState.read = forgetful


def write_naively():
    """Write in place."""
    for module in WRITERS:
        if hasattr(module, "write_atomically"):
            module.write_atomically = naive_write


def linked(path: Path, outside: Path, _rng: random.Random) -> None:
    """The file lies elsewhere, and a link to it is in its place."""
    outside.mkdir()
    path.rename(outside / path.name)
    path.symlink_to(outside / path.name)


def cut(path: Path, _outside: Path, rng: random.Random) -> None:
    """The file ends somewhere."""
    os.truncate(path, rng.randrange(path.stat().st_size + 1))


def removed(path: Path, _outside: Path, _rng: random.Random) -> None:
    """The file is gone."""
    path.unlink()


TRAPS = {"link": linked, "truncation": cut, "deletion": removed}
REFUSED = 3
"""How a child ends whose run was refused."""


def tree(folder: Path) -> dict[str, bytes | str]:
    """Every file below a folder but the lock, which a kill leaves and the next writer takes away."""
    found = ((path, str(path.relative_to(folder))) for path in folder.rglob("*") if path.name != LOCK)
    return {
        name: os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path, name in found
        if path.is_symlink() or path.is_file()
    }


def forget_steps():
    """Resume without the moving average, the scale of half precision and what early stopping saw."""
    Steps.restore = lambda *_: None


def forget_place():
    """Resume an epoch with its first batch."""
    training_state.Place = lambda epoch=0, *_: Place(epoch)


def forget_rows():
    """Resume with other rows of a table to train on, which is not noticed."""
    trainer_of, load = resuming.trainer_of, TableOptions.load

    def other(*arguments):
        TableOptions.load = lambda options, seed, *wanted: load(options, seed + 1, *wanted)
        return trainer_of(*arguments)

    resuming.trainer_of, resuming._check_facts = other, lambda *_: None


def forget_package():
    """Resume where the package of a policy is not installed."""
    same_recipe = resuming._same_recipe

    def without(*arguments):
        POLICIES.find = lambda _: None
        return same_recipe(*arguments)

    resuming._same_recipe = without


def forget_outcomes():
    """Resume without what came of the actions before."""
    resuming.fold = lambda *_: State()


CONTROLS = {
    "none": lambda: None,
    "naive": write_naively,
    "random": forget_random,
    "optimizer": forget_optimizer,
    "steps": forget_steps,
    "outcomes": forget_outcomes,
    "place": forget_place,
    "rows": forget_rows,
    "package": forget_package,
}


class Harness:
    """One undisturbed run, and the trials that must end like it."""

    def __init__(self, folder: Path, setting: Setting, seed: int, control: str) -> None:
        self.folder, self.setting, self.rng = folder, setting, random.Random(seed)
        CONTROLS[control]()
        self.expected, self.moments, self.seconds = undisturbed(folder / "undisturbed", setting)
        self.kills: Counter[str] = Counter()
        self.saving = self.killed = self.chained = self.signals = 0
        self.traps: Counter[str] = Counter()
        self.failures: list[str] = []
        self.latest = 0

    def killed_at(self, run: Path, deadly: int = -1, delay: float | None = None) -> None:
        """Begin or go on with a run, and kill it at an event or after a time; it may have ended before."""
        where = Whereabouts()
        where.deadly = deadly

        def job():
            watch(where)
            work(run, self.setting)

        with child(job, run.with_suffix(".log"), HANGING) as process:
            if delay is not None:
                time.sleep(delay)
                os.kill(process, signal.SIGKILL)
            code = ending(process)
        if code == -signal.SIGKILL:
            moment = where.moment()
            self.killed += 1
            self.kills[moment.phase] += 1
            self.saving += moment.saving
        elif code:
            self.failures.append(f"{run.name}: exit code {code} before it was killed: {self.last_line(run)}")

    def trial(self, number: int, from_outside: bool) -> None:
        """Kill a run once, every third time twice, and let it end."""
        run = self.folder / f"run-{number}"
        for again in range(1 + (number % 3 == 2)):
            self.chained += again
            if number % 2 and from_outside:
                self.killed_at(run, delay=self.rng.uniform(0, self.seconds))
            else:
                phase = PHASES[number // 2 % len(PHASES)]
                events = [m.event for m in self.moments if m.phase == phase and (from_outside or m.saving)]
                self.killed_at(run, self.rng.choice(events) if not again else self.rng.randrange(1, 40))
        if from_outside and number % 4 == 1 and run.exists():
            self.trapped(run)
        self.ends_as_expected(run, lambda: work(run, self.setting))

    def trapped(self, run: Path) -> None:
        """Damage what a kill left: the run is refused and lies there as it did, or ends as if nothing had happened.

        Then all is as the kill left it, for the run to go on.
        """
        kept, outside = run.with_suffix(".kept"), run.with_suffix(".outside")
        shutil.copytree(run, kept, symlinks=True)
        trap = self.rng.choice(list(TRAPS))
        known = {MANIFEST} if trap == "deletion" and (run / RESULT).exists() else set()  # as an older version leaves it
        files = (path for path in sorted(run.rglob("*")) if path.is_file() and path.name not in known)
        TRAPS[trap](self.rng.choice([*files]), outside, self.rng)
        before, far = tree(run), tree(outside)

        def job() -> int:
            try:
                work(run, self.setting)
            except SnapshotError:
                return REFUSED
            return 0

        with child(job, run.with_suffix(".log"), HANGING) as process:
            code = ending(process)
        self.traps[f"{trap} {'refused' if code == REFUSED else 'gone on'}"] += 1
        if code not in (0, REFUSED):
            self.failures.append(f"{run.name}: exit code {code} after {trap}: {self.last_line(run)}")
        if tree(outside) != far or (code == REFUSED and tree(run) != before):
            self.failures.append(f"{run.name}: what was refused or lies outside was changed after {trap}")
        if code == 0 and artefacts(run) != self.expected:
            self.failures.append(f"{run.name}: other bytes after {trap}")
        shutil.rmtree(run)
        kept.rename(run)
        shutil.rmtree(outside, ignore_errors=True)

    def signalled(self, number: int, kind: signal.Signals) -> None:
        """End a run by a signal, see that it says how to go on, and go on."""
        run = self.folder / f"{kind.name}-{number}"
        where = Whereabouts()
        where.deadly, where.signal = self.rng.randrange(FIRST, len(self.moments)), kind

        def job():
            os.setpgid(0, 0)  # of its own, with the workers of a loader
            watch(where)
            at_every_chance()  # so that the chosen moment comes
            signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the parent had
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            self.command(run)

        with child(job, run.with_suffix(".log"), HANGING) as process:
            code = ending(process)
        self.latest = max(self.latest, where.moment().event - where.deadly)
        said = run.with_suffix(".log").read_text()
        left = ("is complete",) if (run / RESULT).exists() else (f"nestgraph resume {run}", f"resume('{run}')")
        if code == 128 + kind and any(words in said for words in left):
            self.signals += 1
        else:
            place = f"signal at {where.deadly} of {len(self.moments)}, ended at {where.moment().event}"
            self.failures.append(f"{run.name}: exit code {code}, {place}: {said[-300:]}")
        self.ends_as_expected(run, lambda: resume(run, data=self.setting.data))

    def command(self, run: Path) -> None:
        """Run as the command line does, or as a script of who gives the data."""
        if self.setting.data is None:
            recipe = self.folder / "short.toml"
            recipe.write_text(self.setting.recipe)
            app(["synthesize", str(recipe), "--out", str(run), "--seed", str(SEED), "--overwrite"])
        try:
            begin(run, self.setting)
        except Interrupted as error:
            print(error)
            raise SystemExit(error.exit_code) from None

    def ends_as_expected(self, run: Path, job) -> None:
        """Whether a run ends, with the files of one that nothing disturbed."""
        with child(lambda: job() and None, run.with_suffix(".log"), HANGING) as process:
            code = ending(process)
        if code:
            self.failures.append(f"{run.name}: exit code {code}: {self.last_line(run)}")
            return
        found = artefacts(run)
        different = [name for name in {*found, *self.expected} if found.get(name) != self.expected.get(name)]
        if different:
            self.failures.append(f"{run.name}: other bytes in {', '.join(sorted(different))}")
        shutil.rmtree(run, ignore_errors=True)

    def last_line(self, run: Path) -> str:
        lines = run.with_suffix(".log").read_text().strip().splitlines()
        return lines[-1] if lines else ""

    def report(self) -> dict[str, object]:
        return {
            "killed": self.killed,
            "phases": dict(self.kills),
            "saving": self.saving,
            "chained": self.chained,
            "signalled": self.signals,
            "traps": dict(self.traps),
            "seconds": self.seconds,
            "latest": self.latest,
            "failures": len(self.failures),
            "shown": self.failures[:5],
        }


def session(folder: Path, setting: Setting, asked: argparse.Namespace, control: str) -> dict[str, object]:
    """The report of one harness; a control is done when it has failed."""
    harness = Harness(folder, setting, asked.seed, control)
    kills = asked.kills if control == "none" else max(asked.kills, CONTROL)
    for number in count():
        if harness.killed >= kills or (control != "none" and harness.failures):
            break
        harness.trial(number, from_outside=control == "none")
    for number in range(asked.signals if control == "none" else 0):
        for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            harness.signalled(number, kind)
    return harness.report()


def main() -> None:
    """Run the trials, each control in a process of its own, and print a report for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=50, help="at least so many")
    parser.add_argument("--signals", type=int, default=0, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--variant", choices=VARIANTS, default="adamw", help="what the runs are of")
    parser.add_argument("--controls", nargs="*", choices=CONTROLS, default=["none"])
    asked = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a disk would be waited for at every fsync
    with tempfile.TemporaryDirectory(dir=memory) as name:
        folder = Path(name)
        setting = prepare(asked.variant, folder)
        work(folder / "first", setting)  # so that no child imports or plans anything for the first time
        for control in asked.controls:
            place, told = folder / control, folder / f"{control}.json"
            place.mkdir()

            def job(place=place, told=told, control=control):
                told.write_text(json.dumps(session(place, setting, asked, control)))

            with child(job, folder / f"{control}.log") as process:
                code = ending(process)
            if code:
                raise SystemExit((folder / f"{control}.log").read_text())
        print(json.dumps({control: json.loads((folder / f"{control}.json").read_text()) for control in asked.controls}))


if __name__ == "__main__":
    main()
