"""Merges, rebases and edits taken back out of order."""

import json
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nestgraph as ng
from nestgraph.edits import (
    EDIT,
    Batch,
    Joined,
    Reason,
    RemoveProjection,
    RemoveUnits,
    SetArea,
    SetValues,
    merge,
    side_by_side,
    way_over,
)
from nestgraph.errors import ConflictError, EditError
from nestgraph.snapshot import JournalWriter, read_journal, replay
from tests.cli.running import run
from tests.edits.test_mapping import drawn, same
from tests.laws import quick
from tests.strategies import networks


def digits():
    return ng.seeds.mlp([64, 12, 10], 0.5, seed=1)


def lenet_5():
    return ng.seeds.lenet_5(seed=1)


def trained(network, *names, by=0.125):
    """Other weights of some projections: what a training gives."""
    columns = {name: network.connection_columns(name) for name in names}
    return SetValues(weights={name: each.living(each.weight) + np.float32(by) for name, each in columns.items()})


def pruned(network, name, count, first=0):
    """Some connections pruned, far apart, so that no unit goes with them."""
    live = np.flatnonzero(network.connection_columns(name).mask)
    return ng.edits.prune_connections(
        network, {name: np.random.default_rng(0).permutation(live)[first : first + count]}
    )


def grown(network, layer, value):
    """A unit that all sources feed and that feeds all."""
    weights = {}
    for projection in (*network.incoming(layer), *network.outgoing(layer)):
        shape = list(network.connection_columns(projection.name).weight.shape)
        del shape[0 if projection.target == layer else 1]
        weights[projection.name] = np.full(shape, value, np.float32)
    return ng.edits.grow_unit(network, layer, weights)


def sides(network, ours, theirs):
    """Two editors of one network after what each did; each step is made for the network at hand."""
    editor = ng.Editor(network)
    branch = editor.branch()
    for who, steps in ((editor, ours), (branch, theirs)):
        for step in steps:
            who.apply(step(who.network))
    return editor, branch


