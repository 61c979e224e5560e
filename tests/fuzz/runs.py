"""Mutated run folders and files of them: read, reported and resumed, or refused; nothing else changes.

`file_trial` reads one file of a run by its own reader, `folder_trial` reports and resumes a whole folder.
"""

import json
import os
import random
import shutil
import tempfile
import warnings
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from nestgraph.data.options import DataOptions
from nestgraph.errors import NestgraphError
from nestgraph.loop import checkpoint
from nestgraph.loop.checkpoint import Pace, RunState
from nestgraph.loop.resuming import resume
from nestgraph.loop.synthesis import synthesize
from nestgraph.recipes.recipe import Recipe, parse_recipe, recorded_recipe
from nestgraph.reporting import report
from nestgraph.runs import run_folder
from nestgraph.runs.interruption import Interrupted
from nestgraph.runs.records import Records
from nestgraph.runs.run import Result, read_faults, read_metrics, read_result, read_timing
from nestgraph.runs.run_files import Manifest, read_manifest
from nestgraph.runs.state_files import read_state
from nestgraph.snapshot import load, read_bounded, read_journal
from tests.fuzz.mutations import mutated_bytes, mutated_values
from tests.fuzz.trial import LIMITS, Finding, broken_promise, summed

RECIPE = """
name = "fuzz"
data = { name = "digits" }
seed_network = { kind = "mlp", widths = [64, 5, 10], density = 0.2 }
training = { batch_size = 1024, threads = 1 }
shift = { epochs = 1 }
growth = { size_limit = 120, max_edits = 1, evidence_batches = 1, policies = [{ kind = "connection_growth" }] }
[pruning]
max_edits = 2
tolerance = 0.9
recovery_epochs = 0
activity_batches = 1
policies = [{ kind = "magnitude_pruning", fraction = 0.2 }, { kind = "unit_pruning" }]
"""
FAULT = b'{"training":0,"phase":"seed","problem":"a loss of nan","rate":1.0,"remedy":"tried again"}\n'


class _Stopped(Exception):  # noqa: N818
    """Ends a run where it is."""


def _stop(row, _left):
    if row.phase == "prune":
        raise _Stopped


