"""What a run holds in memory does not grow with what it did: counted, as bytes move with a machine."""

import gc
from collections import Counter

import pytest

from nestgraph.edits.history import Moment
from nestgraph.graph import Network
from nestgraph.loop.synthesis import synthesize
from nestgraph.lowering.bench_state import BenchState
from nestgraph.lowering.lowered_network import LoweredNetwork
from tests.loop.test_synthesis import varied

KINDS = (Network, BenchState, LoweredNetwork, Moment)


@pytest.mark.usefixtures("plain")
def test_a_run_of_50_edits_holds_what_one_of_a_few_holds(tmp_path):
    policies = {"growth": [{"kind": "connection_growth"}], "pruning": [{"kind": "magnitude_pruning", "fraction": 0.01}]}
    recipe = varied(
        growth={"max_edits": 20, "patience": 20, "size_limit": 10_000, "policies": policies["growth"]},
        pruning={"max_edits": 38, "tolerance": 1.0, "size_floor": 1, "policies": policies["pruning"]},
        seed_network={"widths": [64, 6, 10]},
        training={"batch_size": 600, "optimizer": "adam"},
        finish_epochs=0,
    )
    before, held = {id(each) for each in _living()}, list[Counter]()

    def count(row, _left):
        if row.step % 16 == 4:
            new = [each for each in _living() if id(each) not in before]
            held.append(Counter({kind: sum(isinstance(each, kind) for each in new) for kind in KINDS}))

    run = synthesize(recipe, tmp_path / "run", progress=count)
    assert run.result.edits + run.result.refused >= 50
    assert len(held) >= 3
    assert all(0 < each[kind] <= held[0][kind] + 2 for each in held for kind in KINDS), held
    assert max(each[Moment] for each in held) <= 3  # what stands, the edit that is tried, and its training


def _living():
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, KINDS)]
