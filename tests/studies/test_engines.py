"""Engines: the same bytes whoever does the runs; what fails is tried again, and what is missing is said."""

import json
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import torch
from joblib import Parallel, delayed

from nestgraph.errors import RecipeError, TrainingError
from nestgraph.recipes.recipe import parse_recipe
from nestgraph.runs.locks import HeldError, Lock, patiently
from nestgraph.studies.engines import ENGINES, engine_of
from nestgraph.studies.jobs import Job, Outcome
from nestgraph.studies.running import NOT_YET, run_sweep
from nestgraph.studies.sweep import load_sweep
from nestgraph.studies.sweep_table import SweepTable
from tests.cli.running import run

UNITS = ["plain/seed-4", "plain/seed-2", "random/seed-4", "random/seed-2"]


def bytes_of(folder):
    """What runs wrote that does not depend on the clock; pictures apart."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".svg"]
    apart = ("timing.jsonl", ".lock", "manifest.json", "sweep.json")
    kept = [path for path in files if path.name not in apart and path.parent.name != "submitit"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in kept}


def by_joblib(function, jobs):
    return Parallel(2)(delayed(function)(job) for job in jobs)


def by_pool(function, jobs):
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        return pool.map(function, jobs)


def names(jobs):
    return [f"{Path(job.folder).parent.name}/{Path(job.folder).name}" for job in jobs]


# -- what an engine is told ------------------------------------------------------------------------------


def test_jobs_are_plain_values_and_nobody_watches_an_engine(study, tmp_path):
    seen, sweep = [], load_sweep(study)

    def engine(function, jobs):
        seen.extend(pickle.loads(pickle.dumps((function, list(jobs))))[1])
        return iter(())

    with pytest.raises(RecipeError, match="expected a watch or an engine, got both"):
        run_sweep(sweep, tmp_path / "out", lambda _: None, engine=map)
    with pytest.raises(TrainingError, match=r"one run at least .* got none; plain seed 4 \(1 of 4\): ended without"):
        run_sweep(sweep, tmp_path / "out", engine=engine, retries=0, plugins=[tmp_path / "mine.py"])
    assert names(seen) == UNITS
    assert {job.plugins for job in seen} == {(str(tmp_path / "mine.py"),)}
    assert parse_recipe(seen[2].recipe, "recipe.json") == sweep.recipes()["random"]


def failing(times, words):
    """A way to begin runs that fails so often for the second one, then does them."""
    from nestgraph.loop.resuming import begin_or_resume

    left = [times]

    def begun(recipe, folder, seed, device, progress):
        if folder.parts[-2:] == ("plain", "seed-2") and left[0]:
            left[0] -= 1
            raise TrainingError(words)
        return begin_or_resume(recipe, folder, seed, device, progress)

    return begun


@pytest.mark.parametrize("engine", [None, map])
def test_what_fails_is_tried_again_and_then_named_in_the_table(study, tmp_path, monkeypatch, engine):
    sweep, told = load_sweep(study), []

    @contextmanager
    def overview(folders):
        assert [title.split(" (")[0] for title in folders] in (
            ["plain seed 4", "plain seed 2", "random seed 4", "random seed 2"],
            ["plain seed 2"],
        )
        yield lambda outcome: told.append(outcome.problem)

    def swept(folder, fails, retries):
        monkeypatch.setattr("nestgraph.loop.resuming.begin_or_resume", failing(fails, "no power"))
        how = {"overview": overview} if engine and folder == "a" else {}
        return run_sweep(sweep, tmp_path / folder, engine=engine, retries=retries, **how)

    table = swept("a", 1, 0)
    assert [(each.variation, each.seed, each.why) for each in table.missing] == [("plain", 2, "no power")]
    assert [[each.seed for each in row.seeds] for row in table.rows] == [[4], [4, 2]]
    assert told == (["", "no power", "", ""] if engine else [])
    text = (tmp_path / "a" / "sweep.json").read_text()
    assert SweepTable.model_validate_json(text) == table
    whole = swept("b", 1, 1)
    assert (whole.missing, "missing" in json.loads((tmp_path / "b" / "sweep.json").read_text())) == ((), False)
    assert swept("a", 0, 0).missing == ()
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")
    monkeypatch.undo()


def test_shards_do_all_runs_once_and_the_last_table_has_them(study, tmp_path):
    sweep, done = load_sweep(study), []

    def engine(function, jobs):
        done.append(names(jobs))
        return map(function, jobs)

    tables = [run_sweep(sweep, tmp_path, engine=engine, shard=(place, 3)) for place in (1, 2, 3)]
    assert done == [[UNITS[0], UNITS[3]], [UNITS[1]], [UNITS[2]]]
    assert [len(table.missing) for table in tables] == [2, 1, 0]
    assert {each.why for each in tables[0].missing} == {NOT_YET}
    assert run_sweep(sweep, tmp_path) == tables[2]
    for wrong in ((0, 2), (3, 2)):
        with pytest.raises(RecipeError, match=r"expected a shard such as \(1, 4\)"):
            run_sweep(sweep, tmp_path, shard=wrong)


def test_wrong_engines_are_one_sentence(monkeypatch):
    with pytest.raises(RecipeError, match="expected an engine among processes, submitit, dask, got 'ray'"):
        engine_of("ray", 2)
    with pytest.raises(RecipeError, match="expected no options, got 'address'"):
        engine_of("processes", 2, {"address": "here"})
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(RecipeError, match=r"expected the package submitit, got none .* pip install 'nestgraph\[sub"):
        engine_of("submitit", 2)


WRONG = {
    "--shard 5/4": "--shard: expected a share such as 1/4",
    "--shard one": "--shard: expected a share such as 1/4",
    "--engine dask --engine-option address": "--engine-option: expected an option such as slurm_partition=gpu",
    "--engine-option a=b": "--engine-option: expected --engine beside it",
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_option_is_wrong_usage(study, words):
    result = run("--quiet", "sweep", study, *words.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(WRONG[words])


# -- processes -------------------------------------------------------------------------------------------


def fated(fate, job):
    """What a process does of a job that is named after its fate."""
    if job.folder == "killed" and not fate.exists():
        fate.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if job.folder == "exits":
        os._exit(3)
    return Outcome(job, f"{os.getpid()} {torch.get_num_threads()}")


def test_processes_are_used_again_have_one_thread_and_may_die(tmp_path):
    jobs = [
        Job("", folder, seed, "cpu") for seed, folder in enumerate(["one", "killed", "two", "three", "exits", "four"])
    ]
    found = {
        outcome.job.folder: outcome.problem
        for outcome in engine_of("processes", 2)(partial(fated, tmp_path / "f"), jobs)
    }
    assert found["killed"] == "its process ended with signal SIGKILL"
    assert found["exits"] == "its process ended with exit status 3"
    survivors = [found[name].split() for name in ("one", "two", "three", "four")]
    assert {threads for _, threads in survivors} == {"1"}
    assert len({process for process, _ in survivors}) < len(survivors)
    assert not multiprocessing.active_children()


def sleeping(folder, job):
    """Says that it began, and ends when it is told to."""
    (folder / job.folder).write_text(str(os.getpid()))
    try:
        time.sleep(600)
    except KeyboardInterrupt:
        (folder / f"{job.folder}-ended").touch()
        raise
    return Outcome(job)


def until(condition):
    """Wait for something, for a minute at most."""
    ends = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ends, "waited for a minute"
        time.sleep(0.05)


def test_processes_end_with_who_asked_for_them(tmp_path):
    """However that ends: here it lets go of the outcomes, and below it is killed."""
    before = set(multiprocessing.active_children())
    outcomes = engine_of("processes", 1)(partial(fated, tmp_path / "f"), [Job("", str(n), n, "cpu") for n in range(9)])
    next(iter(outcomes))
    outcomes.close()
    assert set(multiprocessing.active_children()) == before


DRIVER = """
import sys
from functools import partial
from pathlib import Path
from nestgraph.studies.engines import engine_of
from nestgraph.studies.jobs import Job
from tests.studies.test_engines import sleeping

