"""A task: what the outputs of a network mean, how well they do, and which one number a run gates on."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

import numpy as np
from pydantic import StringConstraints, model_validator

from nestgraph.errors import DataError, TrainingError
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.facts import AllWanted, Facts, Shape
from nestgraph.spec.metrics import LOSS, METRICS, Goal
from nestgraph.spec.record import Record
from nestgraph.spec.wording import quoted, shape_of
from nestgraph.tasks.sums import Floats, Mean, Sum

if TYPE_CHECKING:
    from torch import Tensor

GoalText = Annotated[str, StringConstraints(pattern=r"^-?[A-Za-z_][A-Za-z0-9_.]{0,127}$")]
"""A metric of which more is better, or `-` and one of which less is."""


class Task(Record, ABC):
    """What the outputs mean: loss, metrics, the goal of a run and that of a constant answer.

    Losses and metrics are of samples that may have weights: one of weight 2 counts as if it were there twice. What
    `scores` gives adds up: of the parts of a split it is what the whole has.
    """

    known: ClassVar[tuple[str, ...]] = ()
    """The names of the metrics that tasks of a kind have, beside the loss."""
    kind: Any = ""
    metrics: tuple[Any, ...] = ()
    goal: GoalText = "-loss"

    @model_validator(mode="after")
    def _check_goal(self) -> Self:
        check_goal(self.goal, (*self.known, LOSS))
        return self

    @property
    def reads_inputs(self) -> bool:
        """Whether the targets are the inputs themselves."""
        return False

    @property
    def wanted(self) -> AllWanted:
        """What is learned of the columns of a table."""
        return None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs, where there are several, each with targets of its own."""
        return ()

    def with_code_of(self, given: "Task | None") -> "Task":
        """The task with the code that a file does not hold, which is given again; the same where none is missing.

        Raises:
            TrainingError: some is missing, and not given.
        """
        del given
        return self

    @property
    def aim(self) -> Goal:
        """The goal: larger is better."""
        return Goal.of(self.goal)

    @property
    def told(self) -> tuple[str, ...]:
        """The metrics that are told, that of the goal first; the loss is always."""
        return tuple(dict.fromkeys(name for name in (self.aim.name, *self.metrics) if name != LOSS))

    def loss(self, outputs: "Tensor", targets: "Tensor", weights: "Tensor | None" = None) -> "Tensor":
        """The mean loss over samples, weighted where they have weights, a scalar.

        Raises:
            TrainingError: outputs and targets are not of the shapes that belong together, or classes are out of range.
        """
        each, weighing = self.each(outputs, targets), self.weighing(targets, weights)
        if weighing is None:
            return each.mean()
        return (each * weighing).sum() / weighing.sum().clamp_min(1e-30)

    def scores(self, outputs: "Tensor", targets: "Tensor", weights: "Tensor | None" = None) -> dict[str, Sum]:
        """Loss and metrics of samples, as sums that add up over batches, by name: the goal's metric first.

        Args:
            outputs: of the network, on any device.
            targets: as `prepared` gives them.
            weights: of the samples, (samples,).

        Raises:
            TrainingError: see `loss`.
        """
        loss = self.measured_loss(outputs, targets, weights)
        plain = array_of(weights) if weights is not None else np.ones(len(outputs))
        return {name: self.score(name, outputs, targets, plain) for name in self.told} | {LOSS: loss}

    def measured_loss(self, outputs: "Tensor", targets: "Tensor", weights: "Tensor | None" = None) -> Mean:
        """The loss as it is measured: the sum over samples of what is trained on, without what only helps training."""
        each, weighing = self.each(outputs, targets), self.weighing(targets, weights)
        if weighing is None:
            return Mean(float(each.detach().sum()), len(each))
        return Mean(float((each * weighing).detach().sum()), float(weighing.sum()))

    @abstractmethod
    def each(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """The loss of each sample, (samples,), before weights.

        Raises:
            TrainingError: see `loss`.
        """

    @abstractmethod
    def score(self, name: str, outputs: "Tensor", targets: "Tensor", weights: Floats) -> Sum:
        """One of the metrics in `known`, of samples with weights (samples,)."""

    @abstractmethod
    def floor(self, targets: AnyArray, weights: AnyArray | None = None) -> float:
        """The goal of the best constant answer on these targets: what a network that learned nothing may reach."""

    def constant(self, answer: "Tensor", targets: "Tensor") -> "Tensor":
        """Outputs that are one answer, (units,), for all that these targets tell."""
        return answer.expand(len(targets), -1)

    @abstractmethod
    def outputs(self, facts: Facts) -> int:
        """How many output units the targets ask for."""

    def widths(self, facts: Facts) -> dict[str, int]:
        """The output units by the name of the output, which is `output` where there is one."""
        return {"output": self.outputs(facts)}

    def fit(self, shapes: Sequence[Shape], facts: Facts) -> bool:
        """Whether samples of a network's outputs have the shapes that the targets ask for."""
        return list(shapes) == [(self.outputs(facts),)]

    def asked(self, facts: Facts) -> str:
        """What outputs the targets ask for, for a message."""
        return f"{self.outputs(facts)} output neurons"

    @abstractmethod
    def prepared(self, targets: AnyArray, facts: Facts) -> AnyArray:
        """Targets as losses take them: classes as int64 (samples,), numbers as float32 (samples, k).

        Raises:
            DataError: they are of another kind, out of range, or not finite.
        """

    def even(self, targets: AnyArray) -> Self:
        """The task with weights of classes whose mean over these targets is 1, so that they only shift between them."""
        del targets
        return self

    def fitted(self, targets: AnyArray, facts: Facts) -> Self:
        """The task with what it takes from the targets of the training split, such as balanced weights.

        Raises:
            DataError: nothing can be learned from them: they are of one class.
        """
        del targets, facts
        return self

    def weighing(self, targets: "Tensor", weights: "Tensor | None" = None) -> "Tensor | None":
        """The weights of samples in the loss, those of their classes included, (samples,); None where all are 1."""
        del targets
        return weights

    def limit(self, targets: AnyArray) -> float:
        """The loss that limits of a recipe are multiples of: 1, or where losses have a unit, that of the answer 0."""
        del targets
        return 1.0

    def weight(self, targets: "Tensor", weights: "Tensor | None" = None) -> float:
        """The sum of weights of samples, by which the mean losses of batches are added up."""
        found = self.weighing(targets, weights)
        return len(targets) if found is None else float(found.sum())


def check_goal(goal: str, known: Collection[str]) -> None:
    """Whether a goal is one of which more is better; of metrics that are not of this package nobody knows.

    Raises:
        ValueError: it is not, or there is no such metric.
    """
    found = Goal.of(goal)
    if found.name not in known:
        raise ValueError(f"goal: expected one of {', '.join(known)}, got {found.name!r}")
    if found.name.rpartition(".")[2] in METRICS and (found.sign > 0) != found.metric.larger:
        less, other = ("less", f"-{found.name}") if found.sign > 0 else ("more", found.name)
        words = f"{found.name!r}, of which {less} is better"
        raise ValueError(f"goal: expected a number of which more is better, got {goal!r} ({words}): write {other!r}")


def array_of(tensor: Any) -> Floats:
    """A tensor as an array of doubles."""
    return np.asarray(tensor.detach().cpu().double())


def shares_of(weights: AnyArray | None, count: int) -> Floats:
    """What share of all weights each sample has; the same where they have none."""
    plain = np.ones(count) if weights is None else np.asarray(weights, np.float64)
    return plain / plain.sum()


def refuse_text(kind: str, targets: AnyArray, remedy: str) -> None:
    """Refuse targets that are no numbers.

    Raises:
        DataError: they are text or objects.
    """
    if targets.dtype.kind not in "biuf":
        got = targets.reshape(-1)[:1].tolist()
        words = quoted(got[0]) if got else str(targets.dtype)
        raise DataError(f"task {kind!r}: expected targets that are numbers, got {words}: {remedy}")


def refuse_infinite(kind: str, targets: AnyArray) -> None:
    """Refuse targets that are not finite.

    Raises:
        DataError: one is not.
    """
    flat = targets.reshape(len(targets), -1)
    if not (finite := np.isfinite(flat).all(axis=1)).all():
        row = int(np.argmin(finite))
        got = flat[row][~np.isfinite(flat[row])][0]
        more = f" and {np.count_nonzero(~finite) - 1:,} more" if np.count_nonzero(~finite) > 1 else ""
        raise DataError(
            f"task {kind!r}: expected finite targets, got {got} in row {row}{more}: drop such rows, or fill them in"
        )


def refuse_shapes(kind: str, outputs: Any, targets: Any, expected: str) -> TrainingError:
    """The error for outputs and targets that do not belong together."""
    got = f"outputs of {shape_of(outputs)} and targets of {shape_of(targets)}"
    return TrainingError(
        f"task {kind!r}: expected {expected}, got {got}: reshape the targets, or change the output layer"
    )


def refuse_broadcast(who: str, outputs: Any, targets: Any) -> None:
    """Whether one number a sample meets another one that has an axis more: each would meet all.

    Raises:
        TrainingError: they do.
    """
    shapes = [tuple(each.shape) for each in (outputs, targets) if hasattr(each, "shape")]
    count = shapes[0][0] if shapes and shapes[0] else 0
    if count > 1 and set(shapes) == {(count,), (count, 1)}:
        got = f"outputs of {shape_of(outputs)} and targets of {shape_of(targets)}"
        raise TrainingError(f"{who} expected targets of the outputs' shape, got {got}: reshape them")


def torch_itself() -> Any:
    """torch, which takes seconds to import and is not needed to read records."""
    import torch

    return cast("Any", torch)
