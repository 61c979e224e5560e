"""Other libraries take seconds to import, which only the slow tests wait for."""

from pathlib import Path

SLOW = {"test_lightning.py", "test_transformers.py"}


def pytest_ignore_collect(collection_path: Path, config) -> bool | None:
    """Leave the files of slow tests aside where none of these is wanted."""
    return True if collection_path.name in SLOW and "not slow" in config.option.markexpr else None
