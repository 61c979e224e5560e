"""What two processes of one thread save of a sweep that one does in turn."""

import subprocess
import sys
import time

import pytest

BOUND = 0.6
STUDY = """
name = "twelve"
recipe = "digits"
seeds = [0, 1, 2]

[[variations]]
name = "plain"

[[variations]]
name = "slow"
set = { "pruning.recovery_epochs" = 40 }

[[variations]]
name = "short"
set = { "finish_epochs" = 40 }

[[variations]]
name = "long"
set = { "finish_epochs" = 80 }
"""


@pytest.mark.slow
def test_two_jobs_at_a_time(tmp_path):
    """Wall time of whole commands, imports and pictures included; the order is turned in the second round."""
    (tmp_path / "twelve.toml").write_text(STUDY)

    def swept(jobs, number):
        out = tmp_path / f"{jobs}-{number}"
        command = [sys.executable, "-m", "nestgraph", "--quiet", "sweep", tmp_path / "twelve.toml", "--out", out]
        began = time.monotonic()
        subprocess.run([*command, "--jobs", str(jobs), "--engine", "processes"], check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - began, out

    (one, first), (two, second) = swept(1, 0), swept(2, 0)
    (two_again, _), (one_again, _) = swept(2, 1), swept(1, 1)
    print(f"\n12 runs in turn: {one:.0f} and {one_again:.0f} s; two at a time: {two:.0f} and {two_again:.0f} s")
    print(f"ratios {two / one:.2f} and {two_again / one_again:.2f}")
    finals = [sorted(path.relative_to(out) for path in out.glob("*/*/final.json")) for out in (first, second)]
    assert finals[0] == finals[1]
    assert len(finals[0]) == 12
    assert all((first / path).read_bytes() == (second / path).read_bytes() for path in finals[0])
    assert min(two / one, two_again / one_again) <= BOUND
