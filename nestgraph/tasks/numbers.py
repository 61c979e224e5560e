"""Tasks whose targets are numbers: regression, and the reconstruction of the inputs."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import numpy as np
from pydantic import ConfigDict, Field

from nestgraph.errors import DataError
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.facts import Facts, Shape, Wanted
from nestgraph.spec.options import Beside, Options
from nestgraph.tasks.registry import TASKS
from nestgraph.tasks.sums import Explained, Floats, Mean, Roots, Sum
from nestgraph.tasks.task import (
    GoalText,
    Task,
    array_of,
    refuse_infinite,
    refuse_shapes,
    refuse_text,
    shares_of,
    torch_itself,
)

if TYPE_CHECKING:
    from torch import Tensor

Level = Annotated[float, Field(gt=0, lt=1)]
NumberMetric = Literal["r2", "mae", "rmse"]
LEAST_VARIANCE = 1e-6
"""As torch's Gaussian loss has it."""
HALVINGS = 100
"""Steps of bisection that find the best constant of a Huber loss, to the last bit."""


def _usual_goal(fields: dict[str, Any]) -> str:
    """R^2 where the outputs are predictions of the mean, else the loss, which alone says what they are."""
    return "r2" if fields.get("loss_name", "mse") in ("mse", "huber") else "-loss"


class _Numbers(Task, Options):
    """What tasks with numbers as targets have in common."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True, validate_by_alias=True)

    known: ClassVar = ("r2", "mae", "rmse")

    loss_name: Any = Field("mse", alias="loss")
    delta: float = 1.0

    @property
    def _each_target(self) -> int:
        """Outputs for each target."""
        return 1

    @property
    def _layout(self) -> str:
        """What the outputs of a sample are, in words."""
        return "outputs and targets with a column a target"

    def each(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """See `Task`."""
        return self._elements(*self._aligned(outputs, targets)).mean(1)

    def _elements(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """The loss of each target, (samples, any)."""
        functional = torch_itself().nn.functional
        if self.loss_name == "huber":
            return functional.huber_loss(outputs, targets, reduction="none", delta=self.delta)
        return functional.mse_loss(outputs, targets, reduction="none")

    def _aligned(self, outputs: "Tensor", targets: "Tensor") -> "tuple[Tensor, Tensor]":
        """Both with one row a sample; they must be of that form already, so that nothing is broadcast."""
        if outputs.ndim == targets.ndim == 1 and self._each_target == 1:
            outputs, targets = outputs.unsqueeze(1), targets.unsqueeze(1)
        wanted = (len(targets), math.prod(targets.shape[1:]) * self._each_target)
        if targets.ndim < 2 or outputs.ndim < 2 or (len(outputs), math.prod(outputs.shape[1:])) != wanted:
            raise refuse_shapes(self.kind, outputs, targets, self._layout)
        return outputs.flatten(1), targets.flatten(1).to(outputs.dtype)

    def predicted(self, outputs: "Tensor", width: int) -> "Tensor":
        """The number that is predicted for each target, (samples, width)."""
        return outputs.flatten(1)[:, :width]

    def score(self, name: str, outputs: "Tensor", targets: "Tensor", weights: Floats) -> Sum:
        """See `Task`."""
        outputs, targets = self._aligned(outputs, targets)
        found, true = array_of(self.predicted(outputs, targets.shape[1])), array_of(targets)
        if name == "r2":
            return Explained.of(found, true, weights, pooled=self.reads_inputs)
        errors = (found - true) * self._units(true.shape[1])
        if name == "mae":
            return Mean(float(weights @ np.abs(errors).mean(1)), float(weights.sum()))
        return Roots(weights @ errors**2, float(weights.sum()))

    def _units(self, width: int) -> Floats:
        """What a difference of 1 is in the targets' own unit, (k,)."""
        return np.ones(width)

    def prepared(self, targets: AnyArray, facts: Facts) -> AnyArray:
        """See `Task`."""
        del facts
        refuse_text(self.kind, targets, "text as targets is a classification")
        refuse_infinite(self.kind, targets)
        return np.ascontiguousarray(targets.reshape(len(targets), -1), np.float32)

    def floor(self, targets: AnyArray, weights: AnyArray | None = None) -> float:
        """See `Task`."""
        true, shares = np.asarray(targets.reshape(len(targets), -1), np.float64), shares_of(weights, len(targets))
        units = self._units(true.shape[1])
        match self.aim.name:
            case "r2":
                return 0.0
            case "mae":
                return -float(shares @ (np.abs(true - quantile(true, shares, 0.5)) * units).mean(1))
            case "rmse":
                return -float((np.sqrt(shares @ (true - shares @ true) ** 2) * units).mean())
            case _:
                return -self._constant_loss(true, shares)

    def _constant_loss(self, true: Floats, shares: Floats) -> float:
        """The loss of the best constant answer."""
        if self.loss_name == "huber":
            apart = np.abs(true - _huber_centre(true, shares, self.delta))
            inside = np.minimum(apart, self.delta)
            return float(shares @ (inside**2 / 2 + self.delta * (apart - inside)).mean(1))
        return float(shares @ ((true - shares @ true) ** 2).mean(1))

    def limit(self, targets: AnyArray) -> float:
        """See `Task`: losses have the unit of targets, so a limit is a multiple of what the answer 0 costs."""
        torch, width = torch_itself(), math.prod(targets.shape[1:])
        answers = torch.zeros((len(targets), width * self._each_target))
        found = float(self.each(answers, torch.from_numpy(np.asarray(targets, np.float32))).mean())
        return found if found > 0 else 1.0


