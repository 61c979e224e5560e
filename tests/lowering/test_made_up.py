"""An operation that a package of others registers has all that those of nestgraph have: it costs two files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent / "made_up"


def said(*words, package=()):
    """What the checks print, in a process of their own, as kinds are registered for good."""
    found = os.pathsep.join(map(str, (*package, *sys.path)))
    command = [sys.executable, "-m", "tests.lowering.made_up.check", *map(str, words)]
    result = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": found}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_an_operation_of_others_has_all_that_ours_have(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    for name in ("peak_norm.py", "peak_norm_in_torch.py"):
        shutil.copy(HERE / name, package / name)
    assert said(tmp_path, package=[package]).splitlines()[-1] == "all of it"
    stranger = said(tmp_path, "unknown")
    assert "got 'acme.peak_norm': import the package that registers it" in stranger
