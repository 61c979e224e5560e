"""Saves that are killed, interrupted or failed at every system call: the old or the new network is there, whole."""

import errno
import os
import re
import resource
import select
import signal

import pytest

from nestgraph.errors import SnapshotError
from nestgraph.snapshot import disk, load, save, to_bytes, write_atomically
from tests.snapshot.injection import CALLS, needs_strace, traced
from tests.snapshot.test_files import SMALL, chain

NEW = chain((5, 4, 2))
LAYOUTS = pytest.mark.parametrize("sidecar_above", [10**9, 0], ids=["one-file", "sidecar"])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.json"


def save_new(path, sidecar_above):
    return lambda: save(NEW, path, sidecar_above)


def calls_of(action):
    """Each call that an undisturbed run of an action makes, as (name, number)."""
    outcome = traced(action)
    assert outcome.status == 0, outcome
    return [(call, number + 1) for call in CALLS for number in range(outcome.count(call))]


def leftovers(folder):
    return [name for name in os.listdir(folder) if disk.TEMPORARY.fullmatch(name)]


def grow_old(folder):
    """Make all files of a folder very old, which says nothing of their writers."""
    for name in os.listdir(folder):
        os.utime(folder / name, (0, 0))


@needs_strace
@LAYOUTS
def test_a_save_killed_at_any_call_leaves_the_old_or_the_new_network(path, sidecar_above):
    action, seen, left = save_new(path, sidecar_above), [], 0
    calls = calls_of(action)
    assert {call for call, _ in calls} == set(CALLS)
    assert len(calls) >= (10 if sidecar_above else 20)
    for call, number in calls:
        save(SMALL, path, sidecar_above)
        outcome = traced(action, f"{call}:signal=KILL:when={number}")
        assert outcome.status == -signal.SIGKILL, (call, number)
        found = load(path)
        assert found in (SMALL, NEW)
        seen.append(found)
        left += len(leftovers(path.parent))
    assert SMALL in seen
    assert NEW in seen
    assert left
    save(NEW, path, sidecar_above)
    assert load(path) == NEW
    assert leftovers(path.parent) == []


@needs_strace
@pytest.mark.parametrize(("failure", "sidecar_above"), [("ENOSPC", 0), ("EIO", 0), ("EACCES", 10**9)])
def test_a_save_failed_at_any_call_says_so(path, failure, sidecar_above):
    action, silent = save_new(path, sidecar_above), []
    for call, number in calls_of(action):
        save(SMALL, path, sidecar_above)
        outcome = traced(action, f"{call}:error={failure}:when={number}")
        assert len(outcome.injected) == 1
        assert leftovers(path.parent) == []
        found = load(path)
        if outcome.status == 0:
            assert found == NEW
            silent += [outcome] if str(path.parent) in outcome.injected[0] else []  # not what the C library reads
            continue
        assert outcome.status == 3
        reason = os.strerror(getattr(errno, failure)).lower()
        place = rf"{re.escape(str(path.parent))}/(net\.json|[0-9a-f]{{64}}\.safetensors)"
        expected = rf"SnapshotError: {place}: cannot be written \(expected a usable file, got: {reason}\)(: [a-z, ]+)?"
        assert re.fullmatch(expected, outcome.message)
        assert found in (SMALL, NEW)
        assert found == SMALL or call in ("openat", "fsync", "close")  # when the name is made durable
    assert len(silent) >= (2 if sidecar_above else 4)
    for outcome in silent:  # it looked for leftovers, of which there are none, before it made a file
        ours = [line for line in outcome.log if str(path.parent) in line]
        assert "O_EXCL" in ours[ours.index(outcome.injected[0]) + 1], ours


@needs_strace
@LAYOUTS
def test_a_save_interrupted_at_any_call_leaves_nothing_half_done(path, sidecar_above):
    action = save_new(path, sidecar_above)
    for call, number in calls_of(action):
        save(SMALL, path, sidecar_above)
        outcome = traced(action, f"{call}:signal=INT:when={number}")
        assert (outcome.status, outcome.message) == (3, "KeyboardInterrupt: ")
        assert load(path) in (SMALL, NEW)
        assert leftovers(path.parent) == []


