"""What metrics are made of: sums over samples that add up over batches and processes, and their value at the end.

Each agrees with scikit-learn's function of the same name over all samples, weights included.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from nestgraph.errors import DataError

Floats = NDArray[Any]


class Sum(ABC):
    """Part of a metric, of some samples."""

    @abstractmethod
    def __add__(self, other: Any) -> Self:
        """That of both lots of samples."""

    @property
    @abstractmethod
    def value(self) -> float:
        """The metric of all samples that were added."""


@dataclass(frozen=True)
class Mean(Sum):
    """A weighted mean: of losses, hits, absolute errors.

    Attributes:
        total: the weighted sum.
        weight: the sum of weights, the number of samples where they have none.
    """

    total: float
    weight: float

    def __add__(self, other: Any) -> Self:
        """See `Sum`."""
        return replace(self, total=self.total + other.total, weight=self.weight + other.weight)

    @property
    def value(self) -> float:
        """See `Sum`; 0 where all weights are."""
        return self.total / self.weight if self.weight else 0.0


@dataclass(frozen=True)
class Perplexity(Mean):
    """The exponential of a mean cross entropy: among how many equally likely classes it would be as hard to choose."""

    @property
    def value(self) -> float:
        """See `Sum`; infinite where the mean is too large."""
        with np.errstate(over="ignore"):
            return float(np.exp(super().value))


@dataclass(frozen=True)
class Roots(Sum):
    """The root of the mean square of each output, and the mean of these (scikit-learn's `root_mean_squared_error`)."""

    squares: Floats
    weight: float

    def __add__(self, other: Any) -> Self:
        """See `Sum`."""
        return replace(self, squares=self.squares + other.squares, weight=self.weight + other.weight)

    @property
    def value(self) -> float:
        """See `Sum`."""
        return float(np.sqrt(self.squares / self.weight).mean()) if self.weight else 0.0


@dataclass(frozen=True)
class Explained(Sum):
    """The share of the variance of targets that is explained, R^2.

    Means and squares about them are merged as Chan et al. 1983 do, so that no digits are lost where a mean is large.

    Attributes:
        weight: the sum of weights.
        means: of each target, (k,).
        squares: of its distances from its mean, (k,).
        residual: sum of squared errors, (k,).
        pooled: whether the outputs' variances are summed, else their R^2 are averaged (scikit-learn's
            `variance_weighted` and `uniform_average`).
    """

    weight: float
    means: Floats
    squares: Floats
    residual: Floats
    pooled: bool = False

    @classmethod
    def of(cls, found: Floats, targets: Floats, weights: Floats, pooled: bool = False) -> "Explained":
        """Of predictions and targets, (samples, k), with weights (samples,)."""
        weight = float(weights.sum())
        means = weights @ targets / (weight or 1.0)
        return cls(weight, means, weights @ (targets - means) ** 2, weights @ (targets - found) ** 2, pooled)

    def __add__(self, other: Any) -> Self:
        """See `Sum`."""
        weight = self.weight + other.weight
        apart, share = other.means - self.means, other.weight / (weight or 1.0)
        squares = self.squares + other.squares + apart**2 * self.weight * share
        means, residual = self.means + apart * share, self.residual + other.residual
        return replace(self, weight=weight, means=means, squares=squares, residual=residual)

    @property
    def value(self) -> float:
        """See `Sum`. Of a target that does not vary 1 where it is met and 0 where not, as scikit-learn says."""
        if self.pooled:
            return _explained(float(self.residual.sum()), float(self.squares.sum()))
        pairs = zip(self.residual.tolist(), self.squares.tolist(), strict=True)
        return float(np.mean([_explained(residual, squares) for residual, squares in pairs]))


def _explained(residual: float, squares: float) -> float:
    return 1 - residual / squares if squares else float(not residual)


@dataclass(frozen=True)
class Confusion(Sum):
    """How often which class was named for which.

    Attributes:
        counts: weights of samples, (true class, named class).
        of: balanced accuracy, the mean recall of the classes that there are; macro F1, the mean over classes that there
            are or that are named; or F1 of the second of two classes.
    """

    counts: Floats
    of: Literal["balanced_accuracy", "f1", "f1_of_second"]

    @classmethod
    def of_classes(
        cls, named: NDArray[Any], targets: NDArray[Any], weights: Floats, classes: int, of: Any
    ) -> "Confusion":
        """Of named and true classes, (samples,), with weights."""
        counts = np.bincount(targets * classes + named, weights=weights, minlength=classes * classes)
        return cls(counts.reshape(classes, classes), of)

    def __add__(self, other: Any) -> Self:
        """See `Sum`."""
        return replace(self, counts=self.counts + other.counts)

    @property
    def value(self) -> float:
        """See `Sum`."""
        hits, true, named = np.diag(self.counts), self.counts.sum(1), self.counts.sum(0)
        if self.of == "balanced_accuracy":
            present = true > 0
            return float((hits[present] / true[present]).mean())
        if self.of == "f1_of_second":
            return float(_f1(hits[1:], true[1:], named[1:])[0])
        seen = true + named > 0
        return float(_f1(hits[seen], true[seen], named[seen]).mean())


def _f1(hits: Floats, true: Floats, named: Floats) -> Floats:
    both = true + named
    return np.divide(2 * hits, both, out=np.zeros_like(both), where=both > 0)


@dataclass(frozen=True)
class Labels(Sum):
    """F1 of each of several labels, which a sample has or has not, and their mean.

    Attributes:
        counts: weights of samples that have a label and are said to, that have it, that are said to, (3, labels).
    """

    counts: Floats

    def __add__(self, other: Any) -> Self:
        """See `Sum`."""
        return replace(self, counts=self.counts + other.counts)

    @property
    def value(self) -> float:
        """See `Sum`; 0 of a label that no sample has or is said to have."""
        return float(_f1(*self.counts).mean())


@dataclass(frozen=True)
class Ranking(Sum):
    """How well scores rank samples that have a label above those that have not: the area under the ROC curve.

    It asks for all outputs at once, so they are kept.

    Attributes:
        scores: of samples for labels, (samples, labels).
        has: whether they have them, likewise.
        weights: of the samples.
    """

    scores: Floats
    has: NDArray[np.bool_]
    weights: Floats

    def __add__(self, other: Any) -> Self:
        """See `Sum`."""
        return replace(
            self,
            scores=np.concatenate([self.scores, other.scores]),
            has=np.concatenate([self.has, other.has]),
            weights=np.concatenate([self.weights, other.weights]),
        )

    @property
    def value(self) -> float:
        """See `Sum`: the mean over labels that some samples have and some have not.

        Raises:
            DataError: there is no such label.
        """
        areas = [
            area(self.scores[:, label], self.has[:, label], self.weights)
            for label in range(self.has.shape[1])
            if self.weights[self.has[:, label]].sum() and self.weights[~self.has[:, label]].sum()
        ]
        if not areas:
            raise DataError(
                "auroc expected samples of at least two classes to rank, got one class only: draw the splits with "
                "equal shares of each class, or leave the metric out"
            )
        return float(np.mean(areas))


def area(scores: Floats, has: NDArray[np.bool_], weights: Floats) -> float:
    """The weighted share of pairs of a sample with a label and one without that are ranked right; ties count half."""
    _, places = np.unique(scores, return_inverse=True)
    with_it = np.bincount(places, weights * has)
    without = np.bincount(places, weights * ~has)
    below = np.cumsum(without) - without
    return float((with_it * (below + without / 2)).sum() / (with_it.sum() * without.sum()))


@dataclass(frozen=True)
class Whole(Sum):
    """A metric that somebody brought along, which gets all outputs and targets at once.

    Attributes:
        compute: gives the metric.
        parts: what it is given: lots of outputs, targets and, if any, weights.
    """

    compute: Any
    parts: tuple[tuple[Any, ...], ...]

    def __getstate__(self) -> dict[str, Any]:
        """Without the code, which the process that computes has."""
        return {"compute": None, "parts": self.parts}

    def __add__(self, other: Any) -> Self:
        """See `Sum`."""
        return replace(self, parts=self.parts + other.parts)

    @property
    def value(self) -> float:
        """See `Sum`."""
        return float(self.compute(self.parts))


def added(lots: Iterable[Mapping[str, Sum]]) -> dict[str, float]:
    """The values of metrics over several lots of samples."""
    totals: dict[str, Sum] = {}
    for lot in lots:
        for name, found in lot.items():
            totals[name] = totals[name] + found if name in totals else found
    return {name: found.value for name, found in totals.items()}
