"""What a run writes, by exact names. Nothing else is ever removed, and no link is followed.

A finished run has a manifest of its files with their checksums: readers hold them against it, and a new run in its
place removes those and no others. What an unfinished run may have written is known by name.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter

from nestgraph.errors import SnapshotError
from nestgraph.snapshot import MAX_BYTES, read_bounded, read_record, sha256_of
from nestgraph.snapshot.disk import TEMPORARY, check_folder, check_plain, reported, shown
from nestgraph.snapshot.document import Digest
from nestgraph.spec.record import Record

STAGES = ("seed", "grown", "final")
TIMING = "timing.jsonl"
JOURNAL = "journal.jsonl"
GROWING = (JOURNAL, "metrics.jsonl", "faults.jsonl")
COLUMNS = "columns.json"
STATE, LOCK, MANIFEST, RESULT, BEGUN = "state", ".lock", "manifest.json", "result.json", "begun.json"
RECORDS = ("recipe.json", "environment.json", COLUMNS, *GROWING, *(f"{stage}.json" for stage in STAGES), RESULT)
"""What a run is read back from; all else can be drawn again."""

PICTURES = (
    *(f"{stage}-{view}.svg" for stage in STAGES for view in ("layers", "neurons")),
    *("curves.svg", "inputs.svg", "areas.svg"),
)
FILES = frozenset((*RECORDS, *PICTURES, TIMING, MANIFEST))
SIDECAR = r"[0-9a-f]{64}\.safetensors"
TRAINING = re.compile(r"training-[0-9]{1,15}\.safetensors")
TRACKED = "trackers.json"
STATE_FILE = re.compile(rf"begun\.json|trackers\.json|current\.json|trained-seed\.json|{TRAINING.pattern}|{SIDECAR}")
STEP = re.compile(r"step-[0-9]{1,15}")
STEP_FILE = re.compile(rf"network\.json|progress\.safetensors|{SIDECAR}")
EVENTS = "tensorboard"
"""The folder of the event files of TensorBoard."""

EVENT_SUFFIX = ".nestgraph"
EVENT_FILE = re.compile(r"events\.out\.tfevents\.[0-9]+\..+\.nestgraph")
"""The names of the event files that a run writes, told from those of others by their end."""


class Manifest(Record):
    """manifest.json: the files of a finished run, each with the SHA-256 of its content.

    What differs between two runs of one recipe is not in it: timing.jsonl, reports and event files.
    """

    format: Literal["nestgraph.manifest"] = "nestgraph.manifest"
    version: Literal[1] = 1
    files: dict[str, Digest] = Field(max_length=64)


_MANIFEST: TypeAdapter[Manifest] = TypeAdapter(Manifest)


def manifest_of(folder: Path, result: bytes) -> Manifest:
    """The manifest of what a run wrote, and of the result that it writes last."""
    names = sorted(name for name in FILES - {TIMING, MANIFEST, RESULT} if (folder / name).exists())
    digests = {name: sha256_of(folder / name) for name in names}
    return Manifest(files={**digests, RESULT: hashlib.sha256(result).hexdigest()})


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of a finished run; None where an earlier version wrote none.

    Raises:
        SnapshotError: it is damaged.
    """
    path = folder / MANIFEST
    if not os.path.lexists(path):
        return None
    manifest = read_record(_MANIFEST, read_bounded(path, MAX_BYTES), shown(path))
    strange = sorted(manifest.files.keys() - FILES)
    if strange:
        raise SnapshotError(f"{shown(path)}: files: expected names of a run's files, got {strange[0][:80]!r}")
    return manifest


def check_manifest(folder: Path) -> None:
    """Hold what a finished run is read back from against its manifest.

    Raises:
        SnapshotError: a file is missing, or not as it was when the run was finished.
    """
    manifest = read_manifest(folder)
    for name, digest in manifest.files.items() if manifest else ():
        if name in RECORDS and (found := sha256_of(folder / name)) != digest:
            problem = f"expected the content that the run ended with (SHA-256 {digest:.12}), got {found:.12}"
            raise SnapshotError(f"{shown(folder / name)}: {problem}: it was altered; bring it back, or run again")