@needs_strace
@LAYOUTS
def test_a_disk_that_drops_what_it_took_is_noticed(path, sidecar_above):
    action = save_new(path, sidecar_above)
    for number in range(1, traced(action).count("write") + 1):
        save(SMALL, path, sidecar_above)
        outcome = traced(action, f"write:retval=1:when={number}")  # says that it wrote a byte, and wrote none
        assert outcome.status == 3
        assert re.search(
            r"SnapshotError: .*cannot be written .*wrote [\d,]+ bytes of which [\d,]+ are", outcome.message
        )
        assert load(path) == SMALL
        assert leftovers(path.parent) == []


@needs_strace
def test_the_killing_would_tear_a_naive_save(path):
    def naive():
        with open(path, "wb", buffering=0) as file:
            file.write(to_bytes(NEW))

    torn = 0
    for call, number in calls_of(naive):
        save(SMALL, path)
        assert traced(naive, f"{call}:signal=KILL:when={number}").status == -signal.SIGKILL
        try:
            assert load(path) in (SMALL, NEW)
        except SnapshotError:
            torn += 1
    assert torn


@needs_strace
def test_the_command_line_says_that_the_disk_is_full_and_exits_with_1(path, tmp_path, monkeypatch, capfd):
    from nestgraph.cli import main

    save(SMALL, path)
    picture = tmp_path / "net.svg"
    picture.write_text("old")
    monkeypatch.setattr("sys.argv", ["nestgraph", "draw", "--overwrite", str(path), str(picture)])
    assert traced(main, "fsync:error=ENOSPC:when=1").status == 1
    assert "no space left on device" in " ".join(capfd.readouterr().err.split())
    assert picture.read_text() == "old"


@LAYOUTS
def test_short_writes_are_gone_on_with(path, sidecar_above, monkeypatch):
    real, sizes = os.write, []
    monkeypatch.setattr(os, "write", lambda file, data: sizes.append(real(file, data[:97])) or sizes[-1])
    save(NEW, path, sidecar_above)
    assert load(path) == NEW
    assert len(sizes) > 5


@LAYOUTS
def test_a_file_that_may_not_grow_leaves_the_old_one(path, sidecar_above):
    """The limit of a process on the size of files cuts a write short, as a full disk does."""
    save(SMALL, path, sidecar_above)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
        try:
            save(NEW, path, sidecar_above)
        except SnapshotError as error:
            os._exit(3 if "file too large" in str(error) else 4)
        finally:
            os._exit(5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    assert load(path) == SMALL
    assert leftovers(path.parent) == []


def test_leftovers_go_and_the_files_of_living_writers_stay(tmp_path):
    """Whatever clocks say, which differ between machines: a file of the far future is a leftover like others."""
    ours = disk.MACHINE
    strange = f"{int(ours, 16) ^ 1:08x}"
    dead, future, link = (tmp_path / f".nestgraph-{ours}{name * 2}.part" for name in ("dead", "0123", "0000"))
    foreign = tmp_path / f".nestgraph-{strange}deadbeef.part"
    other, alike = tmp_path / ".nestgraph-notes", tmp_path / ".nestgraph-notes.part"
    for file in (dead, future, foreign, other, alike):
        file.write_bytes(b"half")
    os.utime(future, (2**32, 2**32))
    link.symlink_to(other)

    def parts():
        yield b"first half, "
        mine = [name for name in leftovers(tmp_path) if name not in (link.name, foreign.name)]
        assert len(mine) == 1
        grow_old(tmp_path)
        disk.sweep(tmp_path)
        assert set(leftovers(tmp_path)) == {link.name, foreign.name, *mine}
        yield b"second half"

    write_atomically(tmp_path / "file", parts())
    assert (tmp_path / "file").read_bytes() == b"first half, second half"
    assert sorted(leftovers(tmp_path)) == sorted([link.name, foreign.name])  # whose machine may be writing it
    assert link.is_symlink()
    assert (other.read_bytes(), alike.read_bytes()) == (b"half", b"half")
    disk.sweep(tmp_path, alone=True)  # under the lock of a run
    assert leftovers(tmp_path) == [link.name]


@pytest.mark.parametrize("moment", ["before it is locked", "while it is locked"])
def test_a_writer_whose_file_is_taken_for_a_leftover_before_it_locks_it_makes_another(tmp_path, monkeypatch, moment):
    real, taken = disk.try_lock, []

    def late(descriptor):
        if taken:
            return real(descriptor)
        taken.extend(leftovers(tmp_path))
        if moment == "before it is locked":
            (tmp_path / taken[0]).unlink()
            return real(descriptor)
        return "theirs"  # of the sweep, which removes it next

    monkeypatch.setattr(disk, "try_lock", late)
    write_atomically(tmp_path / "file", b"whole")
    assert len(taken) == 1
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert leftovers(tmp_path) == []


def test_a_rename_whose_answer_was_lost_is_no_failure(path, monkeypatch):
    """A network file system repeats it, and then there is nothing left of that name."""
    real = os.replace

    def replace(old, new):
        real(old, new)
        real(old, new)

    save(SMALL, path)
    monkeypatch.setattr(os, "replace", replace)
    save(NEW, path, 0)
    assert load(path) == NEW
    monkeypatch.setattr(os, "replace", lambda old, _: os.unlink(old) or real(old, old))
    with pytest.raises(SnapshotError, match="no such file"):
        save(SMALL, path)
    assert load(path) == NEW


def test_a_save_is_durable_before_it_is_visible(path, monkeypatch):
    calls = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))[1])
    save(SMALL, path)
    assert calls == ["fsync", "replace", "fsync"]
    save(SMALL, path, sidecar_above=0)
    assert calls == ["fsync", "replace", "fsync"] * 3


