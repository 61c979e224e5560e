"""Packages of others, installed into a folder of their own: what is run with one, and without it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PLAIN = """
from nestgraph.runs import run_folder
run_folder.draw_stage = run_folder.draw_run = lambda *_: None
"""
MAIN = PLAIN + "from nestgraph.cli import main\nmain()"


def install(source: Path) -> Path:
    """The folder beside a package that it is installed in: one for `sys.path`."""
    site = source.parent / "site"
    words = ["install", "-q", "--no-deps", "--no-build-isolation", "--target", site, source]
    subprocess.run([sys.executable, "-m", "pip", *map(str, words)], check=True, cwd=source.parent)
    return site


def python(world: Path, code: str, *words: str | Path, installed: bool = True) -> subprocess.CompletedProcess[str]:
    """Code that was run in a folder, with the package or without."""
    paths = [str(ROOT), *([str(world / "site")] if installed else [])]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, cwd=world, env=env, capture_output=True, text=True, check=False)


def killed_and_gone_on(world: Path, killed: str, refusal: str, package: str) -> Any:
    """Run `mine.toml` whole, and killed on the way: refused without the package, the same at the end with it.

    Args:
        world: the folder.
        killed: code that runs the recipe into `cut` and kills itself.
        refusal: what going on without the package says.
        package: whose name and version it gives.

    Returns:
        The environment that the run recorded.
    """
    whole = python(world, MAIN, "synthesize", "mine.toml", "--out", "whole")
    assert whole.returncode == 0, whole.stderr
    cut = python(world, PLAIN + killed)
    assert cut.returncode == -signal.SIGKILL, cut.stderr
    gone = python(world, MAIN, "resume", "cut", installed=False)
    assert (gone.returncode, len(gone.stderr.splitlines())) == (2, 1)
    assert refusal in gone.stderr
    assert package in gone.stderr
    on = python(world, MAIN, "resume", "cut")
    assert on.returncode == 0, on.stderr
    assert _contents(world / "cut") == _contents(world / "whole")
    return json.loads((world / "whole" / "environment.json").read_text())


def check_refused_without(world: Path) -> None:
    """Hold that a run of `mine.toml` does not begin without the package."""
    refused = python(world, MAIN, "synthesize", "mine.toml", "--out", "again", installed=False)
    assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
    assert not (world / "again").exists()


def _contents(folder: Path) -> dict[str, bytes]:
    names = {path.name for path in folder.iterdir() if path.is_file()} - {"timing.jsonl", "manifest.json"}
    return {name: (folder / name).read_bytes() for name in names}