@contextmanager
def _bare(data):
    """Runs have their data at once and draw no pictures, which take longer than all else."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DataOptions, "load", lambda *_: data)
        for picture in ("draw_stage", "draw_run"):
            patch.setattr(run_folder, picture, lambda *_: None)
        yield


@cache
def folders():
    """A finished run, and one that was killed in pruning after points were kept."""
    place = Path(tempfile.mkdtemp(prefix="nestgraph-fuzz-"))
    recipe, data = parse_recipe(RECIPE, "fuzz.toml"), DataOptions(name="digits").load(0)
    with _bare(data):
        synthesize(recipe, place / "finished")
        try:
            synthesize(recipe, place / "killed", progress=_stop, save_every=0)
        except (_Stopped, Interrupted):
            (place / "killed" / "faults.jsonl").touch()
    return place / "finished", place / "killed", data


def _documents(path):
    """What a mutation of values is made in: the lines of a log, or the one document of a file."""
    return path.read_bytes().splitlines(keepends=True) if path.suffix == ".jsonl" else [path.read_bytes()]


def _mutated(path, rng):
    """The content of a file, mutated by bytes or by values."""
    parts = _documents(path)
    if path.suffix not in (".json", ".jsonl") or not parts or rng.random() < 0.4:
        return mutated_bytes(path.read_bytes() or FAULT, rng)
    place = rng.randrange(len(parts))
    try:
        changed = mutated_values(json.loads(parts[place]), rng)
    except ValueError:  # it was mutated before
        return mutated_bytes(path.read_bytes(), rng)
    if path.name == "journal.jsonl" and isinstance(changed, dict) and rng.random() < 0.7:
        return b"".join([*parts[:place], summed(changed), *parts[place + 1 :]])
    end = b"\n" if parts[place].endswith(b"\n") else b""
    parts[place] = json.dumps(changed, ensure_ascii=rng.random() < 0.5).encode("utf-8", "replace") + end
    return b"".join(parts)


# -- files -----------------------------------------------------------------------------------------------


def _state(path):
    return read_state(path, checkpoint._PROGRESS)


def _recipe(path):
    try:
        return recorded_recipe(read_bounded(path, 2**20).decode("utf-8"), path.name)
    except UnicodeDecodeError as error:
        raise NestgraphError(f"not UTF-8: {error.reason}") from None


READERS = {
    "metrics.jsonl": (list, lambda path: read_metrics(path.parent)),
    "timing.jsonl": (list, lambda path: read_timing(path.parent)),
    "faults.jsonl": (list, lambda path: read_faults(path.parent)),
    "journal.jsonl": (list, lambda path: read_journal(path, LIMITS)),
    "recipe.json": (Recipe, _recipe),
    "result.json": (Result, lambda path: read_result(path.parent)),
    "manifest.json": (Manifest, lambda path: read_manifest(path.parent)),
    "begun.json": (checkpoint.Begun, lambda path: RunState(path.parent.parent, Pace()).begun()),
    "current.json": (tuple, lambda path: RunState(path.parent.parent, Pace())._steps()),
    "progress.safetensors": (tuple, _state),
    "final.json": (object, load),
}


@cache
def run_samples():
    """The files of both runs that have a reader, where they lie in their folder."""
    finished, killed, _ = folders()
    return [
        (folder, path.relative_to(folder))
        for folder in (finished, killed)
        for path in sorted(folder.rglob("*"))
        if path.name in READERS
    ]


def file_trial(seed, folder):
    """Read one file of a run, mutated as the seed says; what is wrong with how that went, or None."""
    rng = random.Random(seed)
    run, name = rng.choice(run_samples())
    data, place = _mutated(run / name, rng), folder / "state" / name.name
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(data)
    expected, read = READERS[name.name]
    wrong = broken_promise(lambda: read(place), len(data), expected, NestgraphError)
    place.unlink()
    return Finding(seed, f"{name}: {wrong}") if wrong else None


# -- folders ---------------------------------------------------------------------------------------------


def _damage(run, outside, rng):
    """Do one thing to one file of a run."""
    path = rng.choice([path for path in sorted(run.rglob("*")) if path.is_file() and not path.is_symlink()])
    match rng.randrange(10):
        case 0:
            path.unlink()
        case 1:
            path.unlink()
            path.symlink_to(outside / "mine")
        case 2:
            path.unlink()
            os.mkfifo(path)
        case 3:
            other = rng.choice([other for other in sorted(run.rglob("*")) if other.is_file()])
            path.write_bytes(other.read_bytes())
        case 4:
            path.write_bytes(path.read_bytes()[: rng.randrange(path.stat().st_size + 1)])
        case _:
            path.write_bytes(_mutated(path, rng))


def folder_trial(seed, folder, resumed):
    """Report a mutated run and, if asked for, resume it; what is wrong with how that went, or None."""
    rng = random.Random(seed)
    finished, killed, data = folders()
    run, outside = folder / "run", folder / "outside"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(rng.choice((finished, killed, killed)), run)
    outside.mkdir(exist_ok=True)
    (outside / "mine").write_text("mine\n")
    for _ in range(rng.choice((1, 1, 2))):
        _damage(run, outside, rng)
    jobs = [("report", lambda: report(run, folder / "report.html"))]
    if resumed:
        jobs.append(("resume", lambda: resume(run)))
    problem = None
    with _bare(data), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, job in jobs:
            try:
                job()
                if name == "resume":
                    Records.read(run)
            except NestgraphError as error:
                if not str(error).isprintable() or len(str(error)) > 2000:
                    problem = f"{name}: {str(error)[:200]!r}"
            except BaseException as error:
                problem = f"{name}: {type(error).__name__}: {str(error)[:200]!r}"
    if [path.name for path in outside.iterdir()] != ["mine"] or (outside / "mine").read_text() != "mine\n":
        problem = "a file outside was changed"
    return Finding(seed, problem) if problem else None
