"""What a run knows and what it may do next: the words between `decide` and the engine.

A state is a record, which goes through JSON unchanged; actions are told to the engine and kept nowhere. What came of
them is in the journal (`snapshot/outcomes.py`).
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import NonNegativeInt, Strict

from nestgraph.recipes.proposing import Proposals
from nestgraph.runs.run import Remedy
from nestgraph.spec.record import Record

Phase = Literal["seed", "grow", "shift", "prune", "finish", "report"]
PHASES: tuple[Phase, ...] = ("seed", "grow", "shift", "prune", "finish", "report")

Scales = Annotated[tuple[float, ...], Strict(False)]
Stage = Literal["seed", "trained-seed", "grown", "final"]


class Counts(Record):
    """What a run counts for its result.

    Attributes:
        trainings: all that were begun; the number of the next one, which names its random numbers.
        edits: kept, trainings apart.
        refused: steps that were taken back.
        diverged: trainings that broke down: a number that is not finite, or a loss beyond the limit.
        collapsed: trainings that ended no better than a constant answer.
        retried: trainings that were tried again at a lower learning rate.
    """

    trainings: NonNegativeInt = 0
    edits: NonNegativeInt = 0
    refused: NonNegativeInt = 0
    diverged: NonNegativeInt = 0
    collapsed: NonNegativeInt = 0
    retried: NonNegativeInt = 0


class State(Record):
    """All that the next decision depends on, beside recipe and outcome.

    Attributes:
        phase: `report` when all is decided.
        number: of the step in it; how many are done, where one is to be chosen.
        first: connections when the phase began.
        misses: refused steps in a row.
        target: the goal that pruning keeps.
        scales: of the step of each pruning policy; 0 for one that is done.
        connections: of the network that stands, to which a refused step returns.
        share: what it takes of the recipe's budget; None without one.
        loss: of that network on the validation split; 0 before it was trained first.
        goal: likewise; larger is better.
        awaits: what the next call brings: nothing, where a step is to be chosen, or the outcome of an action.
        title: of the step that is tried.
        edits: that it consists of; none where it only trains.
        epochs: that it trains.
        trial: how often its training broke down.
        recovery: epochs that it was trained on below the target of pruning.
        over: whether the time of the run is over, so that no step begins any more.
        counts: so far.
    """

    phase: Phase = "seed"
    number: NonNegativeInt = 0
    first: NonNegativeInt = 0
    misses: NonNegativeInt = 0
    target: float | None = None
    scales: Scales = ()
    connections: NonNegativeInt = 0
    share: float | None = None
    loss: float = 0.0
    goal: float = 0.0
    awaits: Literal["step", "proposal", "training", "damages", "nothing"] = "step"
    title: str = ""
    edits: NonNegativeInt = 0
    epochs: NonNegativeInt = 0
    trial: NonNegativeInt = 0
    recovery: NonNegativeInt = 0
    over: bool = False
    counts: Counts = Counts()

    @property
    def working(self) -> tuple[int, ...]:
        """The places of the pruning policies that are not done."""
        return tuple(place for place, scale in enumerate(self.scales) if scale)


# -- what to do: all but the last action of a decision have no outcome ---------------------------------


@dataclass(frozen=True)
class Enter:
    """A phase begins, or goes on after the run was interrupted."""

    phase: Phase


@dataclass(frozen=True)
class Keep:
    """Save the network as a stage of the run."""

    stage: Stage


@dataclass(frozen=True)
class Propose:
    """Let policies of the phase propose, and apply what they find. The outcome is `Proposed`.

    Attributes:
        places: of the policies in the recipe.
        scales: of their steps.
        how: each on the result of the one before, or all on one network.
    """

    places: tuple[int, ...]
    scales: tuple[float, ...]
    how: Proposals = "in_turn"


@dataclass(frozen=True)
class Shift:
    """Shift the activations, if there are any to shift. The outcome is `Proposed`."""


@dataclass(frozen=True)
class Train:
    """Train the network, at a share of the recipe's learning rate. The outcome is `Trained` or `Broke`.

    Attributes:
        epochs: how long.
        number: of the training in the run.
        rate: share of the learning rate.
        otherwise: what is done if it breaks down.
        on: whether it goes on where the training before ended; else it starts from the edited network.
    """

    epochs: int
    number: int
    rate: float
    otherwise: Remedy
    on: bool = False


@dataclass(frozen=True)
class Damage:
    """Measure what each policy would do alone, before any training. The outcome is `Damaged`."""

    places: tuple[int, ...]
    scales: tuple[float, ...]


@dataclass(frozen=True)
class Retry:
    """Take back a training that broke down, up to the edit before it."""


@dataclass(frozen=True)
class Measured:
    """Log what was tried, with whether it is kept; `collapsed` where a constant answer is as good."""

    title: str
    kept: bool
    collapsed: bool


@dataclass(frozen=True)
class Accept:
    """What was tried stands from now on."""


@dataclass(frozen=True)
class Refuse:
    """Take back what was tried, to where the run stands."""

    title: str


@dataclass(frozen=True)
class Reached:
    """Between two steps: the run can be resumed from here. There is no outcome."""


@dataclass(frozen=True)
class Stop:
    """The run is over; `broken` where the seed network does not train."""

    broken: bool = False


Action = Enter | Keep | Propose | Shift | Train | Damage | Retry | Measured | Accept | Refuse | Reached | Stop
