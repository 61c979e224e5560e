"""What holds for every test."""

import gc
import os
import shutil
import signal
import sys

import pytest
from hypothesis import settings

sys.dont_write_bytecode = False  # else each process that a test starts compiles the package anew, whatever a shell says
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["NESTGRAPH_COSTS"] = os.path.join(os.devnull, "none")  # what a user measured here decides no test

from nestgraph.runs import run_folder  # noqa: E402

settings.register_profile("suite", deadline=None)  # an example takes as long as the machine is busy
settings.load_profile("suite")

MEMORY = "/dev/shm"
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 2**31:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)  # a disk would be waited for at every fsync


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_interrupts() -> None:
    """Also where a shell runs the suite in the background, with SIGINT ignored: tests send it to themselves."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without pictures, which take the longest."""
    for picture in ("draw_stage", "draw_run"):
        monkeypatch.setattr(run_folder, picture, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The watchdog of pyproject.toml catches hangs of quick tests; those that are meant to take long have none."""
    for item in items:
        if item.get_closest_marker("slow") or item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.timeout(0))


def pytest_collection_finish() -> None:
    """What was imported stays: no collection of garbage needs to look at it again, and few are needed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 50)


def pytest_sessionfinish() -> None:
    """Garbage is collected once; when it ends, pytest does it five times."""
    gc.collect()
    gc.freeze()
