"""What computing costs here: measured, kept in a file, and chosen by; a file that is none leaves what is built in."""

import json
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nestgraph as ng
from nestgraph.errors import LoweringError, SnapshotError
from nestgraph.lowering import calibrating
from nestgraph.lowering.costs import BUILT_IN, known_costs
from nestgraph.lowering.proportion import trained_choices
from nestgraph.lowering.sparse import EXECUTION
from nestgraph.seeds import mlp
from nestgraph.snapshot.costs import Calibration, Costs, ThreadCosts, read_calibration
from tests.laws import quick

NETWORK = mlp((60, 40, 10), density=0.1)
STEPS = st.floats(1e-3, 1e6)
COSTS = st.builds(
    Costs, **dict.fromkeys(("call", "sweep", "product", "linear", "kernel", "entry", "sparse", "move"), STEPS)
)


@pytest.fixture
def file(tmp_path, monkeypatch):
    """Where costs of this machine would be."""
    monkeypatch.setenv("NESTGRAPH_COSTS", str(tmp_path / "deep" / "costs.json"))
    return tmp_path / "deep" / "costs.json"


def kept(file, **by_threads):
    file.parent.mkdir(exist_ok=True)
    measured = tuple(ThreadCosts(threads=int(n[1:]), costs=costs) for n, costs in by_threads.items())
    calibration = Calibration(torch="2", measured=measured)
    file.write_text(calibration.model_dump_json())
    return calibration


def test_what_is_measured_is_kept_and_used(file):
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    assert {row.costs for row in ng.explain(NETWORK, threads=1)} == {"built in for 1 thread"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # threads may wait for other tests
        found = ng.calibrate(0.05)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)
    assert read_calibration(file) == found
    assert found.measured[0].threads == 1
    assert known_costs(1).costs == found.measured[0].costs
    assert {row.costs for row in ng.explain(NETWORK, threads=1)} == {"measured on this machine for 1 thread"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ng.calibrate(0.05)  # our own file is replaced


@given(COSTS, st.sampled_from((1, 32, 1024)))
@quick(30)
def test_modules_and_explanations_choose_by_the_file_for_the_threads_there_are(file, costs, batch):
    kept(file, **{f"n{torch.get_num_threads()}": costs})
    rows, choices = ng.explain(NETWORK, batch), ng.compact(NETWORK, batch).meta[EXECUTION]
    for row in rows:
        assert choices[row.projection].sparse == (row.form == "sparse") == (row.sparse < row.dense)
        assert row.costs == choices[row.projection].costs
        assert row.costs.startswith("measured on this machine")
    first, entries = rows[0], rows[0].connections
    moved = costs.move * batch * len(NETWORK.units("input"))
    expected = costs.product + entries * (costs.entry + costs.sparse * batch) + moved
    assert first.sparse == pytest.approx(expected / 1e3)
    assert {row.costs for row in ng.explain(NETWORK, batch, threads=torch.get_num_threads() + 1)} <= {
        f"built in for {each}" for each in ("1 thread", "2 threads")
    }


def test_calls_of_convolutions_cost_what_theirs_do_and_those_of_areas_by_pair_five_times(file):
    network, found = ng.load("docs/results/lenet-5.json"), []
    for sweep in (1e3, 2e3):
        kept(file, n1=Costs(sweep=sweep))
        found.append({row.projection: row.dense for row in ng.explain(network, 1, "sparse", threads=1)})
    more = {name: found[1][name] - dense for name, dense in found[0].items()}
    calls = {"input_to_conv1": 1, "conv1_to_conv2": 5, "conv2_to_fc1": 0, "fc1_to_output": 0}
    assert more == pytest.approx(calls)  # microseconds


def test_what_trains_is_chosen_by_no_file(file):
    def chosen():
        return trained_choices(NETWORK, "auto", torch.device("cpu"), torch.float32)

    before = chosen()
    kept(file, n1=Costs(sparse=1e-6, entry=1e-6, product=1e-6, move=1e-6), n2=Costs(linear=1e-6))
    assert chosen() == before


def test_threads_that_are_not_listed_count_as_the_most_that_are():
    assert [known_costs(each).costs for each in (1, 2, 3, 64)] == [BUILT_IN[1], *[BUILT_IN[2]] * 3]
    assert known_costs(64).words == "built in for 2 threads"


BROKEN = {
    "truncated": (lambda text: text[:40], "expected JSON, got broken or truncated text"),
    "another version": (lambda text: text.replace('"version":1', '"version":2'), "version: expected 1, got 2"),
    "another format": (lambda text: text.replace("nestgraph.costs", "nestgraph.network"), "format: expected"),
    "a cost below 0": (lambda text: text.replace('"call":4000.0', '"call":-1.0'), "call: expected"),
    "a cost that is no number": (lambda text: text.replace('"call":4000.0', '"call":NaN'), "got NaN"),
    "another key": (lambda text: text.replace('"call"', '"calls"'), "calls"),
    "no threads": (lambda text: json.dumps({**json.loads(text), "measured": []}), "measured: "),
    "nothing": (lambda _: "", "expected JSON"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_file_that_is_none_is_told_in_a_sentence_and_costs_are_built_in(file, how):
    spoil, words = BROKEN[how]
    kept(file, n1=Costs())
    file.write_text(spoil(file.read_text()))
    with pytest.warns(UserWarning, match="let `nestgraph calibrate` write it; costs are built in") as told:
        known = known_costs(1)
    assert known.costs == BUILT_IN[1]
    assert len(told) == 1
    assert str(file) in str(told[0].message)
    assert words in str(told[0].message)


def test_a_folder_in_its_place_is_told_too(file):
    file.mkdir(parents=True)
    with pytest.warns(UserWarning, match="costs are built in"):
        ng.compact(NETWORK)


def test_a_file_of_others_stays_unless_told(file):
    file.parent.mkdir()
    file.write_text("my thesis")
    with pytest.raises(SnapshotError, match="overwrite"):
        ng.calibrate(0.01)
    assert file.read_text() == "my thesis"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ng.calibrate(0.01, overwrite=True)
    assert read_calibration(file).measured


def test_threads_that_wait_for_others_are_left_out(file, monkeypatch):
    quick_ones, slow = Costs(), Costs(product=1e6)
    monkeypatch.setattr(calibrating, "_measured", lambda threads, _: quick_ones if threads == 1 else slow)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    with pytest.warns(UserWarning, match="expected idle processors, got 4 threads that wait"):
        found = ng.calibrate()
    assert [each.threads for each in found.measured] == [1]
    assert read_calibration(file) == found
    slow = Costs(product=2e4)
    assert [each.threads for each in ng.calibrate().measured] == [1, 4]


@pytest.mark.parametrize("seconds", [0, -1.0, float("nan"), 1e9, "long"])
def test_a_time_that_is_none_is_refused(file, seconds):
    with pytest.raises(LoweringError, match=r"calibrate expected .*seconds"):
        ng.calibrate(seconds)
    assert not file.exists()


def test_where_no_folder_can_be_is_told_in_a_sentence(file):
    file.parent.write_text("a file")
    with pytest.raises(SnapshotError, match="cannot be made"):
        ng.calibrate(0.01)
