"""The log of edits: what survives damage, what is refused, and that replay leads to the same networks."""

import errno
import hashlib
import json
import os
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.edits import Batch, Editor, RemoveLayer, RemoveUnits, SetValues
from nestgraph.errors import EditError, SnapshotError
from nestgraph.snapshot import JournalEntry, JournalWriter, Limits, read_journal, replay
from nestgraph.snapshot.journal_entry import JournalStep, Proposal, read_entry
from nestgraph.snapshot.outcomes import Broke
from tests.laws import quick
from tests.snapshot.test_files import chain
from tests.strategies import edits_for, networks
from tests.strategies.networks import EVERY

START = chain((3, 2, 1))
EDIT = SetValues(units={"l2": {"bias": np.array([0.5], np.float32)}})


def spelled(sequence, **changes):
    """A line whose checksum holds, although no writer would write it."""
    fields = json.loads(JournalStep(sequence=sequence, action="undo", digest=START.digest).model_dump_json()) | changes
    fields = {name: value for name, value in fields.items() if value is not None}
    text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return f'{text[:-1]},"checksum":"{checksum}"}}'.encode()


def write(path, *steps):
    """Carry out steps on the small network, each an edit or "undo" or "redo", and write them down."""
    editor = Editor(START)
    with JournalWriter(path) as journal:
        for step in steps:
            if isinstance(step, str):
                getattr(editor, step)()
                journal.append(step, editor.network.digest, note="because")
            else:
                editor.apply(step)
                journal.append("apply", editor.network.digest, step, phase="growth")
    return editor


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "journal.jsonl"
    write(path, RemoveUnits(layer="l0", units=[2]), EDIT, "undo", "redo")
    return path


@quick(50)
@given(st.data())
def test_replay_gives_the_same_networks_and_undo_leads_back(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    start = data.draw(networks(EVERY))
    editor, digests = Editor(start), []
    with JournalWriter(path) as journal:
        for _ in range(data.draw(st.integers(1, 5))):
            action = data.draw(st.sampled_from(("apply", "apply", "apply", "undo", "redo")))
            try:
                edit = data.draw(edits_for(editor.network)) if action == "apply" else None
                editor.apply(edit) if edit else getattr(editor, action)()
            except EditError:
                continue
            digests.append(editor.network.digest)
            journal.append(action, digests[-1], edit)
    entries = read_journal(path)
    assert [entry.digest for entry in entries] == digests
    again = replay(start, entries)
    assert again.network == editor.network
    assert again.history == editor.history
    for _ in again.history:
        again.undo()
    assert again.network.digest == start.digest


def test_entries_carry_what_was_written(path):
    entries = read_journal(path)
    assert [(e.sequence, e.action, e.phase, e.note) for e in entries] == [
        (1, "apply", "growth", ""),
        (2, "apply", "growth", ""),
        (3, "undo", "", "because"),
        (4, "redo", "", "because"),
    ]
    assert entries[1].edit == EDIT
    assert replay(START, entries).network.digest == entries[1].digest == entries[3].digest != entries[2].digest


def test_a_replay_can_go_on(path):
    entries = read_journal(path)
    editor = replay(START, entries[:2])
    assert replay(editor, entries[2:]) is editor
    assert editor.network.digest == entries[3].digest


def test_a_writer_continues(path):
    with JournalWriter(path) as journal:
        assert journal.next_sequence == 5
        journal.append("undo", START.digest)
    assert [entry.sequence for entry in read_journal(path)] == [1, 2, 3, 4, 5]


def test_every_cut_gives_the_whole_entries_before_it(path):
    data = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(data) if byte == ord("\n")]
    for length in sorted(
        {*range(0, len(data), 13), *ends, *(end - 1 for end in ends), *(end + 1 for end in ends[:-1])}
    ):
        path.write_bytes(data[:length])
        whole = sum(end <= length for end in ends)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert len(read_journal(path)) == whole
        torn = length not in (0, *ends)
        assert [str(w.message) for w in caught] == (
            [f"{path}: dropped line {whole + 1}, the last, which was cut short while written"] if torn else []
        )
        if torn:
            assert caught[0].filename == __file__


def test_a_writer_cuts_a_torn_line_off(path):
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    with pytest.warns(UserWarning, match="dropped line 4"), JournalWriter(path) as journal:
        journal.append("redo", read_journal(path)[1].digest, note="because")
    assert path.read_bytes() == data


@pytest.mark.parametrize("line", [0, 1, 3])
def test_an_altered_line_is_refused_with_its_number(path, line):
    lines = path.read_bytes().splitlines(keepends=True)
    for place in range(0, len(lines[line]) - 1, 3):
        broken = bytearray(lines[line])
        broken[place] ^= 1
        path.write_bytes(b"".join([*lines[:line], broken, *lines[line + 1 :]]))
        with pytest.raises(SnapshotError, match=rf"line ({line + 1}|{line + 2}): "):
            read_journal(path)
        with pytest.raises(SnapshotError):
            JournalWriter(path)


def test_missing_and_moved_lines_are_refused(path):
    first, second, third, fourth = path.read_bytes().splitlines(keepends=True)
    for lines, number, got in (
        ((second, third, fourth), 1, 2),
        ((first, third, fourth), 2, 3),
        ((first, second, fourth), 3, 4),
        ((first, first, second), 2, 1),
        ((second, first), 1, 2),
    ):
        path.write_bytes(b"".join(lines))
        with pytest.raises(
            SnapshotError, match=rf"line {number}: a line is missing .*expected sequence {number}, got {got}"
        ):
            read_journal(path)


