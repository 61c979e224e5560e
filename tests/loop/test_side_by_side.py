"""Policies that propose side by side: one step of all, in any order, and what does not go together is left out."""

import json
from io import StringIO
from typing import Literal

import numpy as np
import pytest
from rich.console import Console

from nestgraph.cli.live_display import RunDisplay
from nestgraph.edits import Batch, Reason, RemoveUnits, prune_connections, remove_units
from nestgraph.errors import RecipeError
from nestgraph.loop.in_memory import in_memory
from nestgraph.loop.resuming import resume
from nestgraph.loop.synthesis import synthesize, trainer_of
from nestgraph.policies import (
    ConnectionGrowth,
    MagnitudePruning,
    NeuronGrowth,
    Policy,
    RandomGrowth,
    UnitPruning,
)
from nestgraph.recipes.recipe import parse_recipe
from nestgraph.reporting import report
from nestgraph.runs.interruption import Interrupted
from nestgraph.runs.records import Records
from nestgraph.snapshot import read_journal
from tests.loop.test_resuming import contents, interrupt_in
from tests.loop.test_synthesis import TINY, varied
from tests.runs.plain import plain  # noqa: F401  (a fixture of all tests here)


class Half(Policy):
    """Takes every second connection into one unit, so that two of it leave that unit nothing to read."""

    kind: Literal["half"] = "half"
    side: int = 0

    def propose(self, network, *_, **__):
        mask = network.connection_columns("input_to_fc1").mask
        edit = prune_connections(network, {"input_to_fc1": np.flatnonzero(mask[0])[self.side :: 2]})
        reason = Reason(place="input_to_fc1", measure="half", value=self.side)
        return edit.model_copy(update={"reasons": (reason,)})


class Gone(Policy):
    """Removes a unit."""

    kind: Literal["gone"] = "gone"

    def propose(self, network, *_, **__):
        return remove_units(network, "fc1", network.units("fc1")[:1])


class Misfit(Policy):
    """Proposes what does not fit."""

    kind: Literal["misfit"] = "misfit"

    def propose(self, *_, **__):
        return Batch(edits=(RemoveUnits(layer="fc1", units=[999]),))


class Cutting(MagnitudePruning):
    """Takes all connections into outputs but one of each, which is another one for each policy of this kind."""

    kind: Literal["cutting"] = "cutting"
    first: bool = True

    def strength(self, network, projection, *_):
        rank = np.arange(network.connection_columns(projection).mask.shape[1], dtype=float)
        return np.broadcast_to(rank if self.first else -rank, network.connection_columns(projection).mask.shape) + 99


GROWTH = (
    ConnectionGrowth(fraction=0.05, weight="gradient"),
    NeuronGrowth(units=2),
    NeuronGrowth(rule="rank_one"),
)
PRUNING = (MagnitudePruning(fraction=0.2, projections=("fc1_to_output",)), Half(side=1), Half())
HOWS = ("in_turn", "side_by_side")
CLASHING = (RandomGrowth(fraction=0.3, weight="random"), ConnectionGrowth(fraction=0.3, weight="gradient"))


def recipe_of(growth=GROWTH, pruning=PRUNING, how="side_by_side"):
    """A short run whose policies propose side by side, and whose steps are kept."""
    recipe = varied(
        seed_epochs=1,
        finish_epochs=0,
        seed_network={"density": 0.6},
        training={"batch_size": 256},
        growth={"max_edits": 1, "evidence_batches": 1, "size_limit": 900},
        pruning={"max_edits": 1, "tolerance": 1.0, "activity_batches": 1},
    )
    given = {"growth": {"policies": growth, "proposals": how}, "pruning": {"policies": pruning, "proposals": how}}
    sections = {name: getattr(recipe, name).model_copy(update=options) for name, options in given.items()}
    return recipe.model_copy(update=sections)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return synthesize(recipe_of(), tmp_path_factory.mktemp("whole") / "run", seed=3)


def proposed(run):
    """What was proposed at each step."""
    return [entry for entry in read_journal(run.folder / "journal.jsonl") if entry.action == "propose"]


def test_a_step_is_one_line_that_says_what_came_from_which_policy_and_why(whole):
    grown, pruned = proposed(whole)
    assert [one.policy for one in grown.proposals] == ["connection_growth", "neuron_growth", "neuron_growth"]
    assert [one.policy for one in pruned.proposals] == ["half", "half", "magnitude_pruning", ""]
    for one in (*grown.proposals, *pruned.proposals[:-1]):
        assert one.edit.edits
        assert one.edit.reasons
        assert not one.left_out
    assert whole.metrics[1].edit == ", ".join(one.edit.title for one in grown.proposals)
    rest = pruned.proposals[-1].edit
    assert rest.title == "remove what they leave without a path together"
    assert [part.kind for part in rest.edits] == ["set_values", "remove_units"]


def test_new_units_keep_their_reasons_though_others_take_their_ids(whole):
    grown, _ = proposed(whole)
    born = [[unit for part in one.edit.edits for unit in part.ids.tolist()] for one in grown.proposals[1:]]
    assert [[reason.unit for reason in one.edit.reasons] for one in grown.proposals[1:]] == born
    assert len({unit for units in born for unit in units}) == sum(map(len, born)) == 3


