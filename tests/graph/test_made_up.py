"""A kind of connections that a package of others registers has all that those of nestgraph have."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent / "made_up"


def said(*words, package=()):
    """What the checks print, in a process of their own, as kinds are registered for good."""
    found = os.pathsep.join(map(str, (*package, *sys.path)))
    command = [sys.executable, "-m", "tests.graph.made_up.check", *map(str, words)]
    result = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": found}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_a_kind_of_others_has_all_that_ours_have(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    shutil.copy(HERE / "listed.py", package / "listed.py")
    told = said(tmp_path, package=[package])
    assert told.splitlines()[-1] == "all of it"
    assert "refused: unit ('x', 9): is paired by 'some' but does not live" in told
    stranger = said(tmp_path, "unknown")
    assert "got 'listed': import the package that registers it" in stranger
    assert "Traceback" not in stranger
