"""Tasks that are made in Python: any callable as loss or metric, on top of one of the kinds of this package."""

import hashlib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, cast

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from nestgraph.errors import NestgraphError, RecipeError, RecordError, TrainingError
from nestgraph.spec.arguments import checked
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.facts import AllWanted, Facts, Shape
from nestgraph.spec.metrics import LOSS, METRICS
from nestgraph.spec.record import Name
from nestgraph.spec.wording import foreign, quoted, shape_of
from nestgraph.tasks.classes import Binary, Classification, MultiLabel
from nestgraph.tasks.numbers import Reconstruction, Regression
from nestgraph.tasks.places import Places
from nestgraph.tasks.registry import TASKS
from nestgraph.tasks.sums import Floats, Mean, Sum, Whole
from nestgraph.tasks.task import GoalText, Task, array_of, refuse_broadcast, torch_itself

if TYPE_CHECKING:
    from torch import Tensor

BuiltIn = Annotated[
    Classification | Binary | MultiLabel | Places | Regression | Reconstruction, Field(discriminator="kind")
]
KINDS: Mapping[str, Any] = {
    "classification": Classification,
    "binary": Binary,
    "multi_label": MultiLabel,
    "places": Places,
    "regression": Regression,
    "reconstruction": Reconstruction,
}
TRIED = 4096
"""Samples at most on which constant answers are tried."""


