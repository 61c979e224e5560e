import pytest

from tests.cli.running import write_snapshots


@pytest.fixture
def snapshots(tmp_path, monkeypatch):
    """A working folder with before.json, after.json, edit.json and island.json."""
    monkeypatch.chdir(tmp_path)
    write_snapshots(tmp_path)
    return tmp_path
