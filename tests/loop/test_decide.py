"""The loop as a pure function: whatever comes of its actions, it ends, and its state is a fold over outcomes."""

import dis
import itertools
import json
import subprocess
import sys
from types import CodeType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from nestgraph.loop import decide as module
from nestgraph.loop.decide import decide, fold, share_done
from nestgraph.loop.decisions import (
    PHASES,
    Damage,
    Enter,
    Keep,
    Measured,
    Propose,
    Reached,
    Refuse,
    Shift,
    State,
    Stop,
    Train,
)
from nestgraph.recipes.recipe import parse_recipe
from nestgraph.snapshot.journal_entry import JournalEntry, JournalStep, read_entry
from nestgraph.snapshot.outcomes import Broke, Damaged, Outcome, Over, Proposed, Trained

FLOOR = 0.1
POLICIES = [{"kind": "magnitude_pruning"}, {"kind": "unit_pruning"}, {"kind": "magnitude_pruning", "fraction": 0.5}]
OUTCOME: TypeAdapter[Outcome] = TypeAdapter(Outcome)


@st.composite
def recipes(draw):
    policies, classes = POLICIES[: draw(st.integers(1, 3))], draw(st.booleans())
    given = draw(st.sampled_from([None, 0.5, 1.0]))
    target = {} if given is None else {"target_accuracy" if classes else "target": given}
    budget = draw(st.booleans())
    growers, hows = draw(st.integers(1, 2)), st.sampled_from(["in_turn", "side_by_side"])
    growth = {
        "policies": [{"kind": "connection_growth"}, {"kind": "neuron_growth"}][:growers],
        **({"proposals": draw(hows)} if growers > 1 else {}),
        "size_limit": draw(st.sampled_from([240, 150, 60, *([None] if budget else [])])),
        **target,
        "max_edits": draw(st.sampled_from([4, 2, 0])),
        "patience": draw(st.integers(1, 3)),
    }
    pruning = {
        "policies": policies,
        **(target if target and draw(st.booleans()) else {"tolerance": draw(st.sampled_from([0.0, 0.1, 1.0]))}),
        "epochs": draw(st.integers(1, 3)),
        "recovery_epochs": draw(st.integers(0, 4)),
        "smallest_step": draw(st.sampled_from([0.1, 0.3, 1.0])),
        "size_floor": draw(st.sampled_from([0, 40])),
        "max_edits": draw(st.integers(0, 6)),
        **({"back_off": draw(st.sampled_from(["all", "worst"]))} if len(policies) > 1 else {}),
        **({"proposals": draw(hows)} if len(policies) > 1 else {}),
    }
    retries = draw(st.integers(0, 2))
    return parse_recipe(
        json.dumps(
            {
                "name": "drawn",
                "data": {"name": "digits"},
                **({} if classes else {"task": {"kind": "regression", "goal": "r2"}}),
                "seed_network": {"kind": "mlp", "widths": [64, 10]},
                "training": {"retries": retries},
                "finish_epochs": draw(st.integers(0, 2)),
                "shift": {"epochs": draw(st.integers(0, 1))},
                "pruning": pruning,
                **({"growth": growth} if draw(st.integers(0, 2)) else {}),
                **({"budget": {"connections": 100}} if budget else {}),
            }
        ),
        "drawn.json",
    )


def outcome_of(draw, action, recipe):
    """Anything that may come of an action."""
    share = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
    match action:
        case Propose() | Shift():
            return Proposed(edits=draw(st.integers(0, 2)), title="an edit")
        case Train() if draw(st.integers(0, 3)):
            scores = dict.fromkeys(("accuracy", "r2"), draw(share))
            connections = draw(st.integers(1, 250))
            taken = connections / 100 if recipe.budget else None
            return Trained(loss=draw(share), scores=scores, connections=connections, share=taken)
        case Train():
            return Broke()
        case Damage(places, _):
            return Damaged(losses=tuple(draw(share) for _ in places))
        case _:
            return None


def lived(draw, recipe):
    """A whole run of drawn outcomes: the state, the outcome that led there and the actions, decision by decision."""
    steps, state, outcome = [], State(), None
    while state.awaits != "nothing":
        if state.awaits == "step" and not draw(st.integers(0, 20)):
            outcome = Over()
        state, actions = decide(recipe, FLOOR, state, outcome)
        outcomes = [outcome_of(draw, action, recipe) for action in actions]
        assert not any(outcomes[:-1])  # only the last action has an outcome
        steps.append((state, outcome, actions))
        outcome = outcomes[-1]
        assert len(steps) < 1000
    return steps


