"""The editor: history, undo, redo, branches and preview."""

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nestgraph.edits import Editor, RemoveLayer, RemoveProjection, RemoveUnits, SetValues, diff
from nestgraph.errors import EditError, StructureError
from nestgraph.graph import Cost, cost
from nestgraph.graph.reference import forward
from nestgraph.seeds import mlp
from tests.laws import fresh_digest, quick, unless_refused
from tests.strategies import edits_for, inputs_for, networks
from tests.strategies.edits import swept

ACTIONS = st.lists(st.sampled_from(("apply", "apply", "undo", "redo")), max_size=8)


@quick(40)
@given(network=networks(), actions=ACTIONS, data=st.data())
def test_undo_and_redo_walk_the_history(network, actions, data):
    editor, past, future, edits = Editor(network), [network.digest], [], []
    for action in actions:
        if action == "apply":
            edit = data.draw(edits_for(editor.network))
            if unless_refused(lambda edit=edit: editor.apply(edit)):
                past.append(fresh_digest(editor.network))
                edits = [*edits[: len(past) - 2], edit]
                future = []
        elif action == "undo" and len(past) > 1:
            future.append(past.pop())
            editor.undo()
        elif action == "redo" and future:
            past.append(future.pop())
            editor.redo()
        else:
            with pytest.raises(EditError, match=f"{action} expected"):
                getattr(editor, action)()
        assert fresh_digest(editor.network) == past[-1]
        assert editor.history == tuple(edits[: len(past) - 1])
    assert Editor(network).replay(editor.history) == editor.network


@quick(10)
@given(network=networks(("opaque",)))
def test_an_opaque_layer_that_comes_back_has_its_body(network):
    assume(network.has_layer("o"))
    editor = Editor(network)
    cut = [RemoveProjection(projection=p.name) for p in (*network.incoming("o"), *network.outgoing("o"))]
    assume(unless_refused(lambda: editor.apply(swept(network, [*cut, RemoveLayer(layer="o")]))))
    assert "o" not in editor.network.bodies
    assert editor.undo().bodies == network.bodies


@quick(40)
@given(network=networks(), data=st.data())
def test_preview_agrees_with_apply_and_changes_nothing(network, data):
    editor, sample = Editor(network), inputs_for(network, 2, np.random.default_rng(0))
    edit = data.draw(edits_for(network))
    preview = editor.preview(edit, sample)
    assert (editor.network, editor.history) == (network, ())
    assert fresh_digest(network) == network.digest
    applied = unless_refused(lambda: edit.apply(network))
    assert preview.legal == (applied is not None) == (preview.reason == "")
    if applied is None:
        return
    old, new = cost(network).total, cost(applied.network).total
    assert vars(preview.change) == {name: count - vars(old)[name] for name, count in vars(new).items()}
    if network == applied.network:
        assert preview.output_change == 0
    else:
        assert preview.layers or preview.projections or applied.network.interface != network.interface
    if applied.network.input_names == network.input_names and preview.output_change is not None:
        before, after = forward(network, sample), forward(applied.network, sample)
        expected = max(np.abs(after[name] - before[name]).max() for name in network.output_names)
        assert preview.output_change == pytest.approx(expected)
        assert 0 <= preview.mean_output_change <= preview.output_change
        assert preview.preserving or preview.output_change > 0
    _check_parts(preview, network, applied.network)


def _check_parts(preview, old, new):
    """What a preview says of units and layers is what sets say."""
    before, after = set(old.graph), set(new.graph)
    for units, expected in ((preview.gone, before - after), (preview.born, after - before)):
        assert {(layer, unit) for layer, ids in units.items() for unit in ids} == expected
    assert preview.coupled == {}
    assert sum(preview.by_layer.values(), Cost()) == preview.change
    assert Cost() not in preview.by_layer.values()
    assert json.loads(json.dumps(preview.facts))["change"] == vars(preview.change)
    for layer in {layer for layer, _ in before ^ after}:
        assert layer in str(preview)


@quick(15)
@given(network=networks(), data=st.data())
def test_branches_do_not_see_each_other(network, data):
    editor = Editor(network)
    for _ in range(2):
        edit = data.draw(edits_for(editor.network))
        unless_refused(lambda edit=edit: editor.apply(edit))
    here, history = editor.network, editor.history
    twin = editor.branch()
    assert (twin.network, twin.history) == (here, history)
    unless_refused(lambda: twin.apply(data.draw(edits_for(twin.network))))
    while twin.history:
        twin.undo()
    assert twin.network == network
    assert (editor.network, editor.history) == (here, history)
    if history:
        twin.redo()
        assert twin.history == history[:1]


@quick(25)
@given(network=networks(), data=st.data())
def test_diff_leads_from_any_moment_of_a_history_to_any_other(network, data):
    editor = Editor(network)
    moments = [network]
    for _ in range(4):
        edit = data.draw(edits_for(editor.network))
        if unless_refused(lambda edit=edit: editor.apply(edit)):
            moments.append(editor.network)
    old, new = (data.draw(st.sampled_from(moments)) for _ in range(2))
    assert fresh_digest(diff(old, new).apply(old).network) == new.digest


@quick(10)
@given(network=networks())
def test_a_refused_edit_leaves_the_editor_as_it_was(network):
    editor = Editor(network)
    editor.apply(SetValues())
    editor.undo()
    with pytest.raises(EditError, match=r"network\.units\('y'\)|expected the name of a layer"):
        editor.apply(RemoveUnits(layer="y", units=[10**6]))
    assert (editor.network, editor.history) == (network, ())
    editor.redo()


@quick(5)
@given(network=networks(("conv",)))
def test_a_sample_that_does_not_fit_is_the_callers_error(network):
    with pytest.raises(StructureError, match=r"input layer '[wx]' expected samples"):
        Editor(network).preview(SetValues(), np.zeros((1, 99)))


SHOWS_NOTHING = {
    "got no sample": lambda samples: {name: array[:0] for name, array in samples.items()},
    "got nan in sample 1": lambda samples: {name: spoilt(array, np.nan) for name, array in samples.items()},
    "got -inf in sample 1": lambda samples: {name: spoilt(array, -np.inf) for name, array in samples.items()},
}


def spoilt(array, value):
    array = array.copy()
    array[1].flat[-1] = value
    return array


@pytest.mark.parametrize("problem", SHOWS_NOTHING)
@quick(5)
@given(network=networks(), data=st.data())
def test_a_sample_that_shows_nothing_is_refused(problem, network, data):
    sample = SHOWS_NOTHING[problem](inputs_for(network, 2, np.random.default_rng(0)))
    editor = Editor(network)
    for preview in (lambda: editor.preview(data.draw(edits_for(network)), sample), lambda: chosen(editor, sample)):
        with pytest.raises(StructureError, match="preview expected samples of finite numbers") as refusal:
            preview()
        assert problem in str(refusal.value)


def chosen(editor, sample):
    return editor.select(editor.network.output_names[0]).preview("set", sample, bias=0.0)


def test_outputs_without_a_finite_change_are_refused():
    """Numbers that overflow say nothing of an edit."""
    editor = Editor(mlp((4, 3, 2), density=1.0, seed=0, batch_norm=False))
    with pytest.raises(StructureError, match="expected finite outputs before the edit"):
        editor.preview(SetValues(), np.full((1, 4), 1e308))
    steep = editor.select_connections().edit("set", weights=3e38)
    with pytest.raises(StructureError, match="expected finite outputs after the edit"):
        editor.preview(steep, np.full((1, 4), 1e300))