def test_a_joined_step_replays_and_is_read_in_reports(whole, tmp_path):
    assert whole.editor().network == whole.network
    assert not Records.read(whole.folder).idle
    page = report(whole.folder, tmp_path / "report.html").read_text()
    assert "remove what they leave without a path together" in page
    assert "left out" not in page.split("What is left out")[0]


@pytest.mark.parametrize(("growth", "pruning"), [(GROWTH[::-1], PRUNING[1:] + PRUNING[:1])])
def test_policies_come_in_any_order(whole, tmp_path, growth, pruning):
    other = synthesize(recipe_of(growth, pruning), tmp_path / "run", seed=3)
    assert contents(other.folder)["journal.jsonl"] == contents(whole.folder)["journal.jsonl"]
    assert other.network == whole.network
    turned = synthesize(recipe_of(GROWTH[:1], PRUNING, "in_turn"), tmp_path / "turned", seed=3)
    assert [one.policy for one in proposed(turned)[-1].proposals] == [each.kind for each in PRUNING]


@pytest.mark.parametrize("phase", ["grow", "shift", "prune"])
def test_it_is_resumed_to_the_same_bytes(whole, tmp_path, phase):
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        synthesize(recipe_of(), folder, seed=3, progress=interrupt_in(phase), save_every=0)
    resume(folder, policies=[Half])
    assert contents(folder) == contents(whole.folder)


def test_runs_in_memory_do_the_same(whole):
    recipe = recipe_of()
    assert in_memory(recipe, trainer_of(recipe, 3, "cpu")).network == whole.network


def test_of_two_that_do_not_go_together_the_later_is_left_out_and_both_sides_are_told(tmp_path):
    told, display, lines = [], RunDisplay(), StringIO()

    def observe(row, _left):
        told.extend(one.policy for one in row.idle)
        display.add(row)

    run = synthesize(recipe_of(growth=CLASHING), tmp_path / "run", seed=3, progress=observe)
    kept, out = sorted(proposed(run)[0].proposals, key=lambda one: one.idle)
    assert (kept.policy, out.policy) == ("random_growth", "connection_growth")
    assert out.edit.title.startswith("grow ")
    assert out.edit.reasons
    for words in ("weight of 'input_to_fc1' at unit", "(|gradient| ", ") in connection_growth, ", "(a random number "):
        assert words in out.left_out
    assert told == ["connection_growth"]
    Console(file=lines, width=120).print(display)
    assert "left out  connection_growth proposed grow" in lines.getvalue()
    page = report(run.folder, tmp_path / "report.html").read_text()
    assert "1 proposals left out" in page
    assert "which was left out: weight of &#39;input_to_fc1&#39;" in page
    assert run.editor().network == run.network
    swapped = synthesize(recipe_of(growth=CLASHING[::-1]), tmp_path / "swapped", seed=3)
    assert [one.policy for one in proposed(swapped)[0].proposals if one.left_out] == ["random_growth"]


def test_policies_of_ones_own_that_together_cut_an_output_off(tmp_path):
    cutting = tuple(Cutting(fraction=0.99, projections=("fc1_to_output",), first=first) for first in (True, False))
    run = synthesize(recipe_of(pruning=cutting), tmp_path / "run", seed=3)
    kept, out = sorted(proposed(run)[-1].proposals[:2], key=lambda one: one.idle)
    assert kept.edit.edits
    assert out.left_out.startswith("beside the cutting before it: output unit ('output', ")
    assert run.editor().network == run.network


def test_what_another_does_already_is_left_out(tmp_path):
    run = synthesize(recipe_of(pruning=(Gone(), Gone())), tmp_path / "run", seed=3)
    assert [one.left_out for one in proposed(run)[-1].proposals] == ["", "those of others do all of it"]


def test_a_policy_that_alone_finds_something_proposes_what_it_does_in_turn(tmp_path):
    pruning = (PRUNING[1], Misfit())
    one, other = (synthesize(recipe_of(GROWTH[:1], pruning, how), tmp_path / how, seed=3) for how in HOWS)
    assert contents(one.folder)["journal.jsonl"] == contents(other.folder)["journal.jsonl"]
    half, misfit = proposed(other)[-1].proposals
    assert half.edit.edits
    assert misfit.idle
    assert not misfit.left_out
    assert misfit.edit.title.startswith("RemoveUnits on layer 'fc1': expected distinct living unit ids, got 999")


def test_the_choice_is_left_out_of_recipes_where_it_is_the_usual_one():
    assert "proposals" not in TINY.model_dump_json()
    assert "proposals" not in recipe_of(how="in_turn").text
    recipe = recipe_of(pruning=(PRUNING[0], UnitPruning()))
    assert recipe.document["growth"]["proposals"] == recipe.document["pruning"]["proposals"] == "side_by_side"
    assert parse_recipe(recipe.text, "again.json") == recipe
    for section in ("growth", "pruning"):
        one = recipe.document
        del one[section]["policies"][1:]
        with pytest.raises(RecipeError, match=f"{section}.proposals: does nothing without several policies"):
            parse_recipe(json.dumps(one), "one.json")
