"""The task whose targets are a class at each place of a sample: tokens that are to be told, parts of a picture."""

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field

from nestgraph.errors import DataError
from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.facts import UNTOLD, Facts, Shape
from nestgraph.tasks.classes import OfClasses, named_score, out_of_range, whole_classes
from nestgraph.tasks.registry import TASKS
from nestgraph.tasks.sums import Floats, Perplexity, Sum
from nestgraph.tasks.task import array_of, refuse_shapes, torch_itself

if TYPE_CHECKING:
    from torch import Tensor

PlaceMetric = Literal["accuracy", "balanced_accuracy", "f1", "perplexity"]


@TASKS.included
class Places(OfClasses):
    """A class at each place of a sample, an output for each class there: cross entropy, the mean over places.

    Which places are told is up to the targets: of a text the next token at each place, or the token itself where it was
    masked and `UNTOLD` (-100) elsewhere. Places that are not told count nowhere.

    Attributes:
        metrics: told beside the loss, over all places: accuracy, balanced accuracy, F1 and perplexity.
        classes: how many there are, where the data do not say.
        axis: where the outputs have the classes: -1, as networks of tokens do, (samples, tokens, classes), or 1, as
            those of pictures, (samples, classes, height, width).
    """

    known: ClassVar = ("accuracy", "balanced_accuracy", "f1", "perplexity")

    kind: Literal["places"] = "places"
    metrics: Annotated[tuple[PlaceMetric, ...], Field(max_length=8)] = ("accuracy", "perplexity")
    classes: Annotated[int, Field(ge=2, le=2**20)] | None = None
    axis: Literal[-1, 1] = -1

    def each(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """See `Task`: the mean over the places that are told, 0 where none is."""
        entropies, counts = self._entropies(outputs, targets), self._counts(targets)
        return (entropies * counts).flatten(1).sum(1) / counts.flatten(1).sum(1).clamp_min(1e-30)

    def _entropies(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """That of each place, (samples, *places); 0 where none is told."""
        outputs = self._placed(outputs, targets)
        entropy = torch_itself().nn.functional.cross_entropy
        try:
            return entropy(outputs, targets, reduction="none", ignore_index=UNTOLD)
        except IndexError:
            told = targets[targets != UNTOLD]
            raise out_of_range(self.kind, told, outputs.shape[1]) from None

    def _placed(self, outputs: "Tensor", targets: "Tensor") -> "Tensor":
        """Outputs as (samples, classes, *places)."""
        at = self.axis % outputs.ndim if outputs.ndim > 1 else 0
        without = (*outputs.shape[:at], *outputs.shape[at + 1 :])
        if outputs.ndim < 3 or tuple(targets.shape) != without or targets.is_floating_point():
            form = "(samples, ..., classes)" if self.axis == -1 else "(samples, classes, ...)"
            expected = f"outputs of {form} and classes as whole numbers of (samples, ...)"
            raise refuse_shapes(self.kind, outputs, targets, expected)
        return outputs.movedim(at, 1)

    def _counts(self, targets: "Tensor") -> "Tensor":
        """What each place counts, (samples, *places): 0 where none is told, else what its class does."""
        told = targets != UNTOLD
        weights = super().weighing(targets.where(told, targets.new_zeros(())))
        return told.float() if weights is None else weights * told

    def weighing(self, targets: "Tensor", weights: "Tensor | None" = None) -> "Tensor":
        """See `Task`: a sample counts by the share of its places that are told, and by their classes."""
        shares = self._counts(targets).flatten(1).mean(1)
        return shares if weights is None else shares * weights

    def score(self, name: str, outputs: "Tensor", targets: "Tensor", weights: Floats) -> Sum:
        """See `Task`."""
        told = targets != UNTOLD
        by_place = weights.reshape(-1, *[1] * (targets.ndim - 1)) * np.asarray(told.cpu())
        if name == "perplexity":
            entropies = array_of(self._entropies(outputs.detach().cpu().double(), targets.cpu()))
            return Perplexity(float((entropies * by_place).sum()), float(by_place.sum()))
        found = self._placed(outputs, targets)
        return named_score(name, found.argmax(1)[told], targets[told], by_place[np.asarray(told.cpu())], found.shape[1])

    def prepared(self, targets: AnyArray, facts: Facts) -> AnyArray:
        """See `Task`: int64, (samples, *places)."""
        numbers = targets.dtype.kind in "biuf"
        if targets.ndim < 2 and numbers:
            expected = "a class at each place of a sample, (samples, ...)"
            raise DataError(
                f"task {self.kind!r}: expected {expected}, got targets of {targets.shape}: one class a sample is a "
                "classification"
            )
        known = self.outputs(facts)
        if not known:
            raise DataError(
                f"task {self.kind!r}: expected to know how many classes there are, got targets that do not say: give "
                "the task classes="
            )
        told = targets != UNTOLD if numbers else np.ones(targets.shape, bool)
        found = np.full(targets.shape, UNTOLD, np.int64)
        if told.any():
            found[told] = whole_classes(self.kind, targets[told], known)
        return found

    def even(self, targets: AnyArray) -> Self:
        """See `Task`."""
        return super().even(targets[targets != UNTOLD])

    def fitted(self, targets: AnyArray, facts: Facts) -> Self:
        """See `Task`."""
        told = targets[targets != UNTOLD]
        if not told.size:
            raise DataError(f"task {self.kind!r}: expected places to learn, got none that is told: see the targets")
        return super().fitted(told, facts.model_copy(update={"classes": self.outputs(facts)}))

    def floor(self, targets: AnyArray, weights: AnyArray | None = None) -> float:
        """See `Task`."""
        told = targets != UNTOLD
        plain = np.ones(len(targets)) if weights is None else np.asarray(weights, np.float64)
        by_place = np.broadcast_to(plain.reshape(-1, *[1] * (targets.ndim - 1)), targets.shape)[told]
        if self.aim.name != "perplexity":
            return super().floor(targets[told], None if weights is None else by_place)
        shares = np.bincount(targets[told], by_place) / by_place.sum()
        shares = shares[shares > 0]
        return -float(np.exp(-(shares * np.log(shares)).sum()))

    def constant(self, answer: "Tensor", targets: "Tensor") -> "Tensor":
        """See `Task`."""
        return answer.expand(*targets.shape, -1).movedim(-1, self.axis)

    def fit(self, shapes: Sequence[Shape], facts: Facts) -> bool:
        """See `Task`: as many classes at each of as many places."""
        classes = self.outputs(facts)
        return [(shape[min(self.axis, 0)], prod(shape)) for shape in shapes if shape] == [
            (classes, classes * facts.width)
        ]

    def asked(self, facts: Facts) -> str:
        """See `Task`."""
        where = "last" if self.axis == -1 else "first"
        return f"{self.outputs(facts)} outputs at each of {facts.width} places, at the {where} axis of a sample"

    def outputs(self, facts: Facts) -> int:
        """See `Task`."""
        return self.classes or facts.classes
