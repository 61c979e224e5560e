"""Several outputs, each with a task of its own: the loss is their weighted sum."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, Self

from pydantic import Field, model_validator

from nestgraph.errors import TrainingError
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.facts import Facts
from nestgraph.spec.metrics import LOSS
from nestgraph.spec.record import Name
from nestgraph.spec.wording import quoted
from nestgraph.tasks.custom import AnyTask
from nestgraph.tasks.sums import Sum
from nestgraph.tasks.task import GoalText, Task, check_goal

if TYPE_CHECKING:
    from torch import Tensor

Parts = Mapping[str, Any] | Sequence[Any]
"""Of each output by name, or in the order of the tasks, which is that of the network's outputs."""


@dataclass(frozen=True)
class Shared(Sum):
    """Sums of several outputs, each with what it counts."""

    parts: tuple[tuple[float, Sum], ...]

    def __add__(self, other: Any) -> Self:
        """See `Sum`."""
        pairs = zip(self.parts, other.parts, strict=True)
        return replace(self, parts=tuple((share, one + another) for (share, one), (_, another) in pairs))

    @property
    def value(self) -> float:
        """See `Sum`."""
        return sum(share * part.value for share, part in self.parts)


class Several(Task):
    """A task for each output of a network, for loops of one's own and `gather`.

    Attributes:
        tasks: by the name of an output, in the order of the network's outputs.
        shares: what the loss of an output counts, 1 where nothing is said.
        goal: the goal of one output, such as `age.r2` or `-age.mae`, or `-loss`, of the sum.
    """

    kind: Literal["several"] = "several"
    tasks: Annotated[dict[Name, AnyTask], Field(min_length=1, max_length=64)]
    shares: dict[Name, Annotated[float, Field(gt=0, le=1e9)]] = Field(default_factory=dict[str, float])
    goal: GoalText = "-loss"

    @model_validator(mode="after")
    def _check_goal(self) -> Self:
        own = (name for task in self.tasks.values() if task.kind == "custom" for name in task.told)
        check_goal(self.goal, (*self._metrics(), *own, LOSS))
        unknown = [name for name in self.shares if name not in self.tasks]
        if unknown:
            raise ValueError(f"shares: expected outputs among {', '.join(self.tasks)}, got {unknown[0]!r}")
        return self

    def _metrics(self) -> list[str]:
        return [f"{name}.{each}" for name, task in self.tasks.items() for each in (*task.known, *task.told, LOSS)]

    @property
    def told(self) -> tuple[str, ...]:
        """The metrics of all outputs, that of the goal first."""
        own = [f"{name}.{each}" for name, task in self.tasks.items() for each in (*task.told, LOSS)]
        return tuple(dict.fromkeys(name for name in (self.aim.name, *own) if name != LOSS))

    def loss(self, outputs: Any, targets: Any, weights: "Tensor | None" = None) -> "Tensor":
        """The sum of the outputs' mean losses, each times its share.

        Raises:
            TrainingError: outputs or targets are not those of the tasks, or do not fit one.
        """
        found, wanted = self._parts("outputs", outputs), self._parts("targets", targets)
        losses = [task.loss(found[n], wanted[n], weights) * self.shares.get(n, 1.0) for n, task in self.tasks.items()]
        return sum(losses[1:], losses[0])

    def scores(self, outputs: Any, targets: Any, weights: "Tensor | None" = None) -> dict[str, Sum]:
        """Loss and metrics of each output, after its name and a dot, and the loss of all: see `Task`."""
        found, wanted = self._parts("outputs", outputs), self._parts("targets", targets)
        each = {name: task.scores(found[name], wanted[name], weights) for name, task in self.tasks.items()}
        named = {f"{name}.{score}": part for name, scores in each.items() for score, part in scores.items()}
        losses = tuple((self.shares.get(name, 1.0), scores[LOSS]) for name, scores in each.items())
        return {**{name: named[name] for name in self.told if name in named}, LOSS: Shared(losses)}

    def _parts(self, what: str, given: Parts) -> dict[str, Any]:
        if isinstance(given, Mapping):
            if set(given) == set(self.tasks):
                return dict(given)
            raise TrainingError(
                f"task 'several': expected {what} {', '.join(self.tasks)}, got {', '.join(given)[:200]}"
            )
        if isinstance(given, tuple | list) and len(given) == len(self.tasks):
            return dict(zip(self.tasks, given, strict=True))
        count, got = len(self.tasks), f"{len(given)}" if isinstance(given, tuple | list) else quoted(given)
        raise TrainingError(f"task 'several': expected {count} {what}, by name or in their order, got {got}")

    def floor(self, targets: Any, weights: AnyArray | None = None) -> float:
        """See `Task`: of the output whose goal it is, or of the sum of losses."""
        parts = self._parts("targets", targets)
        if self.aim.name == LOSS:
            floors = {n: _of(task, "-loss").floor(parts[n], weights) for n, task in self.tasks.items()}
            return sum(self.shares.get(name, 1.0) * floor for name, floor in floors.items())
        name, _, metric = self.aim.name.rpartition(".")
        return _of(self.tasks[name], f"{'-' if self.aim.sign < 0 else ''}{metric}").floor(parts[name], weights)

    def each(self, outputs: Any, targets: Any) -> "Tensor":
        """The sum of the outputs' losses of each sample: see `Task`."""
        found, wanted = self._parts("outputs", outputs), self._parts("targets", targets)
        losses = [task.each(found[n], wanted[n]) * self.shares.get(n, 1.0) for n, task in self.tasks.items()]
        return sum(losses[1:], losses[0])

    def weight(self, targets: Any, weights: "Tensor | None" = None) -> float:
        """See `Task`."""
        first = next(iter(self._parts("targets", targets).values()))
        return len(first) if weights is None else float(weights.sum())

    def score(self, *_: Any, **__: Any) -> NoReturn:
        """Nothing: `scores` asks the tasks of the outputs.

        Raises:
            TypeError: always.
        """
        raise TypeError("several outputs have no metric of their own")

    def outputs(self, facts: Facts) -> NoReturn:
        """Nothing: each output asks its own task.

        Raises:
            TrainingError: always.
        """
        del facts
        raise TrainingError("task 'several': expected a loop of your own: recipes train networks with one output")

    def prepared(self, targets: Any, facts: Facts) -> NoReturn:
        """Nothing: see `outputs`.

        Raises:
            TrainingError: always.
        """
        del targets
        return self.outputs(facts)


def _of(task: Task, goal: str) -> Task:
    return task.model_copy(update={"goal": goal})