@TASKS.included
class Regression(_Numbers):
    """Numbers, one or several a sample.

    Attributes:
        loss_name: in recipes `loss`: `mse`, the squared error; `huber`, squared up to `delta` and linear beyond;
            `quantile`, which gives an output for each of `quantiles`; `gaussian`, the negative log-likelihood, which
            gives a mean for each target and then a logarithm of a variance for each.
        delta: of `huber`.
        quantiles: of `quantile`.
        metrics: told beside the loss: R^2 (the mean over targets), the mean absolute error and the root of the mean
            squared error, these two in the targets' own unit; of the quantile nearest to the median, of a mean.
        goal: that growth and pruning gate on: `r2`, `-mae`, `-rmse` or `-loss`.
        scales: of targets that were divided by these, to tell errors in their own unit; `fitted` fills it in.
    """

    kind: Literal["regression"] = "regression"
    loss_name: Annotated[Literal["mse", "huber", "quantile", "gaussian"], Field(alias="loss")] = "mse"
    delta: Annotated[float, Field(gt=0, le=1e9)] = 1.0
    quantiles: Annotated[tuple[Level, ...], Field(min_length=1, max_length=64)] = (0.1, 0.5, 0.9)
    metrics: Annotated[tuple[NumberMetric, ...], Field(max_length=8)] = ("r2", "mae")
    goal: GoalText = Field(default_factory=_usual_goal)
    scales: tuple[float, ...] = ()
    beside: ClassVar = {
        "delta": (Beside("loss_name", ("huber",), "loss 'huber'"),),
        "quantiles": (Beside("loss_name", ("quantile",), "loss 'quantile'"),),
    }

    @property
    def wanted(self) -> Wanted:
        """See `Task`."""
        return "numbers"

    def fitted(self, targets: AnyArray, facts: Facts) -> Self:
        """See `Task`."""
        if (targets == targets[:1]).all():
            raise DataError(
                f"task {self.kind!r}: expected targets that differ, got {float(targets.flat[0]):g} of all samples: "
                "check which column is the target"
            )
        return self.model_copy(update={"scales": facts.scales})

    def outputs(self, facts: Facts) -> int:
        """See `Task`."""
        return facts.width * self._each_target

    @property
    def told_quantiles(self) -> tuple[float, ...]:
        """The quantiles that there are outputs for, or none."""
        return self.quantiles if self.loss_name == "quantile" else ()

    @property
    def _each_target(self) -> int:
        return {"quantile": len(self.quantiles), "gaussian": 2}.get(self.loss_name, 1)

    @property
    def _layout(self) -> str:
        several = {"quantile": ", an output for each quantile", "gaussian": ", a mean and a log variance each"}
        return f"{super()._layout}{several.get(self.loss_name, '')}"

    def _elements(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        torch, width = torch_itself(), targets.shape[1]
        if self.loss_name == "gaussian":
            means, variances = outputs[:, :width], outputs[:, width:].exp()
            return torch.nn.functional.gaussian_nll_loss(means, targets, variances, full=True, reduction="none")
        if self.loss_name == "quantile":
            above = targets.unsqueeze(1) - outputs.reshape(len(outputs), -1, width)
            levels = outputs.new_tensor(self.quantiles).reshape(1, -1, 1)
            return torch.maximum(levels * above, (levels - 1) * above).flatten(1)
        return super()._elements(outputs, targets)

    def predicted(self, outputs: "Tensor", width: int) -> "Tensor":
        """The number that is predicted for each target: a mean, or the quantile that is nearest to the median."""
        if self.loss_name == "quantile":
            middle = min(range(len(self.quantiles)), key=lambda place: abs(self.quantiles[place] - 0.5))
            return outputs.reshape(len(outputs), -1, width)[:, middle]
        return super().predicted(outputs, width)

    def _units(self, width: int) -> Floats:
        return np.asarray(self.scales) if self.scales else super()._units(width)

    def _constant_loss(self, true: Floats, shares: Floats) -> float:
        if self.loss_name == "gaussian":
            squares = (true - shares @ true) ** 2
            variances = np.maximum(shares @ squares, LEAST_VARIANCE)
            return float((np.log(2 * np.pi * variances) + shares @ squares / variances).mean()) / 2
        if self.loss_name == "quantile":
            apart = [(level, true - quantile(true, shares, level)) for level in self.quantiles]
            return float(np.mean([shares @ np.maximum(at * e, (at - 1) * e).mean(1) for at, e in apart]))
        return super()._constant_loss(true, shares)


@TASKS.included
class Reconstruction(_Numbers):
    """The inputs themselves, as an autoencoder gives them back.

    Attributes:
        loss_name: in recipes `loss`: `mse` or `huber`.
        delta: of `huber`.
        metrics: told beside the loss: R^2 (the share of the variance of all inputs together), the mean absolute error
            and the root of the mean squared error.
        goal: that growth and pruning gate on: `r2`, `-mae`, `-rmse` or `-loss`.
    """

    kind: Literal["reconstruction"] = "reconstruction"
    loss_name: Annotated[Literal["mse", "huber"], Field(alias="loss")] = "mse"
    delta: Annotated[float, Field(gt=0, le=1e9)] = 1.0
    metrics: Annotated[tuple[NumberMetric, ...], Field(max_length=8)] = ("r2", "rmse")
    goal: GoalText = "r2"
    beside: ClassVar = {"delta": (Beside("loss_name", ("huber",), "loss 'huber'"),)}

    @property
    def reads_inputs(self) -> bool:
        """See `Task`."""
        return True

    @property
    def wanted(self) -> Wanted:
        """See `Task`."""
        return "inputs"

    def outputs(self, facts: Facts) -> int:
        """See `Task`."""
        return facts.values

    def fit(self, shapes: Sequence[Shape], facts: Facts) -> bool:
        """See `Task`: as neurons, or in the inputs' own shapes."""
        return super().fit(shapes, facts) or tuple(shapes) == facts.inputs


def quantile(values: Floats, weights: Floats, level: float) -> Floats:
    """A weighted quantile of each column, (k,): the least value with at least `level` of the weight at or below it."""
    order = np.argsort(values, axis=0, kind="stable")
    reached = np.cumsum(weights[order], axis=0) >= level * weights.sum() * (1 - 1e-12)
    places = np.take_along_axis(order, reached.argmax(0)[None], axis=0)
    return np.take_along_axis(values, places, axis=0)[0]


def _huber_centre(values: Floats, weights: Floats, delta: float) -> Floats:
    """Where the derivative of the sum of Huber losses is 0, by bisection, (k,)."""
    low: Floats = values.min(0)
    high: Floats = values.max(0)
    for _ in range(HALVINGS):
        middle: Floats = (low + high) / 2
        below: Floats = weights @ np.clip(middle - values, -delta, delta) < 0
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return (low + high) / 2