if __name__ == "__main__":
    jobs = [Job("", "one", 0, "cpu"), Job("", "two", 0, "cpu")]
    list(engine_of("processes", 2)(partial(sleeping, Path(sys.argv[1])), jobs))
"""


@pytest.mark.slow
def test_processes_do_not_outlive_a_driver_that_is_killed(tmp_path):
    (tmp_path / "driver.py").write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, tmp_path / "driver.py", tmp_path], env={**os.environ, "PYTHONPATH": "."})
    until(lambda: all((tmp_path / name).exists() and (tmp_path / name).read_text() for name in ("one", "two")))
    workers = [int((tmp_path / name).read_text()) for name in ("one", "two")]
    driver.kill()
    driver.wait()
    until(lambda: not any(_runs(worker) for worker in workers))


def _runs(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{process}/stat").read_text().split(") ")[-1][:1]


def test_a_job_waits_for_the_last_writer_of_its_folder(tmp_path):
    lock, tried = Lock(tmp_path), []

    def taken():
        tried.append(1)
        if len(tried) == 2:
            lock.__exit__()
        with Lock(tmp_path):
            return "ours"

    lock.__enter__()
    assert patiently(taken, 10) == "ours"
    with Lock(tmp_path), pytest.raises(HeldError, match="expected no other writer here"):
        patiently(lambda: Lock(tmp_path).__enter__(), 0.3)


# -- real runs -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("engine", [map, by_pool, by_joblib, *ENGINES])
def test_runs_are_the_same_bytes_whoever_does_them(study, tmp_path, engine):
    sweep, threads = load_sweep(study), torch.get_num_threads()
    one, other = tmp_path / "one", tmp_path / "other"
    torch.set_num_threads(1)
    try:
        run_sweep(sweep, one)
    finally:
        torch.set_num_threads(threads)
    table = run_sweep(sweep, other, engine=engine_of(engine, 2) if isinstance(engine, str) else engine)
    assert ([row.variation for row in table.rows], table.missing) == (["plain", "random"], ())
    assert bytes_of(one) == bytes_of(other)


@pytest.mark.slow
def test_a_driver_that_is_killed_loses_no_finished_run(study, tmp_path):
    command = [sys.executable, "-m", "nestgraph", "--quiet", "sweep", study, "--out", tmp_path / "out", "--jobs", "2"]
    driver = subprocess.Popen(command)
    finished = lambda: {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("result.json")}  # noqa: E731
    until(lambda: finished() or driver.poll() is not None)
    driver.kill()
    driver.wait()
    kept = finished()
    assert subprocess.run(command, check=True).returncode == 0
    assert kept.items() <= finished().items()
    assert len(finished()) == len(UNITS)
