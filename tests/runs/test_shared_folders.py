"""Folders that several machines share: their locks, their clocks, and what becomes of a run when one goes away."""

import ast
import errno
import os
import shutil
import signal
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import pytest

import nestgraph
from nestgraph.errors import SnapshotError
from nestgraph.loop.resuming import resume
from nestgraph.loop.synthesis import synthesize
from nestgraph.runs import lock_file, locks
from nestgraph.runs.interruption import Interrupted
from nestgraph.runs.lock_file import Writer
from nestgraph.runs.locks import HeldError, Lock, LostError, patiently
from nestgraph.runs.run_files import check_present, resumable
from nestgraph.snapshot.machine import MACHINE, host
from tests.runs.sharing import BINDFS, BLIND, ELSEWHERE, HOLD, holder, mounted, needs_bindfs, needs_mounts
from tests.runs.test_run_folders import SHORT
from tests.snapshot.injection import needs_strace, traced

STRANGE = f"{int(MACHINE, 16) ^ 1:08x}"
"""The mark of another machine."""


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name not in ("timing.jsonl", ".lock")}


def waiting(writer):
    """Checks that a wait for a writer is told of, once."""
    return pytest.warns(UserWarning, match=f"{writer} left its lock here, .*: waiting 30 s for a sign of it")


def left_by(folder, writer):
    """A lock that a writer left."""
    (folder / ".lock").write_bytes(writer.line(7))


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on only while someone sleeps, with what is done at each time."""
    told = SimpleNamespace(now=0.0, events=[])

    def sleep(seconds):
        told.now += seconds
        for event in [event for event in told.events if event[0] <= told.now]:
            told.events.remove(event)
            event[1]()

    monkeypatch.setattr(locks, "time", SimpleNamespace(monotonic=lambda: told.now, sleep=sleep))
    return told


# -- locks -----------------------------------------------------------------------------------------------


def test_a_lock_names_process_and_machine_and_leaves_nothing(tmp_path):
    with Lock(tmp_path) as lock:
        writer = Writer.read((tmp_path / ".lock").read_bytes(), tmp_path)
        assert (writer.process, writer.host, writer.machine) == (os.getpid(), host(), MACHINE)
        with pytest.raises(HeldError, match=f"got process {os.getpid()} on {host()}: wait for it or end it$"):
            Lock(tmp_path).__enter__()
        lock.check()
    assert list(tmp_path.iterdir()) == []


def test_a_writer_on_another_machine_is_named_with_what_to_do_where_that_is_gone(tmp_path):
    """A server keeps the lock of a machine that went away until that machine is back, so a person has to decide."""
    with holder(tmp_path, ELSEWHERE) as other:
        assert other.said == "mine"
        remedy = f"where that machine is gone for good, remove {tmp_path}/.lock"
        with pytest.raises(HeldError, match=f"got process {other.pid} on elsewhere: wait for it or end it; {remedy}"):
            Lock(tmp_path).__enter__()
        (tmp_path / ".lock").unlink()
        with Lock(tmp_path):
            assert other.communicate()[0].startswith("LostError")  # it was alive, and writes nothing more


blind = pytest.mark.parametrize("said", ["ours", "none"])
"""Where each machine has locks of its own, and where there are none."""


@blind
def test_a_living_writer_is_seen_where_its_lock_is_not(tmp_path, said, monkeypatch):
    monkeypatch.setattr(locks, "try_lock", lambda _: said)
    with holder(tmp_path, ELSEWHERE + BLIND.format(said=said)) as other:
        assert other.said == "mine"
        with waiting(f"{other.pid} on elsewhere"), pytest.raises(HeldError, match=f"process {other.pid} on elsewhere"):
            Lock(tmp_path).__enter__()
        assert other.communicate()[0] == "left\n"
    with Lock(tmp_path) as lock:
        lock.check()
    assert list(tmp_path.iterdir()) == []


@blind
def test_a_lock_left_on_another_machine_is_taken_when_nobody_counts_in_it(tmp_path, said, monkeypatch, clock):
    monkeypatch.setattr(locks, "try_lock", lambda _: said)
    left_by(tmp_path, Writer(12, "elsewhere", STRANGE, "0" * 16))
    for age in (-(10**9), 0, 2**32):  # what its times say is not asked
        os.utime(tmp_path / ".lock", (age, age))
        clock.now = 0.0
        with waiting("process 12 on elsewhere"):
            lock = Lock(tmp_path).__enter__()
        assert locks.WATCH <= clock.now <= locks.WATCH + locks.SETTLE + 1
        lock.check()
        lock.__exit__()
        left_by(tmp_path, Writer(12, "elsewhere", STRANGE, "0" * 16))


@blind
def test_of_two_machines_that_find_a_dead_writer_one_takes_the_folder(tmp_path, said, monkeypatch, clock):
    """Both may come to remove what is left at once: who was first sees the other's lock before it writes anything."""
    monkeypatch.setattr(locks, "try_lock", lambda _: said)
    left_by(tmp_path, Writer(12, "elsewhere", STRANGE, "0" * 16))
    second = Writer(13, "third", f"{int(MACHINE, 16) ^ 2:08x}", "1" * 16)

    def come_second():
        (tmp_path / ".lock").unlink()
        left_by(tmp_path, second)

    def count():
        with open(tmp_path / ".lock", "r+b") as file:
            file.write(second.line(8))

    clock.events = [(locks.WATCH + 1, come_second), (locks.WATCH + 5, count)]
    with pytest.warns(UserWarning, match="left its lock"), pytest.raises(HeldError, match="got process 13 on third"):
        Lock(tmp_path).__enter__()
    assert (tmp_path / ".lock").read_bytes() == second.line(8)


