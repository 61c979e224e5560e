"""Tasks whose targets are classes: one of several, one of two, or any of several labels."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from nestgraph.errors import DataError, TrainingError
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.facts import Facts, Wanted
from nestgraph.tasks.registry import TASKS
from nestgraph.tasks.sums import Confusion, Floats, Labels, Mean, Ranking, Sum
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

Weight = Annotated[float, Field(gt=0, le=1e9)]
Weights = Annotated[tuple[Weight, ...], Field(min_length=1, max_length=65536)]
ClassMetric = Literal["accuracy", "balanced_accuracy", "f1", "auroc"]
LabelMetric = Literal["accuracy", "f1", "auroc"]
RENAME = "name classes by whole numbers from 0, or read them from a table, which does"


class OfClasses(Task):
    """What tasks with classes as targets have in common.

    Attributes:
        class_weights: what each class counts in the loss, in training and measuring; `balanced` makes all classes of
            the training split count alike.
        goal: that growth and pruning gate on: a metric of which more is better, or `-` and another, such as `-loss`.
    """

    class_weights: Weights | Literal["balanced"] | None = None
    goal: GoalText = "accuracy"

    @property
    def wanted(self) -> Wanted:
        """See `Task`."""
        return "classes"

    def prepared(self, targets: AnyArray, facts: Facts) -> AnyArray:
        """See `Task`."""
        return one_class(self.kind, targets, facts.classes)

    def even(self, targets: AnyArray) -> Self:
        """See `Task`."""
        if not isinstance(self.class_weights, tuple):
            return self
        mean = float(np.asarray(self.class_weights)[targets].mean())
        return self.model_copy(update={"class_weights": tuple(weight / mean for weight in self.class_weights)})

    def fitted(self, targets: AnyArray, facts: Facts) -> Self:
        """See `Task`."""
        counts = np.bincount(targets, minlength=facts.classes)
        if np.count_nonzero(counts) < 2:
            only = facts.names[int(counts.argmax())] if facts.names else int(counts.argmax())
            raise DataError(
                f"task {self.kind!r}: expected samples of at least two classes to train on, got {only!r} only: check "
                "which column is the target, and how the splits are drawn"
            )
        if self.class_weights == "balanced":
            weights = len(targets) / (np.count_nonzero(counts) * np.maximum(counts, 1))
            return self.model_copy(update={"class_weights": tuple(weights.tolist())})
        if self.class_weights is not None and len(self.class_weights) != len(counts):
            got = f"{len(self.class_weights)}"
            raise DataError(f"task {self.kind!r}: expected {len(counts)} class_weights, one a class, got {got}")
        return self

    def weighing(self, targets: "Tensor", weights: "Tensor | None" = None) -> "Tensor | None":
        """See `Task`."""
        if self.class_weights is None:
            return weights
        if self.class_weights == "balanced":
            raise TrainingError(
                f"task {self.kind!r}: expected class_weights as numbers, got 'balanced' before it saw the classes: "
                "fitted(targets, facts) gives the task with them"
            )
        of_classes = targets.new_tensor(self.class_weights, dtype=torch_itself().float32)[targets]
        return of_classes if weights is None else of_classes * weights

    def floor(self, targets: AnyArray, weights: AnyArray | None = None) -> float:
        """See `Task`."""
        counts = np.bincount(targets, weights)  # without weights whole numbers, so that shares are exact
        total, present = counts.sum(), int(np.count_nonzero(counts))
        match self.aim.name:
            case "accuracy":
                return float(counts.max() / total)
            case "balanced_accuracy":
                return 1 / present
            case "f1":
                return self._constant_f1(counts / total, present)
            case "auroc":
                return 0.5
            case _:
                return -self._entropy(counts.astype(np.float64))

    def _constant_f1(self, shares: Floats, present: int) -> float:
        return float((2 * shares / (1 + shares)).max()) / present

    def _entropy(self, counts: Floats) -> float:
        """The cross entropy of naming each class with its share of the weights."""
        if isinstance(self.class_weights, tuple):
            counts = counts * np.asarray(self.class_weights)[: len(counts)]
        shares = counts[counts > 0] / counts.sum()
        return float(-(shares * np.log(shares)).sum())


class _OneClass(OfClasses):
    """What tasks with one class a sample have in common.

    Attributes:
        metrics: told beside the loss: accuracy, balanced accuracy (mean recall of the classes), F1 (the mean over
            classes, of two that of the second) and AUROC (one class against the rest, the mean over classes).
    """

    known: ClassVar = ("accuracy", "balanced_accuracy", "f1", "auroc")

    metrics: Annotated[tuple[ClassMetric, ...], Field(max_length=8)] = ("accuracy",)


@TASKS.included
class Classification(_OneClass):
    """One class a sample, an output for each: cross entropy.

    Attributes:
        label_smoothing: what training takes from the true class and gives to all alike; in recipes an option of
            `training`.
    """

    kind: Literal["classification"] = "classification"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def loss(self, outputs: "Tensor", targets: "Tensor", weights: "Tensor | None" = None) -> "Tensor":
        """See `Task`."""
        if weights is not None or self.class_weights is not None:
            return super().loss(outputs, targets, weights)
        self._check(outputs, targets)
        return self._entropies(outputs, targets, "mean")

    def each(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """See `Task`."""
        self._check(outputs, targets)
        return self._entropies(outputs, targets, "none")

    def _entropies(self, outputs: "Tensor", targets: "Tensor", reduction: str) -> "Tensor":
        entropy = torch_itself().nn.functional.cross_entropy
        try:
            return entropy(outputs, targets, reduction=reduction, label_smoothing=self.label_smoothing)
        except IndexError:
            raise out_of_range(self.kind, targets, outputs.shape[1]) from None

    def measured_loss(self, outputs: "Tensor", targets: "Tensor", weights: "Tensor | None" = None) -> Mean:
        """See `Task`."""
        plain = self.model_copy(update={"label_smoothing": 0.0})
        if weights is not None or self.class_weights is not None:
            return super(OfClasses, plain).measured_loss(outputs, targets, weights)
        self._check(outputs, targets)
        return Mean(float(plain._entropies(outputs.detach(), targets, "sum")), len(outputs))

    def _check(self, outputs: "Tensor", targets: "Tensor") -> None:
        if outputs.ndim != 2 or targets.shape != outputs.shape[:1] or targets.is_floating_point():
            expected = "outputs of (samples, classes) and classes as whole numbers of (samples,)"
            raise refuse_shapes(self.kind, outputs, targets, expected)

    def score(self, name: str, outputs: "Tensor", targets: "Tensor", weights: Floats) -> Sum:
        """See `Task`."""
        classes = outputs.shape[1]
        if name == "auroc":
            chances, true = array_of(outputs.detach().softmax(1)), np.asarray(targets.cpu())
            has = true[:, None] == np.arange(classes)
            of_pair = slice(1, 2) if classes == 2 else slice(None)
            return Ranking(chances[:, of_pair], has[:, of_pair], weights)
        return named_score(name, outputs.argmax(1), targets, weights, classes)

    def outputs(self, facts: Facts) -> int:
        """See `Task`."""
        return facts.classes


@TASKS.included
class Binary(_OneClass):
    """One of two classes, one output, the log odds of the second: binary cross entropy."""

    kind: Literal["binary"] = "binary"

    def each(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """See `Task`."""
        if tuple(outputs.shape) not in ((len(targets),), (len(targets), 1)) or targets.ndim != 1:
            raise refuse_shapes(
                self.kind, outputs, targets, "outputs of (samples, 1) and classes 0 and 1 of (samples,)"
            )
        odds = outputs.reshape(-1)
        entropy = torch_itself().nn.functional.binary_cross_entropy_with_logits
        return entropy(odds, targets.to(odds.dtype), reduction="none")

    def score(self, name: str, outputs: "Tensor", targets: "Tensor", weights: Floats) -> Sum:
        """See `Task`."""
        odds = outputs.detach().reshape(-1)
        if name == "auroc":
            return Ranking(array_of(odds)[:, None], np.asarray(targets.cpu())[:, None] == 1, weights)
        return named_score(name, (odds > 0).long(), targets, weights, 2)

    def prepared(self, targets: AnyArray, facts: Facts) -> AnyArray:
        """See `Task`."""
        del facts
        return one_class(self.kind, targets, 2)

    def fitted(self, targets: AnyArray, facts: Facts) -> Self:
        """See `Task`."""
        return super().fitted(targets, facts.model_copy(update={"classes": 2}))

    def outputs(self, facts: Facts) -> int:
        """See `Task`."""
        del facts
        return 1

    def _constant_f1(self, shares: Floats, present: int) -> float:
        del present
        second = float(shares[1]) if len(shares) > 1 else 0.0
        return 2 * second / (1 + second)


@TASKS.included
class MultiLabel(Task):
    """Any of several labels a sample, an output for each, its log odds: binary cross entropy, the mean over labels.

    Attributes:
        class_weights: what each label counts in the loss.
        metrics: told beside the loss: accuracy (the share of labels that are right), F1 and AUROC, means over labels.
        goal: that growth and pruning gate on: one of these, or `-loss`.
    """

    known: ClassVar = ("accuracy", "f1", "auroc")

    kind: Literal["multi_label"] = "multi_label"
    class_weights: Weights | None = None
    metrics: Annotated[tuple[LabelMetric, ...], Field(max_length=8)] = ("f1", "accuracy")
    goal: GoalText = "f1"

    @property
    def wanted(self) -> Wanted:
        """See `Task`."""
        return "labels"

    def each(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """See `Task`."""
        if outputs.shape != targets.shape or outputs.ndim != 2:
            raise refuse_shapes(self.kind, outputs, targets, "outputs and labels of one shape, (samples, labels)")
        entropy = torch_itself().nn.functional.binary_cross_entropy_with_logits
        found = entropy(outputs, targets.to(outputs.dtype), reduction="none")
        if self.class_weights is None:
            return found.mean(1)
        shares = found.new_tensor(self._shares(found.shape[1]))
        return (found * shares).sum(1)

    def _shares(self, labels: int) -> Floats:
        """What each label counts; together 1."""
        given = np.ones(labels) if self.class_weights is None else np.asarray(self.class_weights, np.float64)
        if len(given) != labels:
            raise DataError(f"task {self.kind!r}: expected {labels} class_weights, one a label, got {len(given)}")
        return given / given.sum()

    def score(self, name: str, outputs: "Tensor", targets: "Tensor", weights: Floats) -> Sum:
        """See `Task`."""
        has = np.asarray(targets.cpu()) > 0.5
        odds = array_of(outputs)
        if name == "auroc":
            return Ranking(odds, has, weights)
        told = odds > 0
        if name == "accuracy":
            return Mean(float(weights @ (told == has).mean(1)), float(weights.sum()))
        return Labels(np.stack([weights @ (told & has), weights @ has, weights @ told]))

    def prepared(self, targets: AnyArray, facts: Facts) -> AnyArray:
        """See `Task`."""
        del facts
        refuse_text(self.kind, targets, "say 0 or 1 for each label")
        found = targets.reshape(len(targets), -1)
        if not np.isin(found, (0, 1)).all():
            got = found[~np.isin(found, (0, 1))][0]
            raise DataError(
                f"task {self.kind!r}: expected 0 or 1 for each label, got {got}: one class a sample is a classification"
            )
        return np.ascontiguousarray(found, np.float32)

    def fitted(self, targets: AnyArray, facts: Facts) -> Self:
        """See `Task`."""
        del facts
        self._shares(targets.shape[1])
        if (targets == targets[:1]).all():
            raise DataError(
                f"task {self.kind!r}: expected labels that some samples have and others have not, got the same of all: "
                "check which columns are the targets"
            )
        return self

    def floor(self, targets: AnyArray, weights: AnyArray | None = None) -> float:
        """See `Task`."""
        shares = shares_of(weights, len(targets)) @ targets
        match self.aim.name:
            case "accuracy":
                return float(np.maximum(shares, 1 - shares).mean())
            case "f1":
                return float((2 * shares / (1 + shares)).mean())
            case "auroc":
                return 0.5
            case _:
                return -float(self._shares(len(shares)) @ _entropies(shares))

    def outputs(self, facts: Facts) -> int:
        """See `Task`."""
        return facts.width


def named_score(name: str, named: "Tensor", targets: "Tensor", weights: Floats, classes: int) -> Sum:
    """A metric of the classes that were named, (samples,)."""
    if name == "accuracy":
        hits = named == targets
        if (weights == 1).all():
            return Mean(int(hits.sum()), len(hits))
        return Mean(float(weights @ np.asarray(hits.cpu())), float(weights.sum()))
    of = "f1_of_second" if name == "f1" and classes == 2 else name
    return Confusion.of_classes(np.asarray(named.cpu()), np.asarray(targets.cpu()), weights, classes, of)


def _entropies(shares: Floats) -> Floats:
    """The entropy of each label that a share of the samples has."""
    inner = np.clip(shares, 1e-300, 1)
    outer = np.clip(1 - shares, 1e-300, 1)
    return -(shares * np.log(inner) + (1 - shares) * np.log(outer))


def one_class(kind: str, targets: AnyArray, classes: int) -> AnyArray:
    """Targets as a class a sample, int64, (samples,).

    Raises:
        DataError: see `whole_classes`; or they have another shape.
    """
    found = targets.reshape(-1) if targets.shape == (len(targets), 1) else targets
    if found.ndim != 1 and found.dtype.kind in "biuf":
        raise DataError(f"task {kind!r}: expected one class a sample, (samples,), got targets of {targets.shape}")
    return whole_classes(kind, found, classes)


def whole_classes(kind: str, found: AnyArray, classes: int) -> AnyArray:
    """Targets as classes, int64, of the same shape.

    Raises:
        DataError: they are no whole numbers, or no classes below `classes`.
    """
    refuse_text(kind, found, RENAME)
    refuse_infinite(kind, found)
    whole = found.astype(np.int64)
    if not (whole == found).all():
        got = found[whole != found][0]
        raise DataError(f"task {kind!r}: expected classes as whole numbers, got {got}: numbers are a regression")
    if not classes:
        remedy = f"give them as integers ({RENAME}), or learn a regression"
        raise DataError(f"task {kind!r}: expected classes as integers, got numbers of {found.dtype}: {remedy}")
    if whole.size and not 0 <= whole.min() <= whole.max() < classes:
        got = int(whole.min() if whole.min() < 0 else whole.max())
        raise DataError(f"task {kind!r}: expected classes from 0 to {classes - 1}, got {got}: {RENAME}")
    return whole


def out_of_range(kind: str, targets: "Tensor", classes: int) -> TrainingError:
    """The error for classes that a network has no output for."""
    lowest, highest = int(targets.min()), int(targets.max())
    got = lowest if lowest < 0 else highest
    return TrainingError(
        f"task {kind!r}: expected classes from 0 to {classes - 1}, as the network has outputs, got {got}: {RENAME}"
    )
