"""Fixtures of benchmarks."""

from tests.bench.timing import one_thread

__all__ = ["one_thread"]