def check_plain_files(folder: Path) -> None:
    """Refuse a run folder where a name of a run's own is a link, a pipe or anything but a plain file.

    Raises:
        SnapshotError: there is one; the message names it.
    """
    for name in sorted(FILES):
        check_plain(folder / name, lonely=name in (*GROWING, TIMING))
    check_folder(folder / EVENTS)
    if check_folder(folder / STATE):
        for name in _names(folder / STATE):
            path = folder / STATE / name
            if STEP.fullmatch(name) and check_folder(path):
                for inner in filter(STEP_FILE.fullmatch, _names(path)):
                    check_plain(path / inner)
            elif STATE_FILE.fullmatch(name):
                check_plain(path)


def check_present(folder: Path) -> None:
    """Refuse what is no folder before a file in it is asked for.

    Raises:
        SnapshotError: there is none, or the file system does not tell.
    """
    with reported(folder, "read"):
        there = folder.is_dir()
    if not there:
        raise SnapshotError(f"{shown(folder)}: expected the folder of a run, got none: synthesize makes one")


def strangers(folder: Path) -> list[str]:
    """What lies in a folder that no run left which was killed before it began: its lock, temporary files, a state."""
    return [
        name for name in _names(folder) if name != LOCK and not TEMPORARY.fullmatch(name) and not _empty(folder, name)
    ]


def _empty(folder: Path, name: str) -> bool:
    path = folder / name
    return name == STATE and not path.is_symlink() and path.is_dir() and all(map(TEMPORARY.fullmatch, _names(path)))


def resumable(folder: Path) -> bool:
    """Whether a folder has an unfinished run.

    Raises:
        SnapshotError: the file system does not tell.
    """
    with reported(folder, "read"):
        return (folder / STATE / BEGUN).exists() and not (folder / RESULT).exists()


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run, as far as its names tell: a recipe alone may be anyone's."""
    return (folder / "recipe.json").exists() and any(
        path.exists() for path in (folder / "environment.json", folder / STATE / BEGUN)
    )


def remove_run(folder: Path) -> None:
    """Remove what an earlier run wrote, and nothing else.

    Raises:
        SnapshotError: a name that the next run needs is taken by a file that the run did not write, and nothing was
            removed; or a file cannot be removed.
    """
    manifest = None if resumable(folder) else read_manifest(folder)
    written = FILES if manifest is None else {*manifest.files, TIMING, MANIFEST, RESULT}
    foreign = sorted(name for name in FILES - written if os.path.lexists(folder / name))
    if foreign:
        problem = f"expected no {foreign[0]}, which its run did not write and the new one may"
        raise SnapshotError(f"{shown(folder)}: {problem}, got one: move it away")
    drop_state(folder)  # first: what is half removed is not resumed
    with reported(folder, "removed"):
        for name in sorted(written):
            (folder / name).unlink(missing_ok=True)
        for name in filter(EVENT_FILE.fullmatch, _names(folder / EVENTS) if (folder / EVENTS).is_dir() else ()):
            (folder / EVENTS / name).unlink(missing_ok=True)


def drop_state(folder: Path) -> None:
    """Remove what a run goes on from, if there is any. What tells that it can goes first; what is not of it stays.

    Raises:
        SnapshotError: it cannot be removed, or is a link.
    """
    state = folder / STATE
    if not check_folder(state):
        return
    with reported(state, "removed"):
        (state / BEGUN).unlink(missing_ok=True)
        for name in _names(state):
            if STEP.fullmatch(name):
                remove_step(state / name)
            elif STATE_FILE.fullmatch(name) or TEMPORARY.fullmatch(name):
                (state / name).unlink(missing_ok=True)
        _remove_empty(state)


def remove_step(step: Path) -> None:
    """Remove the folder of a point, but for what is not of it.

    Raises:
        OSError: it cannot be removed.
        SnapshotError: it is no folder.
    """
    if check_folder(step):
        for name in _names(step):
            if STEP_FILE.fullmatch(name) or TEMPORARY.fullmatch(name):
                (step / name).unlink(missing_ok=True)
        _remove_empty(step)


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):  # someone else's file keeps it
        folder.rmdir()


def _names(folder: Path) -> Iterator[str]:
    with reported(folder, "read"):
        yield from sorted(os.listdir(folder))