def test_hostile_lines_are_refused(path):
    whole = path.read_bytes()
    for line, reason in (
        (b"\n", "line 5: line 1 column 1"),
        (b"\0" * 50 + b"\n", "line 5: "),
        (b"[" * 50 + b"\n", "nested at most 32 deep"),
        (b'{"sequence": 5, "sequence": 5}\n', "each key once"),
        (
            b'{"sequence": 5, "action": "exec"}\n',
            r"line 5: action: expected 'apply', 'undo', 'redo', 'propose' or 'outcome'",
        ),
        (whole.splitlines()[0] + b" {}\n", "Extra data"),
        (b'{"sequence":5,"version":3,"action":"exec"}\n', r"line 5: made by a newer nestgraph .*got 3\): update"),
        (spelled(5, version=None) + b"\n", r'line 5: expected a line from {"sequence":5,"version":2, to its checksum'),
        (spelled(5, note="\u00e9") + b" \n", r"line 5: expected a line from"),
    ):
        path.write_bytes(whole + line)
        with pytest.raises(SnapshotError, match=reason):
            read_journal(path)
    with pytest.raises(SnapshotError, match=r"line 1: too large \(expected at most 100 bytes"):
        read_journal(path, Limits(document_bytes=100))


def test_what_an_entry_says_fits_together():
    digest = START.digest
    step = JournalStep(sequence=1, action="undo", note="because", digest=digest)
    entry = JournalEntry.of(step)
    assert JournalEntry.model_validate_json(entry.model_dump_json()) == entry
    for change in ({"note": "other"}, {"sequence": 2}, {"digest": "0" * 64}, {"action": "redo"}):
        line = json.dumps({**json.loads(entry.model_dump_json()), **change}, separators=(",", ":"))
        with pytest.raises(SnapshotError, match="line 1: checksum: expected"):
            read_entry(line.encode(), 1, "journal.jsonl")
    proposals = (Proposal(policy="mine", scale=1.0, edit=Batch(edits=(EDIT,))),)
    for words, action, held in (
        ("an edit", "apply", {"edit": EDIT}),
        ("proposals", "propose", {"proposals": proposals}),
        ("an outcome", "outcome", {"outcome": Broke()}),
    ):
        assert JournalStep(sequence=1, action=action, digest=digest, **held).action == action
        with pytest.raises(
            ValueError, match=f"expected {words} with '{action}', and only there, got action '{action}'"
        ):
            JournalStep(sequence=1, action=action, digest=digest)
        for other in ("undo", "redo"):
            with pytest.raises(ValueError, match=f"expected {words} with '{action}', and only there, got"):
                JournalStep(sequence=1, action=other, digest=digest, **held)


def test_a_step_that_does_not_fit_is_not_written(path):
    before = path.read_bytes()
    with JournalWriter(path) as journal:
        for step, reason in (
            ({"action": "apply"}, "expected an edit"),
            ({"action": "undo", "note": "a\x1bb"}, "note: expected text without control"),
            ({"action": "undo", "digest": "no"}, "digest: "),
        ):
            with pytest.raises(SnapshotError, match=f"step 5: {reason}"):
                journal.append(**{"digest": START.digest, **step})
        assert path.read_bytes() == before
        journal.append("undo", START.digest)
    assert len(read_journal(path)) == 5


def test_a_line_that_would_be_refused_is_not_written(path):
    with (
        JournalWriter(path, Limits(document_bytes=2000)) as journal,
        pytest.raises(SnapshotError, match="step 5: too large"),
    ):
        journal.append("apply", START.digest, Batch(edits=(EDIT,) * 50))
    assert len(read_journal(path)) == 4


def test_replay_names_the_step_that_does_not_fit(path):
    entries = read_journal(path)
    with pytest.raises(SnapshotError, match=r"journal entry 1: expected a network with digest .* got"):
        replay(chain((3, 3, 1)), entries)
    with pytest.raises(SnapshotError, match=r"journal entry 3: undo expected an applied edit"):
        replay(START, entries[2:])
    gone = JournalEntry.of(JournalStep(sequence=7, action="apply", edit=RemoveLayer(layer="none"), digest=START.digest))
    with pytest.raises(SnapshotError, match=r"journal entry 7: .*'none'"):
        replay(START, [gone])


def test_a_write_that_fails_leaves_whole_entries(path, monkeypatch):
    journal = JournalWriter(path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(SnapshotError, match=r"cannot be written .*no space left"):
            journal.append("undo", START.digest)
    with pytest.raises(SnapshotError, match="closed"):
        journal.append("undo", START.digest)
    assert len(read_journal(path)) in (4, 5)
    with JournalWriter(path) as journal:
        journal.append("undo", START.digest)
    read_journal(path)


def test_each_entry_is_on_the_disk_when_append_returns(path, monkeypatch):
    sizes, real = [], os.fsync
    with JournalWriter(path) as journal:
        monkeypatch.setattr(os, "fsync", lambda file: (sizes.append(os.fstat(file).st_size), real(file)))
        journal.append("undo", START.digest)
        assert sizes == [path.stat().st_size]


def test_paths_that_cannot_be_journals(tmp_path):
    with pytest.raises(SnapshotError, match="no such file"):
        read_journal(tmp_path / "none")
    for place in (tmp_path, tmp_path / "none" / "journal", "a\0b"):
        with pytest.raises(SnapshotError):
            JournalWriter(place)


def test_a_journal_that_is_too_large_is_not_read(path):
    size = path.stat().st_size
    assert len(read_journal(path, Limits(journal_bytes=size))) == 4
    with pytest.raises(SnapshotError, match=rf"at most {size - 1:,} bytes, got {size:,}\): pass .* journal_bytes"):
        read_journal(path, Limits(journal_bytes=size - 1))
