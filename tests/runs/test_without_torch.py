"""Runs are read where there is no torch: results, reports, networks and what was done to rows."""

import subprocess
import sys
from pathlib import Path

PAST = Path(__file__).parent / "examples" / "version-1"
PROGRAM = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "kornia", "accelerate"):
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Absent())
import nestgraph as ng
from nestgraph.cli.app import app

run, folder = sys.argv[1:]
read = ng.Run.read(run)
assert read.network.connection_count == read.result.stages[-1].connections
assert read.stage("seed").digest != read.network.digest == read.editor().network.digest
assert len(read.metrics) > 3 and read.recipe.name
codes = []
for words in (["results", run, "--docs", f"{folder}/docs"], ["report", run, "--out", f"{folder}/report.html"],
              ["summary", f"{run}/final.json"], ["verify", f"{run}/final.json"],
              ["diff", f"{run}/seed.json", f"{run}/final.json"]):
    try:
        app(words)
    except SystemExit as end:
        codes.append(end.code or 0)
assert codes == [0, 0, 0, 0, 1], codes  # two networks differ
assert "torch" not in sys.modules
"""


def test_a_run_is_read_shown_and_tabulated_where_there_is_no_torch(tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(PAST), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "docs" / "results.md").exists()
    assert (tmp_path / "report.html").exists()
