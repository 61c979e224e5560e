"""NeST's loop in time as a pure function: seed, grow, shift, prune, finish (method.md, sections 3 to 8)."""

import math
from collections.abc import Collection, Iterable
from typing import Any, cast

from nestgraph.loop.decisions import (
    PHASES,
    Accept,
    Action,
    Damage,
    Enter,
    Keep,
    Measured,
    Phase,
    Propose,
    Reached,
    Refuse,
    Retry,
    Shift,
    Stage,
    State,
    Stop,
    Train,
)
from nestgraph.recipes.recipe import GrowthOptions, Recipe
from nestgraph.runs.run import Remedy
from nestgraph.snapshot.outcomes import Broke, Damaged, Outcome, Over, Proposed, Trained
from nestgraph.spec.metrics import LOSS

Decision = tuple[State, tuple[Action, ...]]
LEFT: dict[Phase, Stage] = {"seed": "trained-seed", "grow": "grown", "finish": "final"}
"""The stages of a run, by the phase after which its network is one."""


def decide(recipe: Recipe, floor: float, state: State, outcome: Outcome | None = None) -> Decision:
    """The next state of a run, and what to do in it.

    Pure and total: without files, clock, torch or random numbers, so a run is a fold of this over its outcomes.

    Args:
        recipe: all choices of the run.
        floor: the goal of a constant answer on the validation split.
        state: what the last decision gave; `State()` at first.
        outcome: of its last action, where that has one.

    Raises:
        TypeError: the outcome is not of the kind that the state awaits.
    """
    match state.awaits, outcome:
        case "step", None | Over():
            return _step(recipe, _with(state, over=state.over or outcome is not None))
        case "proposal", Proposed():
            return _try(recipe, floor, _with(state, title=outcome.title, edits=outcome.edits))
        case "training", Broke():
            return _broken(recipe, floor, state)
        case "training", Trained():
            return _trained(recipe, floor, state, outcome)
        case "damages", Damaged() if len(outcome.losses) == len(state.working):
            places, losses = state.working, outcome.losses
            return _backed_off(recipe, state, {places[losses.index(max(losses))]})
        case awaited, got:
            raise TypeError(f"a run that awaits {awaited!r} expected an outcome of it, got {got!r}")


def fold(recipe: Recipe, floor: float, outcomes: Iterable[Outcome]) -> State:
    """The state of a run, from what came of its actions so far.

    Args:
        recipe: all choices of the run.
        floor: the goal of a constant answer on the validation split.
        outcomes: in order, as its journal has them.

    Raises:
        TypeError: they are not those of a run of this recipe.
    """
    state = State()
    for outcome in outcomes:
        if state.awaits == "step" and not isinstance(outcome, Over):
            state, _ = decide(recipe, floor, state)  # nothing came of what was before: a step was chosen
        state, _ = decide(recipe, floor, state, outcome)
    return state


def share_done(recipe: Recipe, state: State) -> float | None:
    """The share of its phase that a run has done; None where that is unknown."""
    growth, least, first, now = recipe.growth, recipe.pruning.size_floor, state.first, state.connections
    if growth and growth.size_limit and state.phase == "grow":
        return (now - first) / (growth.size_limit - first)
    if state.phase == "prune" and first > least > 0:  # each step takes a part of what is left, so they go with the log
        return math.log(first / now) / math.log(first / least)
    return None


# -- choosing a step ---------------------------------------------------------------------------------


def _step(recipe: Recipe, state: State) -> Decision:
    """The next step of the phase, or the first of the next one."""
    growth, pruning, first = recipe.growth, recipe.pruning, state.number == 0
    match state.phase:
        case "seed" if first:
            return _train(recipe, _tried(state, "train the seed", recipe.seed_epochs), Keep("seed"))
        case "grow" | "shift" | "prune" | "finish" if state.over:
            return _leave(recipe, state)
        case "grow" if growth and _grows(recipe, growth, state):
            return _proposal(state, _growth(growth, state))
        case "shift" if first:
            return _proposal(state, Shift())
        case "prune" if state.number < pruning.max_edits and _too_large(recipe, state) and state.working:
            return _proposal(state, Propose(*_working(state), pruning.proposals))
        case "finish" if first and recipe.finish_epochs:
            return _train(recipe, _tried(state, "last training", recipe.finish_epochs))
        case "report":
            return _with(state, awaits="nothing"), (Stop(),)
        case _:
            return _leave(recipe, state)


