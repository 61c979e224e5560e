"""Reads mutated files until a count or a time is reached, in one process or several, and says what it found."""

import argparse
import json
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.trial import trial

SHOWN = 20


def work(task):
    """The findings of every `step`-th trial, and how many there were."""
    seed, first, count, step, seconds = task
    until, done, found = time.monotonic() + seconds, 0, []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, count, step):
            if time.monotonic() > until:
                break
            finding = trial(f"{seed}-{number}", Path(folder))
            done += 1
            if finding:
                found.append((finding.seed, finding.problem))
    return done, found


def main(words=None):
    """Run, print one line of JSON, and return how many readings broke the promise."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="how many files")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations; file N of a seed is always the same")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes")
    parser.add_argument("--first", type=int, default=0, help="the number of the first file, to go on or to repeat one")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    given = parser.parse_args(words)
    start = time.monotonic()
    end = given.first + given.count
    tasks = [(given.seed, given.first + job, end, given.jobs, given.seconds) for job in range(given.jobs)]
    if given.jobs == 1:
        results = [work(tasks[0])]
    else:
        with multiprocessing.get_context("spawn").Pool(given.jobs) as pool:
            results = pool.map(work, tasks, chunksize=1)
    found = [finding for _, findings in results for finding in findings]
    for seed, problem in found[:SHOWN]:
        print(f"{seed}: {problem}", file=sys.stderr)
    facts = {"count": sum(done for done, _ in results), "seconds": round(time.monotonic() - start, 1)}
    print(json.dumps({**facts, "seed": given.seed, "jobs": given.jobs, "first": given.first, "found": len(found)}))
    return len(found)


if __name__ == "__main__":
    sys.exit(main() > 0)
