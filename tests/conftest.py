"""What holds for every test."""

import signal

import pytest


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_interrupts() -> None:
    """Also where a shell runs the suite in the background, with SIGINT ignored: tests send it to themselves."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