def journalled(outcome, number):
    """An outcome as a line of a journal has it, read again."""
    step = JournalStep(sequence=number, action="outcome", step=0, outcome=outcome, digest="0" * 64)
    line = JournalEntry.of(step).model_dump_json().encode()
    entry = read_entry(line, number, "journal.jsonl")
    assert entry.model_dump_json().encode() == line
    return entry.outcome


@settings(max_examples=80)
@given(st.data())
def test_a_run_ends_and_its_state_is_a_fold_over_outcomes_that_went_through_json(data):
    recipe = data.draw(recipes())
    steps, state = lived(data.draw, recipe), State()
    for expected, outcome, actions in steps:
        told = outcome and OUTCOME.validate_json(OUTCOME.dump_json(outcome))
        before = State.model_validate_json(state.model_dump_json())
        state, again = decide(recipe, FLOOR, before, told)
        assert (state, again) == (expected, actions)
    assert isinstance(steps[-1][2][-1], Stop)


@settings(max_examples=80)
@given(st.data())
def test_prefixes_of_a_journal_fold_to_the_states_of_their_points(data):
    recipe = data.draw(recipes())
    journal, points = [], 0
    for state, outcome, actions in lived(data.draw, recipe):
        if outcome is not None:
            journal.append(journalled(outcome, len(journal) + 1))
        if any(isinstance(action, Reached) for action in actions):
            assert fold(recipe, FLOOR, journal) == state
            points += 1
    assert points or not journal or isinstance(journal[-1], Broke | Over)
    last = fold(recipe, FLOOR, journal)
    assert last.counts == state.counts


@settings(max_examples=80)
@given(st.data())
def test_outcomes_of_another_run_are_no_state(data):
    recipe, kinds = data.draw(recipes()), [Broke(), Damaged(losses=()), Proposed(edits=1, title="an edit")]
    steps = lived(data.draw, recipe)
    outcomes = [outcome for _, outcome, _ in steps if outcome is not None and not isinstance(outcome, Over)]
    place = data.draw(st.integers(0, len(outcomes) - 1))
    strange = next(kind for kind in kinds if type(kind) not in (type(outcomes[place]), Broke))
    with pytest.raises(TypeError, match="expected an outcome"):
        fold(recipe, FLOOR, [*outcomes[:place], strange])


@settings(max_examples=80)
@given(st.data())
def test_phases_come_in_order_and_each_step_ends_where_the_run_can_go_on(data):
    steps = lived(data.draw, data.draw(recipes()))
    actions = [action for _, _, several in steps for action in several]
    entered = [action.phase for action in actions if isinstance(action, Enter)]
    assert tuple(entered) == PHASES[1 : len(entered) + 1]
    broken = actions[-1].broken
    stages = [action.stage for action in actions if isinstance(action, Keep)]
    assert stages == (["seed"] if broken else ["seed", "trained-seed", "grown", "final"])
    for state, _, several in steps:
        assert any(isinstance(action, Reached) for action in several) == (
            state.awaits == "step" and isinstance(several[-1], Reached)
        )


@settings(max_examples=80)
@given(st.data())
def test_what_stands_never_gets_worse_than_its_phase_allows_and_counts_are_those_of_the_actions(data):
    recipe = data.draw(recipes())
    steps = lived(data.draw, recipe)
    for (before, _, _), (after, _, actions) in itertools.pairwise(steps):
        kept = next((action.kept for action in actions if isinstance(action, Measured)), None)
        if any(isinstance(action, Refuse) for action in actions):
            assert (after.loss, after.goal, after.connections) == (before.loss, before.goal, before.connections)
            assert not kept
        elif kept and before.phase == "grow":
            assert after.loss < before.loss
        elif kept and before.phase == "prune":
            assert after.goal >= (before.target or 0) or (recipe.budget and before.share > 1)
        elif kept and before.phase == "finish":
            assert after.goal >= before.goal
            assert not recipe.budget or after.share <= 1 or before.share > 1
    counts = steps[-1][0].counts
    trained = [action for _, _, several in steps for action in several if isinstance(action, Train)]
    assert [action.number for action in trained] == list(range(counts.trainings))
    assert counts.diverged == sum(isinstance(outcome, Broke) for _, outcome, _ in steps)
    assert counts.retried <= counts.diverged