@TASKS.included
class Custom(Task):
    """A task with callables that no file holds: its name and what they are known by.

    Attributes:
        name: of it, for people.
        like: the task of this package that it is in all but loss and metrics: what targets are, and how many outputs.
        own: the names of the metrics that are callables.
        fingerprint: a SHA-256 of the source of loss and metrics, so that a run goes on with these alone.
        metrics: see `Task`.
        goal: see `Task`.
    """

    kind: Literal["custom"] = "custom"
    name: Name
    like: BuiltIn
    own: tuple[str, ...] = ()
    fingerprint: str
    metrics: tuple[str, ...] = ()
    goal: GoalText = "-loss"

    known: ClassVar = ()
    _loss: Callable[..., Any] | None = PrivateAttr(default=None)
    _own: dict[str, Callable[..., Any]] = PrivateAttr(default_factory=dict[str, Callable[..., Any]])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Custom) and self.model_dump_json() == other.model_dump_json()

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    @model_validator(mode="after")
    def _check_goal(self) -> Self:
        return self  # `task` does: of callables nobody knows the direction

    @classmethod
    def of(cls, fields: Mapping[str, Any], loss: Callable[..., Any] | None, own: Mapping[str, Any]) -> Self:
        """The task with its callables."""
        made = cls(**fields)
        made._loss, made._own = loss, dict(own)
        return made

    def with_code_of(self, given: "Task | None") -> "Task":
        """See `Task`: the one that is given again."""
        if self._loss is not None or self._own:
            return self
        if not isinstance(given, Custom) or given.fingerprint != self.fingerprint:
            got = "none" if given is None else f"one whose source is another ({quoted(given)})"
            raise TrainingError(f"task {self.name!r}: expected its loss and metrics again, got {got}: give task=")
        return given

    @property
    def reads_inputs(self) -> bool:
        """See `Task`."""
        return self.like.reads_inputs

    @property
    def wanted(self) -> AllWanted:
        """See `Task`."""
        return self.like.wanted

    def even(self, targets: AnyArray) -> Self:
        """See `Task`."""
        return self.model_copy(update={"like": self.like.even(targets)})

    def loss(self, outputs: "Tensor", targets: "Tensor", weights: "Tensor | None" = None) -> "Tensor":
        """See `Task`."""
        if self._loss is None:
            return self.like.loss(outputs, targets, weights)
        given = (outputs, targets) if weights is None else (outputs, targets, weights)
        refuse_broadcast(f"task {self.name!r}:", outputs, targets)
        try:
            found = cast("object", self._loss(*given))
        except NestgraphError:
            raise
        except Exception as error:
            got = f"outputs of {shape_of(outputs)} and targets of {shape_of(targets)}"
            words = f"a loss that takes outputs and targets, got {got}: {type(error).__name__}: {foreign(error)}"
            raise TrainingError(f"task {self.name!r}: expected {words}") from error
        numbers = cast(Any, found).numel() if isinstance(found, torch_itself().Tensor) else None
        if numbers != 1:
            got = f"one of shape {shape_of(found)}" if numbers is not None else quoted(found)
            remedy = "take its mean over the samples"
            raise TrainingError(f"task {self.name!r}: expected a loss that is one number, got {got}: {remedy}")
        return cast("Tensor", found).reshape(())

    def measured_loss(self, outputs: "Tensor", targets: "Tensor", weights: "Tensor | None" = None) -> Mean:
        """See `Task`."""
        if self._loss is None:
            return self.like.measured_loss(outputs, targets, weights)
        count = self.weight(targets, weights)
        return Mean(float(self.loss(outputs, targets, weights)) * count, count)

    def each(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """See `Task`; of a loss of one's own, sample by sample."""
        if self._loss is None:
            return self.like.each(outputs, targets)
        places = (slice(place, place + 1) for place in range(len(targets)))
        return torch_itself().stack([self.loss(outputs[at], targets[at]) for at in places])

    def score(self, name: str, outputs: "Tensor", targets: "Tensor", weights: Floats) -> Sum:
        """See `Task`. A metric of one's own gets all outputs and targets at once, but no weights, and may be any."""
        if name not in self.own:
            return self.like.score(name, outputs, targets, weights)
        if name not in self._own:
            raise TrainingError(f"task {self.name!r}: expected the metric {name!r} again, got its name: give task=")
        return Whole(_OnAll(self.name, name, self._own[name]), ((outputs.detach().cpu(), targets.detach().cpu()),))

    def floor(self, targets: AnyArray, weights: AnyArray | None = None) -> float:
        """See `Task`; of callables the best of some constant answers: mean and median, or each class."""
        if self._loss is None and self.aim.name not in self.own:
            return self.like.model_copy(update={"goal": self.goal}).floor(targets, weights)
        torch = torch_itself()
        some = torch.from_numpy(np.asarray(targets[:TRIED]))
        goals: list[float] = []
        for answer in self._constants(targets[:TRIED]):
            outputs = self.like.constant(torch.from_numpy(np.asarray(answer, np.float32)), some)
            parts = {LOSS: self.measured_loss(outputs, some)} if self.aim.name == LOSS else self.scores(outputs, some)
            goals.append(self.aim.sign * parts[self.aim.name].value)
        finite = [goal for goal in goals if math.isfinite(goal)]
        return max(finite, default=-math.inf)

    def _constants(self, targets: AnyArray) -> Sequence[AnyArray]:
        """Constant answers, one row for each sample's outputs."""
        facts = Facts(inputs=((1,),), classes=int(targets.max()) + 1 if targets.dtype.kind == "i" else 0)
        if isinstance(self.like, Classification | Places):
            return list(np.eye(self.like.outputs(facts)) * 10)
        if isinstance(self.like, Binary | MultiLabel):
            width = math.prod(targets.shape[1:]) if isinstance(self.like, MultiLabel) else 1
            return [np.full(width, -10.0), np.zeros(width), np.full(width, 10.0)]
        flat = np.asarray(targets, np.float64).reshape(len(targets), -1)
        return [flat.mean(0), np.median(flat, axis=0)]

    def outputs(self, facts: Facts) -> int:
        """See `Task`."""
        return self.like.outputs(facts)

    def fit(self, shapes: Sequence[Shape], facts: Facts) -> bool:
        """See `Task`."""
        return self.like.fit(shapes, facts)

    def asked(self, facts: Facts) -> str:
        """See `Task`."""
        return self.like.asked(facts)

    def prepared(self, targets: AnyArray, facts: Facts) -> AnyArray:
        """See `Task`."""
        return self.like.prepared(targets, facts)

    def fitted(self, targets: AnyArray, facts: Facts) -> Self:
        """See `Task`."""
        return self.model_copy(update={"like": self.like.fitted(targets, facts)})

    def weighing(self, targets: "Tensor", weights: "Tensor | None" = None) -> "Tensor | None":
        """See `Task`; a loss of one's own is told the weights of samples, and weighs classes itself."""
        return self.like.weighing(targets, weights) if self._loss is None else weights

    def limit(self, targets: AnyArray) -> float:
        """See `Task`."""
        if self._loss is None or not isinstance(self.like, Regression | Reconstruction):
            return self.like.limit(targets)
        torch = torch_itself()
        some = torch.from_numpy(np.asarray(targets[:TRIED], np.float32))
        width = self.like.outputs(Facts(inputs=(tuple(targets.shape[1:]),), width=math.prod(targets.shape[1:])))
        found = float(self.loss(torch.zeros((len(some), width)), some))
        return found if math.isfinite(found) and found > 0 else 1.0


class _OnAll:
    """A metric of all outputs and targets, which come in lots."""

    def __init__(self, task: str, name: str, metric: Callable[..., Any]) -> None:
        self._task, self._name, self._metric = task, name, metric

    def __call__(self, parts: Sequence[tuple[Any, Any]]) -> float:
        joined = [torch_itself().cat([part[place] for part in parts]) for place in range(2)]
        try:
            found = self._metric(*joined)
            value = float(array_of(found)) if isinstance(found, torch_itself().Tensor) else float(found)
        except Exception as error:
            words = f"{type(error).__name__}: {foreign(error)}"
            raise TrainingError(
                f"task {self._task!r}: expected a metric {self._name!r} that gives one number for all outputs and "
                f"targets, got {words}"
            ) from error
        return value


@checked(RecipeError)
def task(
    kind: str = "regression",
    *,
    loss: Any = None,
    metrics: Any = None,
    goal: str | None = None,
    name: str = "own",
    **options: Any,
) -> Task:
    """A task: one of this package, with any callable as its loss or among its metrics.

    Args:
        kind: what targets and outputs are: classification, binary, multi_label, places, regression or reconstruction;
            or that of a class that was registered or that an installed package offers.
        loss: the name of a loss, or a callable that gives the mean loss, a scalar tensor, for outputs and targets (and
            weights, where samples have some); by default that of the kind.
        metrics: names, or by name callables that give a number for all outputs and targets of a split (tensors on the
            CPU); None in the place of a callable is the kind's own metric of that name.
        goal: the metric that growth and pruning gate on, with a minus where less is better, such as `-rmse`. Of metrics
            of this package the direction is checked.
        name: of a task with callables.
        **options: of the kind, such as `class_weights` or `delta`.

    Raises:
        RecipeError: an argument is none of its kind.
        RecordError: there is no such kind, loss, metric or option, or the goal has the wrong direction.
    """
    made: Any = KINDS.get(kind) or TASKS.find(kind)
    if made is None:
        raise RecordError("task", f"kind: expected one of {', '.join((*KINDS, *TASKS.registered))}, got {quoted(kind)}")
    told: dict[str, Any] = dict.fromkeys(_names(metrics))
    if isinstance(metrics, Mapping):
        told = dict(cast("Mapping[str, Any]", metrics))
    odd = next((each for each in told if not isinstance(cast("object", each), str)), None)
    if odd is not None:
        raise RecordError("task", f"metrics: expected names, got {quoted(odd)}")
    own = {each: found for each, found in told.items() if found is not None}
    wrong = next((each for each, found in own.items() if not callable(found)), None)
    if wrong is not None:
        raise RecordError("task", f"metrics.{wrong}: expected a callable, or None for the kind's own metric, got "
                          f"{quoted(own[wrong])}")  # fmt: skip
    if isinstance(loss, str):
        options, loss = {**options, "loss": loss}, None
    if loss is not None and not callable(loss):
        raise RecordError("task", f"loss: expected the name of a loss or a callable, got {quoted(loss)}")
    plain = tuple(each for each in told if each not in own)
    fields: dict[str, Any] = {**options, **({"metrics": plain} if plain else {})}
    if not own and loss is None:
        return made(**fields, **({} if goal is None else {"goal": goal}))
    if kind not in KINDS:
        expected, got = f"callables beside one of {', '.join(KINDS)}", f"some beside {kind[:64]!r}"
        raise RecordError("task", f"expected {expected}, got {got}: its class has a loss and metrics of its own")
    like, usual = made(**fields), "-loss" if loss else next(iter(own))
    aim = usual if goal is None else goal
    if aim.removeprefix("-") not in own:  # of what this package has, names and direction are checked
        made(**{**fields, "goal": aim})
    return Custom.of(
        {
            "name": name,
            "like": like,
            "own": tuple(own),
            "fingerprint": _fingerprint(loss, own),
            "metrics": tuple(told) or (like.told if loss is None else like.metrics),
            "goal": aim,
        },
        loss,
        own,
    )


def _names(metrics: Any) -> tuple[str, ...]:
    if metrics is None or isinstance(metrics, Mapping):
        return ()
    if isinstance(metrics, str) or not isinstance(metrics, Sequence):
        expected = f"names such as {', '.join(METRICS)}, or callables by name"
        raise RecordError("task", f"metrics: expected {expected}, got {quoted(metrics)}")
    names = cast("Sequence[object]", metrics)
    odd = next((each for each in names if not isinstance(each, str)), None)
    if odd is not None:
        raise RecordError("task", f"metrics: expected names, got {quoted(odd)}")
    return tuple(cast("Sequence[str]", metrics))


def _fingerprint(loss: Any, own: Mapping[str, Any]) -> str:
    digest = hashlib.sha256()
    for name, each in (("loss", loss), *sorted(own.items())):
        digest.update(f"{name}\0{_source(each)}\0".encode())
    return digest.hexdigest()


def _source(of: Any) -> str:
    """What a callable is known by: its source, else its name."""
    try:
        return inspect.getsource(of)
    except (OSError, TypeError):
        kind: Any = of if hasattr(of, "__qualname__") else cast(Any, type(of))
        return f"{getattr(kind, '__module__', '')}.{getattr(kind, '__qualname__', '')}"


AnyTask = Annotated[
    Classification | Binary | MultiLabel | Places | Regression | Reconstruction | Custom, Field(discriminator="kind")
]
"""What an output may be told."""
