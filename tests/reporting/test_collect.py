"""What a report says equals the journal, the metrics and the networks that they lead to."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nestgraph.edits import Batch, normalisation_factor
from nestgraph.errors import EditError, SnapshotError
from nestgraph.graph import Tally, cost, difference
from nestgraph.policies.pruning import effective_weight, lamp
from nestgraph.render.heat_map import pixel_readings
from nestgraph.reporting import collect as collecting
from nestgraph.reporting import frames
from nestgraph.reporting.collect import collect
from nestgraph.reporting.packing import codes, numbered
from nestgraph.seeds import mlp
from tests.laws import quick
from tests.reporting.reading import array, carried, connections
from tests.reporting.runs import fewer, flat_run, whole_run, write_run
from tests.strategies import EDIT_CASES, edits_for, networks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("run") / "run"


@pytest.fixture(scope="module")
def kept(folder):
    return whole_run(folder)


@pytest.fixture(scope="module")
def data(folder, kept):
    assert kept
    return json.loads(json.dumps(collect(folder)))


def test_rows_and_moments_equal_metrics_and_journal(folder, kept, data):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    scores = [{"accuracy": row.pop("accuracy"), "loss": row["loss"]} for row in rows]
    assert data["rows"] == [row | {"scores": each} for row, each in zip(rows, scores, strict=True)]
    assert [metric["name"] for metric in data["metrics"]] == ["accuracy"]
    accepted = [row for row in rows if row["accepted"]]
    assert len(rows) > len(accepted)
    assert [moment["step"] for moment in data["moments"]] == [None, *(row["step"] for row in accepted)]
    for moment, row in zip(data["moments"][1:], accepted, strict=True):
        for name in ("phase", "edit", "units", "connections", "flops"):
            assert moment[name] == row[name]
    assert [moment["digest"] for moment in data["moments"]] == [network.digest for network in kept]
    journal = {json.loads(line)["digest"] for line in (folder / "journal.jsonl").read_text().splitlines()}
    assert {moment["digest"] for moment in data["moments"][1:]} <= journal
    result = json.loads((folder / "result.json").read_text())
    assert data["result"]["stages"] == result["stages"]
    assert {stage["digest"] for stage in result["stages"]} <= {moment["digest"] for moment in data["moments"]}


def test_counts_of_layers_and_projections_are_those_of_the_networks(kept, data):
    for moment, network in zip(data["moments"], kept, strict=True):
        counts = cost(network)
        assert moment["parameters"] == counts.total.parameters
        for name, (units, live, parameters, flops) in moment["by_layer"].items():
            found = counts.by_layer[name]
            assert (units, live, parameters, flops) == (found.units, found.connections, found.parameters, found.flops)
        for name, (live, possible, flops) in moment["by_projection"].items():
            found = counts.by_projection[name]
            assert (live, possible, flops) == (found.connections, found.possible, found.flops)


def same_connections(data, kept):
    """Every connection of every moment is carried where it is, with its weight but for the rounding."""
    for number, network in enumerate(kept):
        for name in network.projection_names:
            exact, found = connections(network, name), carried(data, name, number)
            assert exact.keys() == found.keys()
            largest = max(map(abs, exact.values()), default=0.0)
            for key, weight in exact.items():
                assert abs(found[key] - weight) <= (largest * abs(weight)) ** 0.5 / 120 + largest / 60000


def test_connections_and_their_weights_are_those_of_the_networks(kept, data):
    same_connections(data, kept)


@quick(25)
@given(network=networks())
def test_networks_of_every_form_are_carried(network, tmp_path_factory):
    place = tmp_path_factory.mktemp("any") / "run"
    kept = write_run(place, network, [("seed", "train the seed", None, True)], finished=False)
    same_connections(collect(place), kept)


def test_units_live_from_their_birth_to_their_death_and_say_why(kept, data):
    for layer in data["layers"]:
        for (unit, born, died), (why, cause) in zip(layer["units"], layer["why"], strict=True):
            alive = [number for number, network in enumerate(kept) if unit in network.units(layer["name"])]
            assert alive == list(range(born, len(kept) if died is None else died))
            assert bool(why)
            assert bool(cause) == (died is not None)
    neurons = {unit: why for (unit, *_), why in zip(data["layers"][2]["units"], data["layers"][2]["why"], strict=True)}
    born = "grow 1 neurons: born with 36 connections in and 2 connections out"
    assert neurons[6] == [f"{born}; sum of 2 |bridging gradients|: 1.5, the next best 0.125", ""]
    assert neurons[2][1].startswith("prune 1 units: removed as a whole, with ")
    assert neurons[2][1].endswith("; mean |output|: 0.001, below the threshold of 0.05")


def test_factors_areas_and_pixels_are_those_of_the_networks(kept, data):
    moments = len(kept)
    factors = array(data, "factor/conv1").reshape(moments, -1)
    cells = array(data, "area/image_to_conv1").reshape(moments, -1, 1, 6, 6)
    pixels, strengths = (array(data, name).reshape(moments, 8, 8) for name in ("pixels", "strengths"))
    ids = [unit for unit, *_ in data["layers"][1]["units"]]
    for number, network in enumerate(kept):
        places = [ids.index(unit) for unit in network.units("conv1").tolist()]
        assert np.array_equal(factors[number, places], normalisation_factor(network, "conv1"))
        columns = network.connection_columns("image_to_conv1")
        area = np.ones((1, 1, 6, 6), bool) if columns.area is None else columns.area
        expected = np.where(columns.edges[:, :, None, None], 1 + area, 0)
        assert np.array_equal(cells[number, places], expected)
        assert np.array_equal(pixels[number], pixel_readings(network))
        assert np.allclose(strengths[number], pixel_readings(network, strength=True))
    assert (cells == 1).any()


def test_thresholds_are_the_largest_that_were_pruned(kept, data):
    before = kept[2]
    (cut,) = [cut for cut in data["moments"][3]["thresholds"] if cut["edit"].startswith("prune") and cut["magnitude"]]
    size = np.abs(effective_weight(before, "conv1_to_fc1"))
    columns = before.connection_columns("conv1_to_fc1")
    smallest = np.sort(size[columns.mask])
    assert cut["pruned"] == 20
    assert cut["largest"] == smallest[19]
    assert cut["kept"] == smallest[20]
    assert cut["measure"] == "LAMP score"
    assert cut["value"] == pytest.approx(np.sort(lamp(size)[columns.mask])[19])
    assert all(not moment["thresholds"] for moment in data["moments"][:3])


def check_difference(data, one, other, networks):
    """What the page reads of two moments has the fates and counts of the difference of the networks."""
    found, moments = difference(*networks), len(data["moments"])
    for layer in data["layers"]:
        states = array(data, f"states/{layer['name']}").reshape(moments, -1)[[one, other]]
        told = {unit: fate(*pair) for (unit, *_), pair in zip(layer["units"], states.T.tolist(), strict=True)}
        change = found.layers.get(layer["name"])
        for became in ("added", "removed", "changed"):
            ids = [] if change is None else getattr(change, became).tolist()
            assert sorted(unit for unit, one_fate in told.items() if one_fate == became) == sorted(ids)
        assert fate(layer["versions"][one], layer["versions"][other]) == ("absent" if change is None else change.fate)
    for record in data["projections"]:
        name, change = record["name"], found.projections.get(record["name"])
        values = array(data, f"values/{name}").reshape(moments, -1)[[one, other]].T.tolist()
        told = [fate(*pair) for pair in values]
        counts = Tally() if change is None else change.counts
        if record["of"] == 1:
            assert [told.count(became) for became in ("added", "removed", "changed", "unchanged")] == list(of(counts))
        assert fate(record["versions"][one], record["versions"][other]) == ("absent" if change is None else change.fate)
        if other == one + 1:
            assert tuple(data["moments"][other]["since"].get(name, (0, 0, 0, 0))) == of(counts)


def of(tally):
    return tally.added, tally.removed, tally.changed, tally.unchanged


def fate(before, after):
    """As `Model.status` of the page reads two numbers."""
    if before == after:
        return "unchanged" if after else "absent"
    return "added" if not before else "removed" if not after else "changed"


def test_what_changed_between_any_two_moments_is_what_the_difference_of_the_networks_says(kept, data):
    for one, other in itertools.product(range(len(kept)), repeat=2):
        check_difference(data, one, other, (kept[one], kept[other]))
    regions = array(data, "regions/image_to_conv1").reshape(len(kept), -1)
    assert (regions[2] != regions[3]).any()  # areas shrank


@quick(15)
@given(network=networks(), data=st.data())
def test_what_changed_is_told_of_networks_of_every_form(network, data, tmp_path_factory):
    edits = []
    for _ in range(2):
        kind = data.draw(st.sampled_from(list(EDIT_CASES)))
        edits.append(lambda now, kind=kind: Batch(edits=(data.draw(edits_for(now, (kind,))),), title="edit"))
    place = tmp_path_factory.mktemp("any") / "run"
    steps = [("seed", "train", None, True), *(("grow", "edit", edit, True) for edit in edits)]
    try:
        kept = write_run(place, network, steps, finished=False)
    except EditError:
        reject()
    told = json.loads(json.dumps(collect(place)))
    assume(not any("another form than at first" in words for words in told["omitted"]))
    for one, other in ((0, 1), (1, 2), (2, 3), (0, 3), (3, 1)):
        check_difference(told, one, other, (kept[one], kept[other]))


@given(arrays(np.uint32, st.tuples(st.integers(1, 6), st.integers(0, 5)), elements=st.integers(0, 3)), st.data())
def test_numbers_tell_values_apart_and_nothing_else(values, data):
    present = data.draw(arrays(bool, values.shape))
    found = numbered(values, present)
    assert ((found == 0) == ~present).all()
    for moment, other in itertools.product(range(len(values)), repeat=2):
        both = present[moment] & present[other]
        assert ((found[moment] == found[other]) == (values[moment] == values[other]))[both].all()


def test_an_unfinished_run_is_told_as_far_as_it_came(tmp_path):
    kept = whole_run(tmp_path, finished=False)
    journal, metrics = tmp_path / "journal.jsonl", tmp_path / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True)
    metrics.write_text("".join(lines[:4]))  # the journal is ahead of the metrics
    journal.write_bytes(journal.read_bytes()[:-20])  # and its last line is being written
    data = collect(tmp_path)
    assert data["result"] is None
    assert [moment["digest"] for moment in data["moments"]] == [network.digest for network in kept[:4]]
    metrics.unlink()
    journal.unlink()
    assert [moment["digest"] for moment in collect(tmp_path)["moments"]] == [kept[0].digest]


def test_metrics_and_journal_that_disagree_are_refused(tmp_path):
    kept = whole_run(tmp_path)
    metrics = tmp_path / "metrics.jsonl"
    text = metrics.read_text()
    metrics.write_text(text.replace(f'"connections":{kept[-1].connection_count}', '"connections":1'))
    with pytest.raises(SnapshotError, match=r"step \d+: expected units, connections and FLOPs"):
        collect(tmp_path)
    metrics.write_text(text)
    (tmp_path / "journal.jsonl").write_text("")
    with pytest.raises(SnapshotError, match="expected a journal of all that was measured"):
        collect(tmp_path)
    with pytest.raises(SnapshotError, match="expected the folder of a run"):
        collect(tmp_path / "nowhere")


def test_more_moments_than_are_shown_are_thinned_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(collecting, "FRAMES", 6)
    steps = [("seed", "train", None, True), *[("grow", "g", fewer, True)] * 5, *[("prune", "p", fewer, True)] * 8]
    kept = write_run(tmp_path, mlp((64, 5, 3), 0.5, 0), steps, finished=False)
    data = collect(tmp_path)
    shown = [moment["step"] for moment in data["moments"]]
    assert len(shown) < len(kept)
    assert {None, 0, 5, 13} <= set(shown)
    assert len(data["rows"]) == 14
    assert data["omitted"][0].startswith(f"{len(shown)} of 15 moments can be looked at")


def test_connections_beyond_the_budget_are_a_sample_that_stays_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(frames, "ENTRIES", 600)
    kept = flat_run(tmp_path)
    data = collect(tmp_path)
    record = data["projections"][0]
    assert record["of"] > 1
    assert f"1 in {record['of']} connections is carried" in " ".join(data["omitted"])
    exact = [connections(network, record["name"]) for network in kept]
    found = [carried(data, record["name"], number) for number in range(len(kept))]
    assert found[0].keys() == found[-1].keys()
    assert 0 < len(found[0]) < len(exact[0])
    assert found[0].keys() <= exact[0].keys()
    assert sum(record["of"] == 1 for record in data["projections"]) >= 1
    assert data["moments"][0]["connections"] == kept[0].connection_count


@given(arrays(np.float32, st.integers(0, 40), elements=st.floats(-(2.0**66), 2.0**66, width=32)))
def test_codes_keep_sign_and_size(weights):
    found, largest = codes(weights)
    assert (found > 0).all()  # 0 is a connection that is not there
    level = (found.astype(int) - 128) / 127
    back = np.sign(level) * level**2 * largest
    assert (np.sign(back) * np.sign(weights) >= 0).all()
    close = np.sqrt(np.abs(weights) / (largest or 1)) - np.sqrt(np.abs(back) / (largest or 1))
    assert (np.abs(close) <= 0.5 / 127 + 1e-6).all()
