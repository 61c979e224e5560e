"""Engines of sweeps: what does jobs elsewhere, several at a time, each in a process of one thread.

A job leaves all that it does in the folder of its run, under that folder's lock, so an engine has nothing to bring
back but why one failed, and whatever ends early is gone on with.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, cast

from nestgraph.errors import RecipeError
from nestgraph.loop.own_process import prepare_process
from nestgraph.spec.wording import quoted
from nestgraph.studies.jobs import Do, Engine, Job, OnOneThread, Outcome, problem_of

Options = Mapping[str, str | int | float]
"""What an engine is told beside how many jobs to do at a time, as its own package calls it."""

GRACE = 30.0
"""Seconds in which a process that is told to end comes to the next point from which its run can be resumed."""
POLL = 0.2
"""Seconds between two looks at jobs of a scheduler."""


def engine_of(name: str, count: int, options: Options | None = None) -> Engine:
    """An engine by its name.

    Args:
        name: "processes" of this machine; "submitit", which asks Slurm where there is one and else starts processes;
            or "dask", whose scheduler is that of its own configuration or one of this machine.
        count: how many jobs to do at a time.
        options: of the engine's package: parameters of a submitit executor, such as `slurm_partition`, or of
            `distributed.Client`, such as `address`.

    Raises:
        RecipeError: there is no such engine, its package is missing, or it takes no options.
    """
    if name not in ENGINES:
        raise RecipeError(f"a sweep expected an engine among {', '.join(ENGINES)}, got {quoted(name)}")
    if options and name == "processes":
        raise RecipeError(f"the engine 'processes' expected no options, got {quoted(next(iter(options)))}")
    return ENGINES[name](count, options or {})


# -- processes of this machine ------------------------------------------------------------------------


class _Worker:
    """A process that does one job after another."""

    def __init__(self, do: Do) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process: BaseProcess = context.Process(target=_work, args=(other, do), daemon=True)
        self.process.start()
        other.close()

    def received(self, job: Job) -> Outcome:
        """What it says of its job, or that it ended."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            return Outcome(job, f"its process ended with {_ended(self.process.exitcode or 0)}")

    def end(self, busy: bool) -> None:
        """Let it end: an idle one by itself, a busy one at the next point of its run."""
        self.connection.close()
        if busy and self.process.is_alive():
            self.process.terminate()


def _ended(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"


def _work(connection: Connection, do: Do) -> None:
    """Do jobs as they come, until nobody sends any."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare_process()
    try:
        while True:
            connection.send(do(connection.recv()))
    except (EOFError, OSError, KeyboardInterrupt):  # no more jobs; or the run is at a point from which it goes on
        return


def _end_with_parent() -> None:
    """End the run at its next point once nobody is there who asked for it, however that one ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "runs in a process of its own"
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)


def _processes(count: int, _options: Options) -> Engine:
    def engine(do: Do, jobs: Iterable[Job]) -> Iterator[Outcome]:
        waiting, idle, busy = deque(jobs), list[_Worker](), dict[Connection, tuple[_Worker, Job]]()
        try:
            while waiting or busy:
                while waiting and len(busy) < count:
                    worker = idle.pop() if idle else _Worker(OnOneThread(do))
                    busy[worker.connection] = worker, waiting.popleft()
                    worker.connection.send(busy[worker.connection][1])
                for ready in wait(list(busy)):
                    worker, job = busy.pop(ready)  # type: ignore[call-overload]
                    outcome = worker.received(job)
                    if worker.process.is_alive():
                        idle.append(worker)
                    yield outcome
        finally:
            _end(idle, [worker for worker, _ in busy.values()])

    return engine


def _end(idle: Iterable[_Worker], busy: Iterable[_Worker]) -> None:
    """End workers, busy ones at a point from which their runs can be resumed, if that comes soon."""
    workers = [(worker, False) for worker in idle] + [(worker, True) for worker in busy]
    for worker, is_busy in workers:
        worker.end(is_busy)
    until = time.monotonic() + GRACE
    for worker, _ in workers:
        worker.process.join(max(0.0, until - time.monotonic()))
        worker.process.kill()


# -- schedulers of others -----------------------------------------------------------------------------


def _submitit(count: int, options: Options) -> Engine:
    with _package("submitit", "submitit"):
        import submitit
    make = cast(Any, submitit.AutoExecutor)

    def engine(do: Do, jobs: Iterable[Job]) -> Iterator[Outcome]:
        waiting, running = deque(jobs), list[tuple[Any, Job]]()
        try:
            while waiting or running:
                while waiting and len(running) < count:
                    job = waiting.popleft()
                    logs = Path(job.folder).parents[1] / "submitit"
                    executor = make(folder=logs)
                    executor.update_parameters(**{"timeout_min": 7 * 24 * 60, "cpus_per_task": 1, **options})
                    running.append((executor.submit(OnOneThread(do), job), job))
                time.sleep(POLL)
                done = [one for one in running if one[0].done()]
                running = [one for one in running if one not in done]
                for submitted, job in done:
                    error = submitted.exception()
                    yield submitted.result() if error is None else Outcome(job, problem_of(error))
        finally:
            for submitted, _ in running:
                submitted.cancel()

    return engine


def _dask(count: int, options: Options) -> Engine:
    with _package("distributed", "dask"):
        import dask.config
        import distributed
    make, completed = cast(Any, distributed.Client), cast(Any, distributed.as_completed)
    known = "address" in options or dask.config.get("scheduler-address", None)
    here: dict[str, Any] = {"n_workers": count, "threads_per_worker": 1, "dashboard_address": None}

    def engine(do: Do, jobs: Iterable[Job]) -> Iterator[Outcome]:
        with make(**({} if known else here) | dict(options)) as client:
            submitted = {client.submit(OnOneThread(do), job, pure=False): job for job in jobs}
            for future in completed(submitted):
                error = future.exception()
                yield future.result() if error is None else Outcome(submitted[future], problem_of(error))

    return engine


@contextmanager
def _package(name: str, extra: str) -> Generator[None]:
    """Import a package that an engine is made of inside.

    Raises:
        RecipeError: it is missing.
    """
    try:
        yield
    except ImportError as error:
        raise RecipeError(
            f"the engine {extra!r} expected the package {name}, got none ({error}): pip install 'nestgraph[{extra}]'"
        ) from None


ENGINES: Mapping[str, Callable[[int, Options], Engine]] = {
    "processes": _processes,
    "submitit": _submitit,
    "dask": _dask,
}
"""name -> what makes the engine, of how many jobs at a time and its options."""