CASES = {
    "digits, different layers": (
        digits,
        [lambda n: pruned(n, "input_to_fc1", 40), lambda n: trained(n, "input_to_fc1")],
        [lambda n: grown(n, "fc1", 0.5), lambda n: pruned(n, "fc1_to_output", 9)],
    ),
    "digits, the same layer": (
        digits,
        [lambda n: pruned(n, "input_to_fc1", 40), lambda n: grown(n, "fc1", 0.25)],
        [lambda n: pruned(n, "input_to_fc1", 60, first=20), lambda n: grown(n, "fc1", 0.5)],
    ),
    "LeNet-5, different layers": (
        lenet_5,
        [lambda n: grown(n, "conv1", 0.5), lambda n: pruned(n, "fc1_to_output", 9)],
        [lambda n: pruned(n, "conv2_to_fc1", 200), lambda n: trained(n, "fc1_to_output")],
    ),
    "LeNet-5, the same layer": (
        lenet_5,
        [lambda n: pruned(n, "conv1_to_conv2", 90), lambda n: grown(n, "conv2", 0.25)],
        [lambda n: ng.edits.remove_units(n, "conv2", n.units("conv2")[:2]), lambda n: grown(n, "conv2", 0.5)],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_merge_keeps_what_both_did_and_its_journal_replays(case, tmp_path):
    make, ours, theirs = case
    base = make()
    editor, branch = sides(base, ours, theirs)
    mine, other = editor.network, branch.network
    editor.merge(branch)
    merged = editor.network
    for network, before in ((mine, other), (other, mine)):  # in either order, but for ids
        assert network.unit_count <= merged.unit_count or before.unit_count < base.unit_count
    for layer in merged.layer_names:
        born = len(np.setdiff1d(mine.units(layer), base.units(layer))) + len(
            np.setdiff1d(other.units(layer), base.units(layer))
        )
        gone = np.setdiff1d(base.units(layer), np.intersect1d(mine.units(layer), other.units(layer)))
        assert len(merged.units(layer)) == len(base.units(layer)) - len(gone) + born
    for name in merged.projection_names:
        assert lost(base, merged, name) >= lost(base, mine, name) | lost(base, other, name)
    with JournalWriter(tmp_path / "journal.jsonl") as journal:
        again = ng.Editor(base)
        for edit in editor.history:
            journal.append("apply", again.apply(edit).network.digest, edit)
    assert replay(base, read_journal(tmp_path / "journal.jsonl")).network == merged


AREAS = {
    "areas on both sides": (
        [lambda n: shrunk(n, "conv1_to_conv2", 0), lambda n: pruned(n, "conv2_to_fc1", 90)],
        [lambda n: shrunk(n, "conv1_to_conv2", 1)],
    ),
    "areas, and fewer maps that are read": (
        [lambda n: shrunk(n, "conv1_to_conv2", 0)],
        [lambda n: ng.edits.remove_units(n, "conv1", n.units("conv1")[:2])],
    ),
    "the same area, spelled otherwise": (
        [lambda n: SetArea(projection="conv1_to_conv2", area=np.tile(corner(n), (1, len(n.units("conv1")), 1, 1)))],
        [lambda n: SetArea(projection="conv1_to_conv2", area=corner(n))],
    ),
}


def corner(network):
    """An area by map: all but one corner."""
    area = np.ones((len(network.units("conv2")), 1, *network.layer("conv2").size), bool)
    area[:, :, 0, 0] = False
    return area


def shrunk(network, name, seed):
    columns, size = network.connection_columns(name), network.layer("conv2").size
    kept = np.random.default_rng(seed).random((*columns.edges.shape, *size)) < 0.8
    return ng.edits.shrink_areas(network, {name: kept})


@pytest.mark.parametrize(("ours", "theirs"), AREAS.values(), ids=AREAS)
def test_a_merge_of_areas_has_one_digest_from_either_side(ours, theirs):
    base = lenet_5()
    mine, other = (editor.network for editor in sides(base, ours, theirs))
    merged = merge(base, mine, other).apply(mine).network
    assert merge(base, other, mine).apply(other).network == merged
    assert not ng.edits.respell_areas(merged).edits


def lost(base, network, name):
    """The connections of a network's base that it lacks, by the ids at their ends: a number for each."""
    (before, ends), (here, there) = base.wired(name), network.wired(name)
    held = (columns.addresses(np.flatnonzero(columns.mask), at) for columns, at in ((before, ends), (here, there)))
    return set(np.setdiff1d(*(addresses @ 2 ** (16 * np.arange(addresses.shape[1])) for addresses in held)).tolist())


def test_three_snapshots_merge_as_their_editors_do():
    base = digits()
    editor, branch = sides(base, *CASES["digits, different layers"][1:])
    mine, other = editor.network, branch.network
    edit = merge(base, mine, other)
    editor.merge(branch)
    assert edit.apply(mine).network == editor.network


@pytest.mark.parametrize("make", [digits, lenet_5])
def test_two_trainings_of_one_layer_are_a_conflict(make, tmp_path):
    base = make()
    name = base.incoming(base.output_names[0])[0].name
    mine, other = (trained(base, name, by=by).apply(base).network for by in (0.125, 0.25))
    with pytest.raises(ConflictError, match=f"merge: expected what only one side changed.*weight of '{name}'") as both:
        merge(base, mine, other)
    (conflict,) = both.value.conflicts
    assert conflict.count == base.connection_columns(name).active
    paths = [tmp_path / f"{each}.json" for each in ("base", "ours", "theirs")]
    for network, path in zip((base, mine, other), paths, strict=True):
        ng.save(network, path)
    result = run("merge", *paths, "--out", tmp_path / "merged.json", "--draw", tmp_path / "clash.svg", "--json")
    assert result.exit_code == 1
    assert not (tmp_path / "merged.json").exists()
    told = json.loads(result.stdout)
    assert told["merged"] is False
    assert told["conflicts"][0]["place"] == name
    assert told["conflicts"][0]["units"]
    assert (tmp_path / "clash.svg").read_text("utf-8").endswith("</svg>\n")


def test_the_verb_merges_files(tmp_path):
    base = digits()
    editor, branch = sides(base, *CASES["digits, the same layer"][1:])
    for name, network in (("base", base), ("ours", editor.network), ("theirs", branch.network)):
        ng.save(network, tmp_path / f"{name}.json")
    files = [tmp_path / f"{name}.json" for name in ("base", "ours", "theirs")]
    result = run("merge", *files, "--out", tmp_path / "merged.json")
    assert result.exit_code == 0, result.output
    merged = merge(base, editor.network, branch.network).apply(editor.network).network
    assert ng.load(tmp_path / "merged.json") == merged


def test_a_branch_is_rebased_edit_by_edit():
    base = digits()
    editor, branch = sides(base, *CASES["digits, different layers"][1:])
    before, mine = editor.mark(), editor.network
    steps = len(editor.history)
    after = editor.rebase(branch)
    assert len(editor.history) == steps + len(branch.history)
    assert editor.history[: len(branch.history)] == branch.history
    assert editor.back_to(before) == mine
    other = ng.Editor(branch.network)
    assert after.unit_count == other.network.unit_count


def test_a_rebase_that_clashes_changes_nothing():
    base = digits()
    editor, branch = sides(
        base, [lambda n: trained(n, "fc1_to_output")], [lambda n: trained(n, "fc1_to_output", by=0.25)]
    )
    mine, history = editor.network, editor.history
    with pytest.raises(ConflictError):
        editor.rebase(branch)
    assert editor.network is mine
    assert editor.history == history


def test_an_edit_is_taken_back_though_others_came_after_it():
    base = digits()
    editor = ng.Editor(base)
    editor.apply(grown(base, "fc1", 0.5))
    added = editor.mark()
    before = editor.network.connection_columns("input_to_fc1").mask[-1].sum()
    editor.apply(pruned(editor.network, "input_to_fc1", 30))
    own = before - editor.network.connection_columns("input_to_fc1").mask[-1].sum()
    editor.take_back(added)
    assert editor.network.units("fc1").tolist() == base.units("fc1").tolist()
    assert len(lost(base, editor.network, "input_to_fc1")) == 30 - own
    editor.undo()
    assert len(editor.network.units("fc1")) == len(base.units("fc1")) + 1


def test_what_a_later_edit_changed_cannot_be_taken_back():
    base = digits()
    editor = ng.Editor(base)
    editor.apply(trained(base, "fc1_to_output"))
    first = editor.mark()
    editor.apply(trained(editor.network, "fc1_to_output"))
    with pytest.raises(ConflictError):
        editor.take_back(first)
    with pytest.raises(EditError, match="expected a moment that an edit led to, got the first one"):
        editor.take_back(editor.moments[0])


def test_proposals_for_one_network_are_joined():
    base = digits()
    proposals = [pruned(base, "input_to_fc1", 20), pruned(base, "input_to_fc1", 20, first=10), grown(base, "fc1", 0.5)]
    joined = side_by_side(base, proposals).apply(base).network
    assert joined.connection_count == base.connection_count - 30 + 64 + 10
    clash = [trained(base, "fc1_to_output", by=by) for by in (0.125, 0.25)]
    with pytest.raises(ConflictError):
        side_by_side(base, clash)


def test_editors_of_different_networks_have_nothing_in_common():
    with pytest.raises(EditError, match="expected an editor with a moment in common, got one of another network"):
        ng.Editor(digits()).merge(ng.Editor(digits()))


def test_a_batch_that_names_its_base_is_for_that_network_alone():
    base = digits()
    other = trained(base, "fc1_to_output").apply(base).network
    edit = pruned(base, "input_to_fc1", 5).model_copy(update={"base": base.digest})
    assert EDIT.validate_json(edit.model_dump_json()) == edit
    assert edit.apply(base).network != base
    with pytest.raises(
        EditError, match=f"expected the network {base.digest:.12} that it names, got {other.digest:.12}"
    ):
        edit.apply(other)
    moved = edit.map(way_over(base, [trained(base, "fc1_to_output")]))
    assert moved.apply(other).network.connection_count == base.connection_count - 5


def test_an_empty_side_merges():
    base = digits()
    other = pruned(base, "input_to_fc1", 5).apply(base).network
    assert merge(base, base, other).apply(base).network == other
    assert merge(base, other, base).apply(other).network == other
    assert not merge(base, base, base).edits


@pytest.mark.parametrize("make", [digits, lenet_5])
def test_proposals_that_each_cut_units_off_are_joined_whatever_their_order(make):
    """Each moves constants into the same biases; what all of them leave goes as if one had done it."""
    base = make()
    projection = next(each for each in reversed([*map(base.projection, base.projection_names)]) if each.learns)
    layer = projection.source
    base = lifted(base, layer)
    into = base.incoming(layer)[0].name
    mask = base.connection_columns(into).mask
    rows = [
        np.flatnonzero(mask & (np.arange(len(mask)) == unit).reshape(-1, *(1,) * (mask.ndim - 1))) for unit in (1, 4)
    ]
    quarter = rows[1][::2], np.setdiff1d(rows[1], rows[1][::2])
    proposals = [ng.edits.prune_connections(base, {into: each}) for each in (rows[0], *quarter)]
    proposals.append(ng.edits.remove_units(base, layer, base.units(layer)[7:8]))
    assert [len(each.edits) for each in proposals] == [3, 1, 1, 1]
    whole = ng.edits.prune_connections(base, {into: np.concatenate(rows)}).apply(base).network
    whole = ng.edits.remove_units(whole, layer, base.units(layer)[7:8]).apply(whole).network
    found = {side_by_side(base, order).apply(base).network.digest for order in permutations(proposals)}
    assert found == {whole.digest}
    joined = Joined.of(base, proposals)
    assert [len(part.edits) for part in joined.parts] == [1] * 4
    assert {edit.kind for edit in joined.rest.edits} == {"set_values", "remove_units"}


def lifted(network, layer):
    """Units that give something where they read nothing."""
    column = "beta" if "beta" in network.layer(layer).column_names else "bias"
    values = {column: np.ones(len(network.units(layer)), np.float32)}
    return SetValues(units={layer: values}).apply(network).network


def test_the_later_of_two_that_clash_is_left_out_as_a_whole():
    base = digits()
    name = "fc1_to_output"
    reason = Reason(place=name, measure="a guess", value=3.0)
    first, second = (Batch(edits=(trained(base, name, by=by),), reasons=(reason,)) for by in (0.125, 0.25))
    grows = Batch(edits=(pruned(base, "input_to_fc1", 9), trained(base, name, by=0.5)), title="both")
    joined = Joined.of(base, [first, second, grows, pruned(base, "input_to_fc1", 5)])
    assert sorted(joined.left_out) == [1, 2]
    assert [part.idle for part in joined.parts] == [False, True, True, False]
    assert joined.edit.apply(base).network.connection_count == base.connection_count - 5
    (conflict,) = joined.left_out[1].conflicts
    assert conflict.place == name
    assert conflict.reasons == (("a guess 3",), ("a guess 3",))
    with pytest.raises(ConflictError, match=r"side_by_side: expected what only one side changed.*\(a guess 3\)"):
        side_by_side(base, [first, second])


def test_together_they_may_cut_an_output_off():
    base = digits()
    columns = base.connection_columns("fc1_to_output")
    row = np.flatnonzero(columns.mask & (np.arange(len(columns.mask)) == 2)[:, None])
    proposals = [ng.edits.prune_connections(base, {"fc1_to_output": row[part]}) for part in (slice(1), slice(1, None))]
    joined = Joined.of(base, proposals)
    assert str(joined.left_out[1]).startswith("output unit ('output', 2) expected a path from an input, got none left")
    assert joined.edit.apply(base).network == proposals[0].apply(base).network


def test_reasons_go_with_the_units_that_they_tell_of():
    base = digits()
    born = [grown(base, "fc1", value) for value in (0.5, 0.25)]
    reasoned = [each.model_copy(update={"reasons": (reason_of(each),)}) for each in born]
    joined = Joined.of(base, reasoned)
    units = [part.reasons[0].unit for part in joined.parts]
    assert units == [part.edits[0].ids[0] for part in joined.parts]
    assert units[1] == units[0] + 1


@quick(40)
@given(network=networks(), data=st.data())
def test_what_is_joined_is_legal_and_has_no_order(network, data):
    proposals = [edit for edit, _ in (drawn(data, network) for _ in range(3)) if edit is not None]
    joined = Joined.of(network, proposals)
    assert [*joined.left_out] == [place for place in joined.left_out if joined.parts[place].idle]
    after = joined.edit.apply(network).network
    assert joined.edit.apply(network).inverse.apply(after).network == network
    other = Joined.of(network, proposals[::-1])
    if not joined.left_out and not other.left_out:
        assert same(after, other.edit.apply(network).network)
    kept = [edit for place, edit in enumerate(proposals) if place not in joined.left_out]
    assert side_by_side(network, kept).apply(network).network == after


def test_one_that_does_not_fit_is_left_out():
    base = digits()
    strange = RemoveUnits(layer="fc1", units=[999]), RemoveProjection(projection="none")
    joined = Joined.of(base, [*strange, pruned(base, "input_to_fc1", 5)])
    assert sorted(joined.left_out) == [0, 1]
    assert joined.edit.apply(base).network.connection_count == base.connection_count - 5


def reason_of(edit):
    return Reason(place="fc1", unit=int(edit.edits[0].ids[0]), measure="a guess", value=1.0)
