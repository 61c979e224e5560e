"""Folders of runs that earlier versions wrote: all readers take them, and what they say is what today's would say.

`examples/version-1` is a run of a tiny perceptron on the digits, written by commit f524819 without its pictures.
"""

import shutil
from pathlib import Path

import pytest

from nestgraph.edits import Batch
from nestgraph.errors import SnapshotError
from nestgraph.reporting import report
from nestgraph.reporting.collect import collect
from nestgraph.reporting.moments import moments
from nestgraph.runs.records import Records
from nestgraph.runs.run import Run
from nestgraph.runs.run_files import MANIFEST, read_manifest
from nestgraph.snapshot import JournalWriter, Proposal, read_journal, replay, sha256_of

PAST = Path(__file__).parent / "examples" / "version-1"


def test_the_journal_leads_to_the_networks_of_the_run():
    run = Run.read(PAST)
    entries = read_journal(PAST / "journal.jsonl")
    assert {entry.version for entry in entries} == {1}
    assert replay(run.stage("seed"), entries).network == run.network
    assert run.editor().network == run.network
    assert run.result.stages[-1].digest == run.network.digest


def test_moments_are_those_of_the_metrics():
    records = Records.read(PAST)
    told = [moment.row.step for moment in moments(records) if moment.row]
    assert told == [row.step for row in records.accepted] == [0, 1, 2, 3, 4, 5, 6]
    titles = [[part.proposal.title for part in moment.parts if part.proposal.reasons] for moment in moments(records)]
    assert [sorted(set(found)) for found in titles[2:]] == [
        ["grow 22 connections"],
        ["grow 1 neurons"],
        ["grow 26 connections"],
        ["grow 1 neurons"],
        [],
        ["prune 77 connections"],
    ]
    assert [(entry.step, one.policy) for entry, one in records.idle] == [(s, "unit_pruning") for s in (6, 7, 8, 9)]


def test_the_report_is_that_of_the_version_that_wrote_it(tmp_path):
    found = collect(PAST)
    thresholds = [each for moment in found["moments"] for each in moment["thresholds"]]
    assert [(each["edit"], each.get("woken"), each.get("pruned"), each["measure"]) for each in thresholds] == [
        ("grow 22 connections", 19, None, "|gradient|"),
        ("grow 22 connections", 3, None, "|gradient|"),
        ("grow 26 connections", 22, None, "|gradient|"),
        ("grow 26 connections", 4, None, "|gradient|"),
        ("prune 77 connections", None, 64, "|effective weight|"),
        ("prune 77 connections", None, 13, "|effective weight|"),
    ]
    (hidden,) = (layer for layer in found["layers"] if layer["name"] == "fc1")
    born = [why for why, _ in hidden["why"] if why.startswith("grow")]
    assert born == [
        "grow 1 neurons: born with 22 connections in and 7 connections out; sum of 32 |bridging gradients|: 2.08, "
        "the next best 1.29",
        "grow 1 neurons: born with 20 connections in and 6 connections out; sum of 32 |bridging gradients|: 1.37, "
        "the next best 0.921",
    ]
    assert "unit_pruning proposed nothing: a share of 0.0125" in report(PAST, tmp_path / "report.html").read_text()


def test_the_run_is_shown_and_tabulated(tmp_path):
    place = shutil.copytree(PAST, tmp_path / "old")
    shown = Run.read(place)._repr_mimebundle_()["text/plain"]
    assert "final: 115 connections, test 68.25%" in shown


def rewritten(folder):
    """Write the journal of an old run as a run of today would have: with steps, and with what was proposed at them."""
    old, step, phase, idle = read_journal(folder / "journal.jsonl"), -1, "", list[Proposal]()
    (folder / "journal.jsonl").unlink()
    with JournalWriter(folder / "journal.jsonl") as journal:
        for entry in old:
            if entry.action == "propose":
                idle += entry.proposals
                continue
            if entry.action == "apply" and (isinstance(entry.edit, Batch) or entry.phase != phase):
                step, phase = step + 1, entry.phase
            if isinstance(entry.edit, Batch) and phase in ("grow", "prune"):
                made = [Proposal(policy="mine", scale=1.0, edit=batch) for batch in entry.edit.edits]
                journal.append("propose", entry.digest, phase=phase, step=step, proposals=[*made, *idle])
                idle.clear()
            else:
                journal.append(entry.action, entry.digest, entry.edit, phase, entry.note, step)


def test_what_is_guessed_of_an_old_journal_is_what_one_of_today_says(tmp_path):
    place = shutil.copytree(PAST, tmp_path / "run")
    rewritten(place)
    manifest = read_manifest(place)
    summed = sha256_of(place / "journal.jsonl")
    (place / MANIFEST).write_text(
        manifest.model_copy(update={"files": {**manifest.files, "journal.jsonl": summed}}).model_dump_json()
    )
    before, now = Records.read(PAST), Records.read(place)
    assert {entry.version for entry in now.entries} == {2}
    assert [[entry.digest for entry in step] for step in now.steps] == [[e.digest for e in s] for s in before.steps]
    assert collect(place) == collect(PAST)
    assert Run.read(place).editor().network == Run.read(PAST).network


def test_a_step_of_another_row_is_found(tmp_path):
    place = shutil.copytree(PAST, tmp_path / "run")
    rewritten(place)
    (place / MANIFEST).unlink()
    rows = (place / "metrics.jsonl").read_text().replace('"accepted":false', '"accepted":true', 1).splitlines()
    rows[6] = rows[6].replace('"accepted":true', '"accepted":false')
    (place / "metrics.jsonl").write_text("\n".join(rows) + "\n")
    with pytest.raises(SnapshotError, match=r"step 7 in metrics\.jsonl, 6 in line \d+ of journal\.jsonl"):
        Records.read(place)


def test_no_journal_is_gone_on_with_in_another_version(tmp_path):
    place = shutil.copy(PAST / "journal.jsonl", tmp_path)
    before = Path(place).read_bytes()
    with pytest.raises(SnapshotError, match="expected a journal of version 2, got one of version 1: it can be read"):
        JournalWriter(place)
    assert Path(place).read_bytes() == before
    lines = before.splitlines(keepends=True)
    rewritten(tmp_path)
    today = Path(place).read_bytes().splitlines(keepends=True)
    for mixed, number in (([*lines[:3], *today[3:]], 4), ([*today[:3], *lines[3:]], 4)):
        Path(place).write_bytes(b"".join(mixed))
        with pytest.raises(SnapshotError, match=f"line {number}: "):
            read_journal(place)