def test_pruning_goes_on_until_the_network_is_within_its_budget_and_then_ends():
    text = {
        "name": "drawn",
        "data": {"name": "digits"},
        "seed_network": {"kind": "mlp", "widths": [64, 10]},
        "growth": {"policies": [{"kind": "connection_growth"}]},
        "pruning": {"policies": [{"kind": "magnitude_pruning"}], "recovery_epochs": 0},
        "budget": {"flash": "2 KB"},
    }
    recipe, shares, outcome = parse_recipe(json.dumps(text), "x.json"), iter([1.0, 1.9, 2.1, 2.1, 1.5, 1.1, 0.9]), None
    state, seen = State(), []
    while state.awaits != "nothing":
        state, actions = decide(recipe, FLOOR, state, outcome)
        match actions[-1]:
            case Propose() | Shift():
                outcome = Proposed(edits=1, title="an edit")
            case Train():
                seen.append((state.phase, next(shares)))
                scores, worse = {"accuracy": 0.9 - len(seen) / 100}, 1 - len(seen) / 100
                outcome = Trained(loss=worse, scores=scores, connections=100, share=seen[-1][1])
            case _:
                outcome = None
    grown = [("seed", 1.0), ("grow", 1.9), ("grow", 2.1)]
    assert seen == [*grown, ("shift", 2.1), ("prune", 1.5), ("prune", 1.1), ("prune", 0.9)]
    assert state.counts.refused == 0


def test_every_branch_is_reached_by_drawn_outcomes_and_none_but_that_awaited_is_taken():
    codes, passed = {code: traced(code) for each in functions_of(module) for code in within(each)}, set()

    def follow(frame, *_):
        if frame.f_code not in codes:
            return None
        frame.f_trace_opcodes, before = True, [-1]

        def instruction(frame, event, _):
            if event == "opcode" and frame.f_lasti in codes[frame.f_code]:
                passed.add((frame.f_code, before[0], frame.f_lasti))
                before[0] = frame.f_lasti
            return instruction

        return instruction

    ways = {(code, *way) for code in codes for way in ways_of(code)}

    @settings(max_examples=300, database=None, derandomize=True)
    @given(st.data())
    def live(data):
        recipe, before = data.draw(recipes()), sys.gettrace()
        sys.settrace(before if ways <= passed else follow)  # what is found is not sought again: it takes the longest
        try:
            steps = lived(data.draw, recipe)
            for state, _, _ in steps:
                for first in (state.first, recipe.pruning.size_floor):  # nothing to prune in the second
                    share_done(recipe, state.model_copy(update={"first": first}))
                for wrong in (Damaged(losses=()), *([] if state.awaits == "training" else [Broke()])):
                    with pytest.raises(TypeError, match="expected an outcome"):
                        decide(recipe, FLOOR, state, wrong)
            fold(recipe, FLOOR, [outcome for _, outcome, _ in steps if outcome])
        finally:
            sys.settrace(before)

    live()
    assert len(ways) > 100
    missed = {(code.co_name, line_at(code, start), start, end) for code, start, end in ways - passed}
    assert missed == set()


def functions_of(module):
    return {each.__code__ for each in vars(module).values() if getattr(each, "__module__", "") == module.__name__}


def within(code: CodeType):
    """A function's code and that of what is defined in it."""
    yield code
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from within(each)


def traced(code: CodeType):
    """The offsets of its instructions, but for those that only mark where a branch goes on."""
    return {each.offset for each in dis.get_instructions(code) if each.opname != "NOT_TAKEN"}


def ways_of(code: CodeType):
    """Both ways on from each conditional jump; a `match` of two things asks whether they are two, which has one."""
    several = [each for each in dis.get_instructions(code) if each.opname != "NOT_TAKEN"]
    before = ""
    for one, following in itertools.pairwise(several):
        if "IF" in one.opname or one.opname == "FOR_ITER":
            yield one.offset, following.offset
            if not before.endswith(("MATCH_SEQUENCE", "GET_LEN,LOAD_CONST,COMPARE_OP")):
                yield one.offset, one.argval
        before = f"{before},{one.opname}"[-80:]


def line_at(code: CodeType, offset: int):
    return next(line for start, end, line in code.co_lines() if start <= offset < end)


def test_deciding_needs_no_torch():
    words = "import sys, nestgraph.loop.decide; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", words], check=True)
