"""What the processes of a test do: `python -m tests.parallel.cases CASE FOLDER`, in each of them."""

import json
import sys
from functools import partial
from pathlib import Path

from nestgraph.parallel.ranks import joined
from tests.parallel.equal import one_and_several
from tests.parallel.faults import faults
from tests.parallel.runs_together import images, lost, run
from tests.parallel.shards import CASES as SHARDS
from tests.parallel.shards import in_shards


def quick(ranks, folder):
    """What takes seconds, in one start of the processes."""
    in_shards("a_unit_goes_and_units_come", ranks, folder)
    return {case.__name__: case(ranks, folder) for case in (one_and_several, faults, run)}


CASES = {name: partial(in_shards, name) for name in SHARDS} | {
    "quick": quick,
    "run": run,
    "images": images,
    "lost": lost,
}

if __name__ == "__main__":
    _, name, place = sys.argv
    ranks = joined()
    found = CASES[name](ranks, Path(place))
    (Path(place) / f"{ranks.share.number}.json").write_text(json.dumps(found))