def _grows(recipe: Recipe, options: GrowthOptions, state: State) -> bool:
    target, budget = recipe.growth_target, recipe.budget
    return (
        state.number < options.max_edits
        and state.misses < options.patience
        and (options.size_limit is None or state.connections < options.size_limit)
        and (budget is None or cast(float, state.share) < budget.overshoot)
        and (target is None or state.goal < target)
    )


def _too_large(recipe: Recipe, state: State) -> bool:
    """Whether pruning goes on: until the network is within its budget, or else down to its floor."""
    if recipe.budget is not None:
        return cast(float, state.share) > 1  # the seed was measured
    return state.connections > recipe.pruning.size_floor


def _growth(options: GrowthOptions, state: State) -> Propose:
    """One policy after the other, or all of them at each step."""
    count = len(options.policies)
    if options.proposals == "in_turn":
        return Propose((state.number % count,), (1.0,))
    return Propose(tuple(range(count)), (1.0,) * count, options.proposals)


def _leave(recipe: Recipe, state: State) -> Decision:
    """Keep what the phase led to, and choose the first step of the next one."""
    phase, kept = PHASES[PHASES.index(state.phase) + 1], LEFT.get(state.phase)
    begun: dict[str, Any] = {"number": 0, "first": state.connections, "misses": 0, "target": None, "scales": ()}
    if phase == "prune":
        options, given = recipe.pruning, recipe.pruning_target
        begun["target"] = recipe.task.aim.lowered(state.goal, options.tolerance) if given is None else given
        begun["scales"] = (1.0,) * len(options.policies)
    state, actions = _step(recipe, _with(state, phase=phase, **begun))
    return state, (*((Keep(kept),) if kept else ()), Enter(phase), *actions)


# -- trying it ---------------------------------------------------------------------------------------


def _proposal(state: State, action: Action) -> Decision:
    return _with(state, awaits="proposal"), (action,)


def _try(recipe: Recipe, floor: float, state: State) -> Decision:
    """Train what was proposed. Where that is nothing there is nothing to train for, but after a shift."""
    growth, pruning, shift = recipe.growth, recipe.pruning, recipe.shift
    epochs = {"grow": growth.epochs if growth else 0, "prune": pruning.epochs, "shift": shift.epochs}[state.phase]
    if state.edits or (state.phase == "shift" and epochs):
        return _train(recipe, _tried(state, state.title, epochs, state.edits))
    return _conclude(recipe, floor, state, None)


def _train(recipe: Recipe, state: State, *before: Action) -> Decision:
    """Train a step from its beginning, the first time or again at a lower rate."""
    options, trial = recipe.training, state.trial
    last: Remedy = "ended the run" if state.phase == "seed" else "taken back"
    otherwise: Remedy = "tried again" if trial < options.retries else last
    action = Train(state.epochs, state.counts.trainings, options.retry_rate**trial, otherwise)
    return _counted(_with(state, awaits="training"), trainings=1), (*before, action)


def _broken(recipe: Recipe, floor: float, state: State) -> Decision:
    """Train again; else take the step back; a seed that does not train ends the run."""
    state = _counted(state, diverged=1)
    if not state.recovery and state.trial < recipe.training.retries:
        again = _counted(_with(state, trial=state.trial + 1), retried=1)
        return _train(recipe, again, Retry())
    if state.phase == "seed":
        return _with(state, awaits="nothing"), (Stop(broken=True),)
    return _conclude(recipe, floor, state, None)