def test_file_systems_that_cannot_sync_folders_are_no_error(path, monkeypatch):
    real, seen = os.fsync, []

    def fsync(descriptor):
        seen.append(descriptor)
        if len(seen) == 2:
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    save(SMALL, path)
    assert load(path) == SMALL
    assert len(seen) == 2


def test_file_systems_without_locks_are_no_error(path, monkeypatch):
    monkeypatch.setattr(disk.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "no locks")))
    save(SMALL, path)
    assert load(path) == SMALL
    monkeypatch.setattr(disk, "fcntl", None)
    save(NEW, path)
    assert load(path) == NEW


@LAYOUTS
def test_paths_that_cannot_be_written(tmp_path, sidecar_above):
    (tmp_path / "folder").mkdir()
    for name in ("folder", "none/net.json", "a\0b"):
        with pytest.raises(SnapshotError, match=r"cannot be written|without NUL"):
            save(SMALL, tmp_path / name, sidecar_above)
    assert leftovers(tmp_path) == []


def test_a_sidecar_that_is_replaced_while_it_is_opened_is_read(path, monkeypatch):
    save(SMALL, path, sidecar_above=0)
    real = disk.os.open

    def replaced(name, *arguments):
        descriptor = real(name, *arguments)
        if str(name).endswith(".safetensors"):
            monkeypatch.setattr(disk.os, "open", real)
            save(SMALL, path, sidecar_above=0)
        return descriptor

    monkeypatch.setattr(disk.os, "open", replaced)
    assert load(path) == SMALL
    assert disk.os.open is real


def test_a_save_replaces_links_when_told_and_follows_none(tmp_path):
    target = tmp_path / "other.json"
    target.write_bytes(b"other")
    for link in ("net.json", f"{SMALL.digest}.safetensors"):
        (tmp_path / link).symlink_to(target)
    with pytest.raises(SnapshotError, match="got a link"):
        save(SMALL, tmp_path / "net.json", sidecar_above=0)
    save(SMALL, tmp_path / "net.json", sidecar_above=0, overwrite=True)
    assert target.read_bytes() == b"other"
    assert load(tmp_path / "net.json") == SMALL


def test_a_save_has_the_permissions_of_new_files(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    save(SMALL, tmp_path / "net.json", sidecar_above=0)
    modes = {(tmp_path / name).stat().st_mode for name in os.listdir(tmp_path)}
    assert len(modes) == 1


def test_a_network_that_could_not_be_read_is_not_written(path):
    from nestgraph.snapshot import Limits

    for limits in (Limits(entries=7), Limits(document_bytes=100)):
        for sidecar_above in (0, 10**9):
            with pytest.raises(SnapshotError, match="cannot be written"):
                save(SMALL, path, sidecar_above, limits)
    assert os.listdir(path.parent) == []


def test_many_writers_of_one_file_leave_one_whole(path):
    networks = [chain((3 + number, 2, 1)) for number in range(4)]
    ended, end = os.pipe()
    children = []
    for network in networks:
        child = os.fork()
        if child == 0:
            os.close(end)
            while not select.select([ended], [], [], 0)[0]:
                save(network, path, sidecar_above=0)
            os._exit(0)
        children.append(child)
    loaded = 0
    while loaded < 100:
        if path.exists():
            assert load(path) in networks
            loaded += 1
    os.close(end)
    for child in children:
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(ended)
    assert load(path) in networks
    assert leftovers(path.parent) == []