def test_a_lock_left_on_this_machine_is_taken_at_once_where_locks_are_kept(tmp_path, clock):
    with holder(tmp_path) as other:
        other.kill()
    assert (tmp_path / ".lock").read_bytes()
    with Lock(tmp_path):
        assert clock.now == 0
    (tmp_path / ".lock").write_bytes(b"12")  # of an earlier version
    with Lock(tmp_path):
        assert clock.now == 0
    left_by(tmp_path, Writer(os.getpid(), host(), MACHINE, "0" * 16))  # of an earlier life of a container
    with Lock(tmp_path):
        assert clock.now == 0
    left_by(tmp_path, Writer(1, host(), MACHINE, "0" * 16))  # the number is another process's by now
    with waiting(f"process 1 on {host()}"):
        lock = Lock(tmp_path).__enter__()
    assert clock.now >= locks.WATCH
    lock.__exit__()


def test_a_lock_whose_writer_died_before_it_wrote_is_taken_soon(tmp_path, clock):
    (tmp_path / ".lock").touch()
    with Lock(tmp_path):
        assert locks.SETTLE <= clock.now <= 3 * locks.SETTLE
    (tmp_path / ".lock").touch()
    writer, clock.now = Writer(12, "elsewhere", STRANGE, "0" * 16), 0.0
    clock.events = [(1.0, lambda: left_by(tmp_path, writer))]
    with pytest.raises(HeldError, match="process 12 on elsewhere"):
        Lock(tmp_path).__enter__()


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
def test_threads_take_turns_where_there_are_no_locks(tmp_path, code, monkeypatch):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr(locks, "BEAT", 0.01)
    with Lock(tmp_path) as lock:
        with pytest.warns(UserWarning, match="left its lock"), pytest.raises(HeldError, match=f"{os.getpid()} on"):
            Lock(tmp_path).__enter__()
        lock.check()
    with Lock(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_job_waits_for_a_writer_on_another_machine(tmp_path):
    with holder(tmp_path, ELSEWHERE) as other:
        tried = []

        def take():
            tried.append(1)
            if len(tried) == 2:
                other.communicate()
            with Lock(tmp_path):
                return "ours"

        assert patiently(take, 30) == "ours"


# -- two mounts of one folder ----------------------------------------------------------------------------

CONTEND = """
mkfifo $place/end; sleep 50 > $place/end & open=$!
{python} -c '{program}' $place/one/run < $place/end > $place/said & first=$!
until [ -s $place/said ]; do sleep 0.05; done
cat $place/said
{python} -c '{program}' $place/two/run 2>&1 < /dev/null
kill -9 $first; wait $first || true
{python} -c '{program}' $place/two/run < /dev/null
kill $open
"""


def contend(before, mounts):
    program = HOLD.format(before=before)
    assert "'" not in program
    done = mounted(mounts + CONTEND.format(python=sys.executable, program=program))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@needs_mounts
def test_two_mounts_of_one_file_system_share_its_locks():
    mounts = """
place=$(mktemp -d); mkdir $place/server $place/one $place/two
mount --bind $place/server $place/one; mount --bind $place/server $place/two
trap "umount -l $place/one $place/two; rm -r $place" EXIT
"""
    first, second, *third = contend("", mounts)
    assert first == "mine"
    assert "HeldError" in second
    assert f"on {host()}: wait for it or end it" in second
    assert third == ["mine", "left"]  # at once, as its writer was killed


@needs_bindfs
def test_two_mounts_that_keep_their_locks_to_themselves_share_a_folder_all_the_same():
    """Each gives the lock to whoever asks, as network file systems do that know nothing of other machines' locks."""
    first, warned, second, *third = contend("locks.WATCH = 8.0", BINDFS)
    assert first == "mine"
    assert "left its lock here, and whether it lives cannot be asked" in warned
    assert "HeldError" in second
    assert third == ["mine", "left"]


# -- clocks ----------------------------------------------------------------------------------------------


def test_no_time_of_a_file_and_no_clock_of_the_day_is_asked():
    """What lies in a folder may have been written by the clock of another machine."""
    words = ("st_mtime", "st_ctime", "st_atime", "st_birthtime", "getmtime", "getctime", "utcnow", "today")
    found = []
    for path in sorted(Path(nestgraph.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                told = node.attr.removesuffix("_ns")
                clock = isinstance(node.value, ast.Name) and (node.value.id, told) in {
                    ("time", "time"),
                    ("datetime", "now"),
                }
                found += [(path.name, node.attr)] if told in words or clock else []
    assert found == []


@pytest.mark.parametrize("age", [2**32, pytest.param(0, marks=pytest.mark.slow)])
def test_a_run_goes_on_with_files_of_the_past_or_the_future(tmp_path, age, monkeypatch):
    whole = synthesize(SHORT, tmp_path / "whole", seed=3)

    def stop(row, _left):
        if row.phase == "prune":
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        synthesize(SHORT, tmp_path / "run", seed=3, progress=stop, save_every=0)
    for path in (tmp_path / "run").rglob("*"):
        os.utime(path, (age, age))
    monkeypatch.setattr("time.time", lambda: float(2**33 - age))
    resume(tmp_path / "run")
    assert contents(tmp_path / "run") == contents(whole.folder)


# -- a folder that goes away -----------------------------------------------------------------------------


def replaced(folder):
    shutil.move(folder, folder.with_name("elsewhere"))
    folder.mkdir()


def removed(folder):
    shutil.move(folder, folder.with_name("elsewhere"))


def taken(folder):
    (folder / ".lock").unlink()
    left_by(folder, Writer(12, "elsewhere", STRANGE, "0" * 16))


@pytest.mark.parametrize(
    ("event", "phase"),
    [
        (replaced, "grow"),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in product([removed, replaced, taken], ["seed", "prune"])
        ),
    ],
)
def test_a_run_whose_folder_goes_away_ends_and_goes_on_where_it_is_brought_back(tmp_path, event, phase):
    whole, place = synthesize(SHORT, tmp_path / "whole", seed=3), tmp_path / "run"
    left = []

    def strike(row, _left):
        if row.phase == phase and not left:
            event(place)
            left.append({path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()})

    with pytest.raises(LostError, match=r"run: expected the lock that this run took here, got (none|another one): the"):
        synthesize(SHORT, place, seed=3, progress=strike, save_every=0)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    journal = tmp_path / "elsewhere" / "journal.jsonl"
    assert {path: data for path, data in after.items() if path != journal} == {
        path: data for path, data in left[0].items() if path != journal
    }
    if event is taken:
        (place / ".lock").unlink()
    else:
        shutil.rmtree(place, ignore_errors=True)
        shutil.move(tmp_path / "elsewhere", place)
    with Lock(place):  # the lock of the run that ended
        pass
    resume(place)
    assert contents(place) == contents(whole.folder)


RUN = """
place=$(mktemp -d); mkdir $place/disk
trap 'umount -l $place/disk || true; rm -r $place' EXIT
mount -t tmpfs -o size={size} none $place/disk
{python} -m nestgraph synthesize {recipe} --out $place/disk/run > $place/said 2>&1 & run=$!
{event}
wait $run && code=0 || code=$?
echo "exit $code"; cat $place/said; echo "there:"; (cd $place/disk; find . -type f)
"""
BEGUN = """
until [ -s $place/disk/run/metrics.jsonl ] || ! kill -0 $run; do sleep 0.02; done
"""


@pytest.fixture
def recipe(tmp_path):
    """A file with a recipe that runs for some seconds."""
    path = tmp_path / "recipe.json"
    path.write_text(SHORT.model_copy(update={"name": "short"}).text)
    return path


@needs_mounts
@pytest.mark.slow
def test_a_run_whose_disk_is_unmounted_ends_with_a_sentence_and_writes_nothing_under_its_mount(recipe):
    event = BEGUN + "umount -l $place/disk"
    done = mounted(RUN.format(size="64m", python=sys.executable, recipe=recipe, event=event))
    said, there = done.stdout.split("there:\n")
    assert said.startswith("exit 1\n"), done
    assert "expected the lock that this run took here, got none" in " ".join(said.split())
    assert there == ""


@needs_mounts
@pytest.mark.slow
@pytest.mark.parametrize("size", ["40k", "120k"])
def test_a_run_on_a_disk_that_fills_up_ends_with_a_sentence(recipe, size):
    done = mounted(RUN.format(size=size, python=sys.executable, recipe=recipe, event=""))
    assert done.stdout.startswith("exit 1\n"), done
    said = " ".join(done.stdout.split())
    assert "no space left on device" in said
    assert "make room, or choose another place" in said
    assert ".part" not in said


@needs_mounts
@pytest.mark.slow
def test_a_disk_that_may_only_be_read_is_told(recipe):
    event = "wait $run || true; mount -o remount,ro $place/disk; " + (
        f"{sys.executable} -m nestgraph synthesize {recipe} --out $place/disk/other > $place/said 2>&1 & run=$!"
    )
    done = mounted(RUN.format(size="64m", python="false", recipe=recipe, event=event))
    assert done.stdout.startswith("exit 1\n"), done
    assert "cannot be written (expected a usable file, got: read-only file system): choose another place" in " ".join(
        done.stdout.split()
    )


# -- what network file systems answer --------------------------------------------------------------------


@needs_strace
@pytest.mark.parametrize("failure", ["ESTALE", "EIO", "EROFS", "ENOTCONN"])
def test_a_lock_that_fails_at_any_call_says_so(tmp_path, failure):
    def action():
        with Lock(tmp_path / "run") as lock:
            lock.check()

    calls = ("openat", "write", "flock", "unlink", "close")
    counts = {call: traced(action, calls=calls).count(call) for call in calls}
    ended = []
    for call, count in counts.items():
        for number in range(1, count + 1):
            outcome = traced(action, f"{call}:error={failure}:when={number}", calls)
            assert outcome.status in (0, 3), outcome
            reason = os.strerror(getattr(errno, failure)).lower()
            assert outcome.status == 0 or f"SnapshotError: {tmp_path}/run: cannot be written" in outcome.message
            assert outcome.status == 0 or reason in outcome.message
            ended.append((call, outcome.status))
            shutil.rmtree(tmp_path / "run", ignore_errors=True)
    assert ("openat", 3) in ended
    assert ("write", 3) in ended
    assert ("flock", 3) not in ended  # the file's own signs of life are enough


def test_a_stale_folder_ends_a_run_with_a_sentence(tmp_path, monkeypatch):
    real = os.fstat

    def stale(descriptor):
        if descriptor == lock._descriptor:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return real(descriptor)

    with Lock(tmp_path) as lock:
        monkeypatch.setattr(os, "fstat", stale)
        with pytest.raises(SnapshotError, match=r"got: stale file handle\): look whether its disk or server is there"):
            locks.check_held(tmp_path)
    assert not lock.held


@pytest.mark.parametrize("ask", [resume, resumable, check_present])
def test_a_folder_that_cannot_be_looked_at_is_told_of_in_a_sentence(tmp_path, ask, monkeypatch):
    real = os.stat

    def stale(path, **options):
        if str(path).startswith(str(tmp_path)):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return real(path, **options)

    monkeypatch.setattr(os, "stat", stale)
    with pytest.raises(SnapshotError, match=r"got: stale file handle\): look whether its disk or server is there"):
        ask(tmp_path)


def test_a_fork_holds_nothing_and_its_parent_goes_on(tmp_path):
    with Lock(tmp_path) as lock:
        child = os.fork()
        if child == 0:
            try:
                locks.check_held(tmp_path)  # nothing of its own
            finally:
                os._exit(int(lock.held))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        lock.check()
        assert lock_file.content(tmp_path / ".lock")