def _trained(recipe: Recipe, floor: float, state: State, outcome: Trained) -> Decision:
    """Train on what fell below the target of pruning, within the recovery budget; else decide."""
    options = recipe.pruning
    left = options.recovery_epochs - state.recovery
    if state.phase == "prune" and not _on_target(recipe, state, outcome) and left > 0:
        epochs = min(options.epochs, left)
        action = Train(epochs, state.counts.trainings, 1.0, "taken back", on=True)
        return _counted(_with(state, recovery=state.recovery + epochs), trainings=1), (action,)
    return _conclude(recipe, floor, state, outcome)


# -- deciding ----------------------------------------------------------------------------------------


def _kept(recipe: Recipe, floor: float, state: State, tried: Trained) -> bool:
    """Whether a step is kept."""
    match state.phase:
        case "grow":
            return tried.loss < state.loss
        case "shift":
            return not _collapsed(recipe, floor, state, tried)
        case "prune" if recipe.budget is not None:  # what does not fit is of no use, however good
            return not _collapsed(recipe, floor, state, tried)
        case "prune":
            return _on_target(recipe, state, tried)
        case "finish":
            return _goal(recipe, tried) >= state.goal and (_fits(tried.share) or not _fits(state.share))
        case _:
            return True


def _on_target(recipe: Recipe, state: State, tried: Trained) -> bool:
    return _goal(recipe, tried) >= cast(float, state.target)  # which the phase began with


def _fits(share: float | None) -> bool:
    return share is None or share <= 1


def _collapsed(recipe: Recipe, floor: float, state: State, tried: Trained) -> bool:
    """Whether the network is no better than a constant answer where it was before."""
    return _goal(recipe, tried) <= floor < state.goal


def _goal(recipe: Recipe, tried: Trained) -> float:
    return recipe.task.aim.value({**tried.scores, LOSS: tried.loss})


def _conclude(recipe: Recipe, floor: float, state: State, tried: Trained | None) -> Decision:
    """Keep a step or take it back; `tried` is None where there was nothing to do or training broke down."""
    kept = tried is not None and _kept(recipe, floor, state, tried)
    actions: list[Action] = []
    if tried is not None:
        collapsed = not kept and _collapsed(recipe, floor, state, tried)
        actions.append(Measured(state.title, kept, collapsed))
        state = _counted(state, collapsed=int(collapsed))
    actions.append(Accept() if kept else Refuse(state.title))
    if tried is not None and kept:
        state = _with(state, loss=tried.loss, goal=_goal(recipe, tried))
        state = _with(state, connections=tried.connections, share=tried.share)
        state = _counted(state, edits=int(state.edits > 0))
    else:
        state = _counted(state, refused=int(tried is not None or state.edits > 0))
    state = _with(state, awaits="step", number=state.number + 1, misses=0 if kept else state.misses + 1)
    if state.phase == "prune" and not kept:
        after, more = _back_off(recipe, state)
        return after, (*actions, *more)
    return state, (*actions, Reached())


def _back_off(recipe: Recipe, state: State) -> Decision:
    """Smaller steps after a refused one: of all policies, or of the one which alone does most damage."""
    if recipe.pruning.back_off == "worst":
        return _with(state, awaits="damages"), (Damage(*_working(state)),)
    return _backed_off(recipe, state, state.working)


def _backed_off(recipe: Recipe, state: State, halved: Collection[int]) -> Decision:
    """Halve the steps of some policies; those below the smallest step fall out."""
    least = recipe.pruning.smallest_step
    scales = [scale / 2 if place in halved else scale for place, scale in enumerate(state.scales)]
    return _with(state, awaits="step", scales=tuple(scale if scale >= least else 0.0 for scale in scales)), (Reached(),)


# -- states ------------------------------------------------------------------------------------------


def _working(state: State) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The places of the pruning policies that are not done, and the scales of their steps."""
    return state.working, tuple(state.scales[place] for place in state.working)


def _tried(state: State, title: str, epochs: int, edits: int = 0) -> State:
    return _with(state, title=title, epochs=epochs, edits=edits, trial=0, recovery=0)


def _with(state: State, **changes: Any) -> State:
    return state.model_copy(update=changes)


def _counted(state: State, **more: int) -> State:
    counts = state.counts
    return _with(state, counts=counts.model_copy(update={name: getattr(counts, name) + n for name, n in more.items()}))
