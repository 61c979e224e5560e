"""Run folders whose files were exchanged, cut or altered: left as they are, or gone on with to the same bytes.

Whatever is done to a folder, nothing outside it changes, and nothing in it that no run wrote.
"""

import json
import os
import shutil
import warnings

import pytest

from nestgraph.errors import NestgraphError, SnapshotError
from nestgraph.loop import checkpoint
from nestgraph.loop.resuming import resume
from nestgraph.loop.synthesis import synthesize
from nestgraph.runs import state_files
from nestgraph.runs.growing import GrowingFile
from nestgraph.runs.interruption import Interrupted
from nestgraph.runs.run_files import EVENT_FILE, FILES, GROWING, RECORDS
from nestgraph.snapshot import files
from tests.loop.test_resuming import contents, everything, interrupt_in
from tests.loop.test_synthesis import varied
from tests.runs.plain import plain  # noqa: F401  (a fixture of all tests here)

SHORT = varied(
    seed_epochs=1,
    finish_epochs=0,
    training={"batch_size": 512},
    growth={"max_edits": 1, "evidence_batches": 1},
    pruning={"max_edits": 1, "recovery_epochs": 0, "activity_batches": 1},
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run."""
    return synthesize(SHORT, tmp_path_factory.mktemp("whole") / "run", seed=3).folder


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory):
    """The folder of a run that was interrupted in pruning, after two points were kept."""
    folder = tmp_path_factory.mktemp("unfinished") / "run"
    with pytest.raises(Interrupted):
        synthesize(SHORT, folder, seed=3, progress=interrupt_in("prune"), save_every=0)
    return folder


@pytest.fixture
def run(tmp_path, unfinished):
    """A copy of it."""
    return shutil.copytree(unfinished, tmp_path / "run")


def places(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


# -- damage ----------------------------------------------------------------------------------------------


def linked(path, outside):
    path.rename(outside / "it")
    path.symlink_to(outside / "it")


def second_name(path, outside):
    if path.is_file():
        os.link(path, outside / "it")


def pipe(path, _):
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    os.mkfifo(path)


def folder_or_file(path, _):
    if path.is_dir():
        shutil.rmtree(path)
        path.write_text("mine")
    else:
        path.unlink()
        path.mkdir()


def removed(path, _):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def emptied(path, _):
    path.write_bytes(b"")


def cut(path, _):
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def garbage(path, _):
    path.write_bytes(b"[" * 100_000)


def one_bit(path, _):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def lengthened(path, _):
    path.write_bytes(path.read_bytes() + b"{}\n")


EXCHANGES = (linked, second_name, pipe, folder_or_file)
DAMAGES = (*EXCHANGES, removed, emptied, cut, garbage, one_bit, lengthened)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_run_is_left_as_it_is_or_ends_with_the_same_bytes(tmp_path, run, whole, damage):
    kept = tmp_path / "kept"
    run.rename(kept)
    went_on = []
    for name in places(kept):
        if (kept / name).is_dir() and damage not in (*EXCHANGES, removed):
            continue
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(kept, run)
        outside = tmp_path / "outside"
        shutil.rmtree(outside, ignore_errors=True)
        outside.mkdir()
        damage(run / name, outside)
        before, far = everything(run), everything(outside)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                resume(run)
            except SnapshotError:
                assert everything(run) == before, name
            else:
                went_on.append(name)
                assert contents(run) == contents(whole), name
        assert everything(outside) == far, name
    growing = {name for name in GROWING if (kept / name).exists()}
    assert not growing & {*went_on}
    if damage in (linked, pipe, folder_or_file):
        assert went_on == []


def test_an_altered_number_is_refused_with_its_line(run):
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        for name in ("loss", "accuracy", "connections"):
            row = json.loads(line)
            altered = json.dumps(row | {name: row[name] + 1}, separators=(",", ":"))
            path.write_text("\n".join([*lines[: number - 1], altered, *lines[number:]]) + "\n")
            before = everything(run)
            with pytest.raises(SnapshotError, match=rf"metrics\.jsonl: line {number}: "):
                resume(run)
            assert everything(run) == before
    assert len(lines) > 1


def test_a_point_that_knows_no_lines_still_knows_the_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a":1}\n{"a":2}\n')
    part = GrowingFile(path, lambda *_: None, b"{").part()
    assert len(part.lines) == 2 * 8
    path.write_text('{"a":1}\n{"a":3}\n')
    for kept, place in ((part, "line 2: "), (part.model_copy(update={"lines": ""}), "")):
        with pytest.raises(SnapshotError, match=rf"rows\.jsonl: {place}expected what the run had written"):
            GrowingFile(path, lambda *_: None, b"{").check(kept)


class KilledError(BaseException):
    """Ends a run as a kill does: nothing between here and the caller handles it."""


@pytest.mark.parametrize("last", ["current.json", "network.json", "progress.safetensors"])
def test_a_run_that_is_killed_again_and_again_at_its_first_point_goes_on(tmp_path, whole, monkeypatch, last):
    folder = tmp_path / "run"

    def at(name, function):
        def dies(path, *arguments, **options):
            if path.name == name:
                raise KilledError
            return function(path, *arguments, **options)

        return dies

    with monkeypatch.context() as patch:
        for module, name in (
            (checkpoint, "write_atomically"),
            (files, "write_atomically"),
            (state_files, "write_atomically"),
        ):
            patch.setattr(module, name, at(last, getattr(module, name)))
        for attempt in range(3):
            with pytest.raises(KilledError):
                resume(folder, save_every=0) if attempt else synthesize(SHORT, folder, seed=3, save_every=0)
    resume(folder)
    assert contents(folder) == contents(whole)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_damaged_finished_run_is_refused(tmp_path, whole, damage):
    outside = tmp_path / "outside"
    for name in sorted({*RECORDS} & {*places(whole)}):
        run = tmp_path / "run"
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(outside, ignore_errors=True)
        outside.mkdir()
        shutil.copytree(whole, run)
        damage(run / name, outside)
        if name == "result.json" and damage is removed:
            continue  # not finished, then
        before = everything(run)
        if damage is second_name and name not in GROWING:
            resume(run)  # reads it
        else:
            with pytest.raises(SnapshotError):
                resume(run)
        assert everything(run) == before


def test_a_link_that_no_run_made_is_not_followed(tmp_path, run):
    victim = tmp_path / "notes.txt"
    for name in sorted(FILES | {"state/current.json", "state/training-0.safetensors"} - {*places(run)}):
        path = run / name
        if os.path.lexists(path):
            continue
        victim.write_text("mine\n" * 5)
        path.symlink_to(victim)
        with pytest.raises(SnapshotError, match="got a link"):
            resume(run)
        assert victim.read_text() == "mine\n" * 5
        path.unlink()
    shutil.rmtree(run)
    (run / "state").parent.mkdir()
    (run / "state").symlink_to(tmp_path)
    for attempt in (lambda: resume(run), lambda: synthesize(SHORT, run, seed=3, overwrite=True)):
        with pytest.raises(SnapshotError, match="expected a folder or nothing, got a link"):
            attempt()


def test_the_environment_that_a_run_began_with_is_read_strictly(run):
    path = run / "state" / "begun.json"
    good = json.loads(path.read_text())
    changes = (
        {"seed": "zero"},
        {"seed": -1},
        {"seed": None},
        {"device": "meta"},
        {"device": 1},
        {"threads": {"x": [1]}},
    )
    for change in changes:
        path.write_text(json.dumps({**good, "environment": {**good["environment"], **change}}))
        before = everything(run)
        with pytest.raises(SnapshotError, match=r"begun\.json: environment|another environment"):
            resume(run)
        assert everything(run) == before


# -- what no run wrote -----------------------------------------------------------------------------------

MINE = (
    *(".nestgraph-notes.part", ".nestgraph-0.part", "notes.txt", "state/notes.txt", "state/step-1/notes.txt"),
    *("state/step-one/network.json", "tensorboard/events.out.tfevents.1.host", "journal.jsonl.bak", "report.txt"),
)


def with_mine(folder):
    for name in MINE:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("mine")


def mine_are_there(folder):
    return all((folder / name).read_text() == "mine" for name in MINE)


def test_files_that_no_run_wrote_stay(run, whole):
    with_mine(run)
    resume(run)
    assert mine_are_there(run)
    synthesize(SHORT, run, seed=3, overwrite=True)
    assert mine_are_there(run)
    for name in MINE:
        (run / name).unlink()
    shutil.rmtree(run / "state")
    shutil.rmtree(run / "tensorboard")
    assert contents(run) == contents(whole)


@pytest.mark.parametrize("name", MINE)
def test_a_folder_with_files_of_others_is_not_taken_for_a_new_one(tmp_path, name):
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(SnapshotError, match="--overwrite" if not overwrite else "expected the folder of a run"):
            synthesize(SHORT, tmp_path / "run", seed=3, overwrite=overwrite)
        assert path.read_text() == "mine"
        assert [str(p.relative_to(tmp_path / "run")) for p in (tmp_path / "run").rglob("*") if p.is_file()] == [name]


def test_a_name_of_a_run_that_its_manifest_does_not_have_is_not_overwritten(tmp_path, whole):
    run = shutil.copytree(whole, tmp_path / "run")
    (run / "areas.svg").write_text("mine")
    before = everything(run)
    with pytest.raises(SnapshotError, match=r"expected no areas\.svg, which its run did not write"):
        synthesize(SHORT, run, seed=3, overwrite=True)
    assert everything(run) == before


def test_a_recipe_alone_makes_no_run(tmp_path, whole):
    shutil.copy(whole / "recipe.json", tmp_path)
    shutil.copy(whole / "final.json", tmp_path)
    before = everything(tmp_path)
    with pytest.raises(NestgraphError, match="expected the folder of a run, got other files"):
        synthesize(SHORT, tmp_path, seed=3, overwrite=True)
    assert everything(tmp_path) == before


def test_a_lock_of_others_is_left(tmp_path, run):
    for make in (lambda p: p.write_text("my notes"), lambda p: os.mkfifo(p), lambda p: p.symlink_to(tmp_path / "x")):
        make(run / ".lock")
        with pytest.raises(SnapshotError, match=r"\.lock: expected"):
            resume(run)
        assert os.path.lexists(run / ".lock")
        (run / ".lock").unlink()


def test_event_files_are_told_from_those_of_others():
    assert EVENT_FILE.fullmatch("events.out.tfevents.1764369036.some.host.123.0.nestgraph")
    assert not EVENT_FILE.fullmatch("events.out.tfevents.1764369036.some.host.123.0")
