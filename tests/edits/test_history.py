"""The tree of moments: whatever is done after an undo, every network that was there can be come back to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.edits import Editor
from nestgraph.errors import EditError
from tests.laws import fresh_digest, quick, unless_refused
from tests.strategies import edits_for, networks
from tests.strategies.networks import EVERY

ACTIONS = st.lists(st.sampled_from(("apply", "apply", "undo", "redo", "back_to")), max_size=10)


def grown(editor, actions, data):
    """Do all actions that are possible; each moment with the digest of its network, in the order of the moments."""
    kept = {editor.mark(): editor.network.digest}
    for action in actions:
        if action == "apply":
            edit = data.draw(edits_for(editor.network))
            if unless_refused(lambda edit=edit: editor.apply(edit)):
                kept[editor.mark()] = fresh_digest(editor.network)
        elif action == "back_to":
            editor.back_to(data.draw(st.sampled_from(editor.moments)))
        else:
            unless_refused(getattr(editor, action))
        assert editor.network.digest == kept[editor.mark()]
    return kept


@quick(30)
@given(network=networks(EVERY), actions=ACTIONS, data=st.data())
def test_nothing_is_dropped_and_every_moment_is_led_back_to(network, actions, data):
    editor = Editor(network)
    kept = grown(editor, actions, data)
    assert editor.moments == tuple(kept)
    for moment in data.draw(st.permutations(editor.moments)):
        assert fresh_digest(editor.back_to(moment)) == kept[moment]
        assert Editor(network).replay(editor.history).digest == kept[moment]
        path = len(editor.history)
        for _ in range(path):
            editor.undo()
        assert editor.network == network
        for _ in range(path):
            editor.redo()
        assert editor.mark() is moment


@quick(30)
@given(network=networks(EVERY), actions=ACTIONS, data=st.data())
def test_what_is_forgotten_is_what_did_not_come_after(network, actions, data):
    editor = Editor(network)
    kept = grown(editor, actions, data)
    now, before = editor.mark(), data.draw(st.sampled_from(editor.moments))
    after = {moment for moment in kept if leads_to(editor.branch(), moment, before)}
    if now not in after:
        with pytest.raises(EditError, match="of another branch"):
            editor.forget(before)
        return
    editor.forget(before)
    assert set(editor.moments) == after
    assert editor.network.digest == kept[now]
    for moment in editor.moments:
        assert fresh_digest(editor.back_to(moment)) == kept[moment]
    for moment in set(kept) - after:
        with pytest.raises(EditError, match="was let go"):
            editor.back_to(moment)


def leads_to(editor, moment, before):
    """Whether undo leads from one moment to another."""
    editor.back_to(moment)
    while editor.mark() is not before:
        if not editor.history:
            return False
        editor.undo()
    return True


@quick(10)
@given(network=networks(EVERY), data=st.data())
def test_a_moment_of_another_editor_is_refused(network, data):
    editor, other = Editor(network), Editor(network)
    grown(other, ["apply", "apply"], data)
    for moment in other.moments:
        with pytest.raises(EditError, match="expected a moment of this editor"):
            editor.back_to(moment)
    for wrong in (None, 3, "first"):
        with pytest.raises(EditError, match="back_to expected"):
            editor.back_to(wrong)
    twin = editor.branch()
    assert twin.back_to(editor.mark()) == network
