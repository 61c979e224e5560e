"""Several outputs, each with a task of its own: the loss is their weighted sum."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, Self, cast

from pydantic import Field, model_validator

from nestgraph.errors import DataError, NestgraphError, TrainingError
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.facts import Facts, Shape, Wanted
from nestgraph.spec.metrics import LOSS
from nestgraph.spec.open_kinds import Own
from nestgraph.spec.parts import words_of
from nestgraph.spec.record import Name
from nestgraph.spec.wording import quoted
from nestgraph.tasks.custom import AnyTask
from nestgraph.tasks.registry import TASKS
from nestgraph.tasks.sums import Mean, Sum
from nestgraph.tasks.task import GoalText, Task, check_goal, torch_itself

if TYPE_CHECKING:
    from torch import Tensor


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


@TASKS.included
class Several(Task):
    """A task for each output of a network.

    The weights of classes of a part only shift between these: their mean over the samples to train with is 1, and what
    a part counts beside others is its share.

    Attributes:
        tasks: by the name of an output, in the order of the network's outputs.
        shares: what the loss of an output counts, 1 where nothing is said.
        goal: the goal of one output, such as `age.r2` or `-age.mae`, or `-loss`, of the sum.
    """

    kind: Literal["several"] = "several"
    tasks: Annotated[dict[Name, Annotated[AnyTask, Own(AnyTask, TASKS)]], Field(min_length=1, max_length=64)]
    shares: dict[Name, Annotated[float, Field(gt=0, le=1e9)]] = Field(default_factory=dict[str, float])
    metrics: tuple[()] = ()
    goal: GoalText = "-loss"

    @model_validator(mode="after")
    def _check_goal(self) -> Self:
        check_goal(self.goal, (*self._metrics(), LOSS))
        unknown = [name for name in self.shares if name not in self.tasks]
        if unknown:
            raise ValueError(f"shares: expected outputs among {', '.join(self.tasks)}, got {unknown[0]!r}")
        return self

    def _metrics(self) -> list[str]:
        known = {name: dict.fromkeys((*task.known, *task.told, LOSS)) for name, task in self.tasks.items()}
        return [f"{name}.{each}" for name, metrics in known.items() for each in metrics]

    @property
    def names(self) -> tuple[str, ...]:
        """See `Task`."""
        return tuple(self.tasks)

    @property
    def wanted(self) -> dict[str, Wanted | None]:
        """See `Task`."""
        return {name: cast("Wanted | None", task.wanted) for name, task in self.tasks.items()}

    @property
    def told(self) -> tuple[str, ...]:
        """The metrics of all outputs, that of the goal first."""
        own = [f"{name}.{each}" for name, task in self.tasks.items() for each in (*task.told, LOSS)]
        return tuple(dict.fromkeys(name for name in (self.aim.name, *own) if name != LOSS))

    def with_code_of(self, given: Task | None) -> "Several":
        """See `Task`: each part's."""
        others = given.tasks if isinstance(given, Several) else {}
        return self._with({name: task.with_code_of(others.get(name)) for name, task in self.tasks.items()})

    def _with(self, tasks: Mapping[str, Task]) -> Self:
        return self.model_copy(update={"tasks": dict(tasks)})

    # -- losses and metrics --------------------------------------------------------------------------

    def loss(self, outputs: Any, targets: Any, weights: "Tensor | None" = None) -> "Tensor":
        """The sum of the outputs' mean losses, each times its share.

        Raises:
            TrainingError: outputs or targets are not those of the tasks, or do not fit one.
        """
        found, wanted = self._parts("outputs", outputs), self._parts("targets", targets)
        losses = [
            task.loss(found[name], wanted[name], weights) * self._factor(name, wanted[name], weights)
            for name, task in self.tasks.items()
        ]
        return sum(losses[1:], losses[0])

    def _factor(self, name: str, targets: Any, weights: Any) -> float:
        """What the mean loss of an output counts: its share, and the mean weight of the classes of these samples."""
        counted = self.tasks[name].weight(targets, weights)
        mass = len(targets) if weights is None else float(weights.sum())
        return self.shares.get(name, 1.0) * (counted / mass if mass else 1.0)

    def scores(self, outputs: Any, targets: Any, weights: "Tensor | None" = None) -> dict[str, Sum]:
        """Loss and metrics of each output, after its name and a dot, and the loss of all: see `Task`."""
        found, wanted = self._parts("outputs", outputs), self._parts("targets", targets)
        asked = self._asked()
        each = {name: asked[name].scores(found[name], wanted[name], weights) for name in self.tasks}
        mass = self.weight(targets, weights)
        losses = {name: replace(cast(Mean, scores[LOSS]), weight=mass) for name, scores in each.items()}
        named = {f"{name}.{score}": part for name, scores in each.items() for score, part in scores.items()}
        named |= {f"{name}.{LOSS}": part for name, part in losses.items()}
        shared = Shared(tuple((self.shares.get(name, 1.0), part) for name, part in losses.items()))
        return {**{name: named[name] for name in self.told}, LOSS: shared}

    def _asked(self) -> dict[str, Task]:
        """The tasks, that of the goal with the goal's metric."""
        output, _, metric = self.aim.name.rpartition(".")
        if not output:
            return dict(self.tasks)
        return {**self.tasks, output: _of(self.tasks[output], f"{'-' if self.aim.sign < 0 else ''}{metric}")}

    def each(self, outputs: Any, targets: Any) -> "Tensor":
        """The sum of the outputs' losses of each sample: see `Task`."""
        found, wanted = self._parts("outputs", outputs), self._parts("targets", targets)
        losses = [task.each(found[n], wanted[n]) * self.shares.get(n, 1.0) for n, task in self.tasks.items()]
        return sum(losses[1:], losses[0])

    def weight(self, targets: Any, weights: "Tensor | None" = None) -> float:
        """See `Task`: of the samples alone."""
        first = next(iter(self._parts("targets", targets).values()))
        return len(first) if weights is None else float(weights.sum())

    def score(self, *_: Any, **__: Any) -> NoReturn:
        """Nothing: `scores` asks the tasks of the outputs.

        Raises:
            TypeError: always.
        """
        raise TypeError("several outputs have no metric of their own")

    # -- targets -------------------------------------------------------------------------------------

    def prepared(self, targets: Any, facts: Facts) -> Any:
        """See `Task`: by the name of the output.

        Raises:
            DataError: they are not those of the tasks, or not of the kind that one takes.
        """
        parts, known = self._given(targets), self._known(facts)
        return {name: self._told(name, parts[name], known[name]) for name in self.tasks}

    def _told(self, name: str, targets: AnyArray, facts: Facts) -> AnyArray:
        with _named(name):
            return self.tasks[name].prepared(targets, facts)

    def fitted(self, targets: Any, facts: Facts) -> Self:
        """See `Task`."""
        known, fitted = self._known(facts), dict[str, Task]()
        for name, told in self._given(targets).items():
            with _named(name):
                fitted[name] = self.tasks[name].fitted(told, known[name]).even(told)
        return self._with({name: fitted[name] for name in self.tasks})

    def outputs(self, facts: Facts) -> int:
        """See `Task`: of all outputs together."""
        return sum(self.widths(facts).values())

    def widths(self, facts: Facts) -> dict[str, int]:
        """See `Task`."""
        known = self._known(facts)
        return {name: task.outputs(known[name]) for name, task in self.tasks.items()}

    def fit(self, shapes: Sequence[Shape], facts: Facts) -> bool:
        """See `Task`."""
        known, tasks = self._known(facts), self.tasks.items()
        if len(shapes) != len(tasks):
            return False
        return all(task.fit([shape], known[name]) for (name, task), shape in zip(tasks, shapes, strict=True))

    def asked(self, facts: Facts) -> str:
        """See `Task`."""
        counts = " and ".join(map(str, self.widths(facts).values()))
        return f"{len(self.tasks)} outputs of {counts} output neurons"

    def limit(self, targets: Any) -> float:
        """See `Task`: the sum of the outputs', each times its share."""
        parts = self._given(targets)
        return sum(self.shares.get(name, 1.0) * task.limit(parts[name]) for name, task in self.tasks.items())

    def floor(self, targets: Any, weights: AnyArray | None = None) -> float:
        """See `Task`: of the output whose goal it is, or of the sum of losses."""
        parts = self._given(targets)
        output, _, metric = self.aim.name.rpartition(".")
        if metric != LOSS:
            return self._asked()[output].floor(parts[output], weights)
        losses = {name: self._loss_floor(name, parts[name], weights) for name in self.tasks}
        return losses[output] if output else sum(self.shares.get(n, 1.0) * floor for n, floor in losses.items())

    def _loss_floor(self, name: str, targets: AnyArray, weights: AnyArray | None) -> float:
        torch = torch_itself()
        told, counts = torch.from_numpy(targets), None if weights is None else torch.from_numpy(weights)
        factor = self._factor(name, told, counts) / self.shares.get(name, 1.0)
        return factor * _of(self.tasks[name], f"-{LOSS}").floor(targets, weights)

    def _known(self, facts: Facts) -> dict[str, Facts]:
        """What is known of the targets of each output."""
        return {
            name: part.model_copy(update={"inputs": facts.inputs}) for name, part in self._given(facts.parts).items()
        }

    def _given(self, given: Any) -> dict[str, Any]:
        return self._parts("targets", given, DataError)

    def _parts(self, what: str, given: Any, error: type[NestgraphError] = TrainingError) -> dict[str, Any]:
        if isinstance(given, Mapping):
            named = cast("Mapping[str, Any]", given)
            if set(named) == set(self.tasks):
                return dict(named)
            raise error(f"task 'several': expected {what} {', '.join(self.tasks)}, got {words_of(named)}")
        if isinstance(given, tuple | list) and len(cast("Sequence[Any]", given)) == len(self.tasks):
            return dict(zip(self.tasks, cast("Sequence[Any]", given), strict=True))
        got = f"{len(cast('Sequence[Any]', given))}" if isinstance(given, tuple | list) else quoted(given)
        raise error(f"task 'several': expected {len(self.tasks)} {what}, by name or in their order, got {got}")


RecipeTask = Annotated[AnyTask | Several, Field(discriminator="kind")]
"""What a recipe may name."""


def _of(task: Task, goal: str) -> Task:
    return task.model_copy(update={"goal": goal})


@contextmanager
def _named(output: str) -> Generator[None]:
    """Say of which output targets are refused."""
    try:
        yield
    except DataError as error:
        raise DataError(f"output {output!r}: {error}") from None
