"""A policy that proposes nothing at a step of a run: the journal says which, when and why, and all else goes on."""

import shutil
from io import StringIO
from typing import ClassVar, Literal

import pytest
from rich.console import Console

from nestgraph.cli.live_display import RunDisplay
from nestgraph.edits import Batch
from nestgraph.errors import EditError, SnapshotError
from nestgraph.loop.resuming import resume
from nestgraph.loop.synthesis import synthesize
from nestgraph.policies import MagnitudePruning, MapGrowth, NeuronGrowth, Policy
from nestgraph.reporting import report
from nestgraph.runs import run_folder
from nestgraph.runs.interruption import Interrupted
from nestgraph.runs.records import Records
from nestgraph.snapshot import read_journal, replay
from nestgraph.snapshot.journal_entry import JournalStep
from tests.loop.test_resuming import contents, interrupt_in
from tests.runs.test_run_folders import SHORT


class Silent(Policy):
    """Finds nothing and does not say why."""

    kind: Literal["silent"] = "silent"
    needs: ClassVar = frozenset()

    def propose(self, *_, **__):
        return Batch(edits=())


class Failing(Policy):
    """Would cut an output off, and says so in characters that no text has."""

    kind: Literal["failing"] = "failing"
    needs: ClassVar = frozenset()

    def propose(self, *_, **__):
        raise EditError("output 3\n would\x00lose \u202eits last path " + "far " * 100)


def idle_recipe():
    """Growth that finds nothing twice; in pruning two policies of three find nothing."""
    growth = NeuronGrowth(limit=1), MapGrowth()
    pruning = MagnitudePruning(fraction=0.1), Silent(), Failing()
    return SHORT.model_copy(
        update={
            "growth": SHORT.growth.model_copy(update={"policies": growth, "max_edits": 2}),
            "pruning": SHORT.pruning.model_copy(update={"policies": pruning}),
        }
    )


@pytest.fixture(scope="module", autouse=True)
def plain():
    with pytest.MonkeyPatch.context() as patch:
        for picture in ("draw_stage", "draw_run"):
            patch.setattr(run_folder, picture, lambda *_: None)
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return synthesize(idle_recipe(), tmp_path_factory.mktemp("idle") / "run", seed=3)


def test_the_journal_says_which_policy_found_nothing_when_and_why(whole):
    entries = read_journal(whole.folder / "journal.jsonl")
    found = [(entry, one) for entry in entries for one in entry.proposals if one.idle]
    assert [(entry.phase, one.policy, entry.step, one.scale) for entry, one in found] == [
        ("grow", "neuron_growth", 1, 1.0),
        ("grow", "map_growth", 1, 1.0),
        ("prune", "silent", 2, 1.0),
        ("prune", "failing", 2, 1.0),
    ]
    limit, maps, silent, failing = (one.edit.title for _, one in found)
    assert limit == "each layer that can be bridged has its limit of 1 units"
    assert maps == "no hidden layer is one of maps"
    assert silent == "it gave no reason"
    assert failing.startswith("output 3 would lose its last path far far")
    assert len(failing) == 256
    assert [(row.step, row.phase) for row in whole.metrics] == [(0, "seed"), (1, "shift"), (2, "prune")]


def test_observers_are_told_with_the_next_row(tmp_path, whole):
    told, display, lines = [], RunDisplay(), StringIO()

    def observe(row, _left):
        told.append((row.step, [one.policy for one in row.idle]))
        display.add(row)

    synthesize(idle_recipe(), tmp_path / "run", seed=3, progress=observe)
    assert told == [(0, []), (1, ["neuron_growth", "map_growth"]), (2, ["silent", "failing"])]
    Console(file=lines, width=120).print(display)
    assert "nothing  silent proposed nothing: it gave no reason" in lines.getvalue()
    assert b"idle" not in (whole.folder / "metrics.jsonl").read_bytes()


def test_every_reader_takes_such_a_run(whole, tmp_path):
    assert whole.editor().network == whole.network
    assert len(Records.read(whole.folder).idle) == 4
    page = report(whole.folder, tmp_path / "report.html").read_text()
    for words in ("neuron_growth proposed nothing: each layer that can be bridged", "silent proposed nothing"):
        assert words in page
    assert "4 proposals of nothing" in page


@pytest.mark.parametrize("phase", ["shift", "prune"])
def test_it_is_resumed_to_the_same_bytes(whole, tmp_path, phase):
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        synthesize(idle_recipe(), folder, seed=3, progress=interrupt_in(phase), save_every=0)
    resume(folder, policies=[Silent, Failing])
    assert contents(folder) == contents(whole.folder)


def test_what_policies_propose_is_one_line_a_step_whether_it_is_something_or_nothing(whole):
    entries = [entry for entry in read_journal(whole.folder / "journal.jsonl") if entry.action == "propose"]
    asked = [(entry.step, [one.policy for one in entry.proposals]) for entry in entries]
    assert asked[:3] == [(1, ["neuron_growth"]), (1, ["map_growth"]), (2, ["magnitude_pruning", "silent", "failing"])]
    assert [entry.applied is None for entry in entries[:3]] == [True, True, False]
    assert entries[2].applied.edits == (entries[2].proposals[0].edit,)
    assert entries[2].applied.words == entries[2].proposals[0].edit.words == whole.metrics[2].edit


def test_a_proposal_of_another_network_is_found(whole, tmp_path):
    folder = shutil.copytree(whole.folder, tmp_path / "run")
    entries = read_journal(folder / "journal.jsonl")
    place = next(place for place, entry in enumerate(entries) if entry.proposals)
    fields = {name: getattr(entries[place], name) for name in JournalStep.model_fields}
    step = JournalStep(**fields | {"digest": "0" * 64})
    entries[place] = type(entries[place]).of(step)
    with pytest.raises(SnapshotError, match=f"journal entry {place + 1}: expected a network with digest"):
        replay(whole.stage("seed"), entries)
