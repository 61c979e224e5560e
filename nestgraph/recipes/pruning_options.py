"""How a run prunes: the section of a recipe, and which of its options would do nothing."""

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from nestgraph.policies import PruningPolicy, UnitPruning
from nestgraph.policies.pruning import ConnectionPruning
from nestgraph.policies.registry import POLICIES
from nestgraph.recipes.proposing import SEVERAL, Proposals
from nestgraph.recipes.step_options import younger
from nestgraph.spec.open_kinds import Own
from nestgraph.spec.options import Beside, Options, misplaced
from nestgraph.spec.record import absent

Share = Annotated[float, Field(ge=0, le=1)]


class PruningOptions(Options):
    """Pruning: edit, train, keep the last network whose goal is at least A on the validation split.

    The goal is the task's, larger is better: for classes by default the accuracy.

    Attributes:
        policies: all applied at each step.
        proposals: `in_turn`, each on the result of the one before; or `side_by_side`: all of them propose for one
            network, on the same evidence and each with the same random numbers, and what they propose is joined into
            one step. The policies may then come in any order: where the proposals of two do not go together (both give
            a connection a weight, say, or both would cut an output off), that of the later one is left out, and the
            journal says why.
        target_accuracy: A where that is the accuracy.
        target: A of any goal. Without both it is the goal before pruning less `tolerance`.
        tolerance: how much of the goal pruning may cost where no target is given: points of a metric whose best value
            is 1, such as accuracy or R^2, else a share of the value.
        epochs: of training after each step.
        recovery_epochs: how many more a step below A is given, before it is taken back and halved.
        back_off: what is halved when a step is taken back: the steps of all policies, or that of the one which alone
            raises the training loss most. The latter, with a policy for each of several `projections`, backs off
            layer by layer.
        smallest_step: a policy is done when its step, halved again and again, is below this share of the first, and
            pruning when all are.
        size_floor: pruning ends at so many connections.
        activity_batches: how many training batches the activity of units is averaged over.
    """

    policies: Annotated[
        tuple[Annotated[PruningPolicy, Own(PruningPolicy, POLICIES)], ...], Field(min_length=1, max_length=16)
    ]
    proposals: Proposals = younger("in_turn")
    target_accuracy: Share | None = None
    target: float | None = Field(default=None, exclude_if=absent)
    tolerance: Share = 0.0
    epochs: PositiveInt = 1
    recovery_epochs: NonNegativeInt = 2
    back_off: Literal["all", "worst"] = "all"
    smallest_step: Annotated[float, Field(gt=0, le=1)] = 0.1
    size_floor: NonNegativeInt = 0
    max_edits: NonNegativeInt = 1000
    activity_batches: PositiveInt | None = 4
    beside: ClassVar = {
        "tolerance": (
            Beside("target_accuracy", (None,), "the accuracy before pruning as target"),
            Beside("target", (None,), "the goal before pruning as target"),
        ),
        "target": (Beside("target_accuracy", (None,), "a target of any goal in the place of target_accuracy"),),
        "back_off": SEVERAL,
        "proposals": SEVERAL,
    }

    @model_validator(mode="after")
    def _check_policies(self) -> Self:
        problems = {(place, name): words for place, each in enumerate(self.policies) for name, words in _idle(each)}
        if problems:
            raise misplaced(self, {("policies", *where): words for where, words in problems.items()})
        return self


def _idle(policy: PruningPolicy) -> Iterator[tuple[str, str]]:
    """Options with which a policy never prunes: layers that lose all connections at once are refused as a whole."""
    if isinstance(policy, ConnectionPruning) and policy.fraction == 1:
        yield "fraction", "expected less than 1, as no network is left without connections, got 1.0"
    if isinstance(policy, UnitPruning) and policy.threshold == 0:
        yield "threshold", "expected greater than 0, as no unit is below it, got 0.0"
