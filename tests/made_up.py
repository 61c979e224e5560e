"""What a package of others registers is looked at in a process of its own, as kinds are registered for good."""

import os
import subprocess
import sys


def said(check, *words, package=()):
    """What the module `check` prints, with a package at hand or not."""
    found = os.pathsep.join(map(str, (*package, *sys.path)))
    command = [sys.executable, "-m", check, *map(str, words)]
    result = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": found}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def refused(network):
    """What who has not the package is told of a file of its kinds."""
    return said("tests.made_up", network)


if __name__ == "__main__":
    import nestgraph as ng
    from nestgraph.errors import SnapshotError

    try:
        ng.load(sys.argv[1])
    except SnapshotError as problem:
        print(problem)
